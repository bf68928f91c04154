"""When to seal, and what the signer agrees to sign. Pure: it is told sizes and times.

Rules of sealing:

1. After so many unsealed entries, or so long after the first of them, whichever comes first.
2. At once for kinds that matter at once (``CRITICAL``; refusals too where people are given receipts) and at shutdown.
3. Never more often than every few seconds: tokens slow down and wear out.

Rules of signing, so that whoever reaches the signer still cannot have anything else signed:

4. Only the statement of a checkpoint that parses, for this log and this key.
5. Only when the size grows within an epoch, naming the previous size and digest; a new epoch is greater than the last.
6. Once, the checkpoint of a successor that it was told of, which continues what it signed itself; nothing after that.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from edge.audit.checkpoint import Head, parse_statement
from edge.audit.entry import CRITICAL, Kind, LogError
from edge.audit.succession import parse_succession


@dataclass(frozen=True)
class SealingPolicy:
    """When checkpoints are signed: entries and seconds, and the kinds that wait for neither."""

    entries: int = 64
    after_s: float = 60.0
    not_within_s: float = 5.0
    at_once: frozenset[Kind] = CRITICAL


@dataclass(frozen=True)
class Tail:
    """The entries that no checkpoint covers yet.

    Attributes:
        count: of them.
        since_s: when the first of them was seen, monotonic seconds.
        critical: one of them must be sealed at once.
    """

    count: int
    since_s: float
    critical: bool


def due_in(policy: SealingPolicy, tail: Tail, sealed_s: float | None, now_s: float) -> float | None:
    """Seconds until sealing is due, 0 when it is due now, None when there is nothing to seal.

    Args:
        policy: of the site.
        tail: what waits.
        sealed_s: when the token signed last, monotonic seconds; None if it did not yet.
        now_s: monotonic seconds.
    """
    if tail.count == 0:
        return None
    at_once = tail.critical or tail.count >= policy.entries
    due_s = now_s if at_once else tail.since_s + policy.after_s
    if sealed_s is not None:
        due_s = max(due_s, sealed_s + policy.not_within_s)
    return max(0.0, due_s - now_s)


class Guard:
    """What the signer has signed so far, and therefore what it may sign next."""

    def __init__(self, origin: str, kid: bytes) -> None:
        self._origin = origin
        self._kid = kid
        self._succeeded = False
        self._epoch = 0
        self._size = 0
        self._digest: bytes | None = None

    def resume(self, epoch: int, size: int, digest: bytes) -> None:
        """Go on after this checkpoint, which was signed before."""
        if (epoch, size) >= (self._epoch, self._size):
            self._epoch, self._size, self._digest = epoch, size, digest

    def admit(self, statement: bytes) -> None:
        """Agree to sign this statement, or raise.

        Raises:
            LogError: it breaks rule 4 or 5.
        """
        head, kid = parse_statement(statement)
        if kid != self._kid:
            raise LogError("the checkpoint is of another log or key")
        self._admit(head)

    def admit_successor(self, statement: bytes, successor: bytes) -> None:
        """Agree to countersign the first checkpoint of that key, or raise.

        Raises:
            LogError: it breaks rule 5 or 6.
        """
        head, kid, own = parse_succession(statement)
        if kid != successor or own != self._kid or kid == own:
            raise LogError("the checkpoint is of another log or key")
        self._admit(head)
        if head.epoch != self._epoch or self._digest is None:
            raise LogError("a successor goes on in the epoch of its predecessor")

    def _admit(self, head: Head) -> None:
        """Rule 5."""
        if self._succeeded:
            raise LogError("this key was succeeded by another")
        if head.origin != self._origin:
            raise LogError("the checkpoint is of another log or key")
        if (head.epoch, head.size) <= (self._epoch, self._size):
            raise LogError(f"a checkpoint of {self._size} entries was signed already")
        if self._digest is not None and head.previous_digest != self._digest:
            raise LogError("the checkpoint names another predecessor")
        if self._digest is not None and head.previous_size != (self._size if head.epoch == self._epoch else 0):
            raise LogError("the checkpoint names another size before it")

    def signed(self, statement: bytes) -> None:
        """Remember that this statement was signed."""
        head, _ = parse_statement(statement)
        self.resume(head.epoch, head.size, hashlib.sha256(statement).digest())

    def succeeded(self) -> None:
        """Remember that a successor was countersigned: this key has done its part."""
        self._succeeded = True
