"""A log held against another policy: which decisions would be others. What ``edge policy simulate`` works with.

Rules:

1. Facts are taken from the entries. What the other policy asks for and an entry does not tell is made anew where the
   log allows it: the wall clock from the interval of the entry, passes and who is inside from the passages before.
2. Passes are those that would have happened: who is refused under the other policy is not inside.
3. Nothing is guessed. A visit that never came to the face, and would have, is ``unknown``; so is one whose second
   person, lot or benefit the log does not tell.
4. Groups are those of the policy that the gate had. Where the other one says differently who is in which, every way of
   being in its groups is tried; if they do not all come to the same, it is ``unknown``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from itertools import chain, combinations

from edge.audit.entry import Entry, Kind
from edge.decision import (
    BEFORE_SEARCH,
    BEFORE_SITE,
    Facts,
    Policy,
    admit,
    before_face,
    facts_of,
    first_against,
)
from edge.errors import Reason
from edge.policy.checks import seconds
from edge.policy.hours import wall_minutes
from edge.policy.presence import Presence
from edge.policy.rules import named_groups, people
from edge.trust.interval import ClockState, Interval

UNKNOWN = "unknown"
_MOST = 8
"""Groups of which every combination is tried."""
_SILENT = frozenset({"watch", "duress", "slow"})
"""Tables that decide nothing."""
_NOBODY_KNOWS = f"{UNKNOWN}: the log does not tell who is in which of these groups"
GRANTED = "granted"


@dataclass(frozen=True)
class Tried:
    """One decision, as it was and as it would be."""

    index: int
    before: str
    after: str


def tried(policy: Policy, entries: Iterable[Entry], zone: tzinfo, into: str) -> Iterator[Tried]:
    """Each decision of a log under another policy.

    Args:
        policy: to try.
        entries: of one log, in order.
        zone: wall clock of the policy.
        into: the zone that the gate leads into, where an entry does not say.
    """
    presence = Presence()
    granted: dict[int, Entry] = {}
    told = False
    for entry in entries:
        if entry.kind is Kind.CONFIGURATION and "people" in entry.fields:
            told = entry.fields["people"] == people(policy.rules)
        elif entry.kind in (Kind.GRANTED, Kind.DENIED):
            facts = _facts(policy, entry, presence, zone, into)
            after = _said(policy, facts, told=told or entry.digests[:1] == (policy.digest,))
            if after == GRANTED:
                granted[entry.index] = entry
            yield Tried(entry.index, _word(entry), after)
        elif entry.kind is Kind.TAKEN:
            visit = entry.fields.get("visit")
            grant = granted.pop(visit, None) if isinstance(visit, int) else None
            if grant is not None and grant.subject is not None:
                presence.went((grant.subject,), into, grant.wall_ms // 1000)


def _facts(policy: Policy, entry: Entry, presence: Presence, zone: tzinfo, into: str) -> Facts:
    """Rule 1."""
    rules, told = policy.rules, entry.fields.get("facts")
    facts = facts_of(told if isinstance(told, dict) else {})
    now = _interval(entry)
    first, last = wall_minutes(now, zone) if rules.hours else (None, None)
    facts = replace(facts, local_from=first, local_to=last, zone=into)
    now_s = int(now.lower.timestamp())
    passed = presence.last((entry.subject,), now_s) if entry.subject is not None else None
    if passed is not None:
        facts = replace(facts, passed_s=passed[1], passed_zone=passed[0].zone)
    here = rules.zone(into)
    if here is not None and here.capacity:
        facts = replace(facts, inside=presence.inside(into, now_s - int(rules.passback.reset_h * 3600)))
    return facts


def _interval(entry: Entry) -> Interval:
    lower, upper = entry.fields.get("lower"), entry.fields.get("upper")
    first = lower if isinstance(lower, int) else entry.wall_ms // 1000
    last = datetime.fromtimestamp(upper, UTC) if isinstance(upper, int) else None
    return Interval(datetime.fromtimestamp(first, UTC), last, ClockState.SYNCED if last else ClockState.FLOOR)


def _said(policy: Policy, facts: Facts, *, told: bool) -> str:
    """Rule 3; ``told``: whether the log puts people into the groups of this policy."""
    before = first_against(BEFORE_SITE if policy.lane == "card" else BEFORE_SEARCH, policy, facts)
    if before is not None:
        return f"denied ({before.code})"
    names = sorted({name for where, name in named_groups(policy.rules) if where not in _SILENT})
    if told or not names:
        return _outcome(policy, facts, told=told)
    if len(names) > _MOST:
        return _NOBODY_KNOWS
    possible = chain.from_iterable(combinations(names, size) for size in range(len(names) + 1))
    outcomes = {_outcome(policy, replace(facts, groups=groups, untold=None), told=False) for groups in possible}
    return outcomes.pop() if len(outcomes) == 1 else _NOBODY_KNOWS


def _outcome(policy: Policy, facts: Facts, *, told: bool) -> str:
    """What comes of facts whose groups are known."""
    reason = admit(policy, facts)
    if reason in (None, Reason.SECOND_NEEDED) and not told and seconds(policy.rules, facts):
        return f"{UNKNOWN}: the log tells of no second person"
    if reason is None:
        return GRANTED
    if reason is Reason.SECONDARY_CHECK and facts.drawn is None:
        return f"{UNKNOWN}: the log tells of no lot"
    if facts.refusal is None and facts.score is None and first_against(before_face(policy), policy, facts) is None:
        return f"{UNKNOWN}: the face was not looked at"
    if reason is Reason.NO_CYCLE and facts.cycle is None:
        return f"{UNKNOWN}: the log tells of no benefit"
    return f"denied ({reason.code})"


def _word(entry: Entry) -> str:
    reason = entry.fields.get("reason")
    return f"denied ({reason})" if isinstance(reason, str) else GRANTED
