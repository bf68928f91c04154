"""How large the picture in an AVIF file really is: by the coded picture, which the decoder believes, not by the label.

The label (``ispe``) is a few bytes that anybody may write; a file of one kilobyte labelled 80x60 was measured to keep
the decoder busy for three seconds with 6000x6000. So:

1. One still picture: brand ``avif``, no sequence, no grid of tiles.
2. Every coded item (``av01``; colour, and transparency where there is any) is found through ``iloc``, and its sequence
   header read. None may be larger than the labels say, nor be able to say so later.

Source: ISO/IEC 14496-12 (boxes), ISO/IEC 23008-12 (items), AV1 bitstream specification 5.5 (sequence header).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_SEQUENCE_HEADER = 1


class Moving(ValueError):  # noqa: N818 -- says what the picture is
    """A sequence, or a picture made of tiles."""


def size(data: bytes) -> tuple[int, int]:
    """Width and height.

    Raises:
        Moving: not one still picture.
        ValueError, IndexError, struct.error: a broken file, or one that contradicts itself.
    """
    if data[8:12] != b"avif" or b"avis" in data[: struct.unpack_from(">I", data, 0)[0]] or b"grid" in data:
        raise Moving
    labels = list(_labels(data))
    width, height = max(label[0] for label in labels), max(label[1] for label in labels)
    coded, contents = set(_coded_items(data)), _contents(data)
    sizes = [largest for item in coded & set(contents) for largest in _sequences(contents[item])]
    if not sizes or any(w > width or h > height for w, h in sizes):
        raise ValueError("coded picture larger than its label")
    return width, height


def _labels(data: bytes) -> Iterator[tuple[int, int]]:
    """Every size that the file promises."""
    for at in _boxes(data, b"ispe"):
        yield struct.unpack_from(">II", data, at + 4)


def _coded_items(data: bytes) -> Iterator[int]:
    """The numbers of the items that are coded pictures."""
    for at in _boxes(data, b"infe"):
        wide = data[at] >= 3
        (item,) = struct.unpack_from(">I" if wide else ">H", data, at + 4)
        kind_at = at + 4 + (4 if wide else 2) + 2
        if data[kind_at : kind_at + 4] == b"av01":
            yield item


def _contents(data: bytes) -> dict[int, bytes]:
    """The bytes of each item, its pieces put together as the decoder does."""
    found: dict[int, bytearray] = {}
    taken = 0
    (at,) = _boxes(data, b"iloc")
    version, sizes, more = data[at], data[at + 4], data[at + 5]
    offset_size, length_size, base_size = sizes >> 4, sizes & 15, more >> 4
    index_size = more & 15 if version else 0
    number_size = 4 if version == 2 else 2
    read = _Bytes(data, at + 6)
    for _ in range(read.number(number_size)):
        item = read.number(number_size)
        if version and read.number(2) & 15:
            raise ValueError("item that is not in the file itself")
        read.number(2)  # data reference
        base = read.number(base_size)
        for _ in range(read.number(2)):
            read.number(index_size)
            start, length = base + read.number(offset_size), read.number(length_size)
            if not 0 < length <= len(data) - start:
                raise ValueError("item outside the file")
            taken += length
            if taken > len(data):  # one piece many times over: a few bytes that would become gigabytes
                raise ValueError("items that are more than the file")
            found.setdefault(item, bytearray()).extend(data[start : start + length])
    return {item: bytes(pieces) for item, pieces in found.items()}


def _sequences(coded: bytes) -> Iterator[tuple[int, int]]:
    """The largest picture that each sequence header allows; the units of a coded item, one after another."""
    read = _Bytes(coded, 0)
    while read.at < len(coded):
        head = read.number(1)
        if head & 0x04:
            read.number(1)
        if not head & 0x02:
            raise ValueError("unit without a length")
        length = read.leb128()
        if head >> 3 & 15 == _SEQUENCE_HEADER:
            yield _largest(_Bits(coded[read.at : read.at + length]))
        if length > len(coded) - read.at:
            raise ValueError("unit longer than its item")
        read.at += length


def _largest(bits: _Bits) -> tuple[int, int]:
    bits.take(4)  # profile, still picture
    reduced = bits.take(1)
    if reduced:
        bits.take(5)
    elif bits.take(1):
        raise Moving
    else:
        delays = bits.take(1)
        for _ in range(bits.take(5) + 1):
            bits.take(12)
            if bits.take(5) > 7:
                bits.take(1)
            if delays and bits.take(1):
                bits.take(4)
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    width, height = bits.take(width_bits) + 1, bits.take(height_bits) + 1
    if not reduced:  # a frame may then have another size, as large as its bits can say
        return _round(width, width_bits), _round(height, height_bits)
    return width, height


def _round(side: int, bits: int) -> int:
    """The side itself where the bits say no more than twice as much: the room that encoders leave."""
    return side if 1 << bits <= 2 * side else 1 << bits


def _boxes(data: bytes, kind: bytes) -> Iterator[int]:
    """Where the contents of each box of this kind begin."""
    at = data.find(kind)
    while at >= 0:
        yield at + 4
        at = data.find(kind, at + 4)


class _Bytes:
    """Numbers of any width, one after another."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at

    def number(self, size: int) -> int:
        piece = self.data[self.at : self.at + size]
        if len(piece) != size:
            raise ValueError("file ends early")
        self.at += size
        return int.from_bytes(piece, "big")

    def leb128(self) -> int:
        value = 0
        for shift in range(0, 56, 7):
            byte = self.number(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ValueError("number without an end")


class _Bits:
    """Bits, most significant first."""

    def __init__(self, data: bytes) -> None:
        self.value, self.left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, count: int) -> int:
        self.left -= count
        if self.left < 0:
            raise ValueError("header ends early")
        return self.value >> self.left & ((1 << count) - 1)
