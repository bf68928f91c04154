"""The story of edge-seal: follow the log, and have the token sign its head.

Rules:

1. Seal when the policy says so (``audit/sealing.py``): so many entries, so long after the first, at once for what
   matters at once, and at shutdown.
2. Before signing, the new tree is shown to continue the last checkpoint. A log that was shortened or rewritten is not
   signed, and the technician is told.
3. A checkpoint counts when it is on disk. One that was signed and could not be kept is kept before the next is signed.
4. The token remembers the last head too: once an hour, at the first seal of a process and of an epoch, and at the end.
   A log that is older than that, as a memory card from yesterday is, is not signed; nor one whose checkpoints do not
   have that head, nor a new epoch whose first entry does not come up to it. Where that is no attack, a person says so
   (``edge audit anew``), and the first entry of the epoch that begins then tells what the token remembers. A token that
   keeps no notes is used without.
5. A key that did not sign the last checkpoint signs none in that epoch: going over is a person's decision
   (``audit/succession.py``).
6. Without the token the entries wait; the gate goes on as long as its profile allows. When the token is back, one
   signature covers all that waited.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edge.audit.checkpoint import Checkpoint, Head, KnownHead, key_id, statement
from edge.audit.entry import Kind, LogError, Quality, Value
from edge.audit.sealing import SealingPolicy, Tail, due_in
from edge.audit.tree import HASH, verify_consistency
from edge.errors import DeviceError
from edge.ports import CheckpointStore, Clock, Log, Token

_RETRY_S = (1.0, 2.0, 4.0, 8.0, 15.0)
_ASK_S = 2.0
_REMEMBER_S = 3600.0
_REMEDY = "when it is clear why: edge audit anew"


@dataclass(frozen=True)
class _Seen:
    """How far the log has been looked at, and what waits there."""

    epoch: int
    size: int
    tail: Tail


class Sealer:
    """Seals one gate's log.

    Args:
        origin: name of the log.
        policy: when to seal.
        log: to be sealed.
        checkpoints: where signed heads are kept.
        token: that signs.
        clock: for the time in the checkpoint, and the stopwatch.
        said: told the condition whenever it changes.
        successor: the key is a new one, and goes on where the one before left off.
    """

    def __init__(
        self,
        origin: str,
        policy: SealingPolicy,
        log: Log,
        checkpoints: CheckpointStore,
        token: Token,
        clock: Clock,
        said: Callable[[str], None] = lambda condition: None,
        *,
        successor: bool = False,
    ) -> None:
        self._origin = origin
        self._policy = policy
        self._log = log
        self._checkpoints = checkpoints
        self._token = token
        self._clock = clock
        self._said = said
        self._successor = successor
        self._condition = ""
        self._seen = _Seen(0, 0, Tail(0, 0.0, critical=False))
        self._signed_s: float | None = None
        self._asked_s = 0.0
        self._remembered_s: float | None = None
        self._not_kept: Checkpoint | None = None
        self._longest_tail = 0
        self._one = asyncio.Lock()

    def condition(self) -> str:
        """Empty when all is well, else what the technician should know."""
        return self._condition

    def unsealed(self) -> int:
        """How many entries wait, as of the last look."""
        return self._seen.tail.count

    async def run(self) -> None:
        """Seal by the policy until cancelled."""
        failures = 0
        while True:
            try:
                if failures:
                    await self._token.public_key()  # is it back? asked even when nothing waits
                await self._seal_when_due()
                failures = 0
                self._say("")
            except DeviceError as error:
                self._say(str(error))
                await asyncio.sleep(_RETRY_S[min(failures, len(_RETRY_S) - 1)])
                failures += 1

    async def seal(self) -> Checkpoint | None:
        """Seal everything that is in the log now; None when nothing waits.

        Raises:
            DeviceError: token, log or checkpoints do not do their part, or the log does not continue its last head.
        """
        async with self._one:
            self._keep()
            last = self._checkpoints.last()
            epoch, size = self._log.epoch(), self._log.size()
            head = self._next(last, epoch, size)
            if head is None:
                return None
            kid = key_id(await self._token.public_key())
            if last is not None and last.kid != kid and last.head.epoch == epoch and not self._successor:
                raise DeviceError("token", "another key signed this log so far; go over with: edge token rotate")
            path = self._log.consistency(head.previous_size, size)
            self._continues(last, head, path)
            await self._hold_against_memory(head)
            signature = await self._token.sign(statement(head, kid))
            self._not_kept = checkpoint = Checkpoint(head, kid, path, signature)
            self._keep()
            self._signed_s = self._clock.monotonic()
            await self._have_remembered(checkpoint, _REMEMBER_S if head.previous_size else 0.0)
            return checkpoint

    async def finish(self) -> None:
        """Seal what waits and have the token remember it: the last act before the process ends.

        Raises:
            DeviceError: it is not sealed.
        """
        await self.seal()
        last = self._checkpoints.last()
        if last is not None:
            await self._have_remembered(last, 0.0)

    async def _have_remembered(self, checkpoint: Checkpoint, not_within_s: float) -> None:
        """Rule 4, as seldom as a token's memory asks for."""
        now_s = self._clock.monotonic()
        if self._remembered_s is not None and now_s - self._remembered_s < not_within_s:
            return
        self._remembered_s = now_s
        with contextlib.suppress(DeviceError):  # full, or a card that keeps no notes: the seal stands without
            await self._token.remember(KnownHead.of(checkpoint).encode())

    async def _hold_against_memory(self, head: Head) -> None:
        """Rule 4, once per process: afterwards this process knows what it had signed."""
        if self._signed_s is not None:
            return
        note = await self._token.recall()
        if note is None:
            return
        try:
            known = KnownHead.decode(note)
        except LogError:
            return  # something else's note
        remembered = f"{known.size} entries that the token remembers"
        if (head.epoch, head.size) < (known.epoch, known.size):
            raise DeviceError("journal", f"it is older than the head of {remembered}; {_REMEDY}")
        if head.epoch == known.epoch and self._log.root(known.size) != known.root:
            raise DeviceError("journal", f"it was rewritten below the {remembered}; {_REMEDY}")
        opening = self._opening() if head.epoch > known.epoch else {"epoch": known.epoch, "size": known.size}
        if opening.get("remembered") == known.plain():
            return  # a person was here
        kept = self._checkpoints.covering(known.epoch, known.size - 1)
        if kept is None or kept.digest != known.digest:
            raise DeviceError("checkpoints", f"the head of {remembered} is not among them; {_REMEDY}")
        epoch, size = opening.get("epoch"), opening.get("size")
        if not isinstance(epoch, int) or not isinstance(size, int) or (epoch, size) < (known.epoch, known.size):
            raise DeviceError("journal", f"its epoch {head.epoch} does not come up to the {remembered}; {_REMEDY}")

    def _opening(self) -> Mapping[str, Value]:
        """What the first entry of this epoch says about the one before; nothing in the first epoch of all."""
        first = self._log.entries(0, 1)
        return first[0].fields if first and first[0].kind is Kind.EPOCH_OPEN else {}

    def _keep(self) -> None:
        """Rule 3."""
        if self._not_kept is not None:
            self._checkpoints.add(self._not_kept)
            self._not_kept = None

    async def _seal_when_due(self) -> None:
        """Wait until sealing is due, or a moment when it is not in sight, and seal."""
        self._look()
        wait_s = due_in(self._policy, self._seen.tail, self._signed_s, self._clock.monotonic())
        if wait_s == 0:
            await self.seal()
            return
        try:
            async with asyncio.timeout(min(1.0, wait_s or 1.0)):
                await self._log.grown(self._seen.size, self._seen.epoch)
        except TimeoutError:
            if self._clock.monotonic() - self._asked_s >= _ASK_S:
                self._asked_s = self._clock.monotonic()
                await self._token.public_key()  # an unplugged token is noticed before it is needed

    def _look(self) -> None:
        """See what waits."""
        last, epoch, size = self._checkpoints.last(), self._log.epoch(), self._log.size()
        sealed = last.head.size if last is not None and last.head.epoch == epoch else 0
        before = self._seen if self._seen.epoch == epoch else _Seen(epoch, sealed, Tail(0, 0.0, critical=False))
        waiting = before.tail.count > 0 and sealed <= before.size - before.tail.count
        first = max(before.size, sealed)
        new = self._log.entries(first, size - first) if size > first else []
        critical = any(entry.kind in self._policy.at_once for entry in new)
        since_s = before.tail.since_s if waiting else self._clock.monotonic()
        tail = Tail(max(0, size - sealed), since_s, critical or (waiting and before.tail.critical))
        self._longest_tail = max(self._longest_tail, tail.count)
        self._seen = _Seen(epoch, size, tail)

    def _next(self, last: Checkpoint | None, epoch: int, size: int) -> Head | None:
        """The head to sign, None when the last checkpoint covers everything."""
        if epoch == 0:
            return None
        if last is not None and last.head.origin != self._origin:
            raise DeviceError("checkpoints", f"they belong to {last.head.origin}")
        same = last is not None and last.head.epoch == epoch
        if last is not None and (epoch, size) < (last.head.epoch, last.head.size):
            raise DeviceError("journal", f"it is older than its last checkpoint of {last.head.size} entries")
        previous = last.head.size if last is not None and same else 0
        if size == previous:
            return None
        now = self._clock.now()
        (newest,) = self._log.entries(size - 1, 1)
        return Head(
            origin=self._origin,
            epoch=epoch,
            size=size,
            root=self._log.root(size),
            previous_size=previous,
            previous_digest=last.digest if last is not None else self._lost_digest(),
            at_s=int(now.lower.timestamp()),
            quality=Quality[now.state.name],
            boot=newest.boot,
            longest_tail=max(self._longest_tail, size - previous),
        )

    def _lost_digest(self) -> bytes:
        """Without checkpoints: of the head that the first entry of this epoch goes on from, if it names one."""
        digest = self._opening().get("digest")
        return digest if isinstance(digest, bytes) and len(digest) == HASH else b""

    def _continues(self, last: Checkpoint | None, head: Head, path: tuple[bytes, ...]) -> None:
        """Rule 2."""
        if last is None or head.previous_size == 0:
            return
        try:
            verify_consistency(last.head.size, head.size, last.head.root, head.root, path)
        except LogError as error:
            raise DeviceError("journal", f"it was rewritten below its last checkpoint: {error}") from error

    def _say(self, condition: str) -> None:
        if condition != self._condition:
            self._condition = condition
            self._said(condition)
