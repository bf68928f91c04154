"""A trust list is believed whole, because a pinned root signed it, and never goes back."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge.errors import Reason, Refusal
from edge.trust import cose
from edge.trust.cbor import Tagged, decode, encode
from edge.trust.cose import signer
from edge.trust.interval import ClockState, Interval
from edge.trust.keys import jwk, pinned, spki
from edge.trust.list import CONTENT_TYPE, normal, open_list, open_plain, write_list

NOW = datetime(2026, 6, 1, tzinfo=UTC)
ROOT = ec.derive_private_key(77, ec.SECP256R1())
ISSUER = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))


def document(**changed: Any) -> dict[str, Any]:
    key = jwk(pinned(ISSUER.public_key()), "k1")
    return {
        "version": 3,
        "issued_at": int(NOW.timestamp()),
        "expires": int((NOW + timedelta(days=21)).timestamp()),
        "issuers": [{"iss": "https://id.example", "jwks": {"keys": [key]}, "profile": {"allow": ["RS256"]}}],
        **changed,
    }


@pytest.mark.parametrize("root", [ROOT, ed25519.Ed25519PrivateKey.generate()], ids=["ES256", "EdDSA"])
def test_what_a_root_signed_is_opened(root: Any) -> None:
    signed = write_list(document(), signer(root))
    pem = root.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    der = spki(root.public_key())
    for pin in (pem, pem.decode(), der, base64.b64encode(der).decode()):
        trust = open_list(signed, [pin])
        assert trust.version == 3
        issuer = trust.issuer("https://id.example/")
        assert issuer is not None
        assert [key.algorithm.jose for key in issuer.candidates(b"k1")] == ["EdDSA"]
        assert issuer.profile.allow == {"RS256"}
        assert trust.issuer("https://other.example") is None


def refused(data: bytes, roots: list[Any] | None = None, known_version: int = 0) -> str:
    with pytest.raises(Refusal) as caught:
        open_list(data, roots or [spki(ROOT.public_key())], known_version)
    assert caught.value.reason is Reason.NO_TRUST
    return caught.value.detail


def test_a_list_of_somebody_else_is_refused() -> None:
    stranger = ec.generate_private_key(ec.SECP256R1())
    assert "pinned root" in refused(write_list(document(), signer(stranger)))
    assert "pinned root" in refused(write_list(document(), signer(ROOT)), [spki(stranger.public_key())])


def test_a_version_never_goes_back() -> None:
    signed = write_list(document(), signer(ROOT))
    roots = [spki(ROOT.public_key())]
    assert open_list(signed, roots, 3).version == 3
    assert "older" in refused(signed, known_version=4)


def test_every_changed_byte_is_noticed() -> None:
    signed = write_list(document(), signer(ROOT))
    for at in range(0, len(signed), 7):
        changed = bytearray(signed)
        changed[at] ^= 1
        refused(bytes(changed))
    for cut in (b"", signed[:-1], signed + b"\x00", b"\x00", bytes(5 << 20)):
        refused(cut)


def test_what_a_root_signed_for_another_purpose_is_no_list() -> None:
    payload = encode(document())
    body = cose.make_sign1(payload, signer(ROOT), {cose.CONTENT_TYPE: CONTENT_TYPE})
    refused(encode(Tagged(18, body)))
    body = cose.make_sign1(payload, signer(ROOT), aad=b"edge-gate trust list v1")
    refused(encode(Tagged(18, body)))


def test_a_list_without_dates_or_version_is_not_signed() -> None:
    for member in ("version", "issued_at", "expires"):
        broken = document()
        del broken[member]
        with pytest.raises(ValueError, match="needs"):
            write_list(broken, signer(ROOT))


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"surprise": 1}, "surprise"),
        ({"version": "3"}, "version"),
        ({"issuers": {}}, "issuers"),
        ({"issuers": [{"iss": 5}]}, "iss"),
        ({"issuers": [{"iss": "a", "keyz": []}]}, "keyz"),
        ({"issuers": [{"iss": "a"}, {"iss": "b", "aliases": ["a"]}]}, "two issuers"),
        ({"issuers": [{"iss": "a", "profile": {"alow": []}}]}, "alow"),
        ({"issuers": [{"iss": "a", "profile": {"allow": ["none"]}}]}, "allow"),
        ({"expires": "2026-01-01T00:00:00"}, "zone"),
        (
            {"issuers": [{"iss": "a", "jwks": {"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}]}}]},
            "length",
        ),
        ({"issuers": [{"iss": "a", "keys": [{"jwk": {"kty": "oct", "k": "AA"}}]}]}, "symmetric"),
    ],
)
def test_a_mistake_in_a_list_is_named(changed: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        open_plain(json.dumps(document(**changed)))


def test_a_list_grows_old() -> None:
    trust = open_list(write_list(document(), signer(ROOT)), [spki(ROOT.public_key())])
    for days, ended in ((0, False), (20, False), (21, True), (35, True)):
        now = Interval.exactly(NOW + timedelta(days=days))
        assert trust.ended(now) is ended
        assert trust.age_s(now) == days * 86400
    assert not trust.ended(Interval(NOW, None, ClockState.FLOOR))
    assert trust.age_s(Interval.exactly(NOW - timedelta(days=1))) == 0
    assert open_plain(json.dumps({"issuers": []})).age_s(Interval.exactly(NOW)) is None


def test_an_issuer_has_one_spelling() -> None:
    assert normal("HTTPS://ID.Example/Path/") == normal("https://id.example/Path")
    assert normal("https://id.example/path") != normal("https://id.example/Path")
    assert normal("did:web:Example") == "did:web:Example"


def test_the_signed_document_reads_back() -> None:
    signed = write_list(document(), signer(ROOT))
    assert decode(decode(signed, tags=frozenset({18})).value[2]) == document()
