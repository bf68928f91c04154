"""The last verified trust on disk: written by edge-sync in one transaction, read by edge-gate.

Rules:

1. One SQLite file, one writing process. What is in it was complete and verified when it was committed; a power cut
   leaves the one before or the one after, never something between (WAL, synchronous = FULL).
2. Whoever reads it verifies again what it uses; this file proves nothing by itself.
3. The metadata in it is the memory of what was newest. A damaged file is said and put aside with what belongs to
   it, never taken for empty without a word. A file that merely cannot be used now (disk full, not ours to read) stays.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.devices import readonly
from edge.devices.logfile import is_corrupt, sync
from edge.errors import DeviceError
from edge.trust.stored import Stored

_TABLES = """
CREATE TABLE IF NOT EXISTS metadata (role TEXT PRIMARY KEY, bytes BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS file (path TEXT PRIMARY KEY, bytes BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
"""
GENERATION = "generation"
_log = logging.getLogger("edge.trust")


class TrustStore:
    """The file, as the one process that writes it has it open. Owned by the thread that opened it.

    Raises:
        DeviceError: it cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with _said():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._base = self._opened()

    def load(self) -> Stored:
        """What was committed last."""
        with _said():
            return _stored(self._base)

    def commit(self, stored: Stored) -> None:
        """Put a complete state in the place of the one before; it is on disk on return."""
        with _said(), self._transaction():
            for table in ("metadata", "file", "state"):
                self._base.execute(f"DELETE FROM {table}")  # noqa: S608 -- the names above
            self._base.executemany("INSERT INTO metadata VALUES (?, ?)", stored.metadata.items())
            self._base.executemany("INSERT INTO file VALUES (?, ?)", stored.files.items())
            state = ((GENERATION, stored.generation), ("anchor", stored.anchor), ("expires", stored.expires_s))
            self._base.executemany("INSERT INTO state VALUES (?, ?)", state)

    def close(self) -> None:
        """Let go of the file."""
        self._base.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._base.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._base.execute("COMMIT")
        except BaseException:
            if self._base.in_transaction:
                self._base.execute("ROLLBACK")
            raise

    def _opened(self) -> sqlite3.Connection:
        try:
            base = self._prepared()
            try:
                if base.execute("PRAGMA quick_check").fetchone() == ("ok",):
                    return base
            except BaseException:
                base.close()
                raise
            base.close()
        except sqlite3.DatabaseError as error:
            if not is_corrupt(error):
                raise
        self._put_aside()
        return self._prepared()

    def _put_aside(self) -> None:
        """Rename the file and what belongs to it; one that was put aside before makes room."""
        aside = self._path.with_suffix(".damaged")
        _log.error("%s is damaged; put aside as %s, trust is fetched anew", self._path.name, aside.name)
        for suffix in ("", "-wal", "-shm"):
            part, kept = (path.with_name(path.name + suffix) for path in (self._path, aside))
            if part.exists():
                part.replace(kept)
            else:
                kept.unlink(missing_ok=True)
        sync(self._path.parent)

    def _prepared(self) -> sqlite3.Connection:
        base = sqlite3.connect(self._path, isolation_level=None, timeout=5)
        try:
            base.execute("PRAGMA journal_mode = WAL")
            base.execute("PRAGMA synchronous = FULL")
            base.executescript(_TABLES)
        except sqlite3.DatabaseError:
            base.close()
            raise
        return base


class TrustReader:
    """The same file for everybody else; opened for each look, so that nothing is held."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def newer_than(self, generation: int) -> Stored | None:
        """What was committed after that generation; None where there is nothing newer, or no file yet.

        Raises:
            DeviceError: it cannot be read.
        """
        if not self._path.exists():
            return None
        with _said(), contextlib.closing(readonly.connect(self._path)) as base:
            base.execute("BEGIN")
            if base.execute("SELECT 1 FROM sqlite_master WHERE name = 'state'").fetchone() is None:
                return None  # made this very moment
            found = base.execute("SELECT value FROM state WHERE name = ?", (GENERATION,)).fetchone()
            if found is None or found[0] <= generation:
                return None
            return _stored(base)


def _stored(base: sqlite3.Connection) -> Stored:
    state = dict(base.execute("SELECT name, value FROM state").fetchall())
    metadata = dict(base.execute("SELECT role, bytes FROM metadata").fetchall())
    files = dict(base.execute("SELECT path, bytes FROM file").fetchall())
    return Stored(state.get(GENERATION, 0), state.get("anchor", b""), metadata, files, state.get("expires", 0))


@contextmanager
def _said() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise DeviceError("trust", f"what was verified cannot be kept or read: {error}") from error
