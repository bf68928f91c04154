"""Keys as issuers publish them become entries of our list, or a sentence why not."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

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


@pytest.mark.parametrize("text", ["", "key", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "MFkw"])
def test_a_pem_that_is_no_public_key_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="neither PEM nor DER"):
        imports.from_pem(text)


def test_a_private_key_in_pem_is_not_taken() -> None:
    private = EC.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    with pytest.raises(ValueError, match="neither PEM nor DER"):
        imports.from_pem(private)


def test_roots_that_are_none_or_prove_nothing_are_said() -> None:
    weak = certificate(rsa.generate_private_key(65537, 1024)).public_bytes(Encoding.PEM).decode()
    cut = certificate().public_bytes(Encoding.PEM).decode().replace("M", "N", 9)
    for text in ("", "noise", weak, cut):
        with pytest.raises(ValueError, match="not root certificates"):
            imports.from_roots(text)


def base58(raw: bytes) -> str:
    number, digits = int.from_bytes(raw, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        digits = imports._BASE58[digit] + digits
    return f"z{digits}"


def a_document(*methods: Any, name: str = "did:web:id.example", **more: Any) -> str:
    return json.dumps({"id": name, "verificationMethod": list(methods), **more})


def test_a_key_on_p256_in_multibase_is_read() -> None:
    point = EC.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    text = a_document({"id": "#k", "publicKeyMultibase": base58(b"\x80\x24" + point)})
    (key,) = an_issuer(imports.from_did(text)[1]).keys
    assert key.public == EC.public_key()


def test_a_controller_document_names_its_key_in_another_one() -> None:
    """As MOSIP's ID repository publishes it."""
    link = "https://id.example/.well-known/public-key.json"
    text = json.dumps({"id": "https://id.example/.well-known/controller.json", "assertionMethod": [link]})
    assert imports.linked(text) == [link]
    pem = EC.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    name, entry = imports.from_did(text, {link: json.dumps({"id": link, "publicKeyPem": pem})})
    assert name == "https://id.example/.well-known/controller.json"
    assert an_issuer(entry).candidates(link.encode())[0].public == EC.public_key()
    for other in ("", "7", "{}", json.dumps({"id": link}), json.dumps({"id": 7, "publicKeyPem": pem})):
        with pytest.raises(ValueError, match=r"JSON|missing|kind"):
            imports.from_did(text, {link: other})
    with pytest.raises(ValueError, match="missing"):
        imports.from_did(text)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "[" * 20_000,
        json.dumps({"id": 7}),
        json.dumps({"id": "urn:other"}),
        a_document(),
        a_document(7),
        a_document({"type": "nameless"}),
        a_document({"id": "#k", "publicKeyMultibase": "m" + "A" * 40}),
        a_document({"id": "#k", "publicKeyMultibase": "z0OIl"}),
        a_document({"id": "#k", "publicKeyMultibase": "z" + "9" * 100_000}),
        a_document({"id": "#k", "publicKeyMultibase": base58(b"\x80\x24\x02" + b"\xff" * 32)}),
        a_document({"id": "#k", "publicKeyMultibase": base58(b"\xed\x01" + bytes(32))}),
        a_document({"id": "#k", "publicKeyJwk": 7}),
        a_document({"id": "#k", "publicKeyJwk": {**a_jwk(EC, "k"), "d": "AA"}}),
        a_document({"id": "#k", "publicKeyJwk": a_jwk(EC, "k")}, assertionMethod="#k"),
        a_document({"id": "#k", "publicKeyJwk": a_jwk(EC, "k")}, assertionMethod=["#other"]),
        a_document({"id": "#k", "publicKeyJwk": a_jwk(EC, "k")}, assertionMethod=[]),
        a_document({"id": "#k", "publicKeyJwk": a_jwk(EC, "k")}, assertionMethod=[7]),
    ],
)
def test_a_did_document_that_cannot_be_meant_is_said(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        imports.from_did(text)


@pytest.mark.parametrize("member", [{"kid": 7}, {"kid": ["k"]}, {"use": "enc"}, {"x": "AA"}, {"crv": "P-1"}])
def test_a_jwks_with_a_key_that_cannot_be_meant_is_said(member: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        imports.from_jwks(json.dumps({"keys": [{**a_jwk(EC, "k"), **member}]}))


RAW = base64.b64encode(certificate().public_bytes(Encoding.DER)).decode()


@pytest.mark.parametrize(
    "items",
    [
        7,
        {"certificates": {}},
        [7],
        [{"country": "AT"}],
        [{"rawData": "AAAA"}],
        [{"country": "AT", "rawData": "not base64"}],
        [{"country": "AT", "rawData": "AAAA"}],
        [{"country": 7, "rawData": "AAAA"}],
        [{"country": "A\x1b[2K", "rawData": RAW}],
        [{"country": "AT", "rawData": RAW, "kid": {"a": 1}}],
        [{"country": "AT", "rawData": "AAAA", "certificateType": "CSCA"}],
    ],
)
def test_a_gateways_list_that_cannot_be_meant_is_said(items: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        imports.from_gateway(json.dumps(items))


VICAL = a_vical(EC)


@given(st.integers(0, len(VICAL) - 1), st.binary(max_size=8), st.integers(0, 8))
def test_a_vical_with_any_stretch_replaced_is_the_same_or_refused(at: int, instead: bytes, length: int) -> None:
    changed = VICAL[:at] + instead + VICAL[at + length :]
    try:
        entry = imports.from_vical(changed, certificate(EC, "provider"))
    except ValueError:
        return
    assert entry == imports.from_vical(VICAL, certificate(EC, "provider"))


@pytest.mark.parametrize(
    "infos", [None, [], 7, [7], [{}], [{"certificate": "text"}], [{"certificate": b"noise"}], [{"certificate": []}]]
)
def test_a_signed_vical_that_says_nothing_is_refused(infos: Any) -> None:
    data = encode(Tagged(cose.SIGN1, cose.make_sign1(encode({"certificateInfos": infos}), cose.signer(EC))))
    with pytest.raises(ValueError, match="VICAL"):
        imports.from_vical(data, certificate(EC, "provider"))
