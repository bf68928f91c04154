"""What this gate knows about its site beside one visit: who is inside, who was found good a moment ago, what is due.

It collects the facts that a site's rules ask for (``policy/checks.py`` decides on them) and takes in what came of them.

Rules:

1. It asks for nothing that no rule needs, so a site without rules has no such facts in its entries.
2. Everything is kept under pseudonyms. Passes and lots are made of the log at the start; who was found good is in
   memory alone: after a restart the second person comes once more.
3. Somebody who was found good serves one other person once, and never themselves.
4. Whose coming is noted, or is a silent alarm, is an entry and nothing that anybody at the gate can see.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from random import SystemRandom
from typing import Protocol

from edge.assistance import Refused
from edge.audit.entry import Event, Kind, Value
from edge.benefit import COUNTED, NOT_DUE, Due, not_due
from edge.credential import Credential
from edge.decision import AccessDecision
from edge.errors import DeviceError, Reason
from edge.policy.checks import SCALE, member, seconds
from edge.policy.facts import SiteFacts
from edge.policy.hours import wall_minutes
from edge.policy.lots import Lots
from edge.policy.person import groups_of, untold_of
from edge.policy.presence import Pass, Presence, Steady
from edge.policy.rules import Rules
from edge.policy.telling import Statement
from edge.ports import Receipt
from edge.trust.interval import Interval

NOBODY: frozenset[str] = frozenset()
_REFUSED = 64
"""Visits after which an operator may still let somebody in; their other pseudonyms are remembered so long."""
_MONTHS = 8
_REMEMBERED = 2
"""Times as long as a pass counts: what is told once more meanwhile is known, and not taken for new."""
COUNTER = frozenset({*COUNTED, "journal", NOT_DUE})
"""Without these nothing is handed out, and nothing else ends."""


class Counter(Protocol):
    """Where a benefit is handed out (``benefit.Entitlements``)."""

    async def due(self, person: bytes) -> Due | None:
        """What this person is due."""
        ...

    async def hand_out(self, grant: Receipt, due: Due, longer_s: float = 0.0) -> Kind:
        """Hand it out once."""
        ...

    async def tend(self, now_at_least: datetime) -> None:
        """Finish what is unfinished, forget what is over."""
        ...

    def elsewhere(self, number: int, marks: Iterable[bytes]) -> None:
        """Other points say that these people received in that cycle."""
        ...

    def received(self) -> tuple[int, tuple[bytes, ...]]:
        """The number of the open cycle, 0 for none, and the marks of people who received here in it."""
        ...


class Way(Protocol):
    """What letting somebody through needs of the doorway."""

    async def let_through(self, receipt: Receipt, *, longer_s: float = 0.0) -> Kind:
        """Unlock for one person."""
        ...


@dataclass(frozen=True)
class Place:
    """Where this gate stands.

    Attributes:
        into: the zone that it leads into.
        zone: wall clock of the site.
    """

    into: str = "inside"
    zone: tzinfo = UTC


@dataclass
class _Good:
    """Somebody who was found good."""

    groups: tuple[str, ...]
    at_s: float


class Premises:
    """The site around one gate."""

    def __init__(
        self,
        rules: Rules,
        monotonic: Callable[[], float],
        place: Place | None = None,
        *,
        presence: Presence | None = None,
        lots: Lots | None = None,
        listed: Callable[[Credential], Set[str] | None] = lambda _: NOBODY,
        counter: Counter | None = None,
        silent_s: Callable[[], float | None] = lambda: None,
        draw: Callable[[], int] = lambda: SystemRandom().randrange(SCALE),
        keep: Callable[[Iterable[Pass]], None] = lambda _: None,
    ) -> None:
        """Set up.

        Args:
            rules: of the site.
            monotonic: seconds of this boot.
            place: of this gate.
            presence: who went through, as the log tells.
            lots: whom the lot fell on, as the log tells.
            listed: which of the site's own lists a card is on; None while there are no lists.
            counter: where the benefit is handed out; None at a gate that has none.
            silent_s: seconds since another gate of the site was heard; None for never.
            draw: the lot, 0 to 9999.
            keep: puts passes that are not in this gate's log where a restart does not forget them.
        """
        self.rules, self._monotonic, self.place = rules, monotonic, place or Place()
        self.presence, self._lots = presence or Presence(), lots or Lots()
        self._listed, self._counter, self._silent_s, self._draw = listed, counter, silent_s, draw
        self._good: dict[bytes, _Good] = {}
        self._second: bytes | None = None
        self._owed: dict[bytes, Due] = {}
        self.refused: Refused | None = None
        self._keep = keep
        self._steady = Steady(monotonic, self.presence)
        self._months, self._been = dict[int, float](), dict[int, float]()
        self._named: dict[bytes, tuple[bytes, ...]] = {}
        self.news = asyncio.Event()

    def names(self, named: Callable[[Interval], bytes], now: Interval) -> tuple[bytes, ...]:
        """The pseudonyms that a holder may have in the time that counts, the one of now first.

        They change with the month. Gates whose clocks differ may be in two months at once, and one whose clock is set
        right in one after the other: they all count.
        """
        counts_s, heard_at = self.rules.passback.counts_s, self._monotonic()
        self._months = {month: at for month, at in self._months.items() if heard_at - at <= counts_s}
        months = dict.fromkeys((*self._been_in(now), *self._months))
        others = [datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC) for month in months]
        counts, steady = timedelta(seconds=counts_s), self.steady(now)
        moments = [now.lower - counts, steady, steady - counts, *others]
        return tuple(dict.fromkeys((named(now), *(named(Interval(each, None, now.state)) for each in moments))))

    def _been_in(self, now: Interval) -> tuple[int, ...]:
        """The months that this clock was in while passes count, the newest first."""
        counts_s, at_s = self.rules.passback.counts_s, self._monotonic()
        been = {month: at for month, at in self._been.items() if at_s - at <= counts_s}
        self._been = been | {_month(now.lower): at_s}
        return tuple(sorted(self._been, key=self._been.__getitem__, reverse=True))

    async def facts(self, credential: Credential | None, subjects: Sequence[bytes], now: Interval) -> SiteFacts:
        """What the rules ask for about one holder; ``subjects`` as ``names`` gives them.

        Raises:
            DeviceError: the ledger cannot be read, or the dispenser does not answer.
        """
        rules = self.rules
        groups, untold = self._groups(credential, now)
        first, last = wall_minutes(now, self.place.zone) if rules.hours else (None, None)
        passed_s, passed_zone = self._passed(subjects, now)
        self._named = dict([*self._named.items(), *((name, tuple(subjects)) for name in subjects[:1])][-_REFUSED:])
        due = await self._due(credential, subjects)
        known = SiteFacts(
            zone=self.place.into if rules.zones or self._counts_passes else None,
            groups=groups,
            local_from=first,
            local_to=last,
            passed_s=passed_s,
            passed_zone=passed_zone,
            alone=self._alone(),
            inside=self._inside(now),
            drawn=self._lot(subjects, now) if rules.check_one_in else None,
            cycle=None if due is None else due.cycle.number,
            benefit=_benefit(due, credential),
            untold=untold,
        )
        return self._accompanied(known, subjects)

    def decided(self, decision: AccessDecision, visit: int) -> tuple[Event, ...]:
        """Take in what was decided in the entry ``visit``; what is to be written down beside it."""
        facts, subject = decision.facts, decision.subject
        if self.rules.assist and facts.assists is None:
            refused = Refused(replace(decision, personal={}), visit, self._monotonic())
            self.refused = None if decision.granted else refused
        if subject is not None and decision.reason is Reason.SECONDARY_CHECK:
            self._lots.fell(subject, facts.drawn or 0, int(decision.at.lower.timestamp()))
        if subject is not None and (decision.granted or decision.reason is Reason.SECOND_NEEDED) and self.rules.second:
            self._good[subject] = _Good(facts.groups or (), self._monotonic())
            if decision.granted and seconds(self.rules, facts) and self._second is not None:
                self._good.pop(self._second, None)
        silent = ((Kind.DURESS, self.rules.duress), (Kind.NOTICED, self.rules.watch))
        told: dict[str, Value] = {"granted": decision.granted, "visit": visit}
        return tuple(Event(kind, told, subject=subject) for kind, groups in silent if member(facts, groups))

    def passed(self, subject: bytes | None, at: Interval) -> None:
        """Somebody went through."""
        if subject is None or not self._counts_passes:
            return
        at_s = int(self.steady(at).timestamp())
        passed = self.presence.went(self._named.get(subject, (subject,)), self.place.into, at_s)
        self._told(passed[1:], at)
        self.news.set()

    async def let_through(self, way: Way, grant: Receipt, subject: bytes | None, facts: SiteFacts) -> Kind:
        """Open for whom it was granted, or hand out the benefit that is due.

        Raises:
            DeviceError: nothing was handed out, or it is finished before the next person.
        """
        longer_s = self.rules.slow_s if member(facts, self.rules.slow) else 0.0
        if self._counter is None:
            return await way.let_through(grant, longer_s=longer_s)
        due = None if subject is None else self._owed.get(subject)
        if due is None:
            raise not_due("nobody knows what is due")
        return await self._counter.hand_out(grant, due, longer_s)

    async def open(
        self,
        way: Way,
        grant: Receipt,
        subject: bytes | None,
        facts: SiteFacts,
        at: Interval,
        *,
        lost: Callable[[str, str], None] = lambda _device, _message: None,
    ) -> Kind:
        """Let somebody through, or hand out, and remember it; what cannot be handed out was not taken.

        Args:
            way: the doorway.
            grant: on disk.
            subject: pseudonym of the holder.
            facts: of the decision.
            at: when.
            lost: told which device failed, where nothing was handed out.
        """
        self.refused = None
        for name in () if subject is None else self._named.get(subject, (subject,)):
            self._lots.settled(name)
        try:
            outcome = await self.let_through(way, grant, subject, facts)
        except DeviceError as error:
            if error.device not in COUNTER:
                raise
            if error.device != NOT_DUE:
                lost(error.device, error.message)
            return Kind.NOT_TAKEN
        if outcome is Kind.TAKEN:
            self.passed(subject, at)
        return outcome

    async def tend(
        self, now: Interval, lost: Callable[[str, str], None], back: Callable[[str], None] = lambda _device: None
    ) -> None:
        """What there is to do at the start and now and then: nothing at a gate that hands nothing out."""
        if self._counter is None:
            return
        try:
            await self._counter.tend(now.lower)
        except DeviceError as error:
            lost(error.device, error.message)
            return
        for device in COUNTED:
            back(device)

    def told(self, statement: Statement, now: Interval) -> None:
        """Another gate says who went through there, and who received."""
        if self._counts_passes:
            since_s = self._counts_since(now)
            self._told([each for each in statement.passes if each.at_s >= since_s and self.presence.hear(each)], now)
            for month in statement.months:
                if month in self._months or len(self._months) < _MONTHS:
                    self._months[month] = self._monotonic()
        if self._counter is not None:
            self._counter.elsewhere(statement.cycle, statement.marks)

    def to_tell(self, now: Interval) -> tuple[tuple[int, ...], tuple[Pass, ...], int, tuple[bytes, ...]]:
        """What other gates should hear of: months and passes that count, the open cycle and the marks of it."""
        before = now.lower - timedelta(seconds=self.rules.passback.counts_s)
        months = dict.fromkeys((_month(now.lower), _month(before), *self._been_in(now)))
        cycle, marks = (0, ()) if self._counter is None else self._counter.received()
        return tuple(months), self.presence.known(self._counts_since(now)), cycle, marks

    def to_keep(self, now: Interval) -> tuple[int, int]:
        """How far back what was told is kept: the time of the oldest pass, and the number of the oldest cycle."""
        oldest_s = int(now.lower.timestamp()) - _REMEMBERED * self.rules.passback.counts_s
        return oldest_s, 0 if self._counter is None else self._counter.received()[0]

    def steady(self, now: Interval) -> datetime:
        """Now, as passes are counted."""
        return self._steady.at(now)

    def _counts_since(self, now: Interval) -> int:
        return int(self.steady(now).timestamp()) - self.rules.passback.counts_s

    def _told(self, passes: Sequence[Pass], now: Interval) -> None:
        """What is not in the log goes where a restart finds it, by the clock of the log; what is long over goes."""
        steady_s = int(self.steady(now).timestamp())
        raised_s = int(now.lower.timestamp()) - steady_s
        self._keep([replace(each, at_s=each.at_s + raised_s) for each in passes])
        self.presence.forget(steady_s - _REMEMBERED * self.rules.passback.counts_s)

    @property
    def _counts_passes(self) -> bool:
        passback = self.rules.passback
        return passback.kind != "off" or passback.again_s > 0 or any(zone.capacity for zone in self.rules.zones)

    def _groups(
        self, credential: Credential | None, now: Interval
    ) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
        if credential is None:
            return None, None
        listed = self._listed(credential)
        groups = groups_of(self.rules, credential, listed, now, self.place.zone)
        return groups, untold_of(self.rules, groups, listed)

    def _passed(self, subjects: Sequence[bytes], now: Interval) -> tuple[int | None, str | None]:
        if not self._counts_passes:
            return None, None
        found = self.presence.last(subjects, int(self.steady(now).timestamp()))
        return (None, None) if found is None else (found[1], found[0].zone or None)

    def _lot(self, subjects: Sequence[bytes], now: Interval) -> int:
        """A new lot, or the one that sent this holder to a person and nobody has let in since."""
        before = self._lots.of(subjects, now.lower.timestamp() - self.rules.check_again_h * 3600)
        return self._draw() if before is None else before

    def _alone(self) -> bool | None:
        passback = self.rules.passback
        if passback.kind == "off" or not passback.silent_s:
            return None
        silent_s = self._silent_s()
        return silent_s is None or silent_s > passback.silent_s

    def _inside(self, now: Interval) -> int | None:
        zone = self.rules.zone(self.place.into)
        if zone is None or not zone.capacity:
            return None
        since_s = self.steady(now).timestamp() - self.rules.passback.reset_h * 3600
        return self.presence.inside(zone.name, int(since_s))

    async def _due(self, credential: Credential | None, subjects: Sequence[bytes]) -> Due | None:
        """What is due, remembered under the pseudonym: somebody may be let in after the next person came."""
        if self._counter is None or credential is None:
            return None
        self._owed.pop(subjects[0], None)
        due = await self._counter.due(credential.subject)
        if due is not None:
            self._owed = dict([*self._owed.items(), (subjects[0], due)][-_REFUSED:])
        return due

    def _accompanied(self, known: SiteFacts, subjects: Sequence[bytes]) -> SiteFacts:
        """The facts with how long ago a second person was found good."""
        self._second = None
        needed = seconds(self.rules, known)
        if not needed:
            return known
        now_s = self._monotonic()
        longest = max(each.within_s for each in needed)
        self._good = {name: good for name, good in self._good.items() if now_s - good.at_s <= longest}
        may = set.intersection(*({*each.by} for each in needed))
        found = [
            (now_s - good.at_s, name)
            for name, good in self._good.items()
            if name not in subjects and not may.isdisjoint(good.groups)
        ]
        if not found:
            return known
        age_s, self._second = min(found)
        return SiteFacts(**{**vars(known), "second_s": int(age_s)})


def _benefit(due: Due | None, credential: Credential | None) -> str | None:
    """What is due; the second card of somebody whom it does not name cannot be told from another person's first."""
    if due is None or credential is None:
        return None
    return due.benefit if credential.identity.id or due.benefit != "free" else "unnamed"


def _month(moment: datetime) -> int:
    """Counted from year 0."""
    return moment.year * 12 + moment.month - 1
