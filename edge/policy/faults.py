"""What cannot mean anything in the rules of a site, as sentences for whoever writes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from edge.errors import Reason
from edge.policy.checks import SCALE
from edge.policy.hours import holiday, window
from edge.policy.rules import LONGEST, NEVER, Group, Rules, named_groups

SILENT_S = 20
"""Four times as long as a gate pauses: a word goes out, an answer comes, and one of them may be lost."""


def faults(rules: Rules) -> tuple[str, ...]:
    """Everything that is wrong; empty when nothing is."""
    return (*_times(rules), *_groups(rules), *_zones(rules), *_overruling(rules), *_assisting(rules), *_numbers(rules))


def _times(rules: Rules) -> Iterator[str]:
    for number, hours in enumerate(rules.hours):
        if not hours.open:
            yield f"hours[{number}]: never open; leave it out"
        for text in hours.open:
            try:
                window(text)
            except ValueError as error:
                yield f"hours[{number}]: {error}"
    for text in rules.holidays:
        try:
            holiday(text)
        except ValueError:
            yield f"holidays: {text!r} is neither 2026-12-25 nor 12-25"


def _groups(rules: Rules) -> Iterator[str]:
    known = Counter(group.name for group in rules.groups)
    yield from (f"groups: {name!r} stands there twice" for name, times in known.items() if times > 1)
    for group in rules.groups:
        yield from (f"groups.{group.name}: {fault}" for fault in _group(group))
    for where, name in named_groups(rules):
        if name not in known:
            yield f"{where}: nobody can be in {name!r}; [[rules.groups]] does not say how"


def _group(group: Group) -> Iterator[str]:
    if not (group.claim or group.listed or group.age_from or group.age_below):
        yield "nobody can get in: it names no claim, no age, no list"
    if group.claim and not group.values:
        yield f"the claim {group.claim!r} without values"
    if group.values and not group.claim:
        yield "values without a claim"
    if group.age_below and group.age_below <= group.age_from:
        yield "nobody is both so old and so young"


def _zones(rules: Rules) -> Iterator[str]:
    known = Counter(zone.name for zone in rules.zones)
    yield from (f"zones: {name!r} stands there twice" for name, times in known.items() if times > 1)
    for name in known:
        if not 0 < len(name.encode()) <= LONGEST:
            yield f"zones: {name!r} should be 1 to {LONGEST} bytes long; gates tell each other"
    for number, second in enumerate(rules.second):
        if not second.groups or not second.by:
            yield f"second[{number}]: says not for whom, or not by whom"


def _overruling(rules: Rules) -> Iterator[str]:
    known = {reason.code: reason for reason in Reason}
    for code in rules.overrule.reasons:
        if code not in known:
            yield f"overrule: {code!r} is no reason"
        elif known[code] in NEVER:
            yield f"overrule: {code!r} can be overruled by nobody"


def _assisting(rules: Rules) -> Iterator[str]:
    if rules.assist and not rules.overrule.reasons:
        yield "assist: nothing may be overruled; overrule.reasons says what"


def _numbers(rules: Rules) -> Iterator[str]:
    if rules.slow and not rules.slow_s:
        yield "slow: groups without slow_s"
    if rules.check_one_in > SCALE:
        yield f"check_one_in: at most one in {SCALE:,}"
    if rules.passback.kind != "off" and not rules.passback.reset_h:
        yield "passback: reset_h = 0 lets everybody in at once again; use kind = 'off'"
    if rules.passback.kind != "off" and 0 < rules.passback.silent_s < SILENT_S:
        yield f"passback: gates speak every few seconds; with silent_s below {SILENT_S} they are alone now and then"
    if rules.passback.kind != "hard" and rules.passback.alone == "refer":
        yield "passback: alone = 'refer' goes with kind = 'hard'"
