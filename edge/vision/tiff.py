"""TIFF, as little of it as cards need: size and form of one page, read before anything is decoded.

Rules:

1. One page, in strips; no second page, no pages below it, no tiles.
2. 1, 3 or 4 samples of 8 or 16 bits; not compressed, or by LZW, Deflate or PackBits.
3. Whatever the header says about sizes is judged by the caller before a decoder sees it.
"""

from __future__ import annotations

import struct
from typing import Final

MAGIC: Final = (b"II*\x00", b"MM\x00*")
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _STRIPS, _SAMPLES, _BELOW = 256, 257, 258, 259, 273, 277, 330
_TILES: Final = frozenset({322, 323, 324, 325})
_COMPRESSIONS: Final = frozenset({1, 5, 8, 32773, 32946})
_FORMS: Final = {1: ("B", 1), 3: ("H", 2), 4: ("I", 4)}
_ENTRIES: Final = 64


class Unread(ValueError):  # noqa: N818 -- reads as what it is
    """A TIFF of a form that is not read here."""


def size(data: bytes) -> tuple[int, int]:
    """Width and height of the only page.

    Raises:
        Unread: more than one page, tiles, or another form than those above.
        ValueError, struct.error: a broken header.
    """
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    if not 1 <= count <= _ENTRIES:
        raise Unread("too many entries")
    if struct.unpack_from(order + "I", data, at + 2 + 12 * count) != (0,):
        raise Unread("more than one page")
    tags: dict[int, tuple[int, ...]] = {}
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, values = _entry(data, entry, order)
        if tag in tags:
            raise ValueError("the same entry twice")
        tags[tag] = values
    _check(tags)
    return tags[_WIDTH][0], tags[_HEIGHT][0]


def _entry(data: bytes, at: int, order: str) -> tuple[int, tuple[int, ...]]:
    """One entry: its tag, and its values where they are whole numbers."""
    tag, kind, count = struct.unpack_from(order + "HHI", data, at)
    if kind not in _FORMS:
        return tag, ()
    letter, width = _FORMS[kind]
    if count * width > len(data):
        raise ValueError("more values than bytes")
    place = at + 8 if count * width <= 4 else struct.unpack_from(order + "I", data, at + 8)[0]
    return tag, struct.unpack_from(f"{order}{count}{letter}", data, place)


def _check(tags: dict[int, tuple[int, ...]]) -> None:
    if _BELOW in tags or not _TILES.isdisjoint(tags):
        raise Unread("pages below the page, or tiles")
    for tag in (_WIDTH, _HEIGHT):
        if len(tags.get(tag, ())) != 1:
            raise ValueError("no size")
    samples, bits = tags.get(_SAMPLES, (1,)), tags.get(_BITS, (1,))
    if samples not in ((1,), (3,), (4,)) or set(bits) not in ({8}, {16}) or len(bits) != samples[0]:
        raise Unread("samples of another form")
    if tags.get(_COMPRESSION, (1,))[0:] not in {(one,) for one in _COMPRESSIONS}:
        raise Unread("compressed in another way")
    if not 1 <= len(tags.get(_STRIPS, ())) <= tags[_HEIGHT][0]:
        raise ValueError("no strips, or more than rows")
