"""Who went through which gate of the site, under pseudonyms: what anti-passback and occupancy are decided by.

Rules:

1. It is made of the log and nothing else: of passages (an entry of its own), not of grants. So it survives a restart.
2. A grant without an outcome, because the power went meanwhile, counts as a passage: a missing fact is never a pass.
3. It is bounded in time (``reset_h``) and in number; the oldest goes first.
4. A pass that another gate tells of counts as one of ours. An older one never moves a newer one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from edge.audit.entry import Entry, Kind

MOST: Final = 50_000
"""Passes that are remembered: two days of the busiest gate that we know."""


@dataclass(frozen=True)
class Pass:
    """Somebody went through.

    Attributes:
        subject: pseudonym of the holder.
        zone: where to.
        at_s: seconds since 1970, not later than it was.
    """

    subject: bytes = field(repr=False)
    zone: str
    at_s: int


class Presence:
    """The last pass of each holder."""

    def __init__(self, passes: Iterable[Pass] = ()) -> None:
        self._last: dict[bytes, Pass] = {}
        for each in passes:
            self.note(each)

    def note(self, each: Pass) -> None:
        """Remember a pass."""
        known = self._last.get(each.subject)
        if known is not None and known.at_s > each.at_s:
            return
        self._last.pop(each.subject, None)
        self._last[each.subject] = each
        if len(self._last) > MOST:
            del self._last[next(iter(self._last))]

    def last(self, subjects: Iterable[bytes], now_s: int) -> tuple[Pass, int] | None:
        """The newest pass under any of these pseudonyms (they change with the month), and its age in seconds."""
        found = [self._last[subject] for subject in subjects if subject in self._last]
        newest = max(found, key=lambda each: each.at_s, default=None)
        return None if newest is None else (newest, max(0, now_s - newest.at_s))

    def known(self) -> tuple[Pass, ...]:
        """The last pass of everybody, the one that was noted last at the end."""
        return tuple(self._last.values())

    def inside(self, zone: str, since_s: int) -> int:
        """How many went into the zone last, since that moment."""
        return sum(1 for each in self._last.values() if each.zone == zone and each.at_s >= since_s)


def passes(entries: Iterable[Entry]) -> Iterator[Pass]:
    """The passages among these entries of one log, in order; those without an outcome come last."""
    open_: dict[int, Entry] = {}
    for entry in entries:
        if entry.kind in (Kind.GRANTED, Kind.OVERRIDE) and entry.subject is not None:
            open_[entry.index] = entry
        elif entry.kind in (Kind.TAKEN, Kind.NOT_TAKEN):
            visit = entry.fields.get("visit")
            granted = open_.pop(visit if isinstance(visit, int) else max(open_, default=-1), None)
            if granted is not None and entry.kind is Kind.TAKEN:
                yield from _pass(granted)
    for granted in open_.values():
        yield from _pass(granted)


def _pass(granted: Entry) -> Iterator[Pass]:
    facts = granted.fields.get("facts")
    zone = facts.get("zone") if isinstance(facts, dict) else None
    if granted.subject is not None and isinstance(zone, str):
        yield Pass(granted.subject, zone, granted.wall_ms // 1000)
