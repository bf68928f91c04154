"""The same files in one: what a courier carries on a stick, or somebody uploads.

Rules:

1. A bundle is CBOR: a map from path to bytes, as the files are published. It is believed no more than a broker is.
2. 32 MiB and 4,000 files at most, read into RAM once, and never unpacked onto a disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edge.errors import Reason, Refusal
from edge.sync.metadata import METADATA, TARGETS, WHOLE_BYTES, Fetch
from edge.trust.cbor import decode, encode, malformed

SUFFIX = ".trustbundle"
_FILES = 4000


def pack(files: Mapping[str, bytes]) -> bytes:
    """The files as one."""
    return encode(dict(files))


def unpack(data: bytes) -> dict[str, bytes]:
    """The files in a bundle.

    Raises:
        Refusal: too-large or unreadable.
    """
    if len(data) > WHOLE_BYTES:
        raise Refusal(Reason.TOO_LARGE, "larger than any bundle")
    files = decode(data, items=2 * _FILES, tags=frozenset())
    if not isinstance(files, dict) or not all(_fits(path, file) for path, file in files.items()):
        raise malformed("not a bundle of files")
    return files


def read(path: Path) -> dict[str, bytes]:
    """The files in a bundle on disk.

    Raises:
        Refusal: too-large or unreadable.
        OSError: not readable.
    """
    with path.open("rb") as file:
        return unpack(file.read(WHOLE_BYTES + 1))


def fetch_from(files: Mapping[str, bytes]) -> Fetch:
    """A way to fetch files of a bundle."""

    def fetch(path: str, limit: int) -> bytes | None:
        found = files.get(path)
        return None if found is None else found[: limit + 1]

    return fetch


def _fits(path: object, file: object) -> bool:
    return isinstance(path, str) and path.startswith((METADATA, TARGETS)) and isinstance(file, bytes)
