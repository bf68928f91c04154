"""Gates of a site watch over each other: each cosigns the checkpoints of its neighbours that continue what it saw.

Rules:

1. A witness remembers the last checkpoint of each log. It cosigns a newer one only when every step from the one it
   remembers is there, signed by the log's key, and continues the step before.
2. Two heads of one log that cannot both be true are a fork. Both are kept: the two signatures are the evidence.
3. A head behind the remembered one is old news; a log that goes on from an older one ends in a fork.
4. A cosignature is a COSE countersignature (RFC 9338, label 11 of the unprotected header), so that a checkpoint with
   cosignatures is still the same checkpoint: its digest does not change.
5. A witness signs with a key of its own and not with its token's: the token signs this gate's log and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cbor2

from edge.audit.checkpoint import COUNTERSIGNATURE, ES256, Checkpoint, KnownHead, key_id, verify_es256
from edge.audit.entry import LogError, deterministic


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
    """What a witness signs: the Countersign_structure of RFC 9338 section 3.3."""
    body, payload = cbor2.loads(checkpoint.statement)[1::2]
    protected = _protected(kid, at_s)
    return deterministic(["CounterSignatureV2", body, protected, b"", payload, [checkpoint.signature]])


def cosigned(checkpoint: Checkpoint, kid: bytes, at_s: int, signature: bytes) -> Checkpoint:
    """The checkpoint with one more cosignature."""
    before = [list(one) for one in _cosignatures(checkpoint)]
    return checkpoint.with_extra(COUNTERSIGNATURE, [*before, [_protected(kid, at_s), {}, signature]])


def cosigners(checkpoint: Checkpoint, witnesses: Mapping[bytes, bytes]) -> dict[bytes, int]:
    """Key ids of the witnesses that cosigned, and when.

    Args:
        checkpoint: whose cosignatures count.
        witnesses: uncompressed points by key id; others are not looked at.

    Raises:
        LogError: a cosignature in the name of a known witness is not its own.
    """
    found: dict[bytes, int] = {}
    for protected, _, signature in _cosignatures(checkpoint):
        header = cbor2.loads(protected)
        kid, at_s = header[4], header[15][6]
        if kid in witnesses:
            verify_es256(witnesses[kid], cosign_statement(checkpoint, kid, at_s), signature)
            found[kid] = at_s
    return found


def witness_ids(points: Sequence[bytes]) -> dict[bytes, bytes]:
    """Points by key id."""
    return {key_id(point): point for point in points}


def _protected(kid: bytes, at_s: int) -> bytes:
    return deterministic({1: ES256, 4: kid, 15: {6: at_s}})


def _cosignatures(checkpoint: Checkpoint) -> list[tuple[bytes, object, bytes]]:
    """The cosignatures in the unprotected header.

    Raises:
        LogError: they are malformed.
    """
    found = dict(checkpoint.extras).get(COUNTERSIGNATURE, ())
    try:
        parts = [(bytes(protected), other, bytes(signature)) for protected, other, signature in found]
        whole = all({1, 4, 15} == set(cbor2.loads(protected)) for protected, _, _ in parts)
    except (TypeError, ValueError, cbor2.CBORError) as error:
        raise LogError("cosignatures are malformed") from error
    if not whole:
        raise LogError("cosignatures are malformed")
    return parts
