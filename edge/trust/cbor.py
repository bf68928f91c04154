"""Strict CBOR (RFC 8949) for signed things: every byte string has one reading or none.

Rules:

1. One item, and nothing after it.
2. Map keys are integers or text; the same key twice is an error, at every depth.
3. Text is UTF-8. Lengths are held against the bytes that are left before anything is taken or built.
4. Depth and number of items are bounded. Indefinite lengths only where the caller keeps notes of them.
5. Tags are never interpreted: an allowed one becomes ``Tagged``, any other is an error.
6. Longer than necessary integers are read: they are legal, and the signature is over the bytes as received.

A library was not used because its leniency differs between versions (duplicates, trailing bytes, tags decoded into
dates, regular expressions and shared references on the way), and because this reader is smaller than checks around one.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from edge.errors import Reason, Refusal

DEPTH: Final = 8
ITEMS: Final = 2048
INERT_TAGS: Final = frozenset({0, 1, 32, 37, 100, 1004})
"""Tags on plain values that may stand in a payload: dates, URI, UUID."""

_LENGTHS: Final = {24: struct.Struct(">B"), 25: struct.Struct(">H"), 26: struct.Struct(">I"), 27: struct.Struct(">Q")}
_WORD: Final = _LENGTHS[26]
_FLOATS: Final = {25: struct.Struct(">e"), 26: struct.Struct(">f"), 27: struct.Struct(">d")}
_SIMPLE: Final[dict[int, Any]] = {20: False, 21: True, 22: None, 23: None}
_BREAK: Final = 0xFF


@dataclass(frozen=True, repr=False)
class Tagged:
    """A tagged value, not interpreted."""

    tag: int
    value: Any


def malformed(detail: str) -> Refusal:
    """The refusal of bytes that are not what they should be."""
    return Refusal(Reason.UNREADABLE, detail)


def decode(
    data: bytes,
    *,
    depth: int = DEPTH,
    items: int = ITEMS,
    tags: frozenset[int] = INERT_TAGS,
    notes: set[str] | None = None,
    at: int = 0,
) -> Any:
    """Read exactly one item.

    Args:
        data: the bytes.
        depth: how deep arrays, maps and tags may nest.
        items: how many items there may be.
        tags: allowed tag numbers.
        notes: where "indefinite" (lengths) and "trailing" (bytes after the item) are noted; without it they are errors.
        at: where the item begins.

    Raises:
        Refusal: unreadable or too-large.
    """
    try:
        value, end = _Reader(data, items, tags, notes).item(at, depth)
    except (IndexError, struct.error) as error:
        raise malformed("CBOR ends too early") from error
    except UnicodeDecodeError as error:
        raise malformed("CBOR text is not UTF-8") from error
    if end != len(data):
        if notes is None:
            raise malformed("bytes after the CBOR item")
        notes.add("trailing")
    return value


class _Reader:
    """One pass over the bytes; positions are passed along, only the item budget is state."""

    __slots__ = ("data", "left", "notes", "size", "tags")

    def __init__(self, data: bytes, items: int, tags: frozenset[int], notes: set[str] | None) -> None:
        self.data = data
        self.size = len(data)
        self.tags = tags
        self.notes = notes
        self.left = items

    def item(self, at: int, depth: int) -> tuple[Any, int]:
        first = self.data[at]
        if first < 24:  # a small integer
            return first, at + 1
        major, info = first >> 5, first & 31
        if info < 24:
            number, at = info, at + 1
            if major == 5:
                return self.map(number, at, depth)
            if major == 4:
                return self.array(number, at, depth)
        elif info < 28:
            if major == 7:
                return self.simple(info, at)
            length = _LENGTHS[info]
            number, at = length.unpack_from(self.data, at + 1)[0], at + 1 + length.size
        elif info == 31 and self.notes is not None and 2 <= major <= 5:
            self.notes.add("indefinite")
            return self.unbounded(major, at + 1, depth)
        else:
            raise malformed("CBOR head is reserved or of indefinite length")
        if major == 3 or major == 2:
            end = at + number
            if end > self.size:
                raise malformed("CBOR string is longer than what is left")
            chunk = self.data[at:end]
            return (chunk.decode() if major == 3 else chunk), end
        if major == 0:
            return number, at
        if major == 1:
            return -1 - number, at
        if major == 5:
            return self.map(number, at, depth)
        if major == 4:
            return self.array(number, at, depth)
        if major == 6:
            return self.tagged(number, at, depth)
        if number in _SIMPLE:
            return _SIMPLE[number], at
        raise malformed("CBOR simple value is not assigned")

    def simple(self, info: int, at: int) -> tuple[Any, int]:
        if info == 24:  # false, true, null in two bytes are not well-formed, the others are not assigned
            raise malformed("CBOR simple value is not assigned")
        form = _FLOATS[info]
        return form.unpack_from(self.data, at + 1)[0], at + 1 + form.size

    def enter(self, number: int, depth: int, at: int) -> None:
        if depth <= 0:
            raise Refusal(Reason.TOO_LARGE, "CBOR nests too deep")
        if number > self.size - at:
            raise malformed("CBOR container is longer than what is left")
        self.left -= number
        if self.left < 0:
            raise Refusal(Reason.TOO_LARGE, "CBOR has too many items")

    def array(self, number: int, at: int, depth: int) -> tuple[list[Any], int]:
        self.enter(number, depth, at)
        values: list[Any] = []
        item, add, data, size = self.item, values.append, self.data, self.size
        depth -= 1
        for _ in range(number):
            first = data[at]
            if 0x40 <= first < 0x5A:  # bytes of up to 65,535, most of what messages hold, without a call
                begin = at + 1 if first < 0x58 else at + 2 if first == 0x58 else at + 3
                at = begin + (first - 0x40 if first < 0x58 else int.from_bytes(data[at + 1 : begin], "big"))
                if at > size:
                    raise malformed("CBOR string is longer than what is left")
                add(data[begin:at])
            else:
                value, at = item(at, depth)
                add(value)
        return values, at

    def map(self, number: int, at: int, depth: int) -> tuple[dict[int | str, Any], int]:
        values: dict[int | str, Any] = {}
        if not number and depth > 0:
            return values, at
        self.enter(2 * number, depth, at)
        item, data, size = self.item, self.data, self.size
        depth -= 1
        for _ in range(number):
            key: Any = data[at]
            if key < 24:
                at += 1
            else:
                key, at = item(at, depth)
                _check_key(key)
            if key in values:
                raise malformed("CBOR map has the same key twice")
            first = data[at]
            if 0x60 <= first < 0x79:  # most of what cards hold, without a call: text of up to 255 bytes,
                begin = at + 1 if first < 0x78 else at + 2
                at = begin + first - 0x60 if first < 0x78 else begin + data[at + 1]
                if at > size:
                    raise malformed("CBOR string is longer than what is left")
                values[key] = data[begin:at].decode()
            elif first < 24:  # small integers,
                values[key] = first
                at += 1
            elif first == 0x1A:  # and times
                values[key] = _WORD.unpack_from(data, at + 1)[0]
                at += 5
            else:
                values[key], at = item(at, depth)
        return values, at

    def tagged(self, number: int, at: int, depth: int) -> tuple[Tagged, int]:
        self.enter(1, depth, at)
        if number not in self.tags:
            raise malformed(f"CBOR tag {number} has no place here")
        value, at = self.item(at, depth - 1)
        return Tagged(number, value), at

    def unbounded(self, major: int, at: int, depth: int) -> tuple[Any, int]:
        """A string, array or map of indefinite length: items up to a break."""
        items: list[Any] = []
        while self.data[at] != _BREAK:
            self.enter(1, depth, at)
            if major in (2, 3) and (self.data[at] >> 5 != major or self.data[at] & 31 == 31):
                raise malformed("CBOR chunk is of another kind than its string")
            value, at = self.item(at, depth - 1)
            items.append(value)
        if major == 2:
            return b"".join(items), at + 1
        if major == 3:
            return "".join(items), at + 1
        if major == 4:
            return items, at + 1
        return _paired(items), at + 1


def _paired(items: list[Any]) -> dict[int | str, Any]:
    if len(items) % 2:
        raise malformed("CBOR map has a key without a value")
    values: dict[int | str, Any] = {}
    for key, value in zip(items[::2], items[1::2], strict=True):
        _check_key(key)
        if key in values:
            raise malformed("CBOR map has the same key twice")
        values[key] = value
    return values


def _check_key(key: object) -> None:
    if type(key) is not int and type(key) is not str:
        raise malformed("CBOR map key is neither an integer nor text")


def encode(value: Any) -> bytes:
    """Write deterministic CBOR (RFC 8949 section 4.2.1): shortest heads, keys ordered by their bytes, 64-bit floats."""
    out = bytearray()
    _write(value, out)
    return bytes(out)


def head(major: int, number: int) -> bytes:
    """The shortest head of a major type."""
    if number < 24:
        return bytes((major << 5 | number,))
    if number < 256:
        return bytes((major << 5 | 24, number))
    for info, form in _LENGTHS.items():
        if number < 1 << 8 * form.size:
            return bytes((major << 5 | info,)) + form.pack(number)
    raise ValueError("integer beyond 64 bits")


def _write(value: Any, out: bytearray) -> None:
    match value:
        case bool() | None:
            out.append({False: 0xF4, True: 0xF5, None: 0xF6}[value])
        case int():
            out += head(0, value) if value >= 0 else head(1, -1 - value)
        case float():
            out += b"\xfb" + struct.pack(">d", value)
        case bytes() | bytearray():
            out += head(2, len(value)) + value
        case str():
            raw = value.encode()
            out += head(3, len(raw)) + raw
        case list() | tuple():
            out += head(4, len(value))
            for item in value:
                _write(item, out)
        case Mapping():
            out += head(5, len(value))
            for key, item in sorted(((encode(k), v) for k, v in value.items()), key=lambda pair: pair[0]):
                out += key
                _write(item, out)
        case Tagged():
            out += head(6, value.tag)
            _write(value.value, out)
        case _:
            raise TypeError(f"{type(value).__name__} has no CBOR form here")
