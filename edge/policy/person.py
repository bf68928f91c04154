"""Into which of the policy's groups a verified credential puts its holder.

Rules:

1. Only what the issuer signed counts, and the site's own signed lists. What is missing or malformed puts nobody
   anywhere; where there are no lists at all it is said of whom nobody can tell.
2. Only the groups leave this module: no claim, no date of birth.
3. An age is full years on the calendar of the site by an interval: old enough by the earliest that now can be, young
   enough by the latest.
"""

from __future__ import annotations

from collections.abc import Collection, Set
from datetime import UTC, date, tzinfo
from typing import Any

from edge.credential import Credential
from edge.policy.rules import Group, Rules
from edge.trust.interval import Interval


def groups_of(
    rules: Rules, credential: Credential, listed: Set[str] | None, now: Interval, zone: tzinfo = UTC
) -> tuple[str, ...] | None:
    """The holder's groups, sorted; None where the policy has none.

    Args:
        rules: of the site.
        credential: of the holder.
        listed: which of the site's lists the holder is on; None where there are no lists.
        now: the interval that now lies in.
        zone: wall clock of the site.
    """
    if not rules.groups:
        return None
    return tuple(sorted({group.name for group in rules.groups if _in(group, credential, listed or (), now, zone)}))


def untold_of(rules: Rules, groups: tuple[str, ...] | None, listed: Set[str] | None) -> tuple[str, ...] | None:
    """The groups of which nobody can tell whether the holder is in them, sorted; None for none."""
    if listed is not None:
        return None
    return tuple(sorted({group.name for group in rules.groups if group.listed} - {*(groups or ())})) or None


def _in(group: Group, credential: Credential, listed: Collection[str], now: Interval, zone: tzinfo) -> bool:
    if group.listed and group.listed in listed:
        return True
    if group.claim and not said(credential, group.claim).isdisjoint(group.values):
        return True
    return bool(group.age_from or group.age_below) and _aged(group, credential, now, zone)


def said(credential: Credential, claim: str) -> frozenset[str]:
    """What the card says under this name, as text; several where the claim is a list."""
    if claim == "issuer":
        return frozenset({credential.issuer})
    if claim.isdigit():
        return _texts(credential.claims.found.get(int(claim)))
    identity = credential.identity
    return _texts(identity.attributes.get(claim, identity.others.get(claim)))


def _texts(value: Any) -> frozenset[str]:
    values = value if isinstance(value, list | tuple) else (value,)
    return frozenset(str(int(one)) if isinstance(one, int) else one for one in values if isinstance(one, int | str))


def _aged(group: Group, credential: Credential, now: Interval, zone: tzinfo) -> bool:
    born = credential.identity.date_of_birth
    if born is None or (group.age_below and now.upper is None):
        return False
    first, last = now.lower.astimezone(zone).date(), (now.upper or now.lower).astimezone(zone).date()
    return years(born, first) >= group.age_from and (not group.age_below or years(born, last) < group.age_below)


def years(born: date, on: date) -> int:
    """Full years; who was born on 29 February is a year older on 1 March."""
    return on.year - born.year - ((on.month, on.day) < (born.month, born.day))
