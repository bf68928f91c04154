"""The log on disk: one SQLite file, written by edge-gate alone.

Rules:

1. Write-ahead log with ``synchronous=FULL``: ``append`` returns when the entry has reached the disk, and not before.
   NORMAL loses acknowledged entries when the power goes.
2. One row per entry: the entry and the tree nodes that it completes, in one transaction and on one page. The frontier
   of any size is a subset of those nodes, so it cannot disagree with them. Nothing is ever rewritten.
3. At the start the file is checked: SQLite's own check (of a large file while service goes on), the newest entries
   against their nodes, the tree against the last checkpoint anybody holds.
4. A damaged, missing or older file is never repaired. It is kept beside the new one as evidence, and a new epoch
   begins whose first entry names the last known head.
5. After any error the next call opens the file anew and believes only what is on disk.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from edge.audit.checkpoint import Checkpoint
from edge.audit.entry import Entry, Event, Kind, LogError, Quality, Value, encode, kind_in
from edge.audit.tail import begin, evolved, tag
from edge.audit.tree import Frontier, leaf_hash, root_of
from edge.devices import leaves
from edge.devices.follower import Follower
from edge.devices.logfile import (
    Connect,
    Damaged,
    epoch_of,
    evidence,
    is_corrupt,
    left_by_owner,
    missing,
    prepared,
    set_aside,
    sqlite,
    suspect,
    sync,
    whole,
)
from edge.devices.worker import Worker
from edge.errors import DeviceError
from edge.ports import COMMITTED, Clock, Receipt

_CHECKED = 4096
"""Entries at the end that are hashed again at every start; ``verify_log.py`` does all of them."""
_CHECKED_AT_ONCE = 16 * 1024 * 1024
"""Bytes up to which SQLite checks the whole file before service begins; a larger one is checked meanwhile."""
_DEADLINE_S = 5.0
_PRUNED_AT_ONCE = 5000
_LEDGER = frozenset({Kind.CYCLE, Kind.RESERVATION, Kind.COMMIT, Kind.RELEASE})  # who received is asked for months
_NEVER_PRUNED = _LEDGER | {Kind.EPOCH_OPEN, Kind.KEY_ROTATION, Kind.PRUNED, Kind.TAIL_KEY}


@dataclass(frozen=True)
class LastHead:
    """The last known head of this gate's log: from the checkpoints, the token, or a witness."""

    epoch: int
    size: int
    root: bytes
    digest: bytes

    @classmethod
    def of(cls, checkpoint: Checkpoint | None) -> LastHead | None:
        """The head of this checkpoint."""
        if checkpoint is None:
            return None
        head = checkpoint.head
        return cls(head.epoch, head.size, head.root, checkpoint.digest)


class SqliteJournal:
    """The journal of ``ports.Journal``."""

    def __init__(
        self, path: Path, origin: str, gate: str, clock: Clock, connect: Connect, collector: bytes | None
    ) -> None:
        """For ``open`` only."""
        self._collector = collector
        self._tail: bytes | None = None
        self._path = path
        self._connect = connect
        self._origin = origin
        self._gate = gate
        self._clock = clock
        self._frontier = Frontier()
        self._epoch = 1
        self._boot = 1
        self._file: sqlite3.Connection | None = None
        self._damage = ""
        self._pruned = 0
        self._worker = Worker("journal")

    @classmethod
    def open(
        cls,
        path: Path,
        origin: str,
        gate: str,
        clock: Clock,
        last: LastHead | None = None,
        connect: Connect | None = None,
        collector: bytes | None = None,
        anew: str = "",
        beyond: int = 0,
        told: Mapping[str, Value] | None = None,
    ) -> SqliteJournal:
        """Open the log, or begin it; begin a new epoch when the file is not what it should be.

        Args:
            path: of the SQLite file; its directory exists.
            origin: name of the log.
            gate: written into each entry.
            clock: for the time of each entry.
            last: the last head that anybody holds, None when nobody holds one.
            connect: how to reach SQLite; tests put a disk that loses power there.
            collector: public key of who may check the tags of unsealed entries (``audit/tail.py``); None for no tags.
            anew: why a new epoch begins although the file is good, because a person asked for it; empty: it does not.
            beyond: with ``anew``: the number of the new epoch is greater than this.
            told: with ``anew``: what its first entry tells besides.

        Raises:
            DeviceError: the disk is full, read-only or gone, or the file belongs to another gate.
        """
        journal = cls(path, origin, gate, clock, connect or sqlite, collector)
        try:
            journal._start(last, anew, beyond, told or {})
        except BaseException:
            journal.close()
            raise
        return journal

    @property
    def epoch(self) -> int:
        """Number of this log."""
        return self._epoch

    @property
    def boot(self) -> int:
        """How often the log was opened, this time included."""
        return self._boot

    @property
    def lost(self) -> bool:
        """Whether only a new process helps: the disk hangs, or the file was found damaged."""
        return self._worker.stuck or bool(self._damage)

    async def append(self, event: Event) -> Receipt:
        """Write one entry and return when it is on disk.

        Raises:
            DeviceError: it is not on disk; nothing may open.
        """
        (receipt,) = await self.append_all((event,))
        return receipt

    async def append_all(self, events: Sequence[Event]) -> list[Receipt]:
        """Write several entries in one commit and return when they are on disk.

        Raises:
            DeviceError: none of them counts as written.
        """
        called = time.perf_counter()
        return await self._worker.call(lambda: self._append(events, called), _DEADLINE_S)

    async def prune(self, below: int, sealed: int) -> Receipt | None:
        """Take away what old entries say; their hashes stay, so every proof still holds. It is itself an entry.

        Entries that name keys, epochs and earlier prunings stay, and those of the ledger, whose marks lose their key.

        Args:
            below: entries before this index have been kept long enough, and somebody else has them.
            sealed: how many entries a checkpoint covers; none after that goes.

        Returns:
            The receipt of the entry about it, None when there is nothing to take away. Up to 5,000 entries go at once;
            call again for more.

        Raises:
            DeviceError: nothing was taken away.
        """
        below, receipt = min(below, sealed), None
        while receipt is None and self._pruned < below:  # a little at a time: others append in between
            receipt = await self._worker.call(partial(self._prune, below, time.perf_counter()), _DEADLINE_S)
        return receipt

    def close(self) -> None:
        """Finish what is being written and close the file."""
        self._worker.close(self._drop)

    def _append(self, events: Sequence[Event], called: float) -> list[Receipt]:
        """Write them in one transaction; on the worker's thread."""
        if self._damage:
            raise DeviceError("journal", f"{self._damage}; a restart begins a new epoch")
        try:
            file = self._file or self._reopen()
            file.execute("BEGIN IMMEDIATE")
            frontier = self._with_tail(file, self._frontier)
            start = frontier.size
            frontier = self._insert(file, frontier, events)
            file.execute("COMMIT")
        except (sqlite3.Error, OSError, Damaged, LogError) as error:
            self._drop()
            raise DeviceError("journal", f"entry not written: {error}") from error
        self._frontier = frontier
        took_us = int((time.perf_counter() - called) * 1e6)
        return [Receipt(start + place, took_us, event.kind, COMMITTED) for place, event in enumerate(events)]

    def _prune(self, below: int, called: float) -> Receipt | None:
        """Look at some more; contents away and the entry about it, in one transaction; on the worker's thread."""
        try:
            file = self._file or self._reopen()
            query = "SELECT ix, entry FROM leaf WHERE ix >= ? AND ix < ? AND entry IS NOT NULL ORDER BY ix LIMIT ?"
            rows = file.execute(query, (self._pruned, below, _PRUNED_AT_ONCE)).fetchall()
            looked = rows[-1][0] + 1 if len(rows) == _PRUNED_AT_ONCE else below
            going = [index for index, entry in rows if kind_in(entry) not in _NEVER_PRUNED]
            if not going:
                self._pruned = looked  # none of these goes, ever
                return None
            event = Event(Kind.PRUNED, {"first": going[0], "last": going[-1], "count": len(going)})
            file.execute("BEGIN IMMEDIATE")
            frontier = self._with_tail(file, self._frontier)
            file.executemany("UPDATE leaf SET entry = NULL, tag = NULL WHERE ix = ?", [(index,) for index in going])
            frontier = self._insert(file, frontier, (event,))
            file.execute("COMMIT")
        except (sqlite3.Error, OSError, Damaged, LogError) as error:
            self._drop()
            raise DeviceError("journal", f"nothing pruned: {error}") from error
        self._frontier, self._pruned = frontier, looked
        return Receipt(frontier.size - 1, int((time.perf_counter() - called) * 1e6), event.kind, COMMITTED)

    def _insert(self, file: sqlite3.Connection, frontier: Frontier, events: Sequence[Event]) -> Frontier:
        """The rows of these events, inside the caller's transaction; returns the frontier after them."""
        for event in events:
            entry = encode(self._entry(event, frontier.size))
            frontier, done = frontier.append(leaf_hash(entry))
            row = (frontier.size - 1, entry, b"".join(done), self._tag(done[0]))
            file.execute("INSERT INTO leaf(ix, entry, nodes, tag) VALUES (?, ?, ?, ?)", row)
        return frontier

    def _tag(self, leaf: bytes) -> bytes | None:
        """The tag of the next entry; the key that made it is gone afterwards."""
        if self._tail is None:
            return None
        key, self._tail = self._tail, evolved(self._tail)
        return tag(key, leaf)

    def _with_tail(self, file: sqlite3.Connection, frontier: Frontier) -> Frontier:
        """Begin a tail with an entry that carries its key, if there is none: at the start, and after an error."""
        if self._collector is None or self._tail is not None:
            return frontier
        key, one_time = secrets.token_bytes(32), ec.generate_private_key(ec.SECP256R1())
        frontier = self._insert(file, frontier, (begin(key, one_time, self._collector, self._origin),))
        self._tail = key
        return frontier

    def _entry(self, event: Event, index: int) -> Entry:
        now = self._clock.now()
        return Entry(
            index=index,
            epoch=self._epoch,
            wall_ms=int(now.lower.timestamp() * 1000),
            quality=Quality[now.state.name],
            monotonic_ms=int(self._clock.monotonic() * 1000),
            boot=self._boot,
            kind=event.kind,
            gate=self._gate,
            fields=event.fields,
            subject=event.subject,
            issuer=event.issuer,
            trust=event.trust,
            digests=event.digests,
            body=event.body,
        )

    def _start(self, last: LastHead | None, anew: str, beyond: int, told: Mapping[str, Value]) -> None:
        """Check what is there, and go on with it or begin anew."""
        try:
            try:
                self._go_on(last)
                if anew:
                    raise Damaged(anew)
            except Damaged as damage:
                why = str(damage) if anew in ("", str(damage)) else f"{anew}; {damage}"
                self._begin_epoch(why, last, beyond, told)
        except (sqlite3.Error, OSError) as error:
            raise DeviceError("journal", f"{self._path}: {error}") from error

    def _go_on(self, last: LastHead | None) -> None:
        """Open the file that is there, check it, and count this boot."""
        try:
            file = self._file = prepared(self._connect(self._path))
            if file.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,):
                if last is not None or evidence(self._path):
                    raise Damaged(missing(self._path))
                self._create(file, 1)
                return
            self._check(file, last)
        except sqlite3.DatabaseError as error:
            if is_corrupt(error):
                raise Damaged(f"the file is damaged: {error}") from error
            raise
        except LogError as error:
            raise Damaged(str(error)) from error
        self._boot += 1
        file.execute("UPDATE log SET boot = ?", (self._boot,))

    def _check(self, file: sqlite3.Connection, last: LastHead | None) -> None:
        """Rule 3."""
        if file.execute("PRAGMA application_id").fetchone() != (leaves.APPLICATION,):
            raise Damaged("the file is not a log")
        if self._path.stat().st_size <= _CHECKED_AT_ONCE or suspect(self._path).exists():
            whole(file)
        else:
            threading.Thread(target=self._check_later, name="journal-check", daemon=True).start()
        origin, self._epoch, self._boot = file.execute("SELECT origin, epoch, boot FROM log").fetchone()
        if origin != self._origin:
            raise DeviceError("journal", f"{self._path} is the log of {origin}")
        self._frontier = leaves.frontier_on_disk(file, _CHECKED)
        if last is None or last.epoch < self._epoch:
            return
        if last.epoch > self._epoch or last.size > self._frontier.size:
            raise Damaged(f"the log is older than its last checkpoint of {last.size} entries")
        if root_of(last.size, leaves.nodes(file)) != last.root:
            raise Damaged(f"the log was rewritten below its last checkpoint of {last.size} entries")

    def _check_later(self) -> None:
        """SQLite's own check of a large file, while the gate is in service; damage ends service at the next append."""
        try:
            with closing(sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)) as file:
                whole(file)
        except (Damaged, sqlite3.DatabaseError) as damage:
            if isinstance(damage, Damaged) or is_corrupt(damage):
                self._damage = str(damage)
                suspect(self._path).touch()

    def _begin_epoch(self, why: str, last: LastHead | None, beyond: int, told: Mapping[str, Value]) -> None:
        """Rule 4."""
        self._drop()
        known = epoch_of(self._path)
        kept = set_aside(self._path, known)
        epoch = max(known, last.epoch if last else 0, *evidence(self._path), beyond) + 1
        fields: dict[str, Value] = {"why": why, "kept": kept, **told}
        if last is not None:
            fields |= {"epoch": last.epoch, "size": last.size, "root": last.root, "digest": last.digest}
        self._file = prepared(self._connect(self._path))
        self._create(self._file, epoch, Event(Kind.EPOCH_OPEN, fields))

    def _create(self, file: sqlite3.Connection, epoch: int, *first: Event) -> None:
        """Make an empty file the log of this epoch, its first entry included."""
        self._epoch, self._boot = epoch, 1
        file.execute("BEGIN IMMEDIATE")
        for statement in leaves.SCHEMA:
            file.execute(statement)
        file.execute("INSERT INTO log VALUES (1, 1, ?, ?, 1)", (self._origin, epoch))
        self._frontier = self._insert(file, Frontier(), first)
        file.execute("COMMIT")
        left_by_owner(self._path)
        sync(self._path.parent)

    def _reopen(self) -> sqlite3.Connection:
        """Rule 5."""
        if not self._path.exists():
            raise Damaged("the log is missing")
        file = prepared(self._connect(self._path))
        try:
            found = leaves.frontier_on_disk(file, 64)
            known = self._frontier
            if found.size < known.size or root_of(known.size, leaves.nodes(file)) != known.root():
                raise Damaged("the log changed under us")
        except BaseException:
            file.close()
            raise
        self._frontier, self._file = found, file
        return file

    def _drop(self) -> None:
        """Close the file, whatever state it is in; the next entry begins a tail of its own."""
        self._tail = None
        file, self._file = self._file, None
        if file is not None:
            file.close()


__all__ = ["Follower", "LastHead", "SqliteJournal"]
