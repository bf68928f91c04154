"""How far the entries have gone out: one row per log and epoch, in a file that edge-sync alone writes.

There is no second copy of the entries: the log is the queue, and this is the position in it. Losing this file costs
some repeated messages; the collector's answer tells where to go on.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from edge.errors import DeviceError


@dataclass(frozen=True)
class Position:
    """What the collector has acknowledged: entries, their root, and the newest checkpoint among them."""

    acked: int = 0
    root: bytes = b""
    sealed: int = 0


class Outbox:
    """The positions. Owned by the thread that opened it.

    Raises:
        DeviceError: the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(path, isolation_level=None, timeout=2)
            self._base.execute("PRAGMA journal_mode = WAL")
            self._base.execute("PRAGMA synchronous = FULL")
            self._base.execute(
                "CREATE TABLE IF NOT EXISTS position (origin TEXT, epoch INTEGER, acked INTEGER NOT NULL, "
                "root BLOB NOT NULL, sealed INTEGER NOT NULL, PRIMARY KEY (origin, epoch)) WITHOUT ROWID",
            )
        except (sqlite3.Error, OSError) as error:
            raise _failed(error) from error

    def position(self, origin: str, epoch: int) -> Position:
        """Where this log is."""
        try:
            found = self._base.execute(
                "SELECT acked, root, sealed FROM position WHERE origin = ? AND epoch = ?",
                (origin, epoch),
            ).fetchone()
        except sqlite3.Error as error:
            raise _failed(error) from error
        return Position(*found) if found else Position()

    def move(self, origin: str, epoch: int, position: Position) -> None:
        """Keep a new position; it is on disk on return."""
        try:
            self._base.execute(
                "INSERT OR REPLACE INTO position VALUES (?, ?, ?, ?, ?)",
                (origin, epoch, position.acked, position.root, position.sealed),
            )
        except sqlite3.Error as error:
            raise _failed(error) from error

    def close(self) -> None:
        """Let go of the file."""
        self._base.close()


def _failed(error: Exception) -> DeviceError:
    return DeviceError("outbox", f"the position of what was sent cannot be kept: {error}")
