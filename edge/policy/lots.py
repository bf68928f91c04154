"""Whom the lot fell on: showing the card again draws no other lot.

Rules:

1. Who was sent to a person by lot is sent there again whenever they come back, until somebody let them in or the time
   of the policy is over.
2. It is made of the log: a restart draws no other lot either.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from edge.audit.entry import Entry, Kind
from edge.errors import Reason

MOST: Final = 10_000
"""People of whom that is remembered."""


class Lots:
    """The lot of everybody who was sent to a person by it."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._drawn: dict[bytes, tuple[int, int]] = {}
        for entry in entries:
            if entry.subject is None:
                continue
            if entry.kind is Kind.DENIED and entry.fields.get("reason") == Reason.SECONDARY_CHECK.code:
                facts = entry.fields.get("facts")
                lot = facts.get("drawn") if isinstance(facts, dict) else None
                self.fell(entry.subject, lot if isinstance(lot, int) else 0, entry.wall_ms // 1000)
            elif entry.kind in (Kind.GRANTED, Kind.OVERRIDE):
                self.settled(entry.subject)

    def fell(self, subject: bytes, lot: int, at_s: int) -> None:
        """The lot fell on this holder; the first time counts."""
        self._drawn.setdefault(subject, (lot, at_s))
        if len(self._drawn) > MOST:
            del self._drawn[next(iter(self._drawn))]

    def settled(self, subject: bytes) -> None:
        """Somebody let this holder in."""
        self._drawn.pop(subject, None)

    def of(self, subjects: Iterable[bytes], since_s: float) -> int | None:
        """The lot that fell on this holder since then, under any of these pseudonyms; None where none did."""
        for subject in subjects:
            lot, at_s = self._drawn.get(subject, (0, -1))
            if at_s >= since_s:
                return lot
            self._drawn.pop(subject, None)
        return None
