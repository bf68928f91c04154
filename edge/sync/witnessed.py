"""What this gate saw of its neighbours' logs, and what they cosigned of its own: a file that edge-sync alone writes.

Rules:

1. Every checkpoint of a neighbour that was cosigned is kept, the newest ``_KEPT`` of each log: a head that is none of
   them and lies below the newest is a fork, without waiting for the log to grow.
2. A fork is kept as long as the file: its two signatures are the evidence.
3. Cosignatures of our own checkpoints are kept here and not in the sealer's file, which has one writer; an export puts
   them together.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.audit.checkpoint import Checkpoint, parse
from edge.audit.witness import Fork, cosigned
from edge.errors import DeviceError

_KEPT = 10_000
_TABLES = (
    """CREATE TABLE IF NOT EXISTS seen(origin TEXT NOT NULL, epoch INTEGER NOT NULL, size INTEGER NOT NULL,
        cose BLOB NOT NULL, PRIMARY KEY (origin, epoch, size)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS fork(origin TEXT NOT NULL, one BLOB NOT NULL, other BLOB NOT NULL, why TEXT NOT NULL,
        PRIMARY KEY (origin, one, other)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS cosignature(epoch INTEGER NOT NULL, size INTEGER NOT NULL, kid BLOB NOT NULL,
        at_s INTEGER NOT NULL, signature BLOB NOT NULL, PRIMARY KEY (epoch, size, kid)) STRICT, WITHOUT ROWID""",
)


class Witnessed:
    """The file. Owned by the thread that opened it.

    Raises:
        DeviceError: the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        with _errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(path, isolation_level=None, timeout=2)
            self._base.execute("PRAGMA journal_mode = WAL")
            self._base.execute("PRAGMA synchronous = FULL")
            for table in _TABLES:
                self._base.execute(table)

    def newest(self, origin: str) -> Checkpoint | None:
        """The last checkpoint of that log."""
        return self._seen("origin = ? ORDER BY epoch DESC, size DESC", origin)

    def over(self, checkpoint: Checkpoint) -> Checkpoint | None:
        """The first checkpoint of the same log and epoch that covers at least as many entries."""
        head = checkpoint.head
        return self._seen("origin = ? AND epoch = ? AND size >= ? ORDER BY size", head.origin, head.epoch, head.size)

    def keep(self, checkpoint: Checkpoint) -> None:
        """One more of a neighbour; on disk on return, before it is cosigned."""
        head = checkpoint.head
        with _errors():
            self._base.execute(
                "INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?)",
                (head.origin, head.epoch, head.size, checkpoint.encode()),
            )
            self._base.execute(
                """DELETE FROM seen WHERE origin = ?1 AND (epoch, size) < (SELECT epoch, size FROM seen
                WHERE origin = ?1 ORDER BY epoch DESC, size DESC LIMIT 1 OFFSET ?2)""",
                (head.origin, _KEPT),
            )

    def keep_fork(self, fork: Fork) -> None:
        """Evidence."""
        row = (fork.one.head.origin, fork.one.encode(), fork.other.encode(), fork.why)
        with _errors():
            self._base.execute("INSERT OR IGNORE INTO fork VALUES (?, ?, ?, ?)", row)

    def forks(self) -> list[Fork]:
        """All evidence."""
        with _errors():
            rows = self._base.execute("SELECT one, other, why FROM fork").fetchall()
        return [Fork(parse(bytes(one)), parse(bytes(other)), why) for one, other, why in rows]

    def cosigned(self, checkpoint: Checkpoint, kid: bytes, at_s: int, signature: bytes) -> None:
        """A neighbour vouches for a checkpoint of ours; it was verified."""
        with _errors():
            self._base.execute(
                "INSERT OR IGNORE INTO cosignature VALUES (?, ?, ?, ?, ?)",
                (checkpoint.head.epoch, checkpoint.head.size, kid, at_s, signature),
            )

    def cosignatures(self, checkpoint: Checkpoint) -> list[tuple[bytes, int, bytes]]:
        """Key id, time and signature of each neighbour that vouches for it."""
        with _errors():
            return self._base.execute(
                "SELECT kid, at_s, signature FROM cosignature WHERE epoch = ? AND size = ? ORDER BY kid",
                (checkpoint.head.epoch, checkpoint.head.size),
            ).fetchall()

    def close(self) -> None:
        """Let go of the file."""
        self._base.close()

    def _seen(self, where: str, *values: str | int) -> Checkpoint | None:
        with _errors():
            row = self._base.execute(f"SELECT cose FROM seen WHERE {where} LIMIT 1", values).fetchone()  # noqa: S608 -- fixed texts of this class
        return None if row is None else parse(bytes(row[0]))


def joined(checkpoint: Checkpoint, cosignatures: list[tuple[bytes, int, bytes]]) -> Checkpoint:
    """The checkpoint as an auditor wants it: with what the neighbours vouched for."""
    for kid, at_s, signature in cosignatures:
        checkpoint = cosigned(checkpoint, kid, at_s, signature)
    return checkpoint


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise DeviceError("witness", f"what was seen of the neighbours cannot be kept: {error}") from error
