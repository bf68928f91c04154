"""Whichever way a card leads to a key, what the trust list says of that key holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from edge.credential import Credential, verify
from edge.credential.issue import pack, tagged
from edge.errors import Reason, Refusal
from edge.trust import cose
from edge.trust.cbor import encode
from edge.trust.interval import Interval
from edge.trust.keys import Key, jwk, pinned
from edge.trust.list import Issuer, TrustList, parse

ISS = "https://id.example"
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
NO_END = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)  # RFC 5280: a certificate without a well-defined end
CA = ec.derive_private_key(0xCAFE, ec.SECP256R1())
LEAF = ec.derive_private_key(0xBEEF, ec.SECP256R1())
OTHER = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def certificate(private: Any, ca: bool, ends: datetime) -> x509.Certificate:
    """A certificate by ``CA``: of an authority, or of a signer for the issuer."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "CA" if ca else "signer")])
    by = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "CA")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(by).public_key(private.public_key())
    builder = builder.serial_number(5).not_valid_before(NOW - 100 * DAY).not_valid_after(ends)
    builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
    if not ca:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(ISS)]), False)
    return builder.sign(CA, hashes.SHA256())


ROOT = certificate(CA, ca=True, ends=NOW + 1000 * DAY)
CHAIN = certificate(LEAF, ca=False, ends=NOW + 900 * DAY).public_bytes(Encoding.DER)
WAYS: dict[str, dict[int | str, Any]] = {
    "by its name": {cose.KID: b"k"},
    "by its name, with a chain": {cose.KID: b"k", cose.X5CHAIN: CHAIN},
    "by a chain alone": {cose.X5CHAIN: CHAIN},
    "by another name, with a chain": {cose.KID: b"zz", cose.X5CHAIN: CHAIN},
}


def card(headers: dict[int | str, Any], by: Any = LEAF, iat: datetime | None = NOW - DAY) -> str:
    claims: dict[int, Any] = {1: ISS, 4: int((NOW + 9 * DAY).timestamp()), 169: {1: "77", 4: "Ada Example"}}
    if iat is not None:
        claims[6] = int(iat.timestamp())
    return pack(tagged(cose.make_sign1(encode(claims), cose.signer(by), headers), (61, 18)))


def shown(text: str, *keys: Key, root: x509.Certificate = ROOT) -> Credential:
    trust = TrustList((Issuer((ISS,), keys, (root,)),), version=1)
    return verify(text, trust, Interval.exactly(NOW))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "said",
    [{"compromised_since": NOW - 30 * DAY}, {"not_after": NOW - DAY}, {"not_before": NOW}],
    ids=["compromised", "ended", "not begun"],
)
def test_a_withdrawn_key_signs_for_nobody_however_it_is_called(way: str, said: dict[str, Any]) -> None:
    key = pinned(LEAF.public_key(), kids=("k",), **said)
    with pytest.raises(Refusal) as caught:
        shown(card(WAYS[way]), key)
    assert caught.value.reason is Reason.KEY_WITHDRAWN


@pytest.mark.parametrize("way", WAYS)
def test_what_it_signed_before_it_was_compromised_stays_good(way: str) -> None:
    key = pinned(LEAF.public_key(), kids=("k",), compromised_since=NOW)
    assert shown(card(WAYS[way]), key).key == key.thumbprint
    with pytest.raises(Refusal, match="key-withdrawn"):
        shown(card(WAYS[way], iat=None), key)


@pytest.mark.parametrize("member", ["compromised_since", "not_after"])
def test_a_key_that_stands_twice_on_the_list_is_as_good_as_its_worse_entry(member: str) -> None:
    public = jwk(pinned(LEAF.public_key()), "k")
    said = {member: int((NOW - 30 * DAY).timestamp())}
    for keys in ([public], [public, public]):
        entry = {"iss": ISS, "jwks": {"keys": keys}, "keys": [{"jwk": public, **said}]}
        trust = parse({"version": 1, "issuers": [entry]}, b"")
        with pytest.raises(Refusal) as caught:
            verify(card({cose.KID: b"k"}), trust, Interval.exactly(NOW))
        assert caught.value.reason is Reason.KEY_WITHDRAWN
        assert bool(trust.issuers[0].sound) is (member == "not_after")


def test_a_key_certified_anew_is_as_long_good_as_its_newer_certificate() -> None:
    old = pinned(LEAF.public_key(), kids=("k",), not_before=NOW - 900 * DAY, not_after=NOW - 9 * DAY)
    new = pinned(LEAF.public_key(), kids=("new",), not_before=NOW - 9 * DAY, not_after=NOW + 900 * DAY)
    for name in (b"k", b"new"):
        assert shown(card({cose.KID: name}, iat=NOW - 20 * DAY), old, new).key == old.thumbprint


def test_a_compromised_key_of_one_issuer_takes_nothing_from_another() -> None:
    lost = Issuer(("https://other.example",), (pinned(LEAF.public_key(), compromised_since=NOW - 30 * DAY),))
    mine = Issuer((ISS,), (pinned(LEAF.public_key(), kids=("k",)),))
    assert verify(card({cose.KID: b"k"}), TrustList((lost, mine), version=1), Interval.exactly(NOW)).issuer == ISS


def test_a_chain_to_a_pinned_key_does_not_choose_its_algorithm() -> None:
    private = rsa.generate_private_key(65537, 2048)
    chain = certificate(private, ca=False, ends=NOW + 900 * DAY).public_bytes(Encoding.DER)
    text = card({cose.X5CHAIN: chain}, by=private)
    usual = pinned(private.public_key(), kids=("k",))
    assert shown(text, usual).key == usual.thumbprint
    with pytest.raises(Refusal) as caught:
        shown(text, pinned(private.public_key(), "RS256", kids=("k",)))
    assert caught.value.reason is Reason.BAD_SIGNATURE


@pytest.mark.parametrize("endless", ["root", "signer", "both"])
def test_certificates_without_an_end_are_certificates_like_others(endless: str) -> None:
    root = certificate(CA, ca=True, ends=NO_END if endless != "signer" else NOW + DAY)
    leaf = certificate(LEAF, ca=False, ends=NO_END if endless != "root" else NOW + DAY)
    headers: dict[int | str, Any] = {cose.X5CHAIN: leaf.public_bytes(Encoding.DER)}
    assert shown(card(headers), root=root).alg == "ES256"
    forged = [encode({cose.ALG: -7, **headers}), {}, encode({1: ISS, 169: {}}), bytes(64)]
    with pytest.raises(Refusal) as caught:
        shown(pack(tagged(forged, (18,))), root=root)
    assert caught.value.reason is Reason.BAD_SIGNATURE
