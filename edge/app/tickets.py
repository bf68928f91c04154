"""What an operator holds between two questions: a ticket that edge-gate gave, and how often somebody may try.

Rules:

1. A ticket is 32 bytes of chance; only its SHA-256 is remembered, in memory: a restart of edge-gate ends them all.
2. It is good for ``LONGEST_S``, and for ``IDLE_S`` after somebody was last at the page.
3. After ``TRIES`` wrong tries under one name, known or not, each further one waits twice as long, up to ``WAIT_S``.
   Tries from a browser in which the operator logged in before are counted by themselves, so that strangers keep nobody
   out. A ticket with as many wrong codes is worth nothing any more.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from edge.trust.operators import fingerprint

LONGEST_S = 8 * 3600.0
IDLE_S = 15 * 60.0
TICKETS = 16
TRIES = 5
WAIT_S = 300.0
_NAMES = 64


@dataclass
class Session:
    """One ticket that is out."""

    name: str
    began_s: float
    seen_s: float
    wrong: int = 0

    def left_s(self, now_s: float) -> float:
        """Seconds until it ends if nobody comes back; none when it has ended."""
        return max(0.0, min(self.began_s + LONGEST_S, self.seen_s + IDLE_S) - now_s)


class Tickets:
    """All tickets that are out."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._out: dict[bytes, Session] = {}

    def give(self, name: str) -> str:
        """A new ticket for this operator; the oldest goes when there are too many."""
        now_s = self._monotonic()
        self._out = {key: one for key, one in self._out.items() if one.left_s(now_s) > 0}
        while len(self._out) >= TICKETS:
            self._out.pop(min(self._out, key=lambda key: self._out[key].seen_s))
        ticket = secrets.token_urlsafe(32)
        self._out[fingerprint(ticket)] = Session(name, now_s, now_s)
        return ticket

    def of(self, ticket: str, *, here: bool) -> Session | None:
        """Whose ticket this is; ``here`` when somebody is at the page. None when it is not good."""
        session, now_s = self._out.get(fingerprint(ticket)), self._monotonic()
        if session is None or session.left_s(now_s) <= 0:
            self.take(ticket)
            return None
        if here:
            session.seen_s = now_s
        return session

    def left_s(self, session: Session) -> float:
        """Seconds until this ends if nobody comes back."""
        return session.left_s(self._monotonic())

    def wrong(self, ticket: str) -> None:
        """A wrong code came with this ticket."""
        session = self._out.get(fingerprint(ticket))
        if session is None:
            return
        session.wrong += 1
        if session.wrong >= TRIES:
            self.take(ticket)

    def take(self, ticket: str) -> None:
        """This ticket is not good any more."""
        self._out.pop(fingerprint(ticket), None)

    def take_all(self, name: str) -> None:
        """None of this operator's is."""
        self._out = {key: one for key, one in self._out.items() if one.name != name}


class Patience:
    """How long somebody has to wait before the next try; what is kept is bounded."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._wrong: dict[str, tuple[int, float]] = {}

    def wait_s(self, name: str) -> float:
        """Seconds from now until this name may be tried again."""
        count, at_s = self._wrong.get(name, (0, 0.0))
        if count < TRIES:
            return 0.0
        wait_s = min(WAIT_S, 2.0 ** min(count - TRIES + 1, 16))
        return max(0.0, at_s + wait_s - self._monotonic())

    def wrong(self, name: str) -> int:
        """One more wrong try; how many there were in a row."""
        count = self._wrong.pop(name, (0, 0.0))[0] + 1
        self._wrong[name] = (count, self._monotonic())
        while len(self._wrong) > _NAMES:
            self._wrong.pop(next(iter(self._wrong)))
        return count

    def right(self, name: str) -> None:
        """It was right: what was wrong before is forgotten."""
        self._wrong.pop(name, None)
