"""Independent implementations agree: what they make is verified here, what we make they read.

They need an older CBOR library than the gate has, so they run in an environment of their own, which
``scripts/oracles`` makes.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from edge.credential import verify
from edge.credential.issue import SPEC_EXAMPLE, SPEC_TABLE, issue, signer
from edge.errors import Reason, Refusal
from edge.trust.encryption import ContentKey
from edge.trust.interval import Interval
from edge.trust.keys import jwk, pinned
from edge.trust.list import Issuer, TrustList

Mint = Any
TOP = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("EDGE_ORACLES", TOP / ".cache" / "oracles")) / "bin" / "python"

pytestmark = pytest.mark.skipif(
    not PYTHON.exists() or platform.machine() != "x86_64",
    reason="scripts/oracles was not run, or the peers have no wheels",
)

PROGRAM = """
import base64, json, sys, zlib
import base45, cbor2, claim169, cwt
from pycose.keys import OKPKey, EC2Key
from pycose.messages import Sign1Message
asked = json.load(sys.stdin)
out = {}
raw, secret, aes = (bytes.fromhex(asked[name]) for name in ("ed", "p256", "aes"))
person = claim169.Claim169Input(id="77", full_name="Ada Example")
person.date_of_birth, person.gender = "1984-04-18", 2
person.face = [claim169.Biometric(bytes.fromhex(asked["face"]), 0, 4)] if hasattr(claim169, "Biometric") else None
meta = claim169.CwtMetaInput(issuer="https://id.example", expires_at=asked["exp"])
meta.issued_at = asked["iat"]
out["made"] = {
    "EdDSA": claim169.encode_with_ed25519(person, meta, raw),
    "ES256": claim169.encode_with_ecdsa_p256(person, meta, secret),
    "encrypted": claim169.encode_signed_encrypted(person, meta, raw, aes),
    "encrypted128": claim169.encode_signed_encrypted_aes128(person, meta, raw, aes[:16]),
    "unsigned": claim169.encode_unsigned(person, meta),
}
read = {}
for name, text in asked["cards"].items():
    try:
        found = claim169.decode_with_ed25519(text, bytes.fromhex(asked["public"]), validate_timestamps=False)
        read[name] = [found.claim169.id, found.claim169.full_name, found.verification_status]
    except Exception as error:
        read[name] = type(error).__name__
out["claim169"] = read
key = cwt.COSEKey.from_jwk(asked["jwk"])
out["cwt"] = {}
for name in asked["cards"]:
    found = cwt.decode(zlib.decompress(base45.b45decode(asked["cards"][name])), key)
    out["cwt"][name] = found[1]
out["pycose"] = {}
for name in asked["cards"]:
    data = zlib.decompress(base45.b45decode(asked["cards"][name])).removeprefix(bytes.fromhex("d83d"))
    message = Sign1Message.decode(data)
    message.key = OKPKey(crv="ED25519", x=bytes.fromhex(asked["public"]))
    out["pycose"][name] = message.verify_signature()
json.dump(out, sys.stdout)
"""


@pytest.fixture(scope="module")
def keys() -> dict[str, Any]:
    return {
        "ed": ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))),
        "p256": ec.derive_private_key(0x1234567890ABCDEF, ec.SECP256R1()),
    }


@pytest.fixture
def said(mint: Mint, keys: dict[str, Any]) -> dict[str, Any]:
    """What the oracles made of our cards, and cards of theirs."""
    claims = {**mint.claims, "exp": 4_000_000_000}
    cards = {
        dialect.name: issue(claims, signer(keys["ed"], "key-1"), dialect) for dialect in (SPEC_TABLE, SPEC_EXAMPLE)
    }
    asked = {
        "ed": keys["ed"].private_bytes_raw().hex(),
        "p256": keys["p256"].private_numbers().private_value.to_bytes(32, "big").hex(),
        "aes": bytes(range(32)).hex(),
        "public": keys["ed"].public_key().public_bytes_raw().hex(),
        "jwk": jwk(pinned(keys["ed"].public_key()), "key-1"),
        "face": claims["face"].hex(),
        "exp": int((mint.now + timedelta(days=1)).timestamp()),
        "iat": int(mint.now.timestamp()),
        "cards": cards,
    }
    ran = subprocess.run(
        [str(PYTHON), "-c", PROGRAM], input=json.dumps(asked).encode(), capture_output=True, check=False
    )
    assert ran.returncode == 0, ran.stderr.decode()
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def test_cards_of_the_other_implementation_are_verified(mint: Mint, keys: dict[str, Any], said: dict[str, Any]) -> None:
    now = Interval.exactly(mint.now)
    for name, key in (("EdDSA", "ed"), ("ES256", "p256"), ("encrypted", "ed"), ("encrypted128", "ed")):
        trust = TrustList((Issuer(("https://id.example",), (pinned(keys[key].public_key()),)),))
        content_keys = [ContentKey(bytes(range(32)), 3), ContentKey(bytes(range(16)), 1)]
        credential = verify(said["made"][name], trust, now, content_keys=content_keys)
        assert credential.identity.full_name == "Ada Example"
        assert credential.identity.id == "77"
        assert credential.identity.date_of_birth is not None
        assert credential.reference is not None
    with pytest.raises(Refusal) as caught:
        verify(said["made"]["unsigned"], trust, now)
    assert caught.value.reason in (Reason.NOT_A_CREDENTIAL, Reason.UNREADABLE, Reason.UNSUPPORTED)


def test_our_cards_are_verified_by_the_others(said: dict[str, Any]) -> None:
    assert said["claim169"]["spec-table"] == ["3918592438", "Ada Example", "verified"]
    assert said["cwt"] == {"spec-table": "https://id.example", "spec-example": "https://id.example"}
    assert said["pycose"] == {"spec-table": True, "spec-example": True}
