"""Gates of a site watch over each other: each cosigns the checkpoints of its neighbours that continue what it saw.

Rules:

1. A witness remembers the last checkpoint of each log. It cosigns a newer one only when every step from the one it
   remembers is there, signed by the log's key, and continues the step before.
2. Two heads of one log that cannot both be true are a fork. Both are kept: the two signatures are the evidence.
3. A head behind the remembered one is old news; a log that goes on from an older one ends in a fork.
4. A cosignature is a receipt of consistency (RFC 9942): a COSE_Sign1 by the witness over the same root, detached, with
   the log, its epoch, the size and the checkpoint's digest in its protected header. Receipts go into header 394 of the
   checkpoint, which stays the same checkpoint: its digest does not change. The first checkpoint of an epoch continues
   nothing; its receipts hold no path.
5. A witness signs with a key of its own and not with its token's: the token signs this gate's log and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cbor2

from edge.audit.checkpoint import (
    CONSISTENCY,
    ES256,
    PROOFS,
    RECEIPTS,
    RFC9162_SHA256,
    TREE_KIND,
    Checkpoint,
    KnownHead,
    key_id,
    verify_es256,
)
from edge.audit.entry import LogError, deterministic

WITNESSED = -70001
"""Private header label: [size, digest of the checkpoint]."""
_TAG = 18


@dataclass(frozen=True)
class Fork:
    """Two signed heads of one log that cannot both be true."""

    one: Checkpoint
    other: Checkpoint
    why: str


class Witness:
    """What one gate knows of its neighbours' logs.

    Args:
        keys: uncompressed point of each log's key, by origin.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._keys = dict(keys)
        self._seen: dict[str, Checkpoint] = {}

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from this checkpoint, which was cosigned before."""
        self._seen[checkpoint.head.origin] = checkpoint

    def seen(self, origin: str) -> KnownHead | None:
        """The last head of that log."""
        last = self._seen.get(origin)
        return None if last is None else KnownHead.of(last)

    def consider(self, steps: Sequence[Checkpoint]) -> Checkpoint | Fork | None:
        """Look at new checkpoints of one log, in order.

        Returns:
            The newest, to be cosigned; a fork; or None when they are old news.

        Raises:
            LogError: the log is unknown, a signature is wrong, or steps are missing: ask for those after ``seen``.
        """
        newest: Checkpoint | None = None
        for checkpoint in steps:
            point = self._keys.get(checkpoint.head.origin)
            if point is None:
                raise LogError(f"{checkpoint.head.origin} is no neighbour")
            checkpoint.verify(point)
            last = self._seen.get(checkpoint.head.origin)
            if last is not None and (fork := fork_of(last, checkpoint)) is not None:
                return fork
            if last is not None and _place(checkpoint) <= _place(last):
                continue
            if last is not None:
                checkpoint.follows(last)
            self._seen[checkpoint.head.origin] = newest = checkpoint
        return newest


def _place(checkpoint: Checkpoint) -> tuple[int, int]:
    return checkpoint.head.epoch, checkpoint.head.size


def fork_of(last: Checkpoint, new: Checkpoint) -> Fork | None:
    """Rule 2: another head at the same place, or one that grew past ours from somewhere else.

    Both are signed by the log's key; that is the caller's to see to.
    """
    if _place(new) == _place(last):
        return Fork(last, new, "two heads of one size") if new.digest != last.digest else None
    same = new.head.epoch == last.head.epoch
    if same and new.head.previous_size == last.head.size and new.head.previous_digest != last.digest:
        return Fork(last, new, "two predecessors of one size")
    if same and new.head.previous_size < last.head.size < new.head.size:
        return Fork(last, new, "a checkpoint that was signed is left out")
    return None


def cosign_statement(checkpoint: Checkpoint, kid: bytes, at_s: int) -> bytes:
    """What a witness signs: the Sig_structure of its receipt."""
    return deterministic(["Signature1", _protected(checkpoint, kid, at_s), b"", checkpoint.head.root])


def cosigned(checkpoint: Checkpoint, kid: bytes, at_s: int, signature: bytes) -> Checkpoint:
    """The checkpoint with one more receipt."""
    head, proofs = checkpoint.head, {}
    if head.previous_size and checkpoint.path is not None:
        proofs = {CONSISTENCY: [deterministic([head.previous_size, head.size, [*checkpoint.path]])]}
    parts = [_protected(checkpoint, kid, at_s), {PROOFS: proofs}, None, signature]
    receipt = cbor2.dumps(cbor2.CBORTag(_TAG, parts), canonical=True)
    return checkpoint.with_extra(RECEIPTS, [*dict(checkpoint.extras).get(RECEIPTS, ()), receipt])


def cosigners(checkpoint: Checkpoint, witnesses: Mapping[bytes, bytes]) -> dict[bytes, int]:
    """Key ids of the witnesses that cosigned, and when.

    Args:
        checkpoint: whose receipts count.
        witnesses: uncompressed points by key id; others are not looked at.

    Raises:
        LogError: a receipt is malformed or of another checkpoint, or one in the name of a known witness is not its own.
    """
    found: dict[bytes, int] = {}
    for kid, at_s, signature in _receipts(checkpoint):
        if kid in witnesses:
            verify_es256(witnesses[kid], cosign_statement(checkpoint, kid, at_s), signature)
            found[kid] = at_s
    return found


def witness_ids(points: Sequence[bytes]) -> dict[bytes, bytes]:
    """Points by key id."""
    return {key_id(point): point for point in points}


def _protected(checkpoint: Checkpoint, kid: bytes, at_s: int) -> bytes:
    head = checkpoint.head
    claims = {2: f"{head.origin}/epoch/{head.epoch}", 6: at_s}
    witnessed = [head.size, checkpoint.digest]
    return deterministic({1: ES256, 4: kid, 15: claims, TREE_KIND: RFC9162_SHA256, WITNESSED: witnessed})


def _receipts(checkpoint: Checkpoint) -> list[tuple[bytes, int, bytes]]:
    """Key id, time and signature of the receipts in the unprotected header; each is of this checkpoint.

    Raises:
        LogError: one is malformed, or of another checkpoint.
    """
    parts: list[tuple[bytes, int, bytes]] = []
    try:
        for receipt in dict(checkpoint.extras).get(RECEIPTS, ()):
            tagged = cbor2.loads(receipt, max_depth=8, allow_indefinite=False, allow_duplicate_keys=False)
            protected, unprotected, payload, signature = tagged.value
            header = cbor2.loads(protected)
            kid, at_s = bytes(header[4]), int(header[15][6])
            same = protected == _protected(checkpoint, kid, at_s) and payload is None and tagged.tag == _TAG
            if not same or set(unprotected) != {PROOFS} or cbor2.dumps(tagged, canonical=True) != receipt:
                raise LogError("a receipt is of another checkpoint")
            parts.append((kid, at_s, bytes(signature)))
    except (TypeError, ValueError, KeyError, AttributeError, cbor2.CBORError) as error:
        raise LogError("receipts are malformed") from error
    return parts
