"""The rules of a site, each one a small function of the rules and the facts; None, or the reason against.

Rules:

1. A rule that the policy does not have says nothing. A rule that it has and whose fact is missing is against.
2. They need no face and come before it, but for three: the second person, the lot, and whom the badge is shown for are
   asked of people who would otherwise be admitted.
3. Whoever shows a badge for somebody else goes nowhere on it, and is not asked what concerns going through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from edge.errors import Reason
from edge.policy.facts import SiteFacts
from edge.policy.hours import Standing, standing
from edge.policy.rules import NEVER, Rules, Second

SCALE: Final = 10_000
"""How many lots there are."""
Check = Callable[[Rules, SiteFacts], Reason | None]


def member(facts: SiteFacts, groups: Iterable[str]) -> bool:
    """Whether the holder is in any of these groups."""
    return not set(groups).isdisjoint(facts.groups or ())


def untold(facts: SiteFacts, groups: Iterable[str]) -> bool:
    """Whether nobody can tell that the holder is in none of these groups."""
    asked = set(groups)
    return bool(asked) and (facts.groups is None or not asked.isdisjoint(facts.untold or ()))


def when(rules: Rules, facts: SiteFacts) -> Standing:
    """Whether it is open for this holder."""
    windows = [text for hours in rules.hours if not hours.groups or member(facts, hours.groups) for text in hours.open]
    if not rules.hours:
        return Standing.OPEN
    if not windows:
        return Standing.CLOSED
    if facts.local_from is None:
        return Standing.UNSURE
    return standing(windows, rules.holidays, facts.local_from, facts.local_to)


def in_hours(rules: Rules, facts: SiteFacts) -> Reason | None:
    """It is open for this holder."""
    match when(rules, facts):
        case Standing.OPEN:
            return None
        case Standing.CLOSED:
            return Reason.OUTSIDE_HOURS
        case Standing.UNSURE:
            return {"accept": None, "refer": Reason.TIME_UNSURE, "refuse": Reason.OUTSIDE_HOURS}[rules.hours_floor]


def not_denied(rules: Rules, facts: SiteFacts) -> Reason | None:
    """Nobody of a denied group, as far as anybody can tell who is in one."""
    if member(facts, rules.deny):
        return Reason.DENIED_HERE
    return Reason.STATUS_UNKNOWN if untold(facts, rules.deny) else None


def in_zone(rules: Rules, facts: SiteFacts) -> Reason | None:
    """The holder's groups may enter where this gate leads."""
    if not rules.zones:
        return None
    zone = rules.zone(facts.zone)
    if zone is None or (zone.groups and not member(facts, zone.groups)):
        return Reason.NOT_PERMITTED
    return None if set(zone.needs) <= set(facts.groups or ()) else Reason.NOT_PERMITTED


def not_inside(rules: Rules, facts: SiteFacts) -> Reason | None:
    """Nobody enters twice on one card."""
    passback = rules.passback
    if member(facts, passback.bypass):
        return None
    if passback.kind == "hard" and _inside(rules, facts):
        return Reason.PASSED_BEFORE
    if facts.passed_s is not None and facts.passed_s < passback.again_s:
        return Reason.PASSED_BEFORE
    if passback.kind == "hard" and passback.alone == "refer" and passback.silent_s and facts.alone is not False:
        return Reason.REFERRED
    return None


def _inside(rules: Rules, facts: SiteFacts) -> bool:
    recent = facts.passed_s is not None and facts.passed_s < rules.passback.reset_h * 3600
    return recent and facts.zone is not None and facts.passed_zone == facts.zone


def room_left(rules: Rules, facts: SiteFacts) -> Reason | None:
    """The zone is not full."""
    zone = rules.zone(facts.zone)
    if zone is None or not zone.capacity:
        return None
    return None if facts.inside is not None and facts.inside < zone.capacity else Reason.FULL


def entitled(rules: Rules, facts: SiteFacts) -> Reason | None:
    """The benefit of this cycle is still due."""
    if not rules.programme:
        return None
    if facts.cycle is None:
        return Reason.NO_CYCLE
    match facts.benefit:
        case "free":
            return None
        case "reserved" | "received":
            return Reason.ALREADY_RECEIVED
        case _:
            return Reason.REFERRED


def accompanied(rules: Rules, facts: SiteFacts) -> Reason | None:
    """Somebody else, who may stand beside this holder, was found good a moment ago."""
    needed = seconds(rules, facts)
    if not needed:
        return Reason.SECOND_NEEDED if any(untold(facts, each.groups) for each in rules.second) else None
    known = facts.second_s is not None and facts.second_s <= min(each.within_s for each in needed)
    return None if known else Reason.SECOND_NEEDED


def seconds(rules: Rules, facts: SiteFacts) -> tuple[Second, ...]:
    """What is asked of this holder about a second person."""
    return tuple(each for each in rules.second if member(facts, each.groups))


def not_drawn(rules: Rules, facts: SiteFacts) -> Reason | None:
    """The lot did not fall on this holder."""
    if not rules.check_one_in or member(facts, rules.check_spared):
        return None
    spared = facts.drawn is not None and facts.drawn * rules.check_one_in >= SCALE
    return None if spared else Reason.SECONDARY_CHECK


def assisting(rules: Rules, facts: SiteFacts) -> bool:
    """Whether the badge is shown for whoever was refused before."""
    return facts.assists is not None and member(facts, rules.assist)


def not_assisting(rules: Rules, facts: SiteFacts) -> Reason | None:
    """The holder wants to go through, and does not let in somebody else."""
    return Reason.ASSISTING if assisting(rules, facts) else None


def _going_through(check: Check) -> Check:
    return lambda rules, facts: None if assisting(rules, facts) else check(rules, facts)


_THROUGH = tuple(map(_going_through, (not_inside, room_left, entitled)))
BEFORE_FACE: Final[tuple[Check, ...]] = (in_hours, not_denied, in_zone, *_THROUGH)
LAST: Final[tuple[Check, ...]] = (*map(_going_through, (accompanied, not_drawn)), not_assisting)


def flags(rules: Rules, facts: SiteFacts) -> frozenset[str]:
    """What the entry says beside the decision."""
    told: dict[str, bool] = {
        "hours-unsure": when(rules, facts) is Standing.UNSURE,
        "passed-before": rules.passback.kind == "soft" and _inside(rules, facts),
        "alone": bool(rules.passback.silent_s) and rules.passback.kind != "off" and facts.alone is not False,
        "watched": member(facts, rules.watch),
    }
    return frozenset(name for name, so in told.items() if so)


def overrules(rules: Rules, reason: Reason | None, age_s: int) -> Reason | None:
    """Whether an operator may let somebody pass whom ``reason`` stood against ``age_s`` seconds ago; None if so."""
    if reason is None or age_s < 0 or age_s > rules.overrule.within_s:
        return Reason.REFERRED
    if reason in NEVER or reason.code not in rules.overrule.reasons:
        return reason
    return None
