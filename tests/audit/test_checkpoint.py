"""A checkpoint says what was signed, and the signer signs nothing else."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.audit.checkpoint import Checkpoint, Head, key_id, parse, parse_statement, statement
from edge.audit.entry import LogError, Quality
from edge.audit.sealing import Guard
from edge.audit.tree import Frontier, consistency, leaf_hash

ORIGIN = "urn:gate:test:site:gate"
KEY = ec.derive_private_key(99, ec.SECP256R1())
POINT = KEY.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
KID = key_id(POINT)


def heads() -> tuple[Head, Head, tuple[bytes, ...]]:
    nodes: dict[tuple[int, int], bytes] = {}
    frontiers = [Frontier()]
    for index in range(20):
        frontier, done = frontiers[-1].append(leaf_hash(b"%d" % index))
        nodes |= {(level, index >> level): node for level, node in enumerate(done)}
        frontiers.append(frontier)
    first = Head(ORIGIN, 1, 7, frontiers[7].root(), 0, b"", 1_700_000_000, Quality.SYNCED, 2, 7)
    second = Head(ORIGIN, 1, 20, frontiers[20].root(), 7, sign(first).digest, 1_700_000_060, Quality.FLOOR, 3, 13)
    return first, second, consistency(7, 20, lambda level, index: nodes[level, index])


def sign(head: Head, path: tuple[bytes, ...] = ()) -> Checkpoint:
    r, s = decode_dss_signature(KEY.sign(statement(head, KID), ec.ECDSA(hashes.SHA256())))
    return Checkpoint(head, KID, path, r.to_bytes(32) + s.to_bytes(32))


FIRST, SECOND, PATH = heads()


def test_a_checkpoint_is_read_as_it_was_written() -> None:
    for checkpoint in (sign(FIRST), sign(SECOND, PATH)):
        again = parse(checkpoint.encode())
        assert again == checkpoint
        again.verify(POINT)
        assert parse_statement(again.statement) == (checkpoint.head, KID)


def test_it_is_a_cose_sign1_and_an_rfc_9942_consistency_receipt() -> None:
    tagged = cbor2.loads(sign(SECOND, PATH).encode())
    protected, unprotected, payload, signature = tagged.value
    header = cbor2.loads(protected)
    assert (tagged.tag, header[1], header[395], header[4], len(signature)) == (18, -7, 1, KID, 64)
    assert header[15] == {1: ORIGIN, 2: "epoch/1", 6: SECOND.at_s}
    assert header[-70000][:3] == [20, 7, sign(FIRST).digest]
    assert cbor2.loads(unprotected[396][-2][0])[:2] == [7, 20]
    assert payload == SECOND.root
    assert sign(FIRST).text().splitlines()[:2] == [f"{ORIGIN}/epoch/1", "7"]


def test_each_follows_the_one_before() -> None:
    first, second = sign(FIRST), sign(SECOND, PATH)
    first.follows(None)
    second.follows(first)
    for wrong in (
        replace(second, head=replace(SECOND, previous_size=6)),
        replace(second, head=replace(SECOND, previous_digest=bytes(32))),
        replace(second, head=replace(SECOND, root=bytes(32))),
        replace(second, path=PATH[:-1]),
    ):
        with pytest.raises(LogError):
            wrong.follows(first)
    with pytest.raises(LogError):
        second.follows(None)


def test_a_checkpoint_may_travel_without_its_consistency_proof_but_follows_nothing_then() -> None:
    bare = parse(sign(SECOND, PATH).bare().encode())
    bare.verify(POINT)
    assert (bare.path, bare.digest) == (None, sign(SECOND, PATH).digest)
    with pytest.raises(LogError, match="no consistency proof"):
        bare.follows(sign(FIRST))


def test_receipts_and_a_malleated_signature_leave_the_digest_alone() -> None:
    first = sign(FIRST)
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    other_s = order - int.from_bytes(first.signature[32:])
    malleated = replace(first, signature=first.signature[:32] + other_s.to_bytes(32))
    malleated.verify(POINT)
    assert malleated.digest == first.digest == first.with_extra(394, [b"receipt"]).digest
    assert parse(first.with_extra(394, [b"receipt"]).encode()).extras == ((394, (b"receipt",)),)


def test_a_wrong_signature_or_key_is_refused() -> None:
    with pytest.raises(LogError):
        replace(sign(FIRST), signature=bytes(64)).verify(POINT)
    other = ec.derive_private_key(98, ec.SECP256R1()).public_key()
    point = other.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    with pytest.raises(LogError):
        sign(FIRST).verify(point)


def rebuilt(part: int, value: Any) -> bytes:
    parts = list(cbor2.loads(sign(SECOND, PATH).encode()).value)
    parts[part] = value
    return cbor2.dumps(cbor2.CBORTag(18, parts), canonical=True)


def test_malformed_checkpoints_are_refused() -> None:
    good = sign(SECOND, PATH).encode()
    header = cbor2.loads(cbor2.loads(good).value[0])
    wrong_headers = [
        {**header, 1: -8},
        {**header, 2: [1]},
        {**header, 395: 2},
        {**header, -70000: [20, 20, b"", 0, 0, 0, 0]},
        {**header, -70000: [20, 7]},
        {**header, -70000: [20, 7, b"short", 0, 0, 0, 0]},
        {**header, 15: {1: ORIGIN, 2: "epoch/x", 6: 1}},
        {**header, 15: {1: ORIGIN, 2: "epoch/01", 6: SECOND.at_s}},
        {**header, 15: {1: ORIGIN, 2: "epoch/-1", 6: SECOND.at_s}},
        {**header, 4: b"long key id"},
        [],
    ]
    wrong = [rebuilt(0, cbor2.dumps(one, canonical=True)) for one in wrong_headers]
    wrong += [rebuilt(0, header), rebuilt(1, []), rebuilt(2, None), rebuilt(2, bytes(31))]
    wrong += [rebuilt(3, bytes(63)), rebuilt(1, {396: {-2: [b"junk"]}}), rebuilt(1, {"text": 1})]
    proof = cbor2.dumps([6, 20, list(PATH)], canonical=True)
    wrong += [rebuilt(1, {396: {-2: [proof]}}), b"", good[:-1], cbor2.dumps([1, 2, 3, 4])]
    for encoded in wrong:
        with pytest.raises(LogError):
            parse(encoded)


@settings(max_examples=200)
@given(st.integers(0, 600), st.integers(0, 100), st.binary(max_size=8))
def test_damage_gives_a_log_error_and_nothing_else(start: int, length: int, junk: bytes) -> None:
    good = sign(SECOND, PATH).encode()
    with suppress(LogError):
        parse(good[:start] + junk + good[start + length :])


@pytest.mark.parametrize("number", [2**63, 2**64], ids=["64 bits", "65"])
@pytest.mark.parametrize("which", ["epoch", "size", "at_s", "boot", "longest_tail", "oldest_body"])
def test_a_checkpoint_says_no_number_that_no_database_keeps(which: str, number: int) -> None:
    told: dict[str, Any] = {which: number}
    with pytest.raises(LogError):
        parse(replace(sign(FIRST), head=replace(FIRST, **told)).encode())


def test_the_guard_admits_only_what_continues() -> None:
    guard = Guard(ORIGIN, KID)
    guard.admit(statement(FIRST, KID))
    guard.signed(statement(FIRST, KID))
    guard.admit(statement(SECOND, KID))
    fresh = replace(SECOND, epoch=2, size=1, previous_size=0)
    guard.admit(statement(fresh, KID))
    for refused in (
        FIRST,
        replace(SECOND, size=7, previous_size=0),
        replace(SECOND, previous_digest=bytes(32)),
        replace(SECOND, previous_size=3),
        replace(SECOND, origin="urn:gate:other"),
        replace(fresh, previous_size=0, previous_digest=b""),
    ):
        with pytest.raises(LogError):
            guard.admit(statement(refused, KID))
    for junk in (b"", b"anything", statement(SECOND, bytes(8)), statement(SECOND, KID) + b"\x00"):
        with pytest.raises(LogError):
            guard.admit(junk)
