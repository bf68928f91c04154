"""Whether a new epoch of a log continues the one before it.

A gate begins a new epoch when its log is damaged or its card was replaced. The first entry says which checkpoint it
knew last. What the collector holds beyond that was forgotten, or is meant to be; what it does not hold of it is gone
from here, because a gate sends its newest epoch only. Somebody must look at both.
"""

from __future__ import annotations

from edge.audit import entry as entries
from edge.audit.entry import Kind, LogError
from edge.sync.received import Known, Received


def broken(first: bytes, origin: str, epoch: int, received: Received) -> str:
    """What is wrong with the first entry of an epoch; empty when it continues what is here. Inside ``committed``.

    Args:
        first: the entry.
        origin: of the log.
        epoch: of the entry.
        received: what is here.
    """
    before, held = received.before(origin, epoch)
    try:
        said = entries.decode(first)
    except LogError:
        return f"epoch {epoch} begins with something that is no entry" if before else ""
    named, size = said.fields.get("epoch"), said.fields.get("size")
    if said.kind is not Kind.EPOCH_OPEN or type(named) is not int or type(size) is not int or named >= epoch:
        return f"epoch {epoch} does not name the one before it, {before}" if before else ""
    if (named, size) < (before, held.sealed.size):
        return _forgotten(epoch, named, size, before, held)
    here = held.tree.size if named == before else 0
    if size > here:
        kept = "the others were on the gate when it began anew, unless they are still on their way"
        return f"missing: epoch {epoch} goes on from {size} entries of epoch {named}, {here} are here; {kept}"
    if named == before and said.fields.get("root") != received.root(held, size):
        return f"fork: epoch {epoch} names another root for the {size} entries of epoch {before}"
    return ""


def _forgotten(epoch: int, named: int, size: int, before: int, held: Known) -> str:
    known = f"it knows {size} of epoch {named}"
    sealed = f"{held.sealed.size} of epoch {before} were sealed"
    return f"rolled back: epoch {epoch} forgets entries: {known}, {sealed}, {held.tree.size} are here"
