"""Everything that is encrypted in the gallery, under one key that the site keeps.

Rules:

1. From the key come keys for records, memberships, pseudonyms and break-glass tokens; none is used for two things.
2. Each record has its own nonce, and bound in are its name, whose it is, in which encounter and gallery, and what it
   is: it cannot be put in the place of another, nor given to somebody else. A membership is marked likewise. Who can
   write the file, but has no key, can take rows away or put old ones back, and nothing else.
3. A pseudonym is the same for the same person in one gallery, and tells nothing without the key.
"""

from __future__ import annotations

import hmac
import json
import os
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_LENGTH = 32
_NONCE = 12
_MARK = 16


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
        self._members = _derived(key, b"memberships")
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

    def mark(self, name: str) -> bytes:
        """What says that a membership of that name was made under this key."""
        return hmac.digest(self._members, name.encode(), sha256)[:_MARK]

    def marked(self, mark: bytes, name: str) -> None:
        """Look whether it was.

        Raises:
            ValueError: it was not.
        """
        if not hmac.compare_digest(mark, self.mark(name)):
            raise ValueError("a membership that was not made under this key")

    def pseudonym(self, subject: str) -> bytes:
        """What the log calls this person: 16 bytes."""
        return hmac.digest(self._names, subject.encode(), sha256)[:16]


def record_name(record: str, subject: str, encounter: str, gallery: str, kind: str, label: str) -> str:
    """What is bound into a record: its number, whose it is, and what."""
    return json.dumps(["record", record, subject, encounter, gallery, kind, label])


def template_name(record: str, model: str, small: int, subject: str, encounter: str, gallery: str) -> str:
    """What is bound into the template of a record; ``small`` 1 for a picture as small as a card's."""
    return json.dumps(["template", record, model, small, subject, encounter, gallery])


def member_name(gallery: str, subject: str, encounter: str, claim: str) -> str:
    """What a membership is marked for."""
    return json.dumps(["member", gallery, subject, encounter, claim])


def _derived(key: bytes, purpose: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt=None, info=b"edge-gate iavs " + purpose).derive(key)
