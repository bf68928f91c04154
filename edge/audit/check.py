"""The whole log against its checkpoints, with the gate's own code; ``scripts/verify_log.py`` does it without."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edge.audit.checkpoint import Checkpoint, key_id
from edge.audit.entry import LogError, decode
from edge.audit.succession import check_succession
from edge.audit.tree import Frontier, leaf_hash


def check_chain(checkpoints: Sequence[Checkpoint], points: Sequence[bytes], origin: str) -> Sequence[Checkpoint]:
    """Check signature, origin and predecessor of each checkpoint, and that each key handed over to the next.

    Args:
        checkpoints: in order, over epochs.
        points: public keys that may have signed.
        origin: name of the log.

    Returns:
        The same checkpoints.

    Raises:
        LogError: names the first that is wrong.
    """
    previous: Checkpoint | None = None
    keys = {key_id(point): point for point in points}
    for checkpoint in checkpoints:
        if checkpoint.head.origin != origin:
            raise LogError(f"checkpoint {checkpoint.head.size} is of {checkpoint.head.origin}")
        if checkpoint.kid not in keys:
            raise LogError(f"checkpoint {checkpoint.head.size} is signed by another key")
        checkpoint.verify(keys[checkpoint.kid])
        same = previous is not None and previous.head.epoch == checkpoint.head.epoch
        if previous is not None and same and previous.kid != checkpoint.kid:
            check_succession(checkpoint, keys[previous.kid])
        if previous is None and checkpoint.head.previous_digest and not checkpoint.head.previous_size:
            raise LogError(f"the checkpoints before epoch {checkpoint.head.epoch} are missing")
        checkpoint.follows(previous)
        previous = checkpoint
    return checkpoints


def check_entries(rows: Iterable[tuple[bytes | None, bytes]], epoch: int, sealed: Sequence[Checkpoint]) -> int:
    """Check entries in order against the checkpoints of their epoch; returns how many there are.

    Args:
        rows: the entry, None when it is pruned, and its leaf hash; from index 0.
        epoch: of the log.
        sealed: checkpoints of this epoch, in order.

    Raises:
        LogError: names the first entry that is wrong, or the range it is in.
    """
    frontier, due, good = Frontier(), list(sealed), 0
    for entry, leaf in rows:
        index = frontier.size
        if entry is not None:
            found = decode(entry)
            if (found.index, found.epoch) != (index, epoch) or leaf_hash(entry) != leaf:
                raise LogError(f"entry {index} was changed")
        frontier, _ = frontier.append(leaf)
        if due and due[0].head.size == frontier.size:
            if due.pop(0).head.root != frontier.root():
                raise LogError(f"an entry from {good} to {index} was changed")
            good = frontier.size
    if due:
        raise LogError(f"entry {frontier.size} is missing: {due[-1].head.size} were sealed")
    return frontier.size
