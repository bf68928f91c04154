"""Finds what must never be on disk: pictures, templates, code texts. For tests after a run, and for the technician.

Rules:

1. Looked for by form: the first bytes of picture and array files anywhere in a file, long runs of decimals between -1
   and 1, long runs of Base45 or Base64 characters.
2. Looked for by content: what the caller knows to have been shown, as it is, in hexadecimal and in Base64.
3. A finding says where and what kind; it never quotes what it found.

What is encrypted, compressed or quantised is not found by form: give it as known content.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

LIMIT_BYTES = 256 * 1024 * 1024  # of one file; a larger one is a finding in itself

_FORMS: dict[str, re.Pattern[bytes]] = {
    "JPEG picture": re.compile(rb"\xff\xd8\xff[\xc0\xdb\xe0-\xef]"),
    "PNG picture": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "WebP picture": re.compile(rb"RIFF....WEBPVP8", re.DOTALL),
    "AVIF picture": re.compile(rb"ftypavi[fs]"),
    "JPEG 2000 picture": re.compile(rb"\xff\x4f\xff\x51\x00"),
    "array": re.compile(rb"\x93NUMPY"),
    "template in text": re.compile(rb"(?:-?[01]?\.\d{2,}(?:e-?\d+)?[\s,;\]\[]+){16}"),
    "code text": re.compile(rb"(?=[0-9A-Z $%*+\-./:]*[$%*+][0-9A-Z $%*+\-./:]*[$%*+])[0-9A-Z$%*+\-./:]{120}"),
    "Base64": re.compile(rb"[A-Za-z0-9+/_-]{400}"),
}
_LEAST_KNOWN = 8  # bytes: shorter contents are found by chance


@dataclass(frozen=True)
class Leak:
    """Something that should not be there."""

    path: Path
    offset: int
    kind: str


def leaks(places: Iterable[Path], known: Mapping[str, bytes] | None = None) -> list[Leak]:
    """Everything found in these files and folders.

    Args:
        places: files and folders; links are not followed.
        known: contents that were shown, by a name that says nothing about the person.
    """
    wanted = dict(_needles(known or {}))
    return [leak for path in _files(places) for leak in _in_file(path, wanted)]


def _files(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        found = sorted(place.rglob("*")) if place.is_dir() else [place]
        yield from (path for path in found if path.is_file() and not path.is_symlink())


def _in_file(path: Path, wanted: Mapping[str, bytes]) -> Iterator[Leak]:
    if path.stat().st_size > LIMIT_BYTES:
        yield Leak(path, LIMIT_BYTES, "file too large to search")
        return
    content = path.read_bytes()
    for kind, form in _FORMS.items():
        if found := form.search(content):
            yield Leak(path, found.start(), kind)
    for name, needle in wanted.items():
        if (at := content.find(needle)) >= 0:
            yield Leak(path, at, name)


def _needles(known: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    for name, content in known.items():
        if len(content) < _LEAST_KNOWN:
            raise ValueError(f"{name} is too short to look for")
        yield name, content
        yield f"{name} in hexadecimal", content[:64].hex().encode()
        # Base64 depends on where in three bytes it begins: the middle of each is the same wherever it stands.
        for shift in range(3):
            piece = base64.b64encode(content[shift : shift + 48])
            yield f"{name} in Base64 ({shift})", piece[: len(piece) // 4 * 4 - 4]
