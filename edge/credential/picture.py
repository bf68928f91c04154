"""Pictures as cards carry them: bytes, hexadecimal or base64 text, a data URI, a face record. Told by their content.

Rules:

1. What the bytes begin with decides what they are, not what the card says they are.
2. Text is undone once. Hexadecimal is tried before base64, because all of its digits are base64 digits too.
3. A face record (ISO/IEC 19794-5, 39794-5), also inside a biometric template, is opened down to its picture.
4. No text makes this slow: each look at it is one pass, and the head of a data URI has at most 200 characters.
5. Nothing is decoded here: pixels are the business of ``edge-vision``.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Final

_DATA_URI: Final = re.compile(r"data:[\w.+-]*(?:/[\w.+-]*)?(?:;[\w.+=-]+)*?(;base64)?,", re.IGNORECASE)
_DATA_URI_CHARS: Final = 200
_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2})+\Z")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]+={0,2}\Z")
_BRANDS: Final = {b"avif": "avif", b"avis": "avif", b"heic": "heic", b"mif1": "heif"}
_PREFIXES: Final = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "jpeg2000"),
    (b"\xff\x4f\xff\x51", "jpeg2000"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"\xff\xa0", "wsq"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"FAC\x00", "iso19794-5"),
    (b"<svg", "svg"),
    (b"<?xml", "svg"),
)
_BY_FIRST: Final = {
    first: tuple((prefix, name) for prefix, name in _PREFIXES if prefix[:1] == first)
    for first in {prefix[:1] for prefix, _ in _PREFIXES}
}
SHOWN: Final = frozenset({"jpeg", "png", "jpeg2000", "avif", "webp", "tiff"})
"""Kinds that the gate looks at."""

_RECORD_DEPTH: Final = 12


def kind(data: bytes) -> str | None:
    """What the bytes are by their beginning: jpeg, png, webp, ...; None for nothing known."""
    for prefix, name in _BY_FIRST.get(data[:1], ()):
        if data.startswith(prefix):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12])
    return None


def unwrap(value: object) -> tuple[bytes, str] | None:
    """The bytes behind what a card carries, and their form: bytes, hex, base64, data-URI, and the record around them.

    Returns None where the value is neither bytes nor any such text.
    """
    if isinstance(value, bytes) and kind(value) in SHOWN:
        return value, "bytes"
    found = _bytes_of(value)
    if found is None:
        return None
    data, form = found
    inner = _opened(data)
    return (data, form) if inner is None else (inner[0], f"{form}, {inner[1]}")


def _bytes_of(value: object) -> tuple[bytes, str] | None:
    if isinstance(value, str):
        return _undone(value)
    if not isinstance(value, bytes):
        return None
    if kind(value) is None and value.isascii():
        undone = _undone(value.decode())
        if undone is not None and (kind(undone[0]) or undone[1] == "data-URI"):
            return undone[0], f"{undone[1]} in bytes"
    return value, "bytes"


def _undone(text: str) -> tuple[bytes, str] | None:
    match = _DATA_URI.match(text, 0, _DATA_URI_CHARS)
    if match is not None:
        decoded = _unbase64(text[match.end() :]) if match[1] else None
        return None if decoded is None else (decoded, "data-URI")
    compact = "".join(text.split())
    if _HEX.match(compact):
        raw = binascii.unhexlify(compact)
        if kind(raw) is not None:
            return raw, "hex"
        decoded = _unbase64(compact)
        return (decoded, "base64") if decoded is not None and kind(decoded) is not None else (raw, "hex")
    decoded = _unbase64(compact)
    return None if decoded is None else (decoded, "base64")


def _unbase64(text: str) -> bytes | None:
    compact = "".join(text.split())
    if not _BASE64.match(compact):
        return None
    compact = compact.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except binascii.Error:
        return None


def _opened(data: bytes) -> tuple[bytes, str] | None:
    """The picture inside a face record, and what the record was; None where there is no record."""
    if data.startswith(b"FAC\x00"):
        found = _in_19794_5(data)
        return None if found is None else (found, "ISO 19794-5")
    if kind(data) is None and data[:1] in (b"\x65", b"\x7f", b"\x30", b"\xa1"):
        for value in _strings_in_ber(data, _RECORD_DEPTH):
            if value.startswith(b"FAC\x00"):
                found = _in_19794_5(value)
                return None if found is None else (found, "ISO 19794-5")
            if kind(value) in SHOWN:
                return value, "ISO 39794-5"
    return None


def _in_19794_5(record: bytes) -> bytes | None:
    """The first picture of a face record, version 010 (2005) or 030 (2011), by the lengths in its headers."""
    version = record[4:8]
    if version == b"010\x00" and len(record) >= 34:
        points = int.from_bytes(record[18:20], "big")
        end = 14 + int.from_bytes(record[14:18], "big")
        picture = record[14 + 20 + 8 * points + 12 : end]
        return picture if kind(picture) in SHOWN else None
    if version == b"030\x00":
        return _in_19794_5_2011(record)
    return None


def _in_19794_5_2011(record: bytes) -> bytes | None:
    """Representation header of 2011: variable blocks, so the picture is the last one, found by its own length field."""
    end = 17 + int.from_bytes(record[17:21], "big")
    at = 17 + 4 + 9 + 5  # length, capture time, technology, vendor, device
    quality_blocks = record[at] if at < len(record) else 0
    at += 1 + 5 * quality_blocks
    points = int.from_bytes(record[at : at + 2], "big")
    at += 2 + 15  # facial information
    at += 8 * points
    at += 11  # image information
    length = int.from_bytes(record[at : at + 4], "big")
    picture = record[at + 4 : min(end, at + 4 + length)]
    return picture if kind(picture) in SHOWN else None


def _strings_in_ber(data: bytes, depth: int) -> Iterator[bytes]:
    """Primitive values of BER-TLV in order; stops where the lengths stop making sense."""
    at = 0
    while at + 2 <= len(data) and depth:
        first = data[at]
        at += 1
        if first & 31 == 31:
            while at < len(data) and data[at] & 128:
                at += 1
            at += 1
        if at >= len(data):
            return
        length = data[at]
        at += 1
        if length & 128:
            size = length & 127
            if not 1 <= size <= 4:
                return
            length = int.from_bytes(data[at : at + size], "big")
            at += size
        value = data[at : at + length]
        if len(value) < length:
            return
        if first & 32:
            yield from _strings_in_ber(value, depth - 1)
        else:
            yield value
        at += length
