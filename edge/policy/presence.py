"""Who went through which gate of the site, under pseudonyms: what anti-passback and occupancy are decided by.

Rules:

1. It is made of the log: of passages (an entry of its own), not of grants; and of what other gates told. So it survives
   a restart.
2. A grant without an outcome, because the power went meanwhile, counts as a passage: a missing fact is never a pass.
3. It is bounded in time (``forget``) and in number; the oldest goes first.
4. The times of two gates are never compared, because their clocks may be days apart. A pass has a *turn*, greater than
   that of every pass of this holder that was known where it happened: the greater turn is newer, at every gate.
5. A pass since the start is as old as the stopwatch says; one from before it as the clock of the log says, once that is
   known to be right. A floor that is raised makes none of them older.
6. Pseudonyms change with the month. Who goes through has moved under the other names: there they are nowhere any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from edge.audit.entry import Entry, Kind
from edge.trust.interval import ClockState, Interval

MOST: Final = 50_000
"""Passes that are remembered: two days of the busiest gate that we know."""
MOVED: Final = ""
"""The zone of whoever is known under another name meanwhile."""
_STEP_S: Final = 300
"""A smaller step is none: the moment that we are told may be that of a visit which ends only now."""


@dataclass(frozen=True)
class Pass:
    """Somebody went through.

    Attributes:
        subject: pseudonym of the holder.
        zone: where to; ``MOVED`` for nowhere.
        at_s: seconds since 1970 on the clock of the gate that remembers it, not later than it was.
        turn: rule 4.
    """

    subject: bytes = field(repr=False)
    zone: str
    at_s: int
    turn: int = field(default=0, compare=False)

    @property
    def newness(self) -> tuple[int, str]:
        """What the newer of two passes of one holder has more of; two gates never differ about it."""
        return self.turn, self.zone


class Presence:
    """The last pass of each holder."""

    def __init__(self, passed: Iterable[Pass] = (), told: Iterable[Pass] = ()) -> None:
        """Set up.

        Args:
            passed: at this gate, as its log tells.
            told: by other gates before the restart, on the clock of this one.
        """
        self._last: dict[bytes, Pass] = {}
        self._before: set[bytes] = set()
        both = [*((each.at_s, 1, each) for each in passed), *((each.at_s, 0, each) for each in told)]
        for _, here, each in sorted(both, key=lambda one: one[:2]):
            if here:
                self.went((each.subject,), each.zone, each.at_s)
            else:
                self.hear(each)
        self._before = set(self._last)

    def went(self, names: Sequence[bytes], zone: str, at_s: int) -> tuple[Pass, ...]:
        """Somebody went through here; the first of the names is theirs now. Rules 4 and 6."""
        known = [self._last[name].turn for name in names if name in self._last]
        turn = max([at_s, *(before + 1 for before in known)])
        passed = [Pass(name, MOVED if at else zone, at_s, turn) for at, name in enumerate(names)]
        for each in reversed(passed):
            self._put(each)
        return tuple(passed)

    def hear(self, each: Pass) -> bool:
        """Another gate tells of a pass; whether that is news. The newer one stays, a repeated one where it is."""
        known = self._last.get(each.subject)
        if known is not None and known.newness >= each.newness:
            return False
        self._put(each)
        return True

    def _put(self, each: Pass) -> None:
        self._last.pop(each.subject, None)
        self._last[each.subject] = each
        self._before.discard(each.subject)
        if len(self._last) > MOST:
            del self._last[next(iter(self._last))]

    def aged(self, by_s: int) -> None:
        """The start was so much later than the clock said: what was known then is older."""
        self._before &= self._last.keys()
        for subject in self._before:
            self._last[subject] = replace(known := self._last[subject], at_s=known.at_s - by_s)

    def forget(self, before_s: int) -> None:
        """Drop what is older: rule 3. What was heard late goes when what was noted before it is old."""
        while self._last and (first := next(iter(self._last.values()))).at_s < before_s:
            del self._last[first.subject]

    def last(self, subjects: Iterable[bytes], now_s: int) -> tuple[Pass, int] | None:
        """The newest pass under any of these pseudonyms (they change with the month), and its age in seconds."""
        found = [self._last[subject] for subject in subjects if subject in self._last]
        newest = max(found, key=lambda each: each.newness, default=None)
        return None if newest is None else (newest, max(0, now_s - newest.at_s))

    def known(self, since_s: int = 0) -> tuple[Pass, ...]:
        """The last pass of everybody since that moment, the one that was noted last at the end."""
        return tuple(each for each in self._last.values() if each.at_s >= since_s)

    def inside(self, zone: str, since_s: int) -> int:
        """How many went into the zone last, since that moment."""
        return sum(1 for each in self._last.values() if each.zone == zone and each.at_s >= since_s)


class Steady:
    """Now, as passes are counted: the clock of the start and the stopwatch since. Rule 5."""

    def __init__(self, monotonic: Callable[[], float], presence: Presence) -> None:
        self._monotonic, self._presence = monotonic, presence
        self._began: datetime | None = None
        self._aged_s = 0

    def at(self, now: Interval) -> datetime:
        """Now; whatever a clock that is right says about the start is taken in."""
        stopwatch = timedelta(seconds=self._monotonic())
        self._began = self._began or now.lower - stopwatch
        steady = self._began + stopwatch
        late_s = int((now.lower - steady).total_seconds()) - self._aged_s
        if now.state is ClockState.SYNCED and abs(late_s) >= _STEP_S:
            self._aged_s += late_s
            self._presence.aged(late_s)
        return steady


def passes(entries: Iterable[Entry]) -> Iterator[Pass]:
    """The passages among these entries of one log, in the order of their grants."""
    open_: dict[int, Entry] = {}
    passed: dict[int, Entry] = {}
    for entry in entries:
        if entry.kind in (Kind.GRANTED, Kind.OVERRIDE) and entry.subject is not None:
            open_[entry.index] = entry
        elif entry.kind in (Kind.TAKEN, Kind.NOT_TAKEN) and (visit := _visit(entry, open_)) in open_:
            granted = open_.pop(visit)
            if entry.kind is Kind.TAKEN:
                passed[visit] = granted
    for _, granted in sorted((passed | open_).items()):
        yield from _pass(granted)


def _visit(outcome: Entry, open_: Mapping[int, Entry]) -> int:
    """Whose outcome it is: it says so, or it names the holder whose grant was not written in time. Else nobody's."""
    visit = outcome.fields.get("visit")
    if isinstance(visit, int) or outcome.subject is None:
        return visit if isinstance(visit, int) else -1
    named = (index for index, grant in open_.items() if (grant.subject, grant.boot) == (outcome.subject, outcome.boot))
    return max(named, default=-1)


def _pass(granted: Entry) -> Iterator[Pass]:
    facts = granted.fields.get("facts")
    zone = facts.get("zone") if isinstance(facts, dict) else None
    if granted.subject is not None and isinstance(zone, str):
        yield Pass(granted.subject, zone, granted.wall_ms // 1000)
