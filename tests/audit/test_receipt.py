"""The text that a refused person takes away: proves the entry, tells nothing about the person."""

from __future__ import annotations

import asyncio
import base64
import random
import string
from dataclasses import replace
from pathlib import Path

import cbor2
import numpy as np
import pytest
import segno
import zxingcpp
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from edge.app.seal import policy_of
from edge.audit.checkpoint import Checkpoint, Head, key_id, statement
from edge.audit.entry import Kind, LogError
from edge.audit.proof import Proof
from edge.audit.receipt import LIMIT, PREFIX, number_of, read, text_of
from edge.audit.sealing import Tail, due_in
from edge.audit.tree import Frontier, inclusion, leaf_hash
from edge.devices.simulated_token import SimulatedToken
from edge.settings import Seal, load

ROOT = Path(__file__).resolve().parents[2]
ORIGIN = "urn:gate:example:main-building:north-1"
KEY = ec.derive_private_key(12345, ec.SECP256R1())
POINT = SimulatedToken(ORIGIN, KEY).enrolled


def proof_of(index: int, size: int) -> Proof:
    """A blind proof out of a tree of so many leaves."""
    nodes: dict[tuple[int, int], bytes] = {}
    frontier = Frontier()
    for number in range(size):
        frontier, done = frontier.append(leaf_hash(b"entry %d" % number))
        nodes |= {(level, number >> level): node for level, node in enumerate(done)}
    head = Head(ORIGIN, 1, size, frontier.root(), 0, b"", at_s=1_780_000_000)
    kid = key_id(POINT)
    signature = asyncio.run(SimulatedToken(ORIGIN, KEY).sign(statement(head, kid)))
    path = inclusion(index, size, lambda level, place: nodes[level, place])
    return Proof(index, nodes[0, index], None, path, Checkpoint(head, kid, None, signature))


@pytest.mark.parametrize(("index", "size"), [(0, 1), (0, 2), (6, 7), (40, 100), (1023, 1024), (1024, 1025)])
def test_a_receipt_is_read_back_and_holds(index: int, size: int) -> None:
    proof = proof_of(index, size)
    again = read(text_of(proof))
    assert again == proof
    assert again.verify(POINT) is None
    assert number_of(again).startswith(f"1-{index}-")


def test_a_receipt_of_a_long_log_fits_a_code_that_a_telephone_reads() -> None:
    proof = proof_of(77, 100)
    longest = replace(proof, path=tuple(bytes(32) for _ in range(20)))  # a million entries
    text = text_of(longest)
    assert len(text) < 1700
    code = segno.make_qr(text, error="l", boost_error=False)
    assert code.mode == "alphanumeric"
    assert int(code.version) <= 25
    shown = np.array([list(row) for row in code.matrix_iter(scale=3, border=4)], np.uint8)
    (seen,) = zxingcpp.read_barcodes(255 * (1 - shown))
    assert seen.text == text


def test_another_word_for_the_same_receipt_is_none() -> None:
    text = text_of(proof_of(3, 9))
    for wrong in (
        "",
        PREFIX,
        text.lower(),
        text + "A",
        text + "\n",
        text[:-1],
        text.removeprefix(PREFIX),
        text + "=" * 3,
    ):
        with pytest.raises(LogError):
            read(wrong)
    with pytest.raises(LogError):
        read(PREFIX + "A" * LIMIT)


def test_a_receipt_with_anything_changed_does_not_hold() -> None:
    text, chance = text_of(proof_of(40, 100)), random.Random(1)
    held = 0
    for _ in range(300):
        place = chance.randrange(len(PREFIX), len(text))
        letter = chance.choice((string.ascii_uppercase + "234567").replace(text[place], ""))
        try:
            read(text[:place] + letter + text[place + 1 :]).verify(POINT)
            held += 1
        except LogError:
            continue
    assert held == 0


@given(st.binary(max_size=200))
def test_nonsense_is_no_receipt(nonsense: bytes) -> None:
    for packed in (nonsense, cbor2.dumps([0, nonsense, nonsense, nonsense, nonsense])):
        with pytest.raises(LogError):
            read(PREFIX + base64.b32encode(packed).decode().rstrip("="))


def test_refusals_are_sealed_at_once_only_where_receipts_are_given() -> None:
    assert not load(ROOT / "config" / "edge.toml").seal.receipts
    for receipts in (False, True):
        policy = policy_of(Seal(64, 60, 5, receipts))
        assert (Kind.DENIED in policy.at_once) is receipts
        assert Kind.OVERRIDE in policy.at_once
    assert due_in(policy, Tail(1, 0, critical=True), None, 1) == 0


def test_what_goes_out_is_sealed_with_it_and_never_more_often_than_every_few_seconds() -> None:
    seal = Seal(64, 60, 5)
    kept, sent = policy_of(seal), policy_of(seal, sending=True)
    waiting = Tail(3, 100.0, critical=False)
    assert due_in(kept, waiting, None, 105.0) == 55
    assert due_in(sent, waiting, None, 105.0) == 0
    assert due_in(sent, waiting, 103.0, 105.0) == 3
    assert due_in(sent, Tail(0, 0.0, critical=False), None, 105.0) is None
