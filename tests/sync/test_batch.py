"""What travels: topics, batches, acknowledgements."""

from __future__ import annotations

import contextlib
import zlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import Refusal
from edge.sync.batch import BYTES, ENTRIES, Ack, Batch, fitting, pack, sign, unpack, verify
from edge.sync.topics import Address, addressed
from edge.trust import cbor

KEY = ec.generate_private_key(ec.SECP256R1())
BATCH = Batch("urn:gate:demo:lobby:gate-1", 1, 40, (b"one", b"two"), (b"checkpoint", b"another"))
ACK = Ack("urn:gate:demo:lobby:gate-1", 1, 42, bytes(32), 42, b"12345678")
PACKED, SIGNED = pack(BATCH), sign(ACK, KEY)


def test_a_batch_comes_out_as_it_went_in() -> None:
    assert unpack(PACKED) == BATCH
    without = Batch(BATCH.origin, 1, 0, (b"x",))
    assert unpack(pack(without)) == without


def test_an_acknowledgement_comes_out_as_it_went_in() -> None:
    assert verify(SIGNED, KEY.public_key()) == ACK


def test_an_acknowledgement_of_somebody_else_is_refused() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(Refusal, match="not signed by the collector"):
        verify(sign(ACK, other), KEY.public_key())


@given(st.data())
def test_one_stretch_replaced_gives_a_batch_or_a_refusal(data: st.DataObject) -> None:
    plain = zlib.decompress(PACKED)
    start = data.draw(st.integers(0, len(plain)))
    end = data.draw(st.integers(start, min(len(plain), start + 8)))
    changed = plain[:start] + data.draw(st.binary(max_size=12)) + plain[end:]
    with contextlib.suppress(Refusal):
        assert isinstance(unpack(zlib.compress(changed)), Batch)


@given(st.integers(0, len(SIGNED) - 1), st.integers(1, 255))
def test_an_acknowledgement_with_one_byte_changed_is_refused(at: int, change: int) -> None:
    changed = SIGNED[:at] + bytes([SIGNED[at] ^ change]) + SIGNED[at + 1 :]
    with pytest.raises(Refusal):
        verify(changed, KEY.public_key())


@given(st.binary(max_size=300))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(Refusal):
        unpack(noise)
    with pytest.raises(Refusal):
        verify(noise, KEY.public_key())


@pytest.mark.parametrize(
    "received",
    [
        zlib.compress(bytes(100_000_000)),  # a bomb
        PACKED + b"behind",
        PACKED[:-3],
        zlib.compress(cbor.encode([BATCH.origin, 1, 0, [b"x"] * (ENTRIES + 1)])),
        zlib.compress(cbor.encode([BATCH.origin, 1, -1, [b"x"]])),
        zlib.compress(cbor.encode([BATCH.origin, True, 0, [b"x"]])),
        zlib.compress(cbor.encode([BATCH.origin, 1, 0, ["text"]])),
        zlib.compress(cbor.encode([BATCH.origin, 1, 0])),
        bytes(300_000),
    ],
)
def test_a_batch_beyond_the_rules_is_refused(received: bytes) -> None:
    with pytest.raises(Refusal):
        unpack(received)


def test_batches_are_cut_by_number_and_by_bytes() -> None:
    assert fitting([]) == 0
    assert fitting([b"x"] * 500) == ENTRIES
    assert fitting([bytes(BYTES // 2)] * 3) == 2
    assert fitting([bytes(BYTES + 1), b"x"]) == 1


def test_a_topic_names_one_gate() -> None:
    address = Address("demo", "lobby", "gate-1")
    assert addressed(address.topic("evt"), "evt") == address
    assert addressed(address.topic("cmd/res"), "cmd/res") == address


@pytest.mark.parametrize(
    "topic",
    [
        "gates/v1/demo/lobby/evt",
        "gates/v1/demo/lobby/gate-1/x/evt",
        "gates/v1/demo/../gate-1/evt",
        "gates/v1/demo/lobby/gate\x00/evt",
        "gates/v1/demo/lobby/+/evt",
        "gates/v1/a//c/evt",
        "gates/v1/demo/lobby/" + "x" * 65 + "/evt",
        "other/demo/lobby/gate-1/evt",
        "",
    ],
)
def test_other_topics_name_none(topic: str) -> None:
    assert addressed(topic, "evt") is None


def test_a_name_with_a_wildcard_is_no_gate() -> None:
    with pytest.raises(ValueError, match="cannot be part of a topic"):
        Address("demo", "lobby", "#")
