"""Face records of ISO/IEC 19794-5: those of 2011 ("030") read and written, those of 2005 ("010") read.

Rules:

1. Lengths are believed only where they fit; counts are never allocated for.
2. What is wrong but harmless is a warning (bytes behind the record, a size or a type that differs from the picture);
   everything else is ``Broken``. ``strict`` makes warnings wrong too.
3. Pictures are looked at for their size only, in their header; nothing is decoded here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime

MAGIC = b"FAC\0"
_GENERAL = struct.Struct(">4s4sIHBH")
_GENERAL_2005 = struct.Struct(">4s4sIH")
_LEAST = 51
_UNKNOWN_TIME = b"\xff" * 9
_JPEG_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


class Broken(ValueError):  # noqa: N818 -- says what the record is
    """The bytes are no such record; the message says where."""


@dataclass(frozen=True)
class Face:
    """One representation.

    Attributes:
        image: the picture's bytes.
        kind: data type: 0 JPEG, 1 JPEG 2000 lossy, 2 lossless, 3 PNG.
        width: as the record says, pixels.
        height: as the record says, pixels.
        qualities: scores, 0 to 100 or 255.
        captured: None where it is not known.
    """

    image: bytes = field(repr=False)
    kind: int
    width: int
    height: int
    qualities: tuple[int, ...] = ()
    captured: datetime | None = None


@dataclass(frozen=True)
class Record:
    """A whole record and what is odd about it."""

    faces: tuple[Face, ...]
    warnings: tuple[str, ...]


def read(record: bytes, *, strict: bool = False) -> Record:
    """The record in these bytes.

    Raises:
        Broken: it is none.
    """
    try:
        if record[:4] != MAGIC:
            raise Broken("not a face record")
        match record[4:8]:
            case b"030\0":
                found = _read_2011(record)
            case b"010\0":
                found = _read_2005(record)
            case _:
                raise Broken("face record of another version")
    except (struct.error, IndexError) as error:
        raise Broken("face record cut short") from error
    if strict and found.warnings:
        raise Broken(found.warnings[0])
    return found


def write(image: bytes, *, quality: int | None = None, captured: datetime | None = None) -> bytes:
    """A record of 2011 with this one picture, whose size and type its header tells.

    Raises:
        Broken: it is no JPEG, JPEG 2000 or PNG, or its header is broken.
    """
    kind = picture_kind(image)
    try:
        width, height = picture_size(image)
    except (struct.error, IndexError, ValueError) as error:
        raise Broken("picture with a broken header") from error
    if kind is None or not (0 < width < 65536 and 0 < height < 65536):
        raise Broken("picture that a face record cannot hold")
    scores = b"" if quality is None else struct.pack(">BHH", quality, 0x0101, 1)
    block = _written_time(captured) + bytes([0]) + bytes(4) + bytes([len(scores) // 5]) + scores
    block += struct.pack(">HBBBB", 0, 0, 0, 0, 0) + bytes(3 + 2 + 3 + 3)
    block += struct.pack(">BBHHBHBB", 1, kind, width, height, 0, 0, 0, 1)
    block += struct.pack(">I", len(image)) + image
    length = 4 + len(block)
    return _GENERAL.pack(MAGIC, b"030\0", _GENERAL.size + length, 1, 0, 0) + struct.pack(">I", length) + block


def picture_kind(image: bytes) -> int | None:
    """The data type of a picture, by its first bytes; JPEG 2000 counts as lossy."""
    if image[:3] == b"\xff\xd8\xff":
        return 0
    if image[4:8] == b"jP  " or image[:4] == b"\xff\x4f\xff\x51":
        return 1
    return 3 if image[:8] == b"\x89PNG\r\n\x1a\n" else None


def picture_size(image: bytes) -> tuple[int, int]:
    """Width and height that the picture's header promises.

    Raises:
        ValueError, IndexError, struct.error: a broken header.
    """
    if image[:8] == b"\x89PNG\r\n\x1a\n":
        width, height = struct.unpack_from(">II", image, 16)
        return width, height
    if image[:3] == b"\xff\xd8\xff":
        return _jpeg_size(image)
    at = image.index(b"\xff\x4f\xff\x51")
    right, bottom, left, top = struct.unpack_from(">IIII", image, at + 8)
    return right - left, bottom - top


def _jpeg_size(image: bytes) -> tuple[int, int]:
    at = 2
    while image[at] == 0xFF:
        marker = image[at + 1]
        if marker in _JPEG_SIZES:
            height, width = struct.unpack_from(">HH", image, at + 5)
            return width, height
        at += 2 if marker == 1 or 0xD0 <= marker <= 0xD7 else 2 + int(struct.unpack_from(">H", image, at + 2)[0])
    raise ValueError("no frame header")


def _read_2011(record: bytes) -> Record:
    _, _, length, count, certified, _ = _GENERAL.unpack_from(record)
    if not _GENERAL.size < length <= len(record):
        raise Broken("record length beyond the record")
    if count < 1 or certified not in (0, 1):
        raise Broken("no representation")
    warnings = ["bytes behind the record"] if length < len(record) else []
    at, faces = _GENERAL.size, []
    for _ in range(count):
        (size,) = struct.unpack_from(">I", record, at)
        if size < _LEAST or at + size > length:
            raise Broken("representation beyond the record")
        faces.append(_representation(record[at : at + size]))
        at += size
    if at != length:
        raise Broken("bytes between representations and end of record")
    return Record(tuple(faces), tuple(warnings + [odd for face in faces for odd in oddities(face)]))


def _representation(block: bytes) -> Face:
    captured = _time(block[4:13])
    count = block[18]
    qualities = tuple(block[19 + 5 * i] for i in range(count))
    if any(100 < score < 255 for score in qualities):
        raise Broken("quality that does not exist")
    at = 19 + 5 * count
    (landmarks,) = struct.unpack_from(">H", block, at)
    at += 17 + 8 * landmarks
    _, kind, width, height = struct.unpack_from(">BBHH", block, at)
    if kind > 3:
        raise Broken("picture of an unknown type")
    at += 11
    (length,) = struct.unpack_from(">I", block, at)
    at += 4
    if not 0 < length <= len(block) - at:
        raise Broken("picture cut short")
    return Face(block[at : at + length], kind, width, height, qualities, captured)


def _read_2005(record: bytes) -> Record:
    _, _, length, count = _GENERAL_2005.unpack_from(record)
    if not _GENERAL_2005.size < length <= len(record):
        raise Broken("record length beyond the record")
    if count < 1:
        raise Broken("no face")
    warnings = ["bytes behind the record"] if length < len(record) else []
    at, faces = _GENERAL_2005.size, []
    for _ in range(count):
        size, landmarks = struct.unpack_from(">IH", record, at)
        start = at + 20 + 8 * landmarks
        if start + 12 >= at + size or at + size > length:
            raise Broken("face beyond the record")
        _, kind, width, height, _, _, _, quality = struct.unpack_from(">BBHHBBHH", record, start)
        if kind > 1:
            raise Broken("picture of an unknown type")
        qualities = (quality,) if 0 < quality <= 100 else ()
        faces.append(Face(record[start + 12 : at + size], kind, width, height, qualities))
        at += size
    if at != length:
        raise Broken("bytes between faces and end of record")
    return Record(tuple(faces), tuple(warnings + [odd for face in faces for odd in oddities(face)]))


def oddities(face: Face) -> list[str]:
    """What is wrong with a representation, but harmless."""
    odd = []
    seen = picture_kind(face.image)
    if seen != (1 if face.kind == 2 else face.kind):
        odd.append("data type differs from the picture")
    try:
        if picture_size(face.image) != (face.width, face.height):
            odd.append("size differs from the picture")
    except (struct.error, IndexError, ValueError):
        odd.append("picture with a broken header")
    return odd


def _time(coded: bytes) -> datetime | None:
    if coded == _UNKNOWN_TIME or not any(coded):
        return None
    year, month, day, hour, minute, second, ms = struct.unpack(">HBBBBBH", coded)
    try:
        return datetime(year, month, day, hour, minute, second, ms * 1000, UTC)
    except ValueError:
        return None


def _written_time(moment: datetime | None) -> bytes:
    if moment is None:
        return _UNKNOWN_TIME
    at = moment.astimezone(UTC)
    return struct.pack(">HBBBBBH", at.year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond // 1000)
