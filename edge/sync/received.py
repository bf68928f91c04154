"""The collector's own copy of the logs: entries in order from 0, their tree, their checkpoints.

Rules:

1. A log is known by (origin, epoch), an entry by its index in it. The size of a log is an explicit watermark that
   starts at 0: what lies behind a gap is not taken, also when the gap is at the very beginning.
2. An entry that is here already must be the same bytes; another one is a fork, and nothing of that message is taken.
3. An entry says which index and epoch it has, and they must be these (``checked``). One that comes without contents,
   because the gate has pruned it, keeps its place by its hash.
4. A checkpoint must be signed by the gate's enrolled key or its successor (``checked``), continue the one before, and
   have the root of the tree that we computed ourselves. One that does not is an alarm, and nothing of that message is
   taken.
5. What was taken is acknowledged only after the commit, which is on disk when it returns.
6. Several collectors may share one store: each transaction begins with what the others have committed.
7. Logs are looked up together at the beginning of a transaction, and rows are written together at its end, or before
   anything is read that may be among them: a message with one entry costs a database a fraction of a statement.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from edge.audit import checkpoint as checkpoints
from edge.audit.checkpoint import Checkpoint, key_id
from edge.audit.entry import LogError
from edge.audit.tree import Frontier
from edge.errors import DeviceError
from edge.sync.batch import Batch, leaf_of, without_contents
from edge.sync.checked import Keys, Tampered, grown, parsed, signed, verified

_TABLES = """
CREATE TABLE IF NOT EXISTS log (
    id INTEGER PRIMARY KEY, origin TEXT NOT NULL, epoch INTEGER NOT NULL,
    size INTEGER NOT NULL, frontier BLOB NOT NULL, sealed INTEGER NOT NULL, sealed_frontier BLOB NOT NULL,
    UNIQUE (origin, epoch));
CREATE TABLE IF NOT EXISTS entry (
    log INTEGER NOT NULL, number INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (log, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS checkpoint (
    log INTEGER NOT NULL, size INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (log, size)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS signer (
    origin TEXT NOT NULL, place INTEGER NOT NULL, point BLOB NOT NULL, PRIMARY KEY (origin, place)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS alarm (
    origin TEXT NOT NULL, what TEXT NOT NULL, first_at TEXT NOT NULL, last_at TEXT NOT NULL, times INTEGER NOT NULL,
    PRIMARY KEY (origin, what)) WITHOUT ROWID;
"""
_LOOK_UP = (
    "SELECT origin, epoch, log.id, log.size, frontier, sealed, sealed_frontier, checkpoint.bytes FROM log "
    "LEFT JOIN checkpoint ON checkpoint.log = log.id AND checkpoint.size = log.sealed WHERE (origin, epoch) IN (VALUES "
)
_MOVE = "UPDATE log SET size = ?, frontier = ?, sealed = ?, sealed_frontier = ? WHERE id = ?"
Reached = Mapping[int, Frontier]
_HASH = 32
_CHUNK = 1000
_ALARMS = 200


@dataclass(frozen=True)
class Known:
    """One log as we have it.

    Attributes:
        number: of the log in the tables, 0 when it is not there.
        tree: over all its entries.
        sealed: the tree that the newest checkpoint covers.
        checkpoint: the newest, or None.
    """

    number: int
    tree: Frontier
    sealed: Frontier
    checkpoint: Checkpoint | None


_UNHEARD = Known(0, Frontier(), Frontier(), None)


@dataclass(frozen=True)
class Taken:
    """What became of one batch: entries that were new, entries that were here already, new ones without contents."""

    known: Known
    new: int
    again: int
    gap: bool = False
    bare: int = 0


@dataclass
class _Rows:
    """What a transaction has taken and not written yet."""

    entries: list[tuple[int, int, bytes]] = field(default_factory=list)
    checkpoints: list[tuple[int, int, bytes]] = field(default_factory=list)
    logs: dict[int, Known] = field(default_factory=dict)


class Received:
    """The store, as one collector has it open. Owned by the thread that opened it.

    Raises:
        DeviceError: the file cannot be used.
    """

    def __init__(self, where: Path | str) -> None:
        self._known: dict[tuple[str, int], Known] = {}
        self._lines: dict[str, tuple[bytes, ...]] = {}
        self._version = -1
        self._unwritten = _Rows()
        self._base: Any
        self._locked = ""
        with _said():
            if isinstance(where, str):
                from edge.sync.postgres import Postgres

                self._base = Postgres(where)
                self._locked = " FOR UPDATE OF log"
            else:
                where.parent.mkdir(parents=True, exist_ok=True)
                self._base = sqlite3.connect(where, isolation_level=None, timeout=5)
                self._base.execute("PRAGMA journal_mode = WAL")
                self._base.execute("PRAGMA synchronous = FULL")
            self._base.executescript(_TABLES)

    @contextmanager
    def committed(self) -> Iterator[None]:
        """Everything inside is on disk when this returns, or none of it is."""
        with _said():
            self._base.execute("BEGIN" if self._locked else "BEGIN IMMEDIATE")
            version = -2 if self._locked else self._base.execute("PRAGMA data_version").fetchone()[0]
        if self._locked or version != self._version:  # another collector has committed since
            self._known.clear()
            self._lines.clear()
            self._version = version
        try:
            yield
            self._write()
            with _said():
                self._base.execute("COMMIT")
        except BaseException:
            self._known.clear()
            self._lines.clear()
            self._unwritten = _Rows()
            with contextlib.suppress(sqlite3.Error, OSError):  # a connection that is gone has rolled back already
                if self._base.in_transaction:
                    self._base.execute("ROLLBACK")
            raise

    def take(self, batch: Batch, point: bytes) -> Taken:
        """Take what is new in a batch; inside ``committed``.

        Args:
            batch: as received; its origin was compared with where it came from.
            point: the gate's enrolled P-256 key, uncompressed.

        Raises:
            Tampered: nothing of the batch was taken.
        """
        known = self.known(batch.origin, batch.epoch)
        size = known.tree.size
        if batch.first > size:
            return Taken(known, 0, 0, gap=True)
        again = batch.entries[: size - batch.first]
        self._same(known, batch.first, again)
        fresh = batch.entries[len(again) :]
        found = [(parsed(encoded, batch), encoded) for encoded in batch.checkpoints]
        tree, reached = grown(known.tree, batch, fresh, {checkpoint.head.size for checkpoint, _ in found})
        sealed, kept, line = known, [], self._lines.get(batch.origin, ())
        keys = Keys(point, line, comes=any(checkpoint.kid == key_id(point) for checkpoint, _ in found))
        for checkpoint, encoded in found:
            if checkpoint.head.size <= sealed.sealed.size:
                self._same_checkpoint(sealed, checkpoint, keys)
                continue
            keys = signed(checkpoint, sealed.checkpoint, keys, partial(self._last_sealed, sealed, batch))
            sealed = self._sealed(sealed, checkpoint, reached, tree)
            kept.append((checkpoint.head.size, encoded))
        taken = replace(sealed, tree=tree)
        if fresh or kept:
            taken = self._written(taken, batch, fresh, kept)
            self._known[batch.origin, batch.epoch] = taken
        if keys.line != line:
            self._succeeded(batch.origin, keys.line)
        return Taken(taken, len(fresh), len(again), bare=sum(map(without_contents, fresh)))

    def known(self, origin: str, epoch: int) -> Known:
        """The log as we have it. Inside ``committed``.

        One that we have nothing of leaves no trace, so that nobody fills the store with epochs that never were.
        """
        self.expect([(origin, epoch)])
        return self._known.get((origin, epoch), _UNHEARD)

    def expect(self, logs: Iterable[tuple[str, int]]) -> None:
        """Look up these logs, by origin and epoch, and lock them where that is needed. Inside ``committed``."""
        wanted = [each for each in dict.fromkeys(logs) if each not in self._known]
        if not wanted:
            return
        query = f"{_LOOK_UP}{', '.join(['(?, ?)'] * len(wanted))}) ORDER BY log.id{self._locked}"
        with _said():
            found = self._base.execute(query, [value for each in wanted for value in each]).fetchall()
        for origin, epoch, number, size, frontier, sealed, sealed_frontier, last in found:
            newest = checkpoints.parse(last) if last else None
            known = Known(number, _frontier(size, frontier), _frontier(sealed, sealed_frontier), newest)
            self._known[origin, epoch] = known
        self._look_up_lines({origin for origin, _ in wanted} - set(self._lines))

    def before(self, origin: str, epoch: int) -> tuple[int, Known]:
        """The newest older epoch of which something is here, and the log in it; 0 for none. Inside ``committed``."""
        self._write()
        with _said():
            found = self._base.execute(
                "SELECT max(epoch) FROM log WHERE origin = ? AND epoch < ?", (origin, epoch)
            ).fetchone()[0]
        return found or 0, self.known(origin, found) if found else _UNHEARD

    def root(self, known: Known, size: int) -> bytes:
        """Root of a log over its first ``size`` entries: at least what is sealed, all here. Inside ``committed``."""
        return self._replayed(known, size).root()

    def alarm(self, origin: str, what: str, at: str) -> bool:
        """Note something that somebody must look at; says whether it is the first time. Inside ``committed``.

        Beyond ``_ALARMS`` different ones of a gate they are only counted: what a hostile gate says is bounded too.
        """
        with _said():
            (different,) = self._base.execute("SELECT count(*) FROM alarm WHERE origin = ?", (origin,)).fetchone()
            what = what if different < _ALARMS else "more than can be listed"
            self._base.execute(
                "INSERT INTO alarm VALUES (?, ?, ?, ?, 1) "
                "ON CONFLICT (origin, what) DO UPDATE SET last_at = excluded.last_at, times = alarm.times + 1",
                (origin, what, at, at),
            )
            (times,) = self._base.execute(
                "SELECT times FROM alarm WHERE origin = ? AND what = ?",
                (origin, what),
            ).fetchone()
        return bool(times == 1)

    def close(self) -> None:
        """Let go of the file."""
        self._base.close()

    def _same(self, known: Known, first: int, again: Sequence[bytes]) -> None:
        if not again:
            return
        here = self._here(known, first, first + len(again))
        for offset, (old, new) in enumerate(zip(here, again, strict=True)):
            if old != new and leaf_of(old) != leaf_of(new):
                raise Tampered(f"fork: entry {first + offset} is not the one that was sent before")

    def _sealed(self, known: Known, found: Checkpoint, reached: Reached, tree: Frontier) -> Known:
        """The log with one more checkpoint, if the checkpoint is right."""
        size = found.head.size
        if size > tree.size:
            raise Tampered(f"checkpoint {size} is ahead of the entries")
        if known.checkpoint is not None or found.head.previous_size:
            try:
                found.follows(known.checkpoint)
            except LogError as error:
                raise Tampered(str(error)) from error
        covered = reached.get(size) or self._replayed(known, size)
        if covered.root() != found.head.root:
            raise Tampered(f"checkpoint {size} has another root than the entries")
        return replace(known, sealed=covered, checkpoint=found)

    def _same_checkpoint(self, known: Known, found: Checkpoint, keys: Keys) -> None:
        self._write()
        with _said():
            here = self._base.execute(
                "SELECT bytes FROM checkpoint WHERE log = ? AND size = ?",
                (known.number, found.head.size),
            ).fetchone()
        if here is None or checkpoints.parse(here[0]).digest != found.digest:
            verified(found, keys)
            raise Tampered(f"fork: checkpoint {found.head.size} is not the one that was sent before")

    def _replayed(self, known: Known, size: int) -> Frontier:
        """The tree at ``size``, from the last checkpoint on, over entries that are here."""
        tree = known.sealed
        while tree.size < size:
            for item in self._here(known, tree.size, min(size, tree.size + _CHUNK)):
                tree, _ = tree.append(leaf_of(item))
        return tree

    def _last_sealed(self, known: Known, batch: Batch) -> Iterator[bytes]:
        """The entries that the newest checkpoint seals and none before it."""
        assert known.checkpoint is not None
        head = known.checkpoint.head
        end = min(head.size, batch.first)
        for first in range(head.previous_size, end, _CHUNK):
            yield from self._here(known, first, min(end, first + _CHUNK))
        yield from batch.entries[max(0, head.previous_size - batch.first) : max(0, head.size - batch.first)]

    def _here(self, known: Known, first: int, end: int) -> list[bytes]:
        """Entries of a log that are here, as they came."""
        self._write()
        with _said():
            rows = self._base.execute(
                "SELECT bytes FROM entry WHERE log = ? AND number >= ? AND number < ? ORDER BY number",
                (known.number, first, end),
            ).fetchall()
        return [item for (item,) in rows]

    def _look_up_lines(self, origins: Set[str]) -> None:
        """The keys that signed these logs so far, in order."""
        if not origins:
            return
        query = f"SELECT origin, point FROM signer WHERE origin IN ({', '.join('?' * len(origins))}) ORDER BY place"  # noqa: S608 -- question marks
        with _said():
            found = self._base.execute(query, sorted(origins)).fetchall()
        self._lines |= dict.fromkeys(origins, ())
        for origin, point in found:
            self._lines[origin] += (bytes(point),)

    def _succeeded(self, origin: str, line: Sequence[bytes]) -> None:
        """Keep the keys that signed so far, in the place of those that are known."""
        self._lines[origin] = tuple(line)
        with _said():
            self._base.execute("DELETE FROM signer WHERE origin = ?", (origin,))
            rows = [(origin, place, point) for place, point in enumerate(line)]
            self._base.executemany("INSERT INTO signer VALUES (?, ?, ?)", rows)

    def _written(self, known: Known, batch: Batch, fresh: Sequence[bytes], kept: Sequence[tuple[int, bytes]]) -> Known:
        """The log as it will be in the tables; everything was checked before."""
        with _said():
            number = known.number or self._begun(batch.origin, batch.epoch)
        first, rows = known.tree.size - len(fresh), self._unwritten
        rows.entries += [(number, first + offset, item) for offset, item in enumerate(fresh)]
        rows.checkpoints += [(number, *each) for each in kept]
        rows.logs[number] = replace(known, number=number)
        return rows.logs[number]

    def _write(self) -> None:
        """Write what was taken in this transaction so far."""
        rows, self._unwritten = self._unwritten, _Rows()
        for statement, values in (
            ("INSERT INTO entry VALUES (?, ?, ?)", rows.entries),
            ("INSERT INTO checkpoint VALUES (?, ?, ?)", rows.checkpoints),
            (_MOVE, [_row(known) for known in rows.logs.values()]),
        ):
            if values:
                with _said():
                    self._base.executemany(statement, values)

    def _begun(self, origin: str, epoch: int) -> int:
        made = self._base.execute(
            "INSERT INTO log (origin, epoch, size, frontier, sealed, sealed_frontier) VALUES (?, ?, 0, ?, 0, ?) "
            "RETURNING id",
            (origin, epoch, b"", b""),
        )
        return int(made.fetchone()[0])


def store_of(given: str) -> Path | str:
    """A file, or the address of a database as it stands."""
    return given if given.startswith(("postgresql:", "postgres:")) else Path(given)


def counted(path: Path | str) -> Mapping[str, int]:
    """How many entries of each gate, over all epochs, are in the store at ``path``.

    Raises:
        DeviceError: there is no store.
    """
    query = "SELECT origin, CAST(sum(size) AS BIGINT) FROM log GROUP BY origin"
    base: Any
    with _said():
        if isinstance(path, str):
            from edge.sync.postgres import Postgres

            base = Postgres(path)
        else:
            base = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        with contextlib.closing(base):
            found: dict[str, int] = dict(base.execute(query).fetchall())
    return found


def _row(known: Known) -> tuple[int, bytes, int, bytes, int]:
    tree, sealed = known.tree, known.sealed
    return tree.size, b"".join(tree.subtrees), sealed.size, b"".join(sealed.subtrees), known.number


def _frontier(size: int, packed: bytes) -> Frontier:
    return Frontier(size, tuple(packed[at : at + _HASH] for at in range(0, len(packed), _HASH)))


@contextmanager
def _said() -> Iterator[None]:
    """SQLite's errors as ours."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise DeviceError("collection", f"the received entries cannot be kept: {error}") from error
