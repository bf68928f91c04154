"""What the collector takes, and what it does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from edge.audit.checkpoint import Checkpoint, Head, key_id
from edge.audit.tree import leaf_hash
from edge.sync.batch import Batch, bare, pack, unpack
from edge.sync.checked import Tampered
from edge.sync.received import Received, Taken, counted
from edge.sync.simulated import SimulatedLog

ORIGIN = "urn:gate:demo:lobby:gate-1"


@pytest.fixture
def log() -> SimulatedLog:
    made = SimulatedLog(ORIGIN)
    made.grow(100, 20)
    return made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Received]:
    made = Received(tmp_path / "received.db")
    yield made
    made.close()


def batch(log: SimulatedLog, first: int, end: int, checkpoint: bytes | None = None) -> Batch:
    return Batch(log.origin, 1, first, tuple(log.read(first, end - first)), (checkpoint,) if checkpoint else ())


def take(store: Received, log: SimulatedLog, what: Batch) -> Taken:
    with store.committed():
        return store.take(what, log.point)


def test_the_tree_is_the_gates_tree(store: Received, log: SimulatedLog) -> None:
    for first in range(0, 100, 30):
        end = min(100, first + 30)
        taken = take(store, log, batch(log, first, end))
        assert taken.known.tree.root() == log.root(end)


def test_a_gap_at_the_very_beginning_is_not_acknowledged_away(store: Received, log: SimulatedLog) -> None:
    taken = take(store, log, batch(log, 20, 40))
    assert taken.gap
    assert taken.known.tree.size == 0
    assert take(store, log, batch(log, 0, 20)).known.tree.size == 20


def test_a_gap_in_the_middle_is_not_taken(store: Received, log: SimulatedLog) -> None:
    take(store, log, batch(log, 0, 20))
    assert take(store, log, batch(log, 21, 40)).known.tree.size == 20


def test_what_comes_twice_is_kept_once(store: Received, log: SimulatedLog) -> None:
    take(store, log, batch(log, 0, 50))
    taken = take(store, log, batch(log, 30, 70))
    assert (taken.new, taken.again, taken.known.tree.size) == (20, 20, 70)
    assert taken.known.tree.root() == log.root(70)


def test_it_is_all_there_after_a_restart(store: Received, log: SimulatedLog, tmp_path: Path) -> None:
    take(store, log, batch(log, 0, 20, log.checkpoints[0].encode()))
    store.close()
    again = Received(tmp_path / "received.db")
    taken = take(again, log, batch(log, 20, 40, log.checkpoints[1].encode()))
    again.close()
    assert (taken.known.tree.size, taken.known.sealed.size) == (40, 40)
    assert counted(tmp_path / "received.db") == {ORIGIN: 40}


def test_many_small_messages_between_two_commits_are_held_against_each_other(
    store: Received, log: SimulatedLog, tmp_path: Path
) -> None:
    other = SimulatedLog("urn:gate:demo:lobby:gate-2")
    other.grow(10)
    first, second = (checkpoint.encode() for checkpoint in log.checkpoints[:2])
    with store.committed():
        store.expect([(ORIGIN, 1), (other.origin, 1)])
        for number in range(45):
            store.take(batch(log, number, number + 1), log.point)
            store.take(batch(other, number % 10, number % 10 + 1), other.point)  # most of them again
        store.take(Batch(ORIGIN, 1, 45, (), (first,)), log.point)  # over entries that no commit has seen yet
        store.take(Batch(ORIGIN, 1, 45, (), (first, second)), log.point)
        with pytest.raises(Tampered, match="fork: entry 7"):
            store.take(Batch(ORIGIN, 1, 7, (log.read(8, 1)[0],)), log.point)
    again = Received(tmp_path / "received.db")
    with again.committed():
        known = again.known(ORIGIN, 1)
        assert (known.tree.root(), known.sealed.root()) == (log.root(45), log.root(40))
        assert again.known(other.origin, 1).tree.root() == other.root(10)
    again.close()


def test_another_entry_at_the_same_place_is_a_fork(store: Received, log: SimulatedLog) -> None:
    take(store, log, batch(log, 0, 50))
    forged = list(log.read(40, 20))
    forged[5] = forged[5][:-1] + b"\x00"
    with pytest.raises(Tampered, match="fork: entry 45"):
        take(store, log, Batch(ORIGIN, 1, 40, tuple(forged)))
    assert take(store, log, batch(log, 50, 60)).known.tree.size == 60


def test_an_entry_under_another_number_is_refused(store: Received, log: SimulatedLog) -> None:
    with pytest.raises(Tampered, match="says that it is entry 7"):
        take(store, log, Batch(ORIGIN, 1, 0, (log.read(7, 1)[0],)))


def test_what_is_no_entry_is_refused(store: Received, log: SimulatedLog) -> None:
    with pytest.raises(Tampered, match="entry 0: not"):
        take(store, log, Batch(ORIGIN, 1, 0, (b"\xa0",)))


@pytest.mark.parametrize("number", [2**63, 10**5000], ids=["64 bits", "a lot"])
def test_numbers_without_end_are_refused_like_anything_else(store: Received, log: SimulatedLog, number: int) -> None:
    """Nobody's signature is needed to send them: they may not end the collector."""
    entry = cbor2.dumps(cbor2.loads(log.read(0, 1)[0]) | {1: number}, canonical=True)
    head = Head(ORIGIN, 1, number, bytes(32), 0, b"", 0)
    for entries, checkpoints in (
        ((entry,), ()),
        ((), (Checkpoint(head, key_id(log.point), (), bytes(64)).encode(),)),
    ):
        with pytest.raises(Tampered):
            take(store, log, unpack(pack(Batch(ORIGIN, 1, 0, entries, checkpoints))))
    assert take(store, log, batch(log, 0, 20)).known.tree.size == 20


def test_what_the_gate_has_pruned_keeps_its_place_by_its_hash(store: Received, log: SimulatedLog) -> None:
    entries, hashed = log.read(0, 100), [bare(leaf_hash(entry)) for entry in log.read(0, 100)]
    take(store, log, Batch(ORIGIN, 1, 0, tuple(entries[:10])))
    mixed = (*hashed[5:30], *entries[30:60])
    taken = take(store, log, Batch(ORIGIN, 1, 5, mixed, tuple(one.encode() for one in log.checkpoints[:2])))
    assert (taken.new, taken.again, taken.bare, taken.known.sealed.size) == (50, 5, 20, 40)
    again = take(store, log, Batch(ORIGIN, 1, 0, tuple(entries), tuple(one.encode() for one in log.checkpoints)))
    assert (again.new, again.bare, again.known.sealed.size) == (40, 0, 100)
    assert again.known.tree.root() == log.root(100)
    with pytest.raises(Tampered, match="fork: entry 7"):
        take(store, log, Batch(ORIGIN, 1, 7, (hashed[8],)))


@pytest.mark.parametrize("late", [False, True], ids=["with its entries", "after them"])
def test_a_right_checkpoint_is_kept(store: Received, log: SimulatedLog, late: bool) -> None:
    first, second = (checkpoint.encode() for checkpoint in log.checkpoints[:2])
    if late:
        take(store, log, batch(log, 0, 100))
        take(store, log, Batch(ORIGIN, 1, 100, (), (first,)))
        taken = take(store, log, Batch(ORIGIN, 1, 100, (), (second,)))
    else:
        take(store, log, batch(log, 0, 20, first))
        taken = take(store, log, batch(log, 20, 40, second))
    assert taken.known.sealed.size == 40
    assert take(store, log, Batch(ORIGIN, 1, 40, (), (second,))).known.sealed.size == 40


def test_several_checkpoints_come_with_their_entries(store: Received, log: SimulatedLog) -> None:
    encoded = [checkpoint.encode() for checkpoint in log.checkpoints]
    take(store, log, batch(log, 0, 30))
    taken = take(store, log, Batch(ORIGIN, 1, 30, tuple(log.read(30, 70)), tuple(encoded)))
    assert (taken.known.tree.size, taken.known.sealed.size) == (100, 100)
    again = take(store, log, Batch(ORIGIN, 1, 100, (), tuple(encoded)))
    assert again.known.sealed.size == 100


def test_one_bad_checkpoint_among_several_takes_nothing(store: Received, log: SimulatedLog) -> None:
    encoded = [checkpoint.encode() for checkpoint in log.checkpoints]
    with pytest.raises(Tampered):
        take(store, log, Batch(ORIGIN, 1, 0, tuple(log.read(0, 100)), (encoded[0], encoded[2])))
    assert take(store, log, batch(log, 0, 10)).known.sealed.size == 0


def test_a_checkpoint_of_another_key_is_refused(store: Received, log: SimulatedLog) -> None:
    other = SimulatedLog(ORIGIN, ec.generate_private_key(ec.SECP256R1()))
    other.grow(20, 20)
    with pytest.raises(Tampered, match="another key"):
        take(store, log, batch(log, 0, 20, other.checkpoints[0].encode()))
    assert take(store, log, batch(log, 0, 20)).new == 20


def test_a_checkpoint_over_other_entries_is_refused(store: Received, log: SimulatedLog) -> None:
    rewritten = SimulatedLog(ORIGIN, log.key)
    rewritten.grow(19)
    rewritten.origin = ORIGIN + "x"
    rewritten.grow(1)
    rewritten.origin = ORIGIN
    rewritten.seal()
    with pytest.raises(Tampered, match="another root"):
        take(store, log, batch(log, 0, 20, rewritten.checkpoints[0].encode()))


def test_a_log_that_goes_back_and_grows_again_is_a_fork(store: Received, log: SimulatedLog) -> None:
    take(store, log, batch(log, 0, 40, log.checkpoints[0].encode()))
    take(store, log, Batch(ORIGIN, 1, 40, (), (log.checkpoints[1].encode(),)))
    forked = SimulatedLog(ORIGIN, log.key)
    forked.grow(20, 20)
    forked.grow(40)
    forked.seal()  # signed by the real token, over a log that forgot checkpoint 40
    with pytest.raises(Tampered, match="names another predecessor"):
        take(store, log, batch(forked, 40, 60, forked.checkpoints[-1].encode()))


def test_a_checkpoint_left_out_is_noticed(store: Received, log: SimulatedLog) -> None:
    with pytest.raises(Tampered, match="names another predecessor"):
        take(store, log, batch(log, 0, 40, log.checkpoints[1].encode()))


def test_a_checkpoint_ahead_of_the_entries_is_refused(store: Received, log: SimulatedLog) -> None:
    with pytest.raises(Tampered, match="ahead of the entries"):
        take(store, log, batch(log, 0, 10, log.checkpoints[0].encode()))


def test_nothing_of_a_broken_commit_stays(store: Received, log: SimulatedLog) -> None:
    with pytest.raises(RuntimeError), store.committed():
        store.take(batch(log, 0, 20), log.point)
        raise RuntimeError
    assert take(store, log, batch(log, 0, 10)).known.tree.size == 10


def test_epochs_are_logs_of_their_own(store: Received, log: SimulatedLog) -> None:
    take(store, log, batch(log, 0, 20))
    second = SimulatedLog(ORIGIN, log.key, epoch=2)
    second.grow(5)
    taken = take(store, second, replace(batch(second, 0, 5), epoch=2))
    assert taken.known.tree.size == 5
