"""The proof that one entry is in the sealed log: a file, or a code that the kiosk shows to a person.

It stands alone: ``scripts/verify_log.py --proof`` checks it with nothing but the gate's public key. A blind proof tells
the hash of the entry instead of the entry: nothing about the person, and nothing that links two visits. Whoever may
read the log finds the entry by its index.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge.audit.checkpoint import Checkpoint, parse
from edge.audit.entry import Entry, LogError, Value, decode, deterministic, strict
from edge.audit.tree import leaf_hash, verify_inclusion

FORMAT = "edge-gate proof"


@dataclass(frozen=True)
class Proof:
    """What a proof says; made by ``prove`` or ``read``.

    Attributes:
        index: of the entry.
        leaf: its hash.
        entry: what it says; None in a blind proof.
        path: to the root.
        checkpoint: that covers it, without receipts.
    """

    index: int
    leaf: bytes
    entry: bytes | None
    path: tuple[bytes, ...]
    checkpoint: Checkpoint

    def encode(self) -> bytes:
        """As a file: deterministic CBOR."""
        told: dict[str, Value] = {"leaf": self.leaf} if self.entry is None else {"entry": self.entry}
        path: list[Value] = [*self.path]
        return deterministic(
            {"format": FORMAT, "index": self.index, "path": path, "checkpoint": self.checkpoint.encode(), **told}
        )

    def verify(self, point: bytes) -> Entry | None:
        """Check it against the gate's key; returns the entry, None when the proof is blind.

        Raises:
            LogError: it does not hold.
        """
        self.checkpoint.verify(point)
        verify_inclusion(self.index, self.checkpoint.head.size, self.leaf, self.path, self.checkpoint.head.root)
        found = None if self.entry is None else decode(self.entry)
        if found is not None and (found.index, found.epoch) != (self.index, self.checkpoint.head.epoch):
            raise LogError("the entry says it is another one")
        return found


def prove(index: int, entry: bytes, path: tuple[bytes, ...], checkpoint: Checkpoint, *, blind: bool) -> Proof:
    """The proof of one entry.

    Args:
        index: of the entry.
        entry: as it is on disk.
        path: from it to the root of ``checkpoint`` (``Log.inclusion``).
        checkpoint: that covers it (``Checkpoints.covering``).
        blind: tell its hash only.
    """
    return Proof(index, leaf_hash(entry), None if blind else entry, path, checkpoint.bare())


def read(encoded: bytes) -> Proof:
    """Take a proof apart; nothing is verified yet.

    Raises:
        LogError: it is not one.
    """
    told = strict(encoded)
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise LogError("not a proof")
    try:
        entry = told.get("entry")
        leaf = leaf_hash(entry) if entry is not None else told["leaf"]
        path = tuple(bytes(step) for step in told["path"])
        names = {"format", "index", "path", "checkpoint", "leaf" if entry is None else "entry"}
        if type(told["index"]) is not int or not isinstance(leaf, bytes) or set(told) != names:
            raise LogError("not a proof")
        return Proof(told["index"], leaf, entry, path, parse(told["checkpoint"]))
    except (KeyError, TypeError) as error:
        raise LogError("not a proof") from error
