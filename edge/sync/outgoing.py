"""What of a gate's log goes out next, and whether it is the log that was sent before: reads, and sends nothing."""

from __future__ import annotations

from typing import Protocol

from edge.audit.checkpoint import Checkpoint
from edge.sync.batch import CHECKPOINTS, ENTRIES, Batch, bare, fitting
from edge.sync.outbox import Position
from edge.sync.window import Window

READ = frozenset({"journal", "checkpoints"})
"""The devices of the errors that reading raises; they say nothing about the connection."""


class Entries(Protocol):
    """What is needed of ``ports.Log``."""

    def epoch(self) -> int:
        """Number of the present log."""
        ...

    def size(self) -> int:
        """How many entries it has."""
        ...

    def rows(self, first: int, count: int) -> list[tuple[bytes | None, bytes]]:
        """Up to ``count`` entries from index ``first``, None where pruned, each with its leaf hash."""
        ...

    def root(self, size: int) -> bytes:
        """Root of the tree over the first ``size`` entries."""
        ...


class Sealed(Protocol):
    """What is needed of ``ports.Checkpoints``."""

    def after(self, epoch: int, size: int, count: int) -> list[Checkpoint]:
        """Up to ``count`` checkpoints after that of ``size`` entries in ``epoch``, in order, over epochs."""
        ...


def strange(log: Entries, known: Position) -> str:
    """Why the log is not the one that the position was taken in; empty when it is.

    Raises:
        DeviceError: the log cannot be read.
    """
    size = log.size()
    if known.acked > size:
        return f"journal: rolled back: {size} entries, {known.acked} were acknowledged"
    if known.acked and log.root(known.acked) != known.root:
        return f"journal: its first {known.acked} entries are not those that were acknowledged"
    return ""


def following(log: Entries, checkpoints: Sealed, origin: str, epoch: int, window: Window) -> tuple[Batch, int]:
    """The next entries, and the checkpoints that they reach; and the size of the newest of these.

    Raises:
        DeviceError: log or checkpoints cannot be read.
    """
    first = window.next
    count = min(ENTRIES, log.size() - first)
    rows = log.rows(first, count) if count > 0 else []
    entries = [bare(leaf) if entry is None else bytes(entry) for entry, leaf in rows]
    entries = entries[: fitting(entries)]
    reached = [
        checkpoint
        for checkpoint in checkpoints.after(epoch, window.next_sealed, CHECKPOINTS)
        if checkpoint.head.epoch == epoch and checkpoint.head.size <= first + len(entries)
    ]
    sealed = reached[-1].head.size if reached else window.next_sealed
    encoded = tuple(checkpoint.encode() for checkpoint in reached)
    return Batch(origin, epoch, first, tuple(entries), encoded), sealed
