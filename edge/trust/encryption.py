"""COSE_Encrypt0 (RFC 9052 section 5): opened with a content key that came another way.

Rules:

1. A content key is pinned to one algorithm; the message's protected header has to name the same.
2. The key identifier proposes at most four keys; without one on either side, the algorithm alone does.
3. Whoever can encrypt is not who issues: what comes out is believed only by its signature.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from edge.errors import Reason, Refusal
from edge.trust import cose
from edge.trust.cbor import encode, head, malformed

IV: Final = 5
A128GCM, A192GCM, A256GCM, CHACHA20 = 1, 2, 3, 24
_KEY_BYTES: Final = {A128GCM: 16, A192GCM: 24, A256GCM: 32, CHACHA20: 32}
_IV_BYTES: Final = 12
_TAG_BYTES: Final = 16
_TRIES: Final = 4


@dataclass(frozen=True)
class ContentKey:
    """A key that cards are encrypted with.

    Attributes:
        secret: 16, 24 or 32 bytes.
        number: COSE number of the algorithm it is for: 1, 2, 3 (AES-GCM) or 24 (ChaCha20-Poly1305).
        kid: what it is called.
    """

    secret: bytes = field(repr=False)
    number: int
    kid: bytes | None = None

    def __post_init__(self) -> None:
        if len(self.secret) != _KEY_BYTES.get(self.number):
            raise ValueError("a content key of the wrong length for its algorithm")

    @property
    def cipher(self) -> AESGCM | ChaCha20Poly1305:
        """The cipher, ready to use."""
        return ChaCha20Poly1305(self.secret) if self.number == CHACHA20 else AESGCM(self.secret)


def content_keys(text: str) -> tuple[ContentKey, ...]:
    """Read content keys: one a line, hexadecimal, then what it is called where it is called anything.

    A key of 32 bytes is for AES-GCM and for ChaCha20-Poly1305. Lines that begin with ``#`` are comments.

    Raises:
        ValueError: a line holds no content key; the message says which line, never what is in it.
    """
    found: list[ContentKey] = []
    for number, line in enumerate(text.splitlines(), 1):
        digits, _, name = line.partition("#")[0].strip().partition(" ")
        if not digits:
            continue
        try:
            secret = binascii.unhexlify(digits)
        except ValueError:
            secret = b""
        fitting = [one for one, size in _KEY_BYTES.items() if size == len(secret)]
        if not fitting:
            raise ValueError(f"line {number} holds no content key")
        found += [ContentKey(secret, one, name.strip().encode() or None) for one in fitting]
    return tuple(found)


def decrypt(envelope: cose.Envelope, keys: Sequence[ContentKey], aad: bytes = b"") -> bytes:
    """Open a COSE_Encrypt0.

    Raises:
        Refusal: unreadable, unsupported, or cannot-decrypt.
    """
    match envelope.body:
        case [bytes() as raw, dict() as unprotected, bytes() as ciphertext]:
            protected = cose.header(raw)
        case _:
            raise malformed("not the array of a COSE_Encrypt0")
    cose.check_critical(protected, unprotected)
    number = _number(protected, unprotected)
    iv = protected.get(IV, unprotected.get(IV))
    if not isinstance(iv, bytes) or len(iv) != _IV_BYTES or len(ciphertext) < _TAG_BYTES:
        raise malformed("an encrypted message without its nonce or its tag")
    kid = cose.key_identifier(protected, unprotected)
    fitting = [key for key in keys if key.number == number and (None in (kid, key.kid) or key.kid == kid)][:_TRIES]
    structure = enc_structure(raw, aad)
    for key in fitting:
        try:
            return key.cipher.decrypt(iv, ciphertext, structure)
        except InvalidTag:
            continue
    raise Refusal(Reason.CANNOT_DECRYPT, "no key opens it" if fitting else "no such key")


def _number(protected: Mapping[int | str, Any], unprotected: Mapping[int | str, Any]) -> int:
    if cose.ALG not in protected:
        raise malformed("alg outside the protected header" if cose.ALG in unprotected else "no alg")
    number = protected[cose.ALG]
    if type(number) is not int or number not in _KEY_BYTES:
        raise Refusal(Reason.UNSUPPORTED, "this way of encryption is not accepted")
    return number


def enc_structure(protected: bytes, aad: bytes = b"") -> bytes:
    """What is authenticated beside the text: RFC 9052 section 5.3."""
    parts = (b"" if protected == b"\xa0" else protected, aad)
    return b"\x83\x68Encrypt0" + b"".join(head(2, len(part)) + part for part in parts)


def encrypt(plaintext: bytes, key: ContentKey, iv: bytes) -> list[Any]:
    """Encrypt a message; ``iv`` is 12 bytes, never the same twice under one key. Returns the array, not tagged."""
    raw = encode({cose.ALG: key.number})
    unprotected = {IV: iv} if key.kid is None else {cose.KID: key.kid, IV: iv}
    return [raw, unprotected, key.cipher.encrypt(iv, plaintext, enc_structure(raw))]
