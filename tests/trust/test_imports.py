"""Keys as issuers publish them become entries of our list, or a sentence why not."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from edge.trust import cose, imports
from edge.trust.cbor import Tagged, encode
from edge.trust.keys import jwk, pinned
from edge.trust.list import Issuer, parse

ED, EC = ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())


def certificate(key: Any = EC, name: str = "somebody") -> x509.Certificate:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    called = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder().subject_name(called).issuer_name(called).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(now).not_valid_after(now + timedelta(days=3650))
    return builder.sign(key, hashes.SHA256())


def an_issuer(entry: imports.Entry) -> Issuer:
    """What a gate makes of it."""
    (issuer,) = parse({"issuers": [{"iss": "https://id.example", **entry}]}, b"").issuers
    return issuer


def a_jwk(key: Any, kid: str) -> dict[str, str]:
    return jwk(pinned(key.public_key()), kid)


def test_a_jwks_is_read_without_its_encryption_keys() -> None:
    text = json.dumps({"keys": [a_jwk(ED, "k1"), a_jwk(EC, "k2"), {**a_jwk(EC, "k3"), "use": "enc"}]})
    issuer = an_issuer(imports.from_jwks(text))
    assert len(issuer.keys) == 2
    assert issuer.candidates(b"k1")[0].algorithm.jose == "EdDSA"
    assert not any(b"k3" in key.aliases for key in issuer.keys)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"keys": []}', '{"keys": [7]}', '{"keys": [{"kty": "oct", "k": "AA"}]}']
)
def test_what_is_no_jwks_is_said(text: str) -> None:
    with pytest.raises(ValueError, match=r"JWKS|JSON|key"):
        imports.from_jwks(text)


def test_a_private_key_that_was_published_is_refused() -> None:
    with pytest.raises(ValueError, match="private"):
        imports.from_jwks(json.dumps({"keys": [{**a_jwk(ED, "k"), "d": "secret"}]}))


def test_keys_and_roots_in_pem() -> None:
    pem = ED.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    assert an_issuer(imports.from_pem(pem, ["k"])).candidates(b"k")
    two = certificate().public_bytes(Encoding.PEM) + certificate(name="other").public_bytes(Encoding.PEM)
    assert len(an_issuer(imports.from_roots(two.decode())).roots) == 2


def test_a_did_document_gives_the_keys_for_assertions() -> None:
    raw = b"\xed\x01" + ED.public_key().public_bytes_raw()
    number, digits = int.from_bytes(raw, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        digits = imports._BASE58[digit] + digits
    did = "did:web:id.example"
    document = {
        "id": did,
        "verificationMethod": [
            {"id": f"{did}#jwk", "type": "JsonWebKey2020", "publicKeyJwk": a_jwk(EC, "x")},
            {"id": f"{did}#multi", "type": "Ed25519VerificationKey2020", "publicKeyMultibase": f"z{digits}"},
            {"id": f"{did}#login", "type": "JsonWebKey2020", "publicKeyJwk": a_jwk(EC, "y")},
        ],
        "assertionMethod": [f"{did}#jwk", f"{did}#multi"],
    }
    name, entry = imports.from_did(json.dumps(document))
    issuer = an_issuer(entry)
    assert name == did
    assert issuer.candidates(b"multi")[0].public.public_bytes_raw() == ED.public_key().public_bytes_raw()  # type: ignore[union-attr] # it is the Ed25519 key
    assert issuer.candidates(f"{did}#jwk".encode())
    assert not any(b"login" in key.aliases for key in issuer.keys)
    with pytest.raises(ValueError, match="not a DID"):
        imports.from_did("{}")
    with pytest.raises(ValueError, match="not known"):
        imports.from_did(json.dumps({**document, "assertionMethod": [{"id": "#z", "publicKeyMultibase": "z6"}]}))


def test_the_gateways_list_is_one_issuer_for_each_country() -> None:
    raw = base64.b64encode(certificate().public_bytes(Encoding.DER)).decode()
    items = [
        {"kid": "AAAAAAAAAAA=", "country": "AT", "certificateType": "DSC", "rawData": raw},
        {"kid": "BBBBBBBBBBA=", "country": "DE", "certificateType": "DSC", "rawData": raw},
        {"country": "DE", "certificateType": "CSCA", "rawData": raw},
    ]
    found = imports.from_gateway(json.dumps({"certificates": items}))
    assert set(found) == {"AT", "DE"}
    assert an_issuer(found["DE"]).candidates(base64.b64decode("BBBBBBBBBBA="))
    with pytest.raises(ValueError, match="no signer"):
        imports.from_gateway("[]")


def a_vical(by: Any) -> bytes:
    der = certificate().public_bytes(Encoding.DER)
    document = {"version": "1.0", "vicalProvider": "p", "date": Tagged(0, "2026-01-01T00:00:00Z")}
    payload = encode({**document, "certificateInfos": [{"certificate": der, "docType": ["org.iso.18013.5.1.mDL"]}]})
    return encode(Tagged(cose.SIGN1, cose.make_sign1(payload, cose.signer(by))))


def test_a_vical_gives_roots_when_its_provider_signed_it() -> None:
    provider = ec.generate_private_key(ec.SECP256R1())
    entry = imports.from_vical(a_vical(provider), certificate(provider, "provider"))
    assert len(an_issuer(entry).roots) == 1
    with pytest.raises(ValueError, match="not signed by this provider"):
        imports.from_vical(a_vical(EC), certificate(provider, "provider"))
    with pytest.raises(ValueError, match="not a VICAL"):
        imports.from_vical(b"noise", certificate(provider, "provider"))
