"""The picture inside a face image record of ISO/IEC 19794-5: of 2011 ("FAC", "030") and of 2005 ("010").

Rules, of the general header (17 bytes) and of each representation after it, all big-endian:

1. Magic, version and record length are right: the record is all there. Bytes behind it are left alone; issuers do that.
2. At least one representation, and every one lies inside the record, with a quality that exists (0 to 100, or 255).
3. The image length lies inside its representation. Labels of size and type are not believed: the picture says itself.

The first representation is the one that is used. The record of 2005 has a header of 14 bytes, and representations of
32 bytes, 8 more for each feature point, and the picture.
"""

from __future__ import annotations

import struct

from edge.errors import Reason, Refusal

MAGIC = b"FAC\0"
_GENERAL = struct.Struct(">4s4sIHBH")
_LENGTH = struct.Struct(">I")
_QUALITY_AT = 18  # in a representation: number of quality blocks, of 5 bytes each
_LEAST = 51
_HEADER_2005, _BLOCKS_2005 = 14, 32


def image(record: bytes) -> bytes:
    """The bytes of the first picture.

    Raises:
        Refusal: reference-unusable.
    """
    try:
        if record[:8] == MAGIC + b"010\0":
            return _of_2005(record)
        magic, version, length, count, certified, _ = _GENERAL.unpack_from(record)
        _check(magic == MAGIC, "not a face record")
        _check(version == b"030\0", "face record of another version")
        _check(_GENERAL.size < length <= len(record), "face record cut short")
        _check(count >= 1 and certified in (0, 1), "face record without a picture")
        record = record[:length]
        at, pictures = _GENERAL.size, []
        for _ in range(count):  # ends at the first that does not fit, whatever the count says
            size = _LENGTH.unpack_from(record, at)[0]
            _check(size >= _LEAST and at + size <= length, "face record cut short")
            pictures.append(_representation(record[at : at + size]))
            at += size
    except struct.error as error:
        raise Refusal(Reason.REFERENCE_UNUSABLE, "face record cut short") from error
    return pictures[0]


def _of_2005(record: bytes) -> bytes:
    length, count = struct.unpack_from(">IH", record, 8)
    _check(_HEADER_2005 < length <= len(record), "face record cut short")
    _check(count >= 1, "face record without a picture")
    at, pictures = _HEADER_2005, []
    for _ in range(count):
        size, points = struct.unpack_from(">IH", record[:length], at)
        begin = _BLOCKS_2005 + 8 * points
        _check(begin < size <= length - at, "picture in a face record cut short")
        pictures.append(record[at + begin : at + size])
        at += size
    return pictures[0]


def _representation(block: bytes) -> bytes:
    """The picture of one representation: header of 47 + 5 q + 8 l bytes, then length and image."""
    qualities = block[_QUALITY_AT]
    at = _QUALITY_AT + 1
    for _ in range(qualities):
        _check(at < len(block) and (block[at] <= 100 or block[at] == 255), "quality that does not exist")
        at += 5
    (landmarks,) = struct.unpack_from(">H", block, at)
    at += 17 + 8 * landmarks + 11
    (length,) = _LENGTH.unpack_from(block, at)
    at += _LENGTH.size
    _check(0 < length <= len(block) - at, "picture in a face record cut short")
    return block[at : at + length]


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Refusal(Reason.REFERENCE_UNUSABLE, otherwise)
