"""The checkpoint text carries a signature that tools of transparency logs can check (C2SP signed-note)."""

from __future__ import annotations

import base64
import hashlib

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge.audit.export import signed_note

TEXT = "urn:gate:test:site:gate/epoch/1\n7\nqqqq\n"
KEY = ec.derive_private_key(77, ec.SECP256R1())


def test_a_note_is_the_text_an_empty_line_and_a_signature_over_the_text() -> None:
    body, _, line = signed_note(TEXT, "urn:gate:test:site:gate", KEY).rpartition("\n\n")
    assert body + "\n" == TEXT
    dash, name, encoded = line.rstrip("\n").split(" ")
    assert (dash, name) == ("\u2014", "urn:gate:test:site:gate")
    told = base64.b64decode(encoded, validate=True)
    der = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert told[:4] == hashlib.sha256(der).digest()[:4]
    KEY.public_key().verify(told[4:], (body + "\n").encode(), ec.ECDSA(hashes.SHA256()))
