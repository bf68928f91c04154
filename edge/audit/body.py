"""What a site keeps about a person beside the log: encrypted, apart from the entry, and deletable for good.

Rules:

1. The entry holds a commitment, ``SHA-256(salt || body)``, and nothing else of it. The body is a tagged COSE_Encrypt0
   (RFC 9052) with AES-256-GCM; salt and body lie elsewhere.
2. Each body is encrypted under the key of its period, one day. The key is random; destroying it destroys every body of
   that day, copies and backups of bodies included.
3. Taking a body or a key away changes no entry, no hash and no proof. It is itself an entry (``BODIES_DELETED``).
4. A body is bound to the log, whose name is authenticated with it; to its entry, by the commitment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import cbor2
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from edge.audit.entry import LogError, Value, deterministic, strict

KEY, SALT, NONCE = 32, 16, 12
A256GCM = 3
_TAG = 16


@dataclass(frozen=True)
class Body:
    """A body as it is kept.

    Attributes:
        period: whose key it is encrypted under: a day, "2026-11-22".
        salt: 16 random bytes.
        encoded: the tagged COSE_Encrypt0.
    """

    period: str
    salt: bytes
    encoded: bytes = field(repr=False)

    @property
    def commitment(self) -> bytes:
        """What its entry holds."""
        return hashlib.sha256(self.salt + self.encoded).digest()

    def opened(self, key: bytes, origin: str) -> Mapping[str, Value]:
        """What it says.

        Raises:
            LogError: another key, another log, or it was changed.
        """
        try:
            tagged = cbor2.loads(self.encoded, max_depth=4, allow_indefinite=False, allow_duplicate_keys=False)
            protected, unprotected, ciphertext = tagged.value
            if tagged.tag != _TAG or cbor2.loads(protected)[1] != A256GCM:
                raise LogError("not a body")
            plain = AESGCM(key).decrypt(unprotected[5], ciphertext, _authenticated(protected, origin))
        except (InvalidTag, cbor2.CBORError, TypeError, ValueError, KeyError, AttributeError) as error:
            raise LogError("the body does not open under this key") from error
        told = strict(plain)
        if not isinstance(told, dict):
            raise LogError("not a body")
        return told


def enclose(told: Mapping[str, Value], period: str, key: bytes, origin: str, *, nonce: bytes, salt: bytes) -> Body:
    """A body of what is told.

    Args:
        told: personal data, by name.
        period: whose key it is.
        key: of that period, 32 bytes.
        origin: name of the log.
        nonce: 12 bytes, never the same twice under one key.
        salt: 16 random bytes.
    """
    protected = deterministic({1: A256GCM, 4: period.encode()})
    ciphertext = AESGCM(key).encrypt(nonce, deterministic(dict(told)), _authenticated(protected, origin))
    encoded = cbor2.dumps(cbor2.CBORTag(_TAG, [protected, {5: nonce}, ciphertext]), canonical=True)
    return Body(period, salt, encoded)


def _authenticated(protected: bytes, origin: str) -> bytes:
    """The Enc_structure of RFC 9052 section 5.3."""
    return deterministic(["Encrypt0", protected, origin.encode()])
