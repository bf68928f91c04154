"""A token status list is believed because its issuer signed it as one, and answers for every index it has."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import Reason, Refusal
from edge.trust import cose
from edge.trust.cbor import Tagged, encode
from edge.trust.keys import pinned
from edge.trust.status import LIMIT, TYPE, open_status_list

PRIVATE = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEYS = [pinned(PRIVATE.public_key())]
URI = "https://id.example/status/1"
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def a_list(statuses: bytes = b"\xb9\xa3", bits: int = 1, typ: Any = TYPE, tag: int = 18, **changed: Any) -> bytes:
    claims: dict[int, Any] = {2: URI, 6: int(NOW.timestamp()), 65533: {"bits": bits, "lst": zlib.compress(statuses)}}
    claims |= {int(name[1:]): value for name, value in changed.items()}
    claims = {label: value for label, value in claims.items() if value is not None}
    body = cose.make_sign1(encode(claims), cose.signer(PRIVATE), {cose.TYP: typ})
    return encode(Tagged(tag, body))


def refused(data: bytes, uri: str | None = URI) -> Reason:
    with pytest.raises(Refusal) as caught:
        open_status_list(data, KEYS, uri)
    return caught.value.reason


@given(st.sampled_from([1, 2, 4, 8]), st.lists(st.integers(0, 255), min_size=8, max_size=64))
def test_every_status_is_found_at_its_index(bits: int, wanted: list[int]) -> None:
    wanted = [value & (1 << bits) - 1 for value in wanted[: len(wanted) // 8 * 8]]
    packed = bytearray(len(wanted) * bits // 8)
    for index, value in enumerate(wanted):
        packed[index * bits // 8] |= value << index * bits % 8
    found = open_status_list(a_list(bytes(packed), bits), KEYS, URI)
    assert [found.status(index) for index in range(len(wanted))] == wanted
    for index in (-1, len(wanted)):
        with pytest.raises(Refusal):
            found.status(index)


def test_a_list_says_how_long_it_may_be_used() -> None:
    found = open_status_list(a_list(_4=int((NOW + timedelta(days=7)).timestamp()), _65534=3600), KEYS)
    assert (found.uri, found.issued_at) == (URI, NOW)
    assert found.expires == NOW + timedelta(days=7)
    assert found.ttl == timedelta(hours=1)


@pytest.mark.parametrize(
    "changed",
    [
        {"_2": None},
        {"_2": 5},
        {"_6": None},
        {"_6": "1"},
        {"_6": -1},
        {"_4": 1 << 60},
        {"_4": "1"},
        {"_65534": -5},
        {"_65533": None},
        {"_65533": {"bits": 3, "lst": b""}},
        {"_65533": {"bits": 1.0, "lst": zlib.compress(b"ab")}},
        {"_65533": {"bits": 8.0, "lst": zlib.compress(b"ab")}},
        {"_65533": {"bits": True, "lst": zlib.compress(b"ab")}},
        {"_6": True},
        {"_65533": {"bits": 1}},
        {"_65533": {"bits": 1, "lst": "x"}},
    ],
    ids=str,
)
def test_claims_that_are_none_are_refused(changed: dict[str, Any]) -> None:
    assert refused(a_list(**changed)) is Reason.BAD_CLAIM


def test_a_list_is_held_to_its_rules() -> None:
    assert refused(a_list(), "https://id.example/status/2") is Reason.BAD_CLAIM
    assert refused(a_list(typ="application/cwt")) is Reason.UNREADABLE
    assert refused(a_list(tag=61)) is Reason.UNREADABLE
    assert refused(a_list()[:-1] + b"\x00") is Reason.BAD_SIGNATURE
    assert refused(a_list(bytes(LIMIT + 1))) is Reason.TOO_LARGE
    for damaged in (b"", b"x", zlib.compress(b"ab")[:-2], zlib.compress(b"ab") + b"\x00"):
        assert refused(a_list(_65533={"bits": 1, "lst": damaged})) is Reason.UNREADABLE
    with pytest.raises(Refusal, match="bad-signature"):
        open_status_list(a_list(), [pinned(ed25519.Ed25519PrivateKey.generate().public_key())])
