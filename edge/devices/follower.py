"""The log as the other processes read it: read-only, by position, with word of new entries.

A commit becomes visible to readers after it reached the disk, so a follower never sees an entry that a power cut could
take back. When the gate opens a new epoch the file is replaced; the follower notices and reads the new one.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

from edge.audit.entry import Entry, LogError, decode
from edge.audit.tree import Nodes, consistency, inclusion, root_of
from edge.devices import leaves, readonly
from edge.errors import DeviceError

T = TypeVar("T")
_BATCH = 256
_ROWS = """SELECT CAST(entry AS BLOB), substr(CAST(nodes AS BLOB), 1, 32) FROM leaf
    WHERE ix >= ? AND ix < ? ORDER BY ix"""


class Follower:
    """The log of ``ports.Log``, read from the gate's journal."""

    def __init__(self, path: Path, poll_s: float = 0.1) -> None:
        self._path = path
        self._poll_s = poll_s
        self._known: dict[tuple[int, int], bytes] = {}
        self._reading = readonly.ReadFile(path, "journal", _is_log, self._known.clear)

    def epoch(self) -> int:
        """Number of the present log."""
        return self._ask(lambda file: int(file.execute("SELECT epoch FROM log").fetchone()[0]), 0)

    def size(self) -> int:
        """How many entries it has."""
        return self._ask(leaves.count, 0)

    def read(self, first: int, count: int) -> list[bytes]:
        """Up to ``count`` entries from index ``first``, as they are on disk; pruned ones are left out."""
        query = "SELECT CAST(entry AS BLOB) FROM leaf WHERE ix >= ? AND ix < ? AND entry IS NOT NULL ORDER BY ix"
        return self._ask(lambda file: [bytes(row[0]) for row in file.execute(query, (first, first + count))], [])

    def entries(self, first: int, count: int) -> list[Entry]:
        """Up to ``count`` entries from index ``first``, decoded."""
        try:
            return [decode(entry) for entry in self.read(first, count)]
        except LogError as error:
            raise DeviceError("journal", f"an entry after {first} is damaged: {error}") from error

    def rows(self, first: int, count: int) -> list[tuple[bytes | None, bytes]]:
        """Up to ``count`` entries from index ``first``, None where pruned, each with its leaf hash."""
        return self._ask(lambda file: file.execute(_ROWS, (first, first + count)).fetchall(), [])

    def node(self, level: int, index: int) -> bytes:
        """Hash of a complete subtree, as ``audit.tree.Nodes`` wants it."""
        return self._ask(lambda file: leaves.nodes(file)(level, index), None)

    def root(self, size: int) -> bytes:
        """Root of the tree over the first ``size`` entries."""
        return self._with_nodes(lambda nodes: root_of(size, nodes))

    def inclusion(self, index: int, size: int) -> tuple[bytes, ...]:
        """Proof that entry ``index`` is among the first ``size``."""
        return self._with_nodes(lambda nodes: inclusion(index, size, nodes))

    def consistency(self, older: int, newer: int) -> tuple[bytes, ...]:
        """Proof that the tree of ``newer`` entries continues that of ``older``."""
        return self._with_nodes(lambda nodes: consistency(older, newer, nodes))

    async def grown(self, beyond: int, epoch: int | None = None) -> int:
        """Wait until there are more than ``beyond`` entries, or another epoch than ``epoch``; returns the size."""
        while True:
            size = self.size()
            if size > beyond or (epoch is not None and self.epoch() != epoch):
                return size
            await asyncio.sleep(self._poll_s)  # another process writes: there is nothing to be woken by

    async def follow(self, first: int) -> AsyncIterator[Entry]:
        """All entries from index ``first`` on, those to come included; goes on at 0 when a new epoch begins."""
        epoch = self.epoch()
        while True:
            size = await self.grown(first, epoch)
            if epoch != (epoch := self.epoch()):
                first = 0
            batch = self.entries(first, _BATCH)
            for entry in batch:
                yield entry
            first = batch[-1].index + 1 if batch else min(first + _BATCH, size)  # nothing: all of them were pruned

    def close(self) -> None:
        """Let go of the file."""
        self._reading.close()

    def _with_nodes(self, ask: Callable[[Nodes], T]) -> T:
        """A proof from the file whose size was asked for last; to look for a newer one is a good part of the cost."""
        return self._ask(lambda file: leaves.with_nodes(file, self._known, ask), None, look=False)

    def _ask(self, query: Callable[[sqlite3.Connection], T], absent: T | None, look: bool = True) -> T:
        """The answer of the present file; ``absent`` when there is none yet."""
        with self._reading.asking(look=look) as file:
            if file is not None:
                return query(file)
        if absent is None:
            raise DeviceError("journal", f"{self._path} is not there yet")
        return absent


def _is_log(file: sqlite3.Connection) -> bool:
    made: bool = file.execute("PRAGMA application_id").fetchone() == (leaves.APPLICATION,)
    return made
