"""From the bytes of the code to the bytes of the signed message: decompression with a hard bound, and hexadecimal text.

Rules:

1. Nothing grows beyond ``LIMIT`` bytes, however small it came.
2. The stream ends where it says; bytes after it are noted, and only an issuer's profile can excuse them.
3. Any valid zlib header counts, not only the usual ones. Brotli has no header: it is tried where nothing else fits.
4. Some issuers compress the hexadecimal digits of the message: that is undone once, never twice.
"""

from __future__ import annotations

import binascii
import re
import zlib
from typing import Final

from edge.errors import Reason, Refusal

try:
    import brotli  # type: ignore[import-untyped]
except ImportError:  # cards that need it are named as no credential, all others are read
    brotli = None

LIMIT: Final = 32 << 10
_ZLIB_HEADERS: Final = frozenset(
    bytes((method, flags))
    for method in range(0x08, 0x79, 0x10)  # deflate, window of 256 bytes to 32 KiB
    for flags in range(256)
    if (method << 8 | flags) % 31 == 0 and not flags & 32  # no preset dictionary
)
_DIGITS: Final = frozenset(bytes((digit,)) for digit in b"0123456789ABCDEFabcdef")
_HEX: Final = re.compile(rb"(?:[0-9A-Fa-f]{2})+\Z")


def is_zlib(data: bytes) -> bool:
    """Whether the first two bytes are a zlib header (RFC 1950) of deflate with a window of at most 32 KiB."""
    return data[:2] in _ZLIB_HEADERS and len(data) > 2


def inflate(data: bytes, notes: set[str]) -> bytes:
    """Decompress zlib.

    Args:
        data: the stream, with its header.
        notes: "trailing" is added for bytes after the stream.

    Raises:
        Refusal: unreadable, or too-large beyond the limit.
    """
    stream = zlib.decompressobj()
    try:
        inflated = stream.decompress(data, LIMIT + 1)
    except zlib.error as error:
        raise Refusal(Reason.UNREADABLE, "the compressed stream is damaged") from error
    if len(inflated) > LIMIT:
        raise Refusal(Reason.TOO_LARGE, "the compressed stream grows beyond the limit")
    if not stream.eof:
        raise Refusal(Reason.UNREADABLE, "the compressed stream is cut off")
    if stream.unused_data:
        notes.add("trailing")
    return inflated


def unbrotli(data: bytes) -> bytes | None:
    """Decompress Brotli; None where it is no such stream.

    Raises:
        Refusal: too-large beyond the limit.
    """
    if brotli is None:
        return None
    stream = brotli.Decompressor()
    inflated = bytearray()
    try:
        inflated += stream.process(data, output_buffer_limit=LIMIT + 1)
        while not stream.is_finished() and len(inflated) <= LIMIT and not stream.can_accept_more_data():
            inflated += stream.process(b"", output_buffer_limit=LIMIT + 1)
    except brotli.error:
        return None
    if len(inflated) > LIMIT:
        raise Refusal(Reason.TOO_LARGE, "the compressed stream grows beyond the limit")
    return bytes(inflated) if stream.is_finished() else None


def compress_brotli(data: bytes) -> bytes:
    """Compress by Brotli, for issuing."""
    return bytes(brotli.compress(data))


def unhex(data: bytes) -> bytes | None:
    """The bytes behind hexadecimal text, or None where it is no such text."""
    return binascii.unhexlify(data) if data[:1] in _DIGITS and _HEX.match(data) else None
