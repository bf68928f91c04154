"""What a gallery hands to the gate about one person: templates under a name and a seal that only its key can make.

Rules:

1. Two kinds of record. One is for a card without a face: name and seal come from the claim that the card proves, so
   that a record is found and opened only while that card is shown. The other is for a lane without cards: whoever has
   the key opens all of a gallery, and the name tells nobody who it is.
2. The name is bound into the seal: a record cannot stand in for another.
3. A record holds at most one template of a model: the mean of all that were enrolled. No picture, no name, no claim.
4. Bytes that do not open under the key are ``ValueError``; what opens was written here.

The seal is AES-256-GCM with a random nonce; keys and names are HMAC-SHA256 of the gallery's key, each for one purpose.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

import cbor2
import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from numpy.typing import NDArray

Floats = NDArray[np.float32]
KEY_LENGTH = 32
NONCE_LENGTH = 12
NAME_LENGTH = 16


@dataclass(frozen=True)
class Place:
    """Where a record is and what opens it.

    Attributes:
        folder: of its kind and gallery, a plain word.
        name: of the record in it.
    """

    folder: str
    name: bytes = field(repr=False)
    key: bytes = field(repr=False)


class Seals:
    """Names, seals and opens the records of one site's galleries."""

    def __init__(self, key: bytes) -> None:
        """``key``: 32 bytes or more, for those who write and read records and nobody else.

        Raises:
            ValueError: shorter.
        """
        if len(key) < KEY_LENGTH:
            raise ValueError(f"gallery-key: {KEY_LENGTH} bytes or more")
        self._key = key

    def card(self, gallery: str, claim: str) -> Place:
        """The record of whom the gallery knows by this claim, for cards without a face."""
        about = gallery.encode() + b"\0" + claim.encode()
        return Place(
            f"card-{self._folder(gallery)}",
            self._made(b"card name", about)[:NAME_LENGTH],
            self._made(b"card seal", about),
        )

    def lane(self, gallery: str, subject: str = "") -> Place:
        """The record of a subject, for a lane that searches the gallery; without one, where all of them are."""
        about = gallery.encode() + b"\0" + subject.encode()
        return Place(
            f"lane-{self._folder(gallery)}",
            self._made(b"lane name", about)[:NAME_LENGTH],
            self._made(b"lane seal", gallery.encode()),
        )

    def _folder(self, gallery: str) -> str:
        return self._made(b"folder", gallery.encode())[:8].hex()

    def _made(self, purpose: bytes, about: bytes) -> bytes:
        return hmac.digest(self._key, b"edge-gate gallery " + purpose + b"\0" + about, "sha256")


def seal(place: Place, templates: Mapping[str, Floats], nonce: bytes) -> bytes:
    """The templates of one person, by model, as they lie at this place; ``nonce`` is 12 bytes never used before."""
    plain = cbor2.dumps({model: np.asarray(vector, "<f4").tobytes() for model, vector in templates.items()})
    return nonce + AESGCM(place.key).encrypt(nonce, plain, place.name)


def opened(place: Place, sealed: bytes, name: bytes | None = None) -> dict[str, Floats]:
    """The templates in a record; ``name`` where the place is a whole folder.

    Raises:
        ValueError: it is damaged, another's, or of another key.
    """
    try:
        plain = AESGCM(place.key).decrypt(sealed[:NONCE_LENGTH], sealed[NONCE_LENGTH:], name or place.name)
    except (InvalidTag, ValueError) as error:
        raise ValueError("a record that this key does not open") from error
    return {model: np.frombuffer(data, "<f4").astype(np.float32) for model, data in cbor2.loads(plain).items()}
