"""Base45 (RFC 9285): from the characters of an alphanumeric code to bytes and back.

Three characters are two bytes, two characters are one; what is left over, too large or outside the alphabet is refused.
A space is a digit like any other, so nothing is trimmed here.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from edge.errors import Reason, Refusal

ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
_OUTSIDE: Final = 255
_VALUES: Final = bytes(ALPHABET.index(chr(c)) if chr(c) in ALPHABET else _OUTSIDE for c in range(256))
_WEIGHTS: Final = np.array([1, 45, 45 * 45], np.float32)  # exact: 91,124 at most, and a vector product
_BIG_ENDIAN: Final = np.dtype(">u2")
_largest: Final = np.maximum.reduce
_BY_VALUE: Final = ALPHABET.encode()


def decode(text: str) -> bytes:
    """Read Base45.

    Raises:
        Refusal: not-a-credential.
    """
    try:
        values = text.encode("ascii").translate(_VALUES)
    except UnicodeEncodeError as error:
        raise _refusal("characters outside the alphabet") from error
    whole, rest = divmod(len(values), 3)
    if rest == 1 or not values:
        raise _refusal("no whole number of bytes")
    if _OUTSIDE in values:
        raise _refusal("characters outside the alphabet")
    pairs = np.frombuffer(values, np.uint8, 3 * whole).astype(np.float32).reshape(whole, 3).dot(_WEIGHTS)
    if _largest(pairs, initial=0) > 0xFFFF:
        raise _refusal("a group of three is too large")
    decoded: bytes = pairs.astype(_BIG_ENDIAN).tobytes()
    if rest:
        last = values[-2] + 45 * values[-1]
        if last > 0xFF:
            raise _refusal("the last pair is too large")
        decoded += bytes((last,))
    return decoded


def _refusal(detail: str) -> Refusal:
    return Refusal(Reason.NOT_A_CREDENTIAL, f"not Base45: {detail}")


def encode(data: bytes) -> str:
    """Write Base45."""
    out = bytearray()
    for at in range(0, len(data) - 1, 2):
        high, low = divmod(data[at] << 8 | data[at + 1], 2025)
        out += bytes((_BY_VALUE[low % 45], _BY_VALUE[low // 45], _BY_VALUE[high]))
    if len(data) % 2:
        out += bytes((_BY_VALUE[data[-1] % 45], _BY_VALUE[data[-1] // 45]))
    return out.decode()
