"""CBOR has one reading or none."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import Reason, Refusal
from edge.trust.cbor import Tagged, decode, encode

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.floats(allow_nan=False) | st.binary() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.integers(-99, 99) | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_written_is_read_here_and_by_the_oracle(value: object) -> None:
    written = encode(value)
    assert decode(written, depth=64) == value
    assert cbor2.loads(written) == value


@given(st.binary(max_size=60))
def test_what_is_read_is_what_the_oracle_reads(data: bytes) -> None:
    try:
        value = decode(data)
    except Refusal:
        return
    if b"\xf7" not in data and b"\xc0" not in data and b"\xc1" not in data and b"\xd8" not in data:
        assert repr(cbor2.loads(data)) == repr(value)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("", Reason.UNREADABLE),
        ("18", Reason.UNREADABLE),
        ("190", Reason.UNREADABLE),
        ("1b00", Reason.UNREADABLE),
        ("41", Reason.UNREADABLE),
        ("6261", Reason.UNREADABLE),
        ("61ff", Reason.UNREADABLE),
        ("0000", Reason.UNREADABLE),
        ("a201020103", Reason.UNREADABLE),
        ("a2010218010 3", Reason.UNREADABLE),
        ("a1f501", Reason.UNREADABLE),
        ("a1fb3ff000000000000001", Reason.UNREADABLE),
        ("a1f97e0001", Reason.UNREADABLE),
        ("a14101 01", Reason.UNREADABLE),
        ("a18001", Reason.UNREADABLE),
        ("5f4101ff", Reason.UNREADABLE),
        ("9f01ff", Reason.UNREADABLE),
        ("1c", Reason.UNREADABLE),
        ("ff", Reason.UNREADABLE),
        ("e0", Reason.UNREADABLE),
        ("f814", Reason.UNREADABLE),
        ("f8ff", Reason.UNREADABLE),
        ("c201", Reason.UNREADABLE),
        ("d81801", Reason.UNREADABLE),
        ("9bffffffffffffffff", Reason.UNREADABLE),
        ("bb7fffffffffffffff", Reason.UNREADABLE),
        ("818181818181818181818100", Reason.TOO_LARGE),
        ("c1c1c1c1c1c1c1c1c1c100", Reason.TOO_LARGE),
        ("990801" + "00" * 2049, Reason.TOO_LARGE),
    ],
)
def test_what_has_no_single_reading_is_refused(written: str, reason: Reason) -> None:
    raw = bytes.fromhex(written.replace(" ", "")) if len(written.replace(" ", "")) % 2 == 0 else b"\x19\x00"
    with pytest.raises(Refusal) as caught:
        decode(raw)
    assert caught.value.reason is reason


def test_long_integers_are_legal() -> None:
    assert decode(bytes.fromhex("1b0000000000000001")) == 1
    assert decode(bytes.fromhex("b90001190001f5")) == {1: True}


def test_oddities_are_read_where_notes_are_kept() -> None:
    notes: set[str] = set()
    assert decode(bytes.fromhex("bf015f4101420203ffff"), notes=notes) == {1: b"\x01\x02\x03"}
    assert decode(bytes.fromhex("9f7f6161ffff"), notes=notes) == ["a"]
    assert notes == {"indefinite"}
    for broken in ("bf01ff", "bf01020103ff", "5f6161ff", "5f5f4101ffff", "9f", "bf8001ff"):
        with pytest.raises(Refusal):
            decode(bytes.fromhex(broken), notes=notes)
    assert decode(b"\x01\x02", notes=notes) == 1
    assert notes == {"indefinite", "trailing"}


def test_tags_are_kept_not_interpreted() -> None:
    assert decode(bytes.fromhex("c11a514b67b0")) == Tagged(1, 1363896240)
    assert encode(Tagged(61, [1])) == bytes.fromhex("d83d8101")


def test_what_has_no_form_is_not_written() -> None:
    with pytest.raises(TypeError):
        encode({1: object()})
    with pytest.raises(ValueError, match="64 bits"):
        encode(2**64)
