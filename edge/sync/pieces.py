"""Files that are larger than one message: status lists of ten million cards go through brokers that take 128 KiB.

Rules:

1. A file is published under its own topic. What is beyond ``PIECE`` bytes follows in pieces of that size, under the
   same topic with ``/1``, ``/2``, ... after it. The names hold a version or a hash already, so pieces of two files
   never mix.
2. A piece that is full says that another one may follow. It is asked for while fewer bytes are here than the verified
   metadata allow, so a broker can neither promise nor send more than that.
3. Nothing of it is believed: the whole is held against the signed length and hash, wherever its pieces came from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

PIECE: Final = 64 << 10


def cut(path: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """The pieces of a file and where they go, the first one under the file's own name."""
    yield path, data[:PIECE]
    for number, at in enumerate(range(PIECE, len(data), PIECE), 1):
        yield f"{path}/{number}", data[at : at + PIECE]


def whole(bring: Callable[[str], bytes | None], path: str, limit: int) -> bytes | None:
    """The file at a path, put together; a byte more than ``limit`` at most, and None when it is not there.

    Args:
        bring: asks for what is published under one name.
        path: of the file.
        limit: bytes that the file may have.
    """
    piece = bring(path)
    if piece is None:
        return None
    found, number = bytearray(piece[: limit + 1]), 0
    while piece is not None and len(piece) == PIECE and len(found) < limit:
        number += 1
        piece = bring(f"{path}/{number}")
        found += (piece or b"")[: limit + 1 - len(found)]
    return bytes(found)
