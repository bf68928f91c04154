"""Picture bytes that somebody else wrote: a picture, or a refusal, at a known cost.

Rules:

1. The bytes say what they are, not a label beside them: JPEG, PNG, WebP, JPEG 2000, AVIF, TIFF; all others are refused.
2. Size is read from the header and judged before anything is decoded; the decoded picture must have that size.
3. One still picture: moving ones are refused, not cut.
4. EXIF turns are followed; CMYK, grey, palette and 16-bit pictures become 8-bit BGR.
5. A face record of ISO/IEC 19794-5 is unwrapped first.
"""

from __future__ import annotations

import struct

import cv2
import numpy as np

from edge.errors import Reason, Refusal
from edge.vision import avif, facerecord, tiff
from edge.vision.frames import Pixels

LIMIT_BYTES = 64 * 1024
LIMIT_PIXELS = 2048 * 2048
LIMIT_SIDE = 8192
LEAST_SIDE = 32
_LAYERS, _LEVELS = 64, 10  # of JPEG 2000
_SCANS = 64  # of a progressive JPEG, each of which costs as much as the picture; encoders make ten
_SOC, _SOS = b"\xff\x4f\xff\x51", b"\xff\xda"

_JPEG_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_JPEG_BARE = {0x01, *range(0xD0, 0xD8)}


def picture(data: bytes, limit: int = LIMIT_BYTES) -> Pixels:
    """The picture in these bytes, BGR; more than ``limit`` of them are refused.

    Raises:
        Refusal: reference-unusable.
    """
    if len(data) > limit:
        raise _unusable(f"picture of {len(data)} bytes")
    if data[:4] == facerecord.MAGIC:
        data = facerecord.image(data)
    try:
        width, height = size(data)
    except (struct.error, IndexError, ValueError) as error:
        raise _unusable("picture with a broken header") from error
    if min(width, height) < LEAST_SIDE or max(width, height) > LIMIT_SIDE or width * height > LIMIT_PIXELS:
        raise _unusable(f"picture of {width}x{height}")
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise _unusable("picture does not decode") from error
    if decoded is None or decoded.dtype != np.uint8 or decoded.ndim != 3:
        raise _unusable("picture does not decode")
    if {decoded.shape[0], decoded.shape[1]} != {width, height}:  # turned by EXIF: the same two sides
        raise _unusable("picture differs from its header")
    return np.ascontiguousarray(decoded, np.uint8)


def size(data: bytes) -> tuple[int, int]:
    """Width and height that the header promises.

    Raises:
        Refusal: a format that is not read here, or a moving picture.
        ValueError, IndexError, struct.error: a broken header.
    """
    if data[:3] == b"\xff\xd8\xff":
        return _jpeg(data)
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return _png(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    if data[:4] == _SOC:
        return _codestream(data, 0)
    if data[4:8] == b"jP  ":
        return _codestream(data, _coded(data))
    if data[4:8] == b"ftyp":
        return _avif(data)
    if data[:4] in tiff.MAGIC:
        return _tiff(data)
    raise _unusable("picture in a format that is not read here")


def _jpeg(data: bytes) -> tuple[int, int]:
    """The frame header: walk the segments until there is one."""
    if data.count(_SOS) > _SCANS:  # in coded data it cannot stand by chance
        raise _unusable("picture made of too many scans")
    at = 2
    while data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF or marker in _JPEG_BARE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _JPEG_SIZES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        (length,) = struct.unpack_from(">H", data, at + 2)
        if length < 2:
            raise ValueError("segment shorter than its length")
        at += 2 + length
    raise ValueError("no frame header")


def _png(data: bytes) -> tuple[int, int]:
    """IHDR; and every part lies inside the bytes, as OpenCV takes memory for as much as a part's length promises."""
    if data[12:16] != b"IHDR":
        raise ValueError("no IHDR")
    at, kind = 8, b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"acTL":
            raise _unusable("moving picture")
        at += 12 + length
        if at > len(data):
            raise ValueError("part longer than the picture")
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _webp(data: bytes) -> tuple[int, int]:
    match data[12:16]:
        case b"VP8 ":
            if data[23:26] != b"\x9d\x01\x2a":
                raise ValueError("no key frame")
            width, height = struct.unpack_from("<HH", data, 26)
            return width & 0x3FFF, height & 0x3FFF
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", data, 21)
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X":
            if data[20] & 0x02 or b"ANIM" in data:
                raise _unusable("moving picture")
            return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    raise ValueError("no picture chunk")


def _coded(data: bytes) -> int:
    """Where the codestream of a JPEG 2000 file begins: in its first box ``jp2c``, whatever others pretend to hold."""
    at = 0
    while True:
        length, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        if kind == b"jp2c":
            return at + head
        if length < head:
            raise ValueError("box shorter than its head")
        at += length


def _codestream(data: bytes, at: int) -> tuple[int, int]:
    """JPEG 2000: the SIZ segment, which the decoder believes too, and nothing that costs it more than the pixels.

    Tiles, components, layers and precincts are counted in the header and multiply.
    """
    if data[at : at + 4] != _SOC:
        raise ValueError("no codestream")
    right, bottom, left, top, tile_w, tile_h, tile_left, tile_top = struct.unpack_from(">8I", data, at + 8)
    (components,) = struct.unpack_from(">H", data, at + 40)
    if components not in (1, 3, 4) or (tile_left, tile_top) > (left, top):
        raise ValueError("not the components of a picture")
    for depth, step_x, step_y in struct.iter_unpack("3B", data[at + 42 : at + 42 + 3 * components]):
        if depth & 0x7F > 15 or step_x not in (1, 2) or step_y not in (1, 2):
            raise ValueError("not the components of a picture")
    if tile_left + tile_w < right or tile_top + tile_h < bottom:
        raise _unusable("picture made of tiles")
    _coding(data, at + 2)
    return right - left, bottom - top


def _coding(data: bytes, at: int) -> None:
    """Walk the segments up to the coded data: how it was coded must not cost more than the picture is worth.

    Raises:
        ValueError: it would, or the segments are broken.
    """
    while (marker := data[at : at + 2]) != b"\xff\x93":
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker[0] != 0xFF or length < 2:
            raise ValueError("broken segments")
        if marker == b"\xff\x52":
            (layers,) = struct.unpack_from(">H", data, at + 6)
            levels, precincts = data[at + 9], data[at + 14 : at + 2 + length]
            small = data[at + 4] & 1 and any(each & 0x0F < 5 or each >> 4 < 5 for each in precincts)
            if layers > _LAYERS or levels > _LEVELS or small:
                raise ValueError("coded in too many parts")
        if marker == b"\xff\x53":
            raise ValueError("components coded in different ways")
        at += 2 + length


def _avif(data: bytes) -> tuple[int, int]:
    try:
        return avif.size(data)
    except avif.Moving as error:
        raise _unusable("moving picture, or one made of tiles") from error


def _tiff(data: bytes) -> tuple[int, int]:
    try:
        return tiff.size(data)
    except tiff.Unread as error:
        raise _unusable(f"TIFF picture: {error}") from error


def _unusable(detail: str) -> Refusal:
    return Refusal(Reason.REFERENCE_UNUSABLE, detail)
