"""What of a batch is right by itself: entries under their own numbers, checkpoints of this log, and whose they are.

Rules:

1. An entry says which index and epoch it has, and they must be these. One that the gate has pruned comes without its
   contents, as its leaf hash: the tree over it is the same.
2. A checkpoint is about this log and signed by the gate's enrolled key, or by one that this key has handed over to: it
   sealed the entry that introduces the new key, and countersigned the new key's first checkpoint. So nothing need be
   enrolled anew when a key is replaced in order, and it does no harm when the new one is.
3. Within an epoch a key only goes over to its successor; a key that was succeeded begins no epoch. One that is not
   enrolled any more counts up to where it hands over to the one that is, and no further.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, replace

from edge.audit import checkpoint as checkpoints
from edge.audit import entry as entries
from edge.audit.checkpoint import Checkpoint, key_id
from edge.audit.entry import Kind, LogError
from edge.audit.succession import check_succession
from edge.audit.tree import Frontier
from edge.sync.batch import Batch, leaf_of, without_contents

_LINE = 64


class Tampered(Exception):  # noqa: N818 -- what the collector has to say about a log, not about a program
    """A log is not the one it was, or not what its checkpoint says; the message says where."""


@dataclass(frozen=True)
class Keys:
    """The keys that may have signed a gate's log.

    Attributes:
        enrolled: an uncompressed P-256 point, as somebody we trust gave it to us.
        line: the keys that signed so far, ``_LINE`` at most, the one that signs now last.
        comes: whether the enrolled one signs something that is still to be looked at.
    """

    enrolled: bytes
    line: tuple[bytes, ...] = ()
    comes: bool = False

    def of(self, kid: bytes) -> bytes | None:
        """The key of that id, if it is one of these."""
        before = self.line if self.enrolled in self.line or self.comes else ()
        return next((point for point in (self.enrolled, *before) if key_id(point) == kid), None)

    @property
    def newest(self) -> bytes:
        """The one that signs now."""
        return self.line[-1] if self.enrolled in self.line else self.enrolled

    def begun(self) -> Keys:
        """As they are once an epoch has begun."""
        return self if self.enrolled in self.line else replace(self, line=(self.enrolled,))

    def after(self, old: bytes, new: bytes) -> Keys:
        """With one that was handed over to; the oldest are forgotten, the enrolled one never."""
        if old not in self.line:
            return replace(self, line=(old, new))
        stays = (self.enrolled,) if self.enrolled in self.line and self.enrolled != new else ()
        others = [point for point in self.line if point not in (self.enrolled, new)]
        return replace(self, line=(*stays, *others[-(_LINE - 2) :], new))

    def hint(self, kid: bytes, previous: Checkpoint | None) -> str:
        """What to do about a key that is none of these, of a checkpoint after this one, which was good once."""
        if self.enrolled in self.line:
            return ""
        if any(key_id(point) == kid for point in self.line) or (previous is not None and previous.kid == kid):
            return ", which was enrolled before: enrol it again until it has handed over"
        before = previous is not None and kid == key_id(self.enrolled)
        return ": enrol the one before this one again until it has handed over" if before else ""


def signed(
    checkpoint: Checkpoint, previous: Checkpoint | None, keys: Keys, sealed: Callable[[], Iterable[bytes]]
) -> Keys:
    """Check whose key signed a checkpoint; the keys, with one more where it was handed over.

    Args:
        checkpoint: of a log.
        previous: the one before it in the same epoch, already checked.
        keys: that may have signed.
        sealed: the entries that ``previous`` sealed.

    Raises:
        Tampered: it is none of theirs.
    """
    other = f"checkpoint {checkpoint.head.size} is signed by another key"
    try:
        if previous is None or previous.kid == checkpoint.kid:
            point = keys.newest if previous is None else keys.of(checkpoint.kid)
            if point is None or key_id(point) != checkpoint.kid:
                raise LogError(f"{other}{keys.hint(checkpoint.kid, previous)}")
            checkpoint.verify(point)
            return keys.begun() if checkpoint.kid == key_id(keys.enrolled) else keys
        old = keys.of(previous.kid)
        if old is None:
            raise LogError(f"{other}{keys.hint(checkpoint.kid, previous)}")
        check_succession(checkpoint, old)  # before the entries are read, which may be many
        new = keys.of(checkpoint.kid) or _introduced(checkpoint.kid, sealed())
        if new is None or new == old:
            raise LogError(other)
        checkpoint.verify(new)
    except LogError as error:
        raise Tampered(str(error)) from error
    return keys.after(old, new)


def verified(checkpoint: Checkpoint, keys: Keys) -> None:
    """Check that a checkpoint is signed by any key that ever signed this log.

    Raises:
        Tampered: it is not.
    """
    try:
        checkpoint.verify(keys.of(checkpoint.kid) or keys.newest)
    except LogError as error:
        raise Tampered(str(error)) from error


def parsed(encoded: bytes, batch: Batch) -> Checkpoint:
    """A checkpoint of the batch, about this log; its signature is not checked yet.

    Raises:
        Tampered: it is none, or about another one.
    """
    try:
        found = checkpoints.parse(encoded)
    except LogError as error:
        raise Tampered(str(error)) from error
    if (found.head.origin, found.head.epoch) != (batch.origin, batch.epoch):
        raise Tampered(f"checkpoint {found.head.size} is about another log")
    return found


def grown(
    tree: Frontier, batch: Batch, fresh: Sequence[bytes], stops: Set[int]
) -> tuple[Frontier, dict[int, Frontier]]:
    """The tree with the fresh entries, and as it was at those of the sizes ``stops`` that it came past.

    Raises:
        Tampered: one is not the entry of its place.
    """
    reached = {tree.size: tree}
    for item in fresh:
        if not without_contents(item):
            _placed(item, tree.size, batch.epoch)
        tree, _ = tree.append(leaf_of(item))
        if tree.size in stops:
            reached[tree.size] = tree
    return tree, reached


def _placed(item: bytes, index: int, epoch: int) -> None:
    try:
        said = entries.decode(item)
    except LogError as error:
        raise Tampered(f"entry {index}: {error}") from error
    if (said.index, said.epoch) != (index, epoch):
        raise Tampered(f"entry {index} says that it is entry {said.index} of epoch {said.epoch}")


def _introduced(kid: bytes, sealed: Iterable[bytes]) -> bytes | None:
    """The key of that id, if one of these entries introduces it."""
    for item in sealed:
        if without_contents(item) or entries.kind_in(item) != Kind.KEY_ROTATION:
            continue
        fields = entries.decode(item).fields
        point = fields.get("point")
        if fields.get("key") == "introduced" and isinstance(point, bytes) and key_id(point) == kid:
            return point
    return None
