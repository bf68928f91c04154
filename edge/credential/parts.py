"""A file in several codes, for a machine that has a camera and nothing else: ``EDGESITE1:2/5:`` and Base45 after it.

Rules:

1. The parts come in any order and may come more than once. The whole is there when each has come.
2. The digest of the whole is in every part, so that parts of two files are never put together. A stray code of another
   file in view costs nothing: where too many files are in view, the one with the fewest parts goes.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from typing import Final

from edge.credential import base45
from edge.errors import Reason, Refusal

PREFIX: Final = "EDGESITE1:"
_SIZE: Final = 1_200
_MOST: Final = 99
_FILES: Final = 4
_PART: Final = re.compile(r"EDGESITE1:([0-9A-F]{16}):([0-9]{1,2})/([0-9]{1,2}):(.+)", re.DOTALL)


def parts(content: bytes) -> tuple[str, ...]:
    """A file as the texts of codes, each small enough for a code of 25 by 25 mm on a telephone.

    Raises:
        ValueError: too large for codes.
    """
    packed = zlib.compress(content, 9)
    pieces = [packed[at : at + _SIZE] for at in range(0, len(packed), _SIZE)]
    if len(pieces) > _MOST:
        raise ValueError(f"{len(packed)} bytes are too many for codes; take a memory stick")
    name = hashlib.sha256(content).hexdigest()[:16].upper()
    return tuple(
        f"{PREFIX}{name}:{number}/{len(pieces)}:{base45.encode(piece)}" for number, piece in enumerate(pieces, 1)
    )


class Collected:
    """The parts that have been seen, each with those of its own file."""

    def __init__(self, limit: int) -> None:
        """``limit``: bytes of the file at most."""
        self._limit = limit
        self._files: dict[tuple[str, int], dict[int, bytes]] = {}

    @property
    def missing(self) -> tuple[int, ...]:
        """Numbers of the parts that have not come, of the file of which most have; none when nothing has."""
        if not self._files:
            return ()
        (_, of), seen = max(self._files.items(), key=lambda file: len(file[1]))
        return tuple(number for number in range(1, of + 1) if number not in seen)

    def add(self, text: str) -> bytes | None:
        """Take one code; the whole file when it was the last that was missing.

        Raises:
            Refusal: not a part of a file, or the last of parts that make none; those are forgotten.
        """
        found = _PART.fullmatch(text)
        if found is None:
            raise Refusal(Reason.UNREADABLE, "this code is no part of a file")
        name, number, of = found[1], int(found[2]), int(found[3])
        if not 1 <= number <= of:
            raise Refusal(Reason.UNREADABLE, "this code is a part that the file has not")
        content = base45.decode(found[4])
        if (name, of) not in self._files and len(self._files) == _FILES:
            del self._files[min(self._files, key=lambda file: len(self._files[file]))]
        seen = self._files.setdefault((name, of), {})
        seen[number] = content
        if len(seen) < of:
            return None
        del self._files[name, of]
        return self._whole(name, b"".join(seen[number] for number in sorted(seen)))

    def _whole(self, name: str, packed: bytes) -> bytes:
        stream = zlib.decompressobj()
        try:
            content = stream.decompress(packed, self._limit)
        except zlib.error as error:
            raise Refusal(Reason.UNREADABLE, "the parts are not compressed as they should be") from error
        if not stream.eof or hashlib.sha256(content).hexdigest()[:16].upper() != name:
            raise Refusal(Reason.UNREADABLE, "the parts do not make the file that they belong to")
        return content
