"""A card has one digest, whoever writes it anew: by it a card without identifier is withdrawn and told apart."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from edge.credential import Credential, base45, verify
from edge.credential.inflate import compress_brotli
from edge.trust import cose
from edge.trust.cbor import Tagged, encode
from edge.trust.interval import Interval
from edge.trust.keys import pinned
from edge.trust.list import Issuer, TrustList
from edge.trust.profile import Profile

ISS = "https://id.example"
NOW = Interval.exactly(datetime(2026, 6, 1, tzinfo=UTC))
MINE = ec.derive_private_key(0x1234567890ABCDEF, ec.SECP256R1())
STRANGER = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
CLAIMS = encode({1: ISS, 4: 1_900_000_000, 6: 1_770_000_000, 169: {4: "Ada Example"}})
Message = list[Any]


def shown(body: Message, tags: tuple[int, ...], pack: Callable[[bytes], bytes] = zlib.compress) -> Credential:
    message: Any = body
    for tag in reversed(tags):
        message = Tagged(tag, message)
    key = pinned(MINE.public_key(), kids=("k",))
    trust = TrustList((Issuer((ISS,), (key,), profile=Profile(der_signatures=True)),), version=1)
    return verify(base45.encode(pack(encode(message))), trust, NOW)


def turned(signature: bytes) -> bytes:
    """The other signature of the same message: n - s for s."""
    return signature[:32] + (N - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")


def der(signature: bytes) -> bytes:
    r, s = (int.from_bytes(part, "big") for part in (signature[:32], signature[32:]))
    assert decode_dss_signature(encode_dss_signature(r, s)) == (r, s)
    return encode_dss_signature(r, s)


ONE = cose.make_sign1(CLAIMS, cose.signer(MINE), {cose.KID: b"k"})
MANY = cose.make_sign(CLAIMS, [cose.signer(MINE, "k")])
FOREIGN = cose.make_sign(CLAIMS, [cose.signer(STRANGER, "s")])[3]
ANEW_ONE: dict[str, Callable[[Message], Message]] = {
    "headers outside": lambda m: [m[0], {cose.KID: b"other", 99: b"x"}, m[2], m[3]],
    "the other signature": lambda m: [*m[:3], turned(m[3])],
    "signature as DER": lambda m: [*m[:3], der(m[3])],
}
ANEW_MANY: dict[str, Callable[[Message], Message]] = {
    "empty header as a map": lambda m: [b"\xa0", *m[1:]],
    "headers outside": lambda m: [m[0], {99: b"x"}, *m[2:]],
    "a stranger signs too": lambda m: [*m[:3], [*m[3], *FOREIGN]],
    "a stranger signs first": lambda m: [*m[:3], [*FOREIGN, *m[3]]],
    "signed twice": lambda m: [*m[:3], [*m[3], [m[3][0][0], {}, turned(m[3][0][2])]]],
}


@pytest.mark.parametrize("anew", ANEW_ONE)
def test_one_signature(anew: str) -> None:
    assert shown(ANEW_ONE[anew](ONE), (18,)).subject == shown(ONE, (18,)).subject


@pytest.mark.parametrize("anew", ANEW_MANY)
def test_signatures_of_several(anew: str) -> None:
    assert shown(ANEW_MANY[anew](MANY), (98,)).subject == shown(MANY, (98,)).subject


@pytest.mark.parametrize("tags", [(), (61, 18)])
@pytest.mark.parametrize("pack", [bytes, compress_brotli, lambda data: zlib.compress(data.hex().encode(), 1)])
def test_what_is_around_the_message(tags: tuple[int, ...], pack: Callable[[bytes], bytes]) -> None:
    assert shown(ONE, tags, pack).digest == shown(ONE, (18,)).digest


def test_another_card_of_the_same_words_is_another_one() -> None:
    again = cose.make_sign1(CLAIMS, cose.signer(MINE), {cose.KID: b"k", 99: b"second copy"})
    assert shown(again, (18,)).digest != shown(ONE, (18,)).digest
