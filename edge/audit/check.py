"""The whole log against its checkpoints, with the gate's own code; ``scripts/verify_log.py`` does it without."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence

from edge.audit.checkpoint import Checkpoint, key_id
from edge.audit.entry import Entry, Kind, LogError, decode
from edge.audit.succession import check_succession
from edge.audit.tree import Frontier, leaf_hash


def check_chain(
    checkpoints: Sequence[Checkpoint], points: Sequence[bytes], origin: str, named: Collection[bytes] = ()
) -> Sequence[Checkpoint]:
    """Check signature, origin and predecessor of each checkpoint, and that each key handed over to the next.

    Args:
        checkpoints: in order, over epochs.
        points: public keys that may have signed.
        origin: name of the log.
        named: digests that a new epoch's first entry says it goes on from; of these the checkpoint may be missing.

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
            if checkpoint.head.previous_digest not in named:
                raise LogError(f"the checkpoints before epoch {checkpoint.head.epoch} are missing")
        else:
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
    gone: list[tuple[int, int]] = []
    told: list[tuple[int, int, int]] = []
    for entry, leaf in rows:
        index = frontier.size
        if entry is None:
            follows = bool(gone) and gone[-1][1] == index - 1
            gone.append((gone.pop()[0] if follows else index, index))
        else:
            found = decode(entry)
            if found.kind is Kind.PRUNED:
                told.append(_pruned(found))
            if (found.index, found.epoch) != (index, epoch) or leaf_hash(entry) != leaf:
                raise LogError(f"entry {index} was changed")
        frontier, _ = frontier.append(leaf)
        if due and due[0].head.size == frontier.size:
            if due.pop(0).head.root != frontier.root():
                raise LogError(f"an entry from {good} to {index} was changed")
            good = frontier.size
    if due:
        raise LogError(f"entry {frontier.size} is missing: {due[-1].head.size} were sealed")
    check_pruned(gone, told)
    return frontier.size


def check_pruned(gone: Iterable[tuple[int, int]], told: Iterable[tuple[int, int, int]]) -> None:
    """Check that entries which are gone were pruned: each in a range that is told, no more in it than are told.

    Args:
        gone: first and last index of each run of them, in order.
        told: first index, last index and count of each pruning.

    Raises:
        LogError: one was taken away.
    """
    left = deque(gone)
    for first, last, count in _joined(told):
        here = 0
        while left and first <= left[0][0] <= last:
            begin, end = left.popleft()
            here += min(end, last) - begin + 1
            if end > last:
                left.appendleft((last + 1, end))
        if here > count:
            raise LogError(f"{here} entries from {first} to {last} are gone, and {count} were pruned")
    if left:
        raise LogError(f"entry {left[0][0]} was taken away, and no entry says so")


def _joined(told: Iterable[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """The ranges in order, those that overlap as one."""
    ranges: list[tuple[int, int, int]] = []
    for first, last, count in sorted(told):
        if ranges and first <= ranges[-1][1]:
            before = ranges.pop()
            ranges.append((before[0], max(before[1], last), before[2] + count))
        else:
            ranges.append((first, last, count))
    return ranges


def _pruned(entry: Entry) -> tuple[int, int, int]:
    """What an entry of pruning tells."""
    first, last, count = (entry.fields.get(name) for name in ("first", "last", "count"))
    if not isinstance(first, int) or not isinstance(last, int) or not isinstance(count, int):
        raise LogError(f"entry {entry.index} does not say what was pruned")
    return first, last, count
