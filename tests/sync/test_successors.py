"""A gate's key is replaced, and the collector follows without being told."""

from __future__ import annotations

import sqlite3
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge.audit.checkpoint import Checkpoint, Head, key_id, statement
from edge.audit.entry import Entry, Kind, Quality, encode
from edge.audit.succession import succeeded, succession_statement
from edge.audit.tree import Frontier, consistency, leaf_hash, root_of
from edge.sync.batch import Batch
from edge.sync.checked import Keys, Tampered, signed
from edge.sync.received import Received

ORIGIN = "urn:gate:demo:lobby:gate-1"


class Key:
    """A token's key."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.point = self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.kid = key_id(self.point)

    def sign(self, signed: bytes) -> bytes:
        r, s = decode_dss_signature(self.key.sign(signed, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)


class Log:
    """One epoch of a gate's log, sealed by whichever key is told to."""

    def __init__(self, epoch: int = 1, before: Checkpoint | None = None) -> None:
        self.epoch, self.entries, self.sealed = epoch, list[bytes](), list[Checkpoint]()
        self._last = before
        self._nodes: dict[tuple[int, int], bytes] = {}
        self._tree = Frontier()

    def write(self, kind: Kind = Kind.DENIED, **fields: str | bytes) -> None:
        index = len(self.entries)
        self.entries.append(encode(Entry(index, self.epoch, 1, Quality.FLOOR, 1, 1, kind, "gate-1", fields)))
        self._tree, made = self._tree.append(leaf_hash(self.entries[-1]))
        self._nodes |= {(level, index >> level): node for level, node in enumerate(made)}

    def seal(self, by: Key, countersigned: Key | None = None) -> None:
        size, last = len(self.entries), self._last
        older = 0 if last is None or last.head.epoch != self.epoch else last.head.size

        def node(level: int, number: int) -> bytes:
            return self._nodes[level, number]

        head = Head(ORIGIN, self.epoch, size, root_of(size, node), older, b"" if last is None else last.digest, 1)
        made = Checkpoint(head, by.kid, consistency(older, size, node), by.sign(statement(head, by.kid)))
        if countersigned is not None:
            old = countersigned
            made = succeeded(made, old.kid, old.sign(succession_statement(made, old.kid)))
        self.sealed.append(made)
        self._last = made

    def introduce(self, old: Key, new: Key, countersigned: Key | None) -> None:
        """As ``edge token rotate`` does it."""
        self.write(Kind.KEY_ROTATION, key="introduced", kid=new.kid, point=new.point)
        self.seal(old)
        self.write(Kind.KEY_ROTATION, key="in-force", kid=new.kid, point=new.point)
        self.seal(new, countersigned)


@pytest.fixture
def take(tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Give a collector, started anew each time, so much of a log; how much of it is sealed then."""

    def given(log: Log, enrolled: Key, first: int = 0, end: int | None = None, sealed: slice = slice(None)) -> int:
        store = Received(tmp_path / "received.db")
        heads = tuple(one.encode() for one in log.sealed[sealed])
        try:
            with store.committed():
                entries = tuple(log.entries[first:end])
                return store.take(Batch(ORIGIN, log.epoch, first, entries, heads), enrolled.point).known.sealed.size
        finally:
            store.close()

    yield given


@pytest.fixture
def keys() -> list[Key]:
    return [Key() for _ in range(3)]


@pytest.fixture
def log(keys: list[Key]) -> Log:
    """Three entries, a key that goes over to another one (5), and three entries more (8)."""
    made, (old, new, _) = Log(), keys
    for _ in range(3):
        made.write()
    made.seal(old)
    made.introduce(old, new, countersigned=old)
    for _ in range(3):
        made.write()
    made.seal(new)
    return made


Take = Callable[..., int]


@pytest.mark.parametrize("at_once", [True, False])
def test_the_successor_of_the_enrolled_key_is_followed(take: Take, keys: list[Key], log: Log, at_once: bool) -> None:
    if at_once:
        assert take(log, keys[0]) == 8
    else:
        assert take(log, keys[0], 0, 4, slice(0, 2)) == 4
        assert take(log, keys[0], 4, 5, slice(2, 3)) == 5
        assert take(log, keys[0], 5, 8, slice(3, 4)) == 8
    log.introduce(keys[1], keys[2], countersigned=keys[1])
    assert take(log, keys[0], 8, None, slice(4, None)) == 10


@pytest.mark.parametrize("there", [0, 3, 4, 5])
def test_the_successor_may_be_enrolled_at_any_time(take: Take, keys: list[Key], log: Log, there: int) -> None:
    """What the old key sealed and is on its way counts, as long as it leads to the new one."""
    sealed = {0: 0, 3: 1, 4: 2, 5: 3}[there]
    if there:
        assert take(log, keys[0], 0, there, slice(0, sealed)) == there
        assert take(log, keys[1], there, None, slice(sealed, None)) == 8
        assert take(log, keys[0], 8, 8, slice(0, 0)) == 8
    else:
        with pytest.raises(Tampered, match="another key"):  # nobody ever said that the old one is this gate's
            take(log, keys[1])


def test_the_old_key_counts_no_further_than_to_its_successor(take: Take, keys: list[Key]) -> None:
    old, new, _ = keys
    log = Log()
    for _ in range(2):
        log.write()
        log.seal(old)
    assert take(log, old, 0, 1, slice(0, 1)) == 1
    with pytest.raises(Tampered, match="another key, which was enrolled before: enrol it again"):
        take(log, new, 1, 2, slice(1, 2))
    assert take(log, old, 1, 2, slice(1, 2)) == 2


def test_a_key_may_come_back_in_order(take: Take, keys: list[Key], log: Log) -> None:
    old, new, _ = keys
    log.introduce(new, old, countersigned=new)
    assert take(log, old) == 10
    for by, good in ((new, False), (old, True)):
        following = Log(2, log.sealed[-1])
        following.write(Kind.BOOT)
        following.seal(by)
        if good:
            assert take(following, old) == 1
        else:
            with pytest.raises(Tampered, match="another key"):
                take(following, old)


@pytest.mark.parametrize("what", ["not countersigned", "countersigned by itself", "not introduced", "goes back"])
def test_no_other_key_is_followed(take: Take, keys: list[Key], what: str) -> None:
    old, new, other = keys
    log = Log()
    log.write()
    log.seal(old)
    match what:
        case "not countersigned":
            log.introduce(old, new, None)
        case "countersigned by itself":
            log.introduce(old, new, new)
        case "not introduced":
            log.write()
            log.seal(other, old)
        case "goes back":
            log.introduce(old, new, old)
            log.write()
            log.seal(old)
    with pytest.raises(Tampered, match=r"without the old one|another key"):
        take(log, old)
    assert take(log, old, 0, 1, slice(0, 1)) == 1


def test_a_key_that_was_succeeded_begins_no_epoch(take: Take, keys: list[Key], log: Log) -> None:
    old, new, other = keys
    assert take(log, old) == 8
    for by, good in ((old, False), (other, False), (new, True)):
        following = Log(2, log.sealed[-1])
        following.write(Kind.BOOT)
        following.seal(by)
        if good:
            assert take(following, old) == 1
        else:
            with pytest.raises(Tampered, match="another key"):
                take(following, old)


def test_a_lost_key_is_replaced_by_enrolling_another_one(take: Take, keys: list[Key], log: Log) -> None:
    assert take(log, keys[0]) == 8
    following = Log(2, log.sealed[-1])
    following.write(Kind.BOOT)
    following.seal(keys[2])
    assert take(following, keys[2]) == 1
    log.write()
    log.seal(keys[1])
    with pytest.raises(Tampered, match="another key"):
        take(log, keys[2], 8, None, slice(4, None))


def test_a_forged_head_in_an_old_place_is_no_fork_but_a_forgery(take: Take, keys: list[Key], log: Log) -> None:
    assert take(log, keys[0]) == 8
    log.sealed = [replace(log.sealed[0], head=replace(log.sealed[0].head, at_s=2))]
    with pytest.raises(Tampered, match="signature does not verify"):
        take(log, keys[0], 8)


def test_no_entries_are_read_for_a_key_that_the_old_one_did_not_countersign(keys: list[Key]) -> None:
    """Nobody's signature is needed to send a checkpoint with an unknown key's name."""
    old, new, _ = keys
    log = Log()
    log.write()
    log.seal(old)
    log.introduce(old, new, None)

    def entries() -> list[bytes]:
        raise AssertionError("read")

    with pytest.raises(Tampered, match="without the old one"):
        signed(log.sealed[2], log.sealed[1], Keys(old.point, (old.point,)), entries)


def test_the_entry_that_introduces_a_key_is_looked_for_piece_by_piece(take: Take, keys: list[Key]) -> None:
    """However much the checkpoint before it seals."""
    old, new, _ = keys
    log = Log()
    for _ in range(5000):
        log.write(filler="x" * 1000)
    log.introduce(old, new, countersigned=old)
    assert take(log, old, 0, 5001, slice(0, 1)) == 5001
    tracemalloc.start()
    try:
        assert take(log, old, 5001, None, slice(1, 2)) == 5002
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


def test_a_key_that_is_handed_on_and_on_fills_no_store(take: Take, keys: list[Key], tmp_path: Path) -> None:
    log, by = Log(), keys[0]
    log.write()
    log.seal(by)
    for _ in range(70):
        after = Key()
        log.introduce(by, after, countersigned=by)
        by = after
    for following in (keys[1], keys[0], keys[1]):
        log.introduce(by, following, countersigned=by)
        by = following
    assert take(log, keys[0]) == len(log.entries)
    with closing(sqlite3.connect(tmp_path / "received.db")) as base:
        points = [point for (point,) in base.execute("SELECT point FROM signer ORDER BY place")]
    assert 60 < len(points) == len(set(points)) <= 64
    assert (points[0], points[-1]) == (keys[0].point, keys[1].point)
    for signer, good in ((keys[0], False), (keys[1], True)):
        following_log = Log(2, log.sealed[-1])
        following_log.write(Kind.BOOT)
        following_log.seal(signer)
        if good:
            assert take(following_log, keys[0]) == 1
        else:
            with pytest.raises(Tampered, match="another key"):
                take(following_log, keys[0])


@pytest.mark.parametrize("there", [1, 4])
def test_a_store_that_knows_no_keys_says_which_one_to_enrol(
    take: Take, keys: list[Key], tmp_path: Path, there: int
) -> None:
    """One of an earlier release, or a restored one, where the new key was enrolled too early."""
    old, new, _ = keys
    log = Log()
    for _ in range(3):
        log.write()
        log.seal(old)
    log.introduce(old, new, countersigned=old)
    said = {1: "another key, which was enrolled before: enrol it again", 4: "enrol the one before this one again"}
    assert take(log, old, 0, there, slice(0, there)) == there
    with closing(sqlite3.connect(tmp_path / "received.db", isolation_level=None)) as base:
        base.execute("DELETE FROM signer")
    with pytest.raises(Tampered, match=said[there]):
        take(log, new, there, None, slice(there, None))
    assert take(log, old, there, None, slice(there, None)) == 5
    log.write()
    log.seal(new)
    assert take(log, new, 5, None, slice(5, None)) == 6
