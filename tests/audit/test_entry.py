"""One entry has one encoding, and holds nothing that does not belong into a log."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.audit.entry import CRITICAL, Entry, Kind, LogError, Quality, decode, encode

PLAIN = Entry(7, 1, 1_700_000_000_000, Quality.SYNCED, 55_000, 3, Kind.GRANTED, "gate-1", {"score": 9876})
FULL = replace(
    PLAIN,
    fields={"reason": "expired", "list": [1, "two", b"three", None, True], "within": {"a": 1}},
    subject=bytes(16),
    issuer=b"kid",
    trust=(1, 2, 3),
    digests=(bytes(32), bytes(32)),
    body=bytes(32),
)
VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize("entry", [PLAIN, FULL])
def test_an_entry_is_read_as_it_was_written(entry: Entry) -> None:
    assert decode(encode(entry)) == entry


@settings(max_examples=100)
@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=4))
def test_any_plain_fields_survive(fields: dict[str, Any]) -> None:
    entry = replace(PLAIN, fields=fields)
    assert decode(encode(entry)) == entry


def test_keys_are_the_numbers_that_were_promised() -> None:
    plain = cbor2.loads(encode(FULL))
    assert list(plain) == list(range(15))
    assert (plain[0], plain[1], plain[2], plain[4], plain[6], plain[7], plain[8]) == (1, 7, 1, 3, 3, 10, "gate-1")


@pytest.mark.parametrize("value", [0.5, object(), {1: 2}, cbor2.CBORTag(1, 2), {"a": {"b": 1.5}}, {1, 2}])
def test_what_does_not_belong_into_a_log_is_refused(value: Any) -> None:
    with pytest.raises(LogError):
        encode(replace(PLAIN, fields={"x": value}))


@pytest.mark.parametrize("key", range(8))
@pytest.mark.parametrize("number", [-1, 2**63, 2**64, 10**5000], ids=["less than nothing", "64 bits", "65", "a lot"])
def test_a_number_that_no_database_keeps_is_no_entrys(key: int, number: int) -> None:
    plain = cbor2.loads(encode(PLAIN)) | {key: number}
    with pytest.raises(LogError):
        decode(cbor2.dumps(plain, canonical=True))


@pytest.mark.parametrize(
    "number", [2**64, -(2**64) - 1, 10**5000, -(10**5000)], ids=["65 bits", "-65", "a lot", "-a lot"]
)
@pytest.mark.parametrize("key", [9, 12])
def test_an_integer_that_takes_a_tag_does_not_belong_into_a_log(key: int, number: int) -> None:
    plain = cbor2.loads(encode(FULL)) | {key: {"size": [number]} if key == 9 else [number]}
    with pytest.raises(LogError):
        decode(cbor2.dumps(plain, canonical=True))


def test_a_flood_in_one_entry_is_refused() -> None:
    with pytest.raises(LogError):
        encode(replace(PLAIN, fields={"x": "y" * 70_000}))


def test_fields_that_nest_too_deeply_are_refused() -> None:
    deep: Any = 1
    for _ in range(12):
        deep = [deep]
    with pytest.raises(LogError):
        encode(replace(PLAIN, fields={"x": deep}))


def test_other_encodings_of_the_same_entry_are_no_entries() -> None:
    encoded = encode(PLAIN)
    plain = cbor2.loads(encoded)
    for other in (
        encoded + b"\x00",
        encoded[:-1],
        b"\xbf" + encoded[1:] + b"\xff",
        cbor2.dumps(dict(reversed(plain.items()))),
        cbor2.dumps({**plain, 99: 1}, canonical=True),
        cbor2.dumps({**plain, 1: -1}, canonical=True),
        cbor2.dumps({**plain, 1: True}, canonical=True),
        cbor2.dumps({**plain, 0: 2}, canonical=True),
        cbor2.dumps({**plain, 4: 9}, canonical=True),
        cbor2.dumps({**plain, 9: [1]}, canonical=True),
        cbor2.dumps({**plain, 9: {"x": 0.5}}, canonical=True),
        cbor2.dumps({**plain, 10: b"short"}, canonical=True),
        cbor2.dumps({**plain, 12: ["1"]}, canonical=True),
        cbor2.dumps([1], canonical=True),
        b"",
    ):
        with pytest.raises(LogError):
            decode(other)


@settings(max_examples=200)
@given(st.integers(0, 200), st.integers(0, 200), st.binary(max_size=6))
def test_a_damaged_entry_is_refused_or_another_entry(start: int, length: int, junk: bytes) -> None:
    encoded = encode(FULL)
    damaged = encoded[:start] + junk + encoded[start + length :]
    with suppress(LogError):
        assert encode(decode(damaged)) == damaged


def test_a_kind_of_a_later_release_is_kept_as_its_number() -> None:
    later = encode(replace(PLAIN, kind=250))
    assert decode(later).kind == 250
    assert encode(decode(later)) == later


def test_numbers_of_kinds_are_unique_and_some_are_sealed_at_once() -> None:
    assert len({kind.value for kind in Kind}) == len(Kind)
    assert Kind.DOOR_FORCED in CRITICAL
    assert Kind.DENIED not in CRITICAL
