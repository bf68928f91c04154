"""Whether a new epoch of a log continues the one before it.

A gate begins a new epoch when its log is damaged or its card was replaced. The first entry says which checkpoint it
knew last. What the collector holds beyond that was forgotten, or is meant to be: somebody must look at it.
"""

from __future__ import annotations

from collections.abc import Callable

from edge.audit import entry as entries
from edge.audit.entry import Kind, LogError
from edge.sync.received import Known


def broken(first: bytes, epoch: int, known: Callable[[int], Known]) -> str:
    """What is wrong with the first entry of an epoch; empty when it continues what is here.

    Args:
        first: the entry.
        epoch: its epoch.
        known: a log of the same origin, by epoch.
    """
    before = next((number for number in range(epoch - 1, 0, -1) if known(number).tree.size), 0)
    if not before:
        return ""
    held = known(before).sealed
    try:
        said = entries.decode(first)
    except LogError:
        return f"epoch {epoch} begins with something that is no entry"
    size = said.fields.get("size")
    if said.kind is not Kind.EPOCH_OPEN or said.fields.get("epoch") != before or type(size) is not int:
        return f"epoch {epoch} does not name the one before it, {before}"
    if size < held.size:
        return f"epoch {epoch} forgets entries: it knows {size} of epoch {before}, {held.size} were sealed"
    if size == held.size and said.fields.get("root") != held.root():
        return f"fork: epoch {epoch} names another root for the {size} entries of epoch {before}"
    return ""
