"""Everything that is encrypted in the gallery, under one key that the site keeps.

Rules:

1. From the key come a key for records, one for pseudonyms and one for break-glass tokens; none is used for two things.
2. Each record has its own nonce, and its name is bound in: a record cannot be put in the place of another.
3. A pseudonym is the same for the same person in one gallery, and tells nothing without the key.
"""

from __future__ import annotations

import hmac
import os
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_LENGTH = 32
_NONCE = 12


class Vault:
    """Seals and opens records."""

    def __init__(self, key: bytes) -> None:
        """``key``: 32 bytes or more that nobody else has.

        Raises:
            ValueError: shorter.
        """
        if len(key) < KEY_LENGTH:
            raise ValueError(f"iavs-key: {KEY_LENGTH} bytes or more")
        self._records = AESGCM(_derived(key, b"records"))
        self._names = _derived(key, b"pseudonyms")
        self.break_glass = _derived(key, b"break-glass")

    def seal(self, plain: bytes, name: str) -> bytes:
        """The record, encrypted."""
        nonce = os.urandom(_NONCE)
        return nonce + self._records.encrypt(nonce, plain, name.encode())

    def open(self, sealed: bytes, name: str) -> bytes:
        """The record in the clear.

        Raises:
            ValueError: it is not the record of that name, or of another key.
        """
        try:
            return self._records.decrypt(sealed[:_NONCE], sealed[_NONCE:], name.encode())
        except InvalidTag as error:
            raise ValueError("a record that this key does not open") from error

    def pseudonym(self, subject: str) -> bytes:
        """What the log calls this person: 16 bytes."""
        return hmac.digest(self._names, subject.encode(), sha256)[:16]


def _derived(key: bytes, purpose: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt=None, info=b"edge-gate iavs " + purpose).derive(key)
