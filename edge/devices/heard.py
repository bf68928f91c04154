"""What other gates of the site told, on disk: a restart forgets neither who left by another gate nor who received.

Rules:

1. The log stays the truth about this gate; here is what no log of this gate tells. One SQLite file, written by
   edge-gate alone, a little after it was heard: what a power cut takes is told again first of all.
2. People stand in it as in the log, under pseudonyms and marks. Passes go when they no longer count, marks with their
   cycle.
3. A file that is damaged is set aside, and another one begun: neighbours tell everything again.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

from edge.devices.logfile import Damaged, is_corrupt, prepared, set_aside, sqlite, whole
from edge.devices.worker import Worker
from edge.errors import DeviceError
from edge.policy.presence import Pass

_DEADLINE_S = 5.0
_TABLES = (
    """CREATE TABLE IF NOT EXISTS pass(subject BLOB PRIMARY KEY, zone TEXT NOT NULL, at_s INTEGER NOT NULL,
        turn INTEGER NOT NULL) STRICT, WITHOUT ROWID""",
    "CREATE TABLE IF NOT EXISTS mark(cycle INTEGER, mark BLOB, PRIMARY KEY(cycle, mark)) STRICT, WITHOUT ROWID",
)
_log = logging.getLogger("edge.gate")


class HeardFile:
    """The file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._worker = Worker("neighbours")
        self._passes: dict[bytes, Pass] = {}
        self._marks: dict[tuple[int, bytes], None] = {}

    def read(self) -> tuple[tuple[Pass, ...], tuple[tuple[int, bytes], ...]]:
        """Passes, and marks with the number of their cycle, as they were before the restart. Blocks: at the start.

        Raises:
            DeviceError: the disk is full, read-only or gone.
        """
        try:
            return self._read()
        except (Damaged, sqlite3.DatabaseError) as error:
            if isinstance(error, sqlite3.DatabaseError) and not is_corrupt(error):
                raise DeviceError("neighbours", str(error)) from error
            _log.warning("what neighbours told is lost, and was set aside: %s", error)
            set_aside(self._path, 0)
            return (), ()

    def note_passes(self, passes: Iterable[Pass]) -> None:
        """These are to be kept."""
        self._passes |= {each.subject: each for each in passes}

    def note_marks(self, cycle: int, marks: Iterable[bytes]) -> None:
        """These are to be kept, too."""
        self._marks |= dict.fromkeys((cycle, mark) for mark in marks)

    async def keep(self, before_s: int, cycle: int) -> bool:
        """Put on disk what was noted, and take away passes before ``before_s`` and marks of cycles before ``cycle``.

        Returns:
            Whether anything was noted.

        Raises:
            DeviceError: it is not on disk; it is tried again with the next.
        """
        if not self._passes and not self._marks:
            return False
        passes, self._passes = self._passes, {}
        marks, self._marks = self._marks, {}
        try:
            await self._worker.call(lambda: self._keep([*passes.values()], [*marks], before_s, cycle), _DEADLINE_S)
        except BaseException:
            self._passes, self._marks = passes | self._passes, marks | self._marks
            raise
        return True

    def close(self) -> None:
        """Let go of the thread."""
        self._worker.close()

    def _read(self) -> tuple[tuple[Pass, ...], tuple[tuple[int, bytes], ...]]:
        if not self._path.exists():
            return (), ()
        with closing(self._opened()) as file:
            whole(file)
            passes = file.execute("SELECT subject, zone, at_s, turn FROM pass ORDER BY at_s").fetchall()
            marks = file.execute("SELECT cycle, mark FROM mark").fetchall()
        return tuple(Pass(*row) for row in passes), tuple(marks)

    def _keep(self, passes: Sequence[Pass], marks: Sequence[tuple[int, bytes]], before_s: int, cycle: int) -> None:
        rows = [(each.subject, each.zone, each.at_s, each.turn) for each in passes]
        try:
            with closing(self._opened()) as file:
                file.execute("BEGIN IMMEDIATE")
                file.executemany("INSERT OR REPLACE INTO pass VALUES (?, ?, ?, ?)", rows)
                file.executemany("INSERT OR IGNORE INTO mark VALUES (?, ?)", marks)
                file.execute("DELETE FROM pass WHERE at_s < ?", (before_s,))
                file.execute("DELETE FROM mark WHERE cycle < ?", (cycle,))
                file.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            raise DeviceError("neighbours", f"what they told is not on disk: {error}") from error

    def _opened(self) -> sqlite3.Connection:
        file = prepared(sqlite(self._path))
        try:
            for table in _TABLES:
                file.execute(table)
        except BaseException:
            file.close()
            raise
        return file
