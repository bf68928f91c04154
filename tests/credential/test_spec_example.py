"""The specification's own example and the real cards that are public."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge.biometric.values import Picture
from edge.credential import attributes, reading, verify
from edge.credential.identity import Gender
from edge.credential.issue import pack
from edge.credential.trace import Trace
from edge.errors import Reason, Refusal
from edge.trust.interval import Interval
from edge.trust.list import TrustList, open_plain
from edge.trust.profile import USUAL

BEFORE = Interval.exactly(datetime(2026, 1, 1, tzinfo=UTC))
AFTER = Interval.exactly(datetime(2026, 8, 28, 10, 23, tzinfo=UTC))


def refusal(text: str, trust: TrustList, at: Interval) -> Reason:
    with pytest.raises(Refusal) as caught:
        verify(text, trust, at)
    return caught.value.reason


def knows(iss: str) -> TrustList:
    key = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "another"}
    return open_plain(json.dumps({"issuers": [{"iss": iss, "jwks": {"keys": [key]}}]}))


def test_the_specifications_example_parses(vectors: Path) -> None:
    text = (vectors / "mosip-spec-1.1.0-example" / "example.qr.txt").read_text()
    found = reading.read(text, Trace())
    assert found.message.kid == b"k-1101"
    assert found.dialect == ("61/18",)
    inner, form = attributes.unwrap(found.claims[169])
    person = attributes.read(inner, USUAL)
    assert form == "bstr-169"
    assert person.id == "3918592438"
    assert person.full_name == "Janardhan BS"
    assert person.date_of_birth is not None
    assert person.date_of_birth.isoformat() == "1984-04-18"
    assert person.attributes["gender"] is Gender.MALE
    assert person.face == Picture((vectors / "mosip-spec-1.1.0-example" / "face.webp").read_bytes())
    assert "picture is of another kind than it says" not in person.notes


def test_the_specifications_example_is_refused_as_unknown_key_and_later_as_expired(vectors: Path) -> None:
    text = (vectors / "mosip-spec-1.1.0-example" / "example.qr.txt").read_text()
    assert refusal(text, knows("https://elsewhere.example"), BEFORE) is Reason.UNKNOWN_ISSUER
    assert refusal(text, knows("www.mosip.io"), BEFORE) is Reason.UNKNOWN_KEY
    assert refusal(text, knows("www.mosip.io"), AFTER) is Reason.EXPIRED


def test_a_card_of_a_real_issuer_parses(vectors: Path) -> None:
    found = reading.read((vectors / "inji-verify" / "claim.qr.txt").read_text(), Trace())
    assert found.dialect == ("61/18", "hex text")
    inner, form = attributes.unwrap(found.claims[169])
    person = attributes.read(inner, USUAL)
    assert form == "bstr-169"
    assert person.biometrics["face"][0].form == "data-URI"
    assert isinstance(person.face, Picture)
    assert len(person.face.data) == 1542


def test_a_card_of_a_real_issuer_verifies_with_its_published_key(vectors: Path) -> None:
    folder = vectors / "inji-vc-verifier"
    jwks = json.loads((folder / "jwksECkey.json").read_text())
    for name, reason in (("valid", None), ("invalid", True)):
        text = pack(bytes.fromhex((folder / f"{name}-ec-cwt.hex").read_text().strip()))
        found = reading.read(text, Trace())
        trust = open_plain(json.dumps({"issuers": [{"iss": found.claims[1], "jwks": jwks}]}))
        at = Interval.exactly(datetime.fromtimestamp(found.claims[6] + 86400 * 2, UTC))
        if reason is None:
            assert verify(text, trust, at).alg == "ES256"
        else:
            assert refusal(text, trust, at) in (Reason.UNKNOWN_KEY, Reason.BAD_SIGNATURE)


def test_a_token_with_named_claims_is_no_claim_169(vectors: Path) -> None:
    text = pack(bytes.fromhex((vectors / "inji-vc-verifier" / "didweb-es256-textkeys.hex").read_text().strip()))
    assert refusal(text, knows("did:web:example"), BEFORE) is Reason.NOT_A_CREDENTIAL
