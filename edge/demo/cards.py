"""Issues the cards of the demo, good ones and bad ones, and signs the trust list that the gate is given.

All keys are made for the run and forgotten with it. Claims are invented; the face is the only true thing in a card.
"""

from __future__ import annotations

import base64
import secrets
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge.biometric import template as templates
from edge.biometric.manifest import parse
from edge.credential import issue
from edge.credential.issue import Signer, signer
from edge.demo import people
from edge.demo.planned import Algorithm, Card, Dialect, Flaw
from edge.settings import read_toml
from edge.trust.algorithms import PrivateKey
from edge.trust.list import write_list
from edge.vision import portrait
from edge.vision.sessions import ModelSessions

ISSUER, STRANGER = "https://id.example.org", "https://cards.example.net"
NAME, OTHER_NAME = "SPECIMEN HOLDER A", "SPECIMEN HOLDER B"
_KIDS = {Algorithm.EDDSA: "demo-eddsa-1", Algorithm.ES256: "demo-es256-1"}
_DIALECTS = {Dialect.TABLE: issue.SPEC_TABLE, Dialect.EXAMPLE: issue.SPEC_EXAMPLE}


class Issuers:
    """Who issues in the demo: one who is trusted, one who is not, and the root that says so."""

    def __init__(self, portraits: Path) -> None:
        self._portraits = portraits
        self._root = ec.generate_private_key(ec.SECP256R1())
        self._keys = {algorithm: _made(algorithm) for algorithm in Algorithm}
        self._strange = {algorithm: _made(algorithm) for algorithm in Algorithm}
        self._numbers: dict[str, str] = {}
        self.faces: list[bytes] = []
        """Every face that was put into a card; none may be found on disk afterwards."""

    @property
    def root(self) -> str:
        """The public key that signs trust lists, base64 of DER."""
        public = self._root.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(public).decode()

    def listed(self) -> list[dict[str, Any]]:
        """The keys of the issuer as they stand on a list."""
        return [
            {"public": _der(self._keys[algorithm]), "alg": algorithm.value, "kids": [_KIDS[algorithm]]}
            for algorithm in Algorithm
        ]

    def trust_list(self, now: datetime) -> bytes:
        """The signed list: one issuer with two keys."""
        document = {
            "version": 1,
            "issued_at": int((now - timedelta(hours=1)).timestamp()),
            "expires": int((now + timedelta(days=7)).timestamp()),
            "issuers": [{"iss": ISSUER, "keys": self.listed()}],
        }
        return write_list(document, signer(self._root, "demo-root"))

    def number(self, portrait: str) -> str:
        """The identifier of this person, the same in every card."""
        return self._numbers.setdefault(portrait, str(secrets.randbelow(10**10)).zfill(10))

    def claim(self, portrait: str) -> str:
        """By which a gallery knows this person: issuer, one space, identifier."""
        return f"{ISSUER} {self.number(portrait)}"

    def text(self, card: Card, now: datetime) -> str:
        """Issue a card; the text of its code."""
        dialect = _DIALECTS[card.dialect]
        content = issue.payload(self._claims(card, now), dialect)
        signed = issue.message(content, self._signer(card), dialect)
        if card.flaw is Flaw.ALTERED:
            signed = signed.replace(NAME.encode(), OTHER_NAME.encode())
        return issue.pack(signed, dialect)

    def _claims(self, card: Card, now: datetime) -> dict[str, object]:
        # each card of its own moment: the same text twice is one card that is held up for longer
        issued = now - timedelta(days=30, seconds=secrets.randbelow(86_400))
        expires = now + timedelta(days=1800)
        if card.flaw is Flaw.EXPIRED:
            issued, expires = now - timedelta(days=800), now - timedelta(days=70)
        return {
            "iss": STRANGER if card.flaw is Flaw.UNKNOWN_ISSUER else ISSUER,
            "exp": expires,
            "nbf": issued,
            "iat": issued,
            "id": self._number_in(card),
            "full_name": NAME,
            "date_of_birth": "19700101",
            **({"face": self._face(card)} if card.photo else {}),
        }

    def _number_in(self, card: Card) -> str:
        """Of the person where it matters who comes again; any other card is somebody's who was never here."""
        if card.holder:
            return self.number(card.holder)
        return str(secrets.randbelow(10**10)).zfill(10) if card.photo else self.number(card.portrait)

    def _face(self, card: Card) -> object:
        if not card.template:
            self.faces.append(face(self._portraits, card))
            return self.faces[-1]
        data, model = template(self._portraits, card)
        self.faces.append(data)
        return {"data": data, "format": 1, "subformat": 100, "issuer": model}

    def _signer(self, card: Card) -> Signer:
        keys, kid = self._keys, _KIDS[card.algorithm]
        if card.flaw is Flaw.UNKNOWN_ISSUER:
            keys = self._strange
        if card.flaw is Flaw.UNKNOWN_KEY:
            keys, kid = self._strange, "demo-new-key"
        return signer(keys[card.algorithm], kid)


def face(portraits: Path, card: Card) -> bytes:
    """The picture in a card, as an issuer makes it: cropped to the face, WebP."""
    picture = people.load(portraits, card.portrait)
    if card.gain != 1.0:
        picture = np.asarray(cv2.convertScaleAbs(picture, alpha=card.gain), np.uint8)
    marks = np.array(people.PORTRAITS[card.portrait].landmarks, np.float32)
    looser = marks.mean(0) + (marks - marks.mean(0)) * np.float32(card.crop)
    return portrait.fit_face(picture, looser, card.side_px, card.picture_bytes)


_BITS = {32: 1, 130: 4, 258: 8}
"""Bytes of a template to bits a dimension."""


def template(portraits: Path, card: Card) -> tuple[bytes, str]:
    """The template in a card, as an issuer makes it with the models of the standard set, and the model's name.

    Raises:
        DeviceError: they are not here.
    """
    models = portraits.parent
    sessions = ModelSessions.open(parse(read_toml(models / "models.toml")), models, "standard", threads=1)
    marks = np.array(people.PORTRAITS[card.portrait].landmarks, np.float32)
    vector = sessions.embedder.embed(people.load(portraits, card.portrait), marks)
    return templates.quantised(vector, _BITS[card.template]), sessions.embedder.name


def _made(algorithm: Algorithm) -> PrivateKey:
    if algorithm is Algorithm.EDDSA:
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1())


def _der(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
