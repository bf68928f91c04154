"""The signed tree heads on disk: one SQLite file, written by edge-seal alone, read by the others.

``SqliteCheckpoints`` writes and reads, ``CheckpointReader`` only reads. A checkpoint is small (about 1 KiB with its
path) and all are kept: each names the one before, so a chain with one taken out would be one that somebody tampered
with. A gate that is used all day signs one for 64 entries or for a minute, whichever comes first; one in five seconds,
17,000 a day, is the most that ``seal.not_within_s`` lets through.

A damaged file is never repaired: somebody sets it aside with ``edge audit anew``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from edge.audit.checkpoint import Checkpoint, parse
from edge.devices import readonly
from edge.devices.logfile import left_by_owner

_REMEDY = "edge audit anew keeps it as evidence and begins a new epoch"
_TABLE = """CREATE TABLE IF NOT EXISTS checkpoint(
    epoch INTEGER NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL, cose BLOB NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (epoch, size)) STRICT"""


class CheckpointReader:
    """The checkpoints of ``ports.Checkpoints``, read from the sealer's file; none while there is no file yet."""

    def __init__(self, path: Path) -> None:
        self._reading = readonly.ReadFile(path, "checkpoints", _has_table, remedy=_REMEDY)

    def last(self) -> Checkpoint | None:
        """The newest checkpoint of the newest epoch."""
        return next(iter(self._found("ORDER BY epoch DESC, size DESC LIMIT 1")), None)

    def covering(self, epoch: int, index: int) -> Checkpoint | None:
        """The first checkpoint of the epoch that covers entry ``index``."""
        return next(iter(self._found("WHERE epoch = ? AND size > ? ORDER BY size LIMIT 1", epoch, index)), None)

    def after(self, epoch: int, size: int, count: int) -> list[Checkpoint]:
        """Up to ``count`` checkpoints after that of ``size`` entries in ``epoch``, in order, over epochs."""
        return self._found("WHERE (epoch, size) > (?, ?) ORDER BY epoch, size LIMIT ?", epoch, size, count)

    def close(self) -> None:
        """Let go of the file."""
        self._reading.close()

    def _found(self, where: str, *values: int) -> list[Checkpoint]:
        with self._reading.asking() as file:
            if file is None:
                return []
            rows = file.execute(f"SELECT cose FROM checkpoint {where}", values)  # noqa: S608 -- fixed texts of this class
            return [parse(bytes(row[0])) for row in rows]


class SqliteCheckpoints(CheckpointReader):
    """The checkpoints of ``ports.CheckpointStore``."""

    def __init__(self, path: Path, connect: Callable[[Path], sqlite3.Connection] | None = None) -> None:
        super().__init__(path)
        self._reading = _Written(path, connect or _sqlite)

    def add(self, checkpoint: Checkpoint) -> None:
        """Keep one more, or the same one with more receipts; it is on disk on return.

        Raises:
            DeviceError: it is not on disk.
        """
        head = checkpoint.head
        row = (head.epoch, head.size, head.root, checkpoint.encode(), head.at_s)
        with self._reading.asking() as file:
            if file is not None:
                file.execute("INSERT OR REPLACE INTO checkpoint VALUES (?, ?, ?, ?, ?)", row)


class _Written(readonly.ReadFile):
    """The same file for the one who writes it."""

    def __init__(self, path: Path, connect: Callable[[Path], sqlite3.Connection]) -> None:
        super().__init__(path, "checkpoints", _has_table, remedy=_REMEDY)
        self._connect = connect

    def _present(self) -> sqlite3.Connection | None:
        if self._file is None:
            self._file = file = self._connect(self._path)
            file.execute("PRAGMA journal_mode = WAL")
            file.execute("PRAGMA synchronous = FULL")
            file.execute(_TABLE)
            left_by_owner(self._path)
        return self._file


def _has_table(file: sqlite3.Connection) -> bool:
    made: bool = file.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'checkpoint'").fetchone() == (1,)
    return made


def _sqlite(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=2.0, isolation_level=None, check_same_thread=False)
