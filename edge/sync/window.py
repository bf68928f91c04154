"""What has gone out, what was acknowledged, and what an acknowledgement is worth. No network, no clock.

Rules:

1. ``acked`` moves forward only, and only by an acknowledgement that the collector signed, that names our log and
   epoch, a size that our log has, and the root that our own tree has at that size.
2. An acknowledgement that answers a message on its way and says less than that message held means a gap: everything
   from there is sent again.
3. One that answers nothing on its way may be late or replayed. It moves ``acked`` forward if it is true; it never
   takes anything back, and is worth a word only if it answers nothing that was sent lately.
4. Sending again does no harm, because the collector knows an entry by (origin, epoch, index). Between attempts that
   bring nothing the pause doubles.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from edge.errors import Reason, Refusal
from edge.sync.batch import Ack

BATCHES = 4


@dataclass(frozen=True)
class _Sent:
    """A message on its way: index after its last entry, checkpoint size it leads to, and when it left."""

    end: int
    sealed: int
    at: float


class Window:
    """The state of one log's way out. Times are seconds on any one monotonic clock."""

    def __init__(
        self, origin: str, epoch: int, acked: int, sealed: int, *, retry_s: float, retry_most_s: float
    ) -> None:
        self.acked = acked
        self.sealed = sealed
        self.next = acked
        self.next_sealed = sealed
        self._origin, self._epoch = origin, epoch
        self._retry_s, self._retry_most_s = retry_s, retry_most_s
        self._on_way: dict[bytes, _Sent] = {}
        self._over: deque[bytes] = deque(maxlen=64)
        self._idle_until = 0.0
        self._failures = 0
        self.lost = False

    @property
    def on_way(self) -> int:
        """Messages sent and not answered."""
        return len(self._on_way)

    @property
    def failures(self) -> int:
        """Attempts in a row that brought nothing."""
        return self._failures

    def open(self, now: float) -> bool:
        """Whether another message may go out."""
        return len(self._on_way) < BATCHES and now >= self._idle_until

    def sent(self, correlation: bytes, end: int, sealed: int, now: float) -> None:
        """Note a message that has left."""
        self._on_way[correlation] = _Sent(end, sealed, now)
        self.next, self.next_sealed = end, sealed

    def overdue(self, now: float) -> bool:
        """Whether the oldest message waits too long for its answer; if so, all is sent again, later."""
        if not self._on_way or now - next(iter(self._on_way.values())).at < self._pause():
            return False
        self._rewind(self.acked, self.sealed, now)
        return True

    def hear(self, ack: Ack, size: int, root_at: Callable[[int], bytes], now: float) -> None:
        """Take in an acknowledgement whose signature was checked.

        Args:
            ack: what it says.
            size: entries in our log now.
            root_at: root of our own tree at a size.
            now: monotonic seconds.

        Raises:
            Refusal: it is not for us, or not true, or takes back; nothing has changed then.
        """
        answered = self._on_way.get(ack.answers)
        if (ack.origin, ack.epoch) != (self._origin, self._epoch):
            raise Refusal(Reason.BAD_CLAIM, "acknowledgement for another log")
        if ack.size > size or ack.sealed > ack.size:
            raise Refusal(Reason.BAD_CLAIM, f"acknowledgement of {ack.size} entries, there are {size}")
        if answered is None and ack.size <= self.acked and ack.answers in self._over:
            return  # late: it was sent again, or a later answer said more
        if answered is None and ack.size < self.acked:
            raise Refusal(Reason.EXPIRED, f"old acknowledgement of {ack.size} entries, {self.acked} were acknowledged")
        if ack.root != root_at(ack.size):
            raise Refusal(Reason.BAD_CLAIM, f"acknowledgement of {ack.size} entries that are not ours")
        moved = ack.size > self.acked or ack.sealed > self.sealed
        self.acked, self.sealed = max(self.acked, ack.size), max(self.sealed, ack.sealed)
        if moved:
            self._failures = 0
        self.lost = ack.size < self.acked
        if answered is not None:
            self._settle(answered, ack, now, moved)
        self.next, self.next_sealed = max(self.next, ack.size), max(self.next_sealed, ack.sealed)

    def _settle(self, answered: _Sent, ack: Ack, now: float, moved: bool) -> None:
        """Forget what is answered, or go back to where the collector is."""
        if ack.size >= answered.end and ack.sealed >= answered.sealed:
            self._failures, self._idle_until = 0, 0.0
            done = [key for key, sent in self._on_way.items() if sent.end <= ack.size and sent.sealed <= ack.sealed]
            for key in done:
                del self._on_way[key]
            self._over.extend(done)
            return
        self._rewind(ack.size, ack.sealed, now, at_once=moved or self._failures == 0)

    def _rewind(self, to: int, sealed: int, now: float, *, at_once: bool = False) -> None:
        self._over.extend(self._on_way)
        self._on_way.clear()
        self.next, self.next_sealed = to, sealed
        self._failures += 1
        self._idle_until = now if at_once else now + self._pause()

    def _pause(self) -> float:
        return float(min(self._retry_most_s, self._retry_s * 2 ** min(self._failures, 20)))
