"""Keys are loaded in every form, and refused where they prove nothing."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge.errors import Refusal
from edge.trust import cose
from edge.trust.algorithms import Algorithm, WeakKey, sign, valid
from edge.trust.cbor import encode
from edge.trust.keys import (
    forms,
    from_cose_key,
    from_jwk,
    from_material,
    jwk,
    jwk_thumbprint,
    pinned,
    public_from,
    spki,
    thumbprint,
)
from edge.trust.list import open_plain

ED = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
P256 = ec.derive_private_key(99, ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def certificate(private: Any = ED) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Issuer")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(private.public_key())
    dated = builder.not_valid_before(NOW).not_valid_after(NOW + timedelta(days=30)).serial_number(1)
    return dated.sign(ED, None)


@pytest.mark.parametrize("private", [ED, P256, RSA], ids=["Ed25519", "P-256", "RSA"])
def test_a_key_is_the_same_in_every_form(private: Any) -> None:
    public = private.public_key()
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    made = certificate(private)
    materials = (
        der,
        pem,
        pem.decode(),
        base64.b64encode(der),
        made.public_bytes(Encoding.PEM),
        made.public_bytes(Encoding.DER),
    )
    assert {thumbprint(public_from(material)) for material in materials} == {thumbprint(public)}
    assert from_jwk(jwk(pinned(public), "k")).thumbprint == thumbprint(public)


def test_a_certificate_brings_its_validity_and_its_hash() -> None:
    from cryptography.hazmat.primitives import hashes

    made = certificate()
    key = from_material(made.public_bytes(Encoding.PEM))
    assert (key.not_before, key.not_after) == (NOW, NOW + timedelta(days=30))
    assert made.fingerprint(hashes.SHA256()) in key.aliases
    assert made.fingerprint(hashes.SHA256())[:8] in key.aliases


def test_a_cose_key_is_read() -> None:
    numbers = P256.public_key().public_numbers()
    x, y = numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")
    for members in (
        {1: 2, -1: 1, -2: x, -3: y},
        {1: 2, -1: 1, -2: x, -3: bool(numbers.y & 1), 3: -7, 2: b"k"},
        {1: 2, -1: 1, -2: x, -3: y, 4: [2]},
    ):
        key = from_cose_key(members)
        assert key.thumbprint == thumbprint(P256.public_key())
        assert key.algorithm is Algorithm.ES256
    assert from_cose_key({1: 1, -1: 6, -2: ED.public_key().public_bytes_raw()}).algorithm is Algorithm.EDDSA
    raw = RSA.public_key().public_numbers()
    modulus, exponent = raw.n.to_bytes(256, "big"), b"\x01\x00\x01"
    assert from_cose_key({1: 3, -1: modulus, -2: exponent, 3: -257}).algorithm is Algorithm.RS256


@pytest.mark.parametrize(
    "members",
    [
        {},
        {1: 4, -1: bytes(32)},
        {1: 1, -1: 6, -2: bytes(32), -4: bytes(32)},
        {1: 1, -1: 7, -2: bytes(57)},
        {1: 1, -1: 6, -2: bytes(31)},
        {1: 2, -1: 1, -2: bytes(32), -3: bytes(32)},
        {1: 2, -1: 1, -2: b"\x01" * 31, -3: b"\x01" * 33},
        {1: 3, -1: b"\xff" * 128, -2: b"\x01\x00\x01"},
        {1: 1, -1: 6, -2: b"\x02" * 32, 4: [1]},
        {1: 1, -1: 6, -2: ED.public_key().public_bytes_raw(), 3: -7},
        {1: 1, -1: 6, -2: ED.public_key().public_bytes_raw(), 3: -259},
        {1: 1, -1: 6, -2: ED.public_key().public_bytes_raw(), 2: "text"},
    ],
    ids=str,
)
def test_a_cose_key_that_proves_nothing_is_refused(members: dict[int | str, Any]) -> None:
    with pytest.raises(WeakKey):
        from_cose_key(members)


def test_keys_that_prove_nothing_are_refused() -> None:
    weak: list[Any] = [
        rsa.generate_private_key(65537, 1024).public_key(),
        ec.generate_private_key(ec.SECP224R1()).public_key(),
        ed448.Ed448PrivateKey.generate().public_key(),
        x25519.X25519PrivateKey.generate().public_key(),
    ]
    for public in weak:
        with pytest.raises(WeakKey):
            pinned(public)


@pytest.mark.parametrize(
    "point",
    [
        "01" + "00" * 31,
        "00" * 32,
        "00" * 31 + "80",
        "ec" + "ff" * 30 + "7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    ],
)
def test_an_ed25519_key_of_small_order_is_refused(point: str) -> None:
    with pytest.raises((WeakKey, ValueError)):
        pinned(ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(point)))


def test_an_rsa_key_of_the_faulty_generator_is_refused() -> None:
    """Moduli of that generator are powers of 65537 modulo the product of the first primes."""
    product = 1
    for prime in range(2, 168):
        if all(prime % divisor for divisor in range(2, prime)):
            product *= prime
    modulus = pow(65537, 12345, product) + product * (1 << (2047 - product.bit_length()) | 1)
    modulus += product * ((1 << 2047) // product)
    assert modulus.bit_length() == 2048
    with pytest.raises(WeakKey, match="factored"):
        pinned(rsa.RSAPublicNumbers(65537, modulus).public_key())


@pytest.mark.parametrize(
    "changed",
    [
        {"d": "AA"},
        {"kty": "oct", "k": "AA"},
        {"use": "enc"},
        {"key_ops": ["sign"]},
        {"alg": "ES256"},
        {"alg": "none"},
        {"alg": 5},
        {"kid": 5},
        {"x": "AA=="},
        {"x": None},
        {"crv": "X25519"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
    ],
    ids=str,
)
def test_a_jwk_that_proves_nothing_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(WeakKey):
        from_jwk({**jwk(pinned(ED.public_key()), "k"), **changed})


def test_a_name_means_its_bytes_first() -> None:
    assert forms("abcd") == (b"abcd", base64.urlsafe_b64decode("abcd"), bytes.fromhex("abcd"))
    assert forms(b"k-1101") == (b"k-1101", base64.urlsafe_b64decode("k-1101=="))
    assert forms(b"\xff\x00") == (b"\xff\x00",)
    assert jwk_thumbprint(ED.public_key()) in pinned(ED.public_key()).aliases


@pytest.mark.parametrize("algorithm", Algorithm)
def test_every_algorithm_signs_and_verifies(algorithm: Algorithm) -> None:
    curves = {
        Algorithm.ES256: ec.SECP256R1(),
        Algorithm.ES384: ec.SECP384R1(),
        Algorithm.ES512: ec.SECP521R1(),
        Algorithm.ES256K: ec.SECP256K1(),
    }
    if algorithm is Algorithm.EDDSA:
        private: Any = ED
    elif algorithm in curves:
        private = ec.generate_private_key(curves[algorithm])
    else:
        private = RSA
    signature = sign(private, algorithm, b"message")
    assert valid(private.public_key(), algorithm, signature, b"message")
    assert not valid(private.public_key(), algorithm, signature, b"massage")
    assert not valid(private.public_key(), algorithm, signature + b"\x00", b"message")
    assert not valid(private.public_key(), algorithm, signature[:-1], b"message")


def test_a_list_takes_keys_in_every_form() -> None:
    pem = certificate().public_bytes(Encoding.PEM).decode()
    cose_key = encode({1: 1, -1: 6, -2: ED.public_key().public_bytes_raw(), 2: b"c"})
    entries = [
        {"jwk": jwk(pinned(P256.public_key()), "j"), "kids": ["also"]},
        {"cose_key": base64.b64encode(cose_key).decode()},
        {"public": pem, "kids": ["cert"], "not_after": "2026-06-10T00:00:00Z"},
        {"public": base64.b64encode(spki(RSA.public_key())).decode(), "alg": "RS256", "kids": ["r"]},
    ]
    issuer = open_plain(json.dumps({"issuers": [{"iss": "a", "keys": entries, "roots": [pem]}]})).issuers[0]
    assert [key.algorithm.jose for key in issuer.keys] == ["ES256", "EdDSA", "EdDSA", "RS256"]
    assert issuer.candidates(b"also") == issuer.candidates(b"j") == (issuer.keys[0],)
    assert issuer.candidates(b"c") == (issuer.keys[1],)
    assert issuer.candidates(b"cert") == (issuer.keys[2],)
    assert issuer.keys[2].not_after == datetime(2026, 6, 10, tzinfo=UTC)
    assert issuer.keys[2].not_before == NOW
    assert len(issuer.roots) == 1


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"public": "x"},
        {"cose_key": "AAAA"},
        {"cose_key": "!"},
        {"jwk": 5},
        {"public": 5},
        {"kids": 5},
        {"kids": [5]},
    ],
    ids=str,
)
def test_a_key_in_a_list_that_is_none_is_named(entry: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        open_plain(json.dumps({"issuers": [{"iss": "a", "keys": [entry]}]}))


def test_a_header_that_is_no_map_is_refused() -> None:
    for raw in (b"\x80", b"\x01", b"\xa1\x01\x27\x00"):
        with pytest.raises(Refusal):
            cose.header(raw)
