"""The rules of a site, as they stand in its policy (config/profiles/*.toml, ``[rules]``).

Rules of the rules:

1. Everything that is known about a person here is a *group*: a signed claim, an age, a place on a signed list. The
   other tables speak of groups only, so an entry never needs to hold what put somebody into one.
2. Every table has a default that asks for nothing.
3. What cannot mean anything is a fault with a sentence, found at the desk by ``edge policy check``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from edge.errors import Reason
from edge.policy.differences import asked

NEVER: Final = frozenset(
    {
        Reason.NOT_A_CREDENTIAL,
        Reason.UNREADABLE,
        Reason.TOO_LARGE,
        Reason.UNSUPPORTED,
        Reason.CANNOT_DECRYPT,
        Reason.UNKNOWN_ISSUER,
        Reason.UNKNOWN_KEY,
        Reason.KEY_WITHDRAWN,
        Reason.BAD_SIGNATURE,
        Reason.NO_TRUST,
        Reason.BAD_CLAIM,
        Reason.LOCKED_DOWN,
        Reason.JOURNAL_FAULT,
        Reason.ALREADY_RECEIVED,
        Reason.NO_CYCLE,
        Reason.ASSISTING,
    }
)
"""No operator may overrule these: nobody knows who would be let in, nothing could be written, or it is paid already."""

LONGEST: Final = 32
"""Bytes of a zone's name: gates tell each other forty at once."""


@dataclass(frozen=True)
class Group:
    """How somebody comes into a group: by any of the ways that are named.

    Attributes:
        name: as the other tables call it.
        claim: a signed claim: ``issuer``, a name of claim 169 (``legal_status``), or the number of another claim.
        values: of that claim, as text; any of them.
        age_from: full years, by the signed date of birth and the earliest that now can be.
        age_below: full years, by the latest that now can be.
        listed: name of a list in the site's signed membership lists.
    """

    name: str
    claim: str = ""
    values: tuple[str, ...] = ()
    age_from: int = 0
    age_below: int = 0
    listed: str = ""


@dataclass(frozen=True)
class Hours:
    """When members of some groups may come; none named: everybody.

    ``open``: ``mon-fri 07:00-19:00``, ``sat,sun 22:00-02:00``, ``daily 00:00-24:00``, ``holiday 10:00-12:00``.
    """

    open: tuple[str, ...]
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Zone:
    """A place behind gates.

    Attributes:
        name: as ``[gate] into`` calls it.
        groups: any of them may enter; none named: everybody.
        needs: all of them must be there as well.
        capacity: how many people at once; 0 for no limit.
    """

    name: str
    groups: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    capacity: int = 0


@dataclass(frozen=True)
class Passback:
    """Nobody enters twice on one card.

    Attributes:
        kind: ``hard`` refuses whoever is inside already, ``soft`` admits and flags.
        reset_h: hours after which nobody is thought to be inside any more.
        again_s: seconds in which one holder may not pass again, whatever the zone; 0 for no such time.
        bypass: groups that are not asked.
        alone: what to do while the other gates of the site are not heard.
        silent_s: seconds without an answer from any of them until this gate counts as alone; 0 for a site of one gate.
    """

    kind: Literal["off", "soft", "hard"] = "off"
    reset_h: float = 12.0
    again_s: int = 0
    bypass: tuple[str, ...] = ()
    alone: Literal["accept", "refer"] = "accept"
    silent_s: int = 0

    @property
    def counts_s(self) -> int:
        """Seconds for which a pass counts."""
        return max(int(self.reset_h * 3600), self.again_s)


@dataclass(frozen=True)
class Second:
    """Members of ``groups`` come with somebody of ``by``, who was found good within ``within_s`` before.

    An escort: ``groups = ["visitor"]``, ``by = ["host"]``. Two keys to one room: the same group twice.
    """

    groups: tuple[str, ...]
    by: tuple[str, ...]
    within_s: int = 30


@dataclass(frozen=True)
class Overruling:
    """What an operator may let pass all the same.

    Attributes:
        reasons: codes of reasons; whatever is not named stands.
        within_s: seconds after the visit.
    """

    reasons: tuple[str, ...] = ()
    within_s: int = 120


@dataclass(frozen=True)
class Rules:
    """All that a site asks beyond a genuine card and the right face.

    Attributes:
        timezone: of the site, as in the IANA database; hours and holidays are read on its wall clock.
        hours: when who may come; none: always.
        holidays: ``2026-12-25``, or ``12-25`` for every year: only hours of the day ``holiday`` count.
        hours_floor: what to do when the clock cannot tell whether it is open.
        groups: who is in which.
        zones: places behind gates.
        deny: groups that nobody admits here.
        watch: groups whose coming is noted with an entry of its own, and nothing else.
        duress: groups whose coming is a silent alarm; the gate serves them as anybody else.
        slow: groups for whom the gate stays open longer.
        slow_s: seconds longer to come, and as many to go through; at most 60.
        passback: nobody enters twice on one card.
        second: who comes with somebody else.
        check_one_in: one in so many is sent to a person by lot; 0 for nobody.
        check_again_h: hours for which whoever was sent there is sent there again, until somebody let them in.
        check_spared: groups that are not.
        overrule: what an operator may let pass.
        assist: groups whose badge, shown next, lets in whom an operator could; it opens for nobody else in that time.
        programme: the benefit that this point hands out; empty for none.
    """

    timezone: str = "UTC"
    hours: tuple[Hours, ...] = ()
    holidays: tuple[str, ...] = ()
    hours_floor: Literal["accept", "refer", "refuse"] = "refer"
    groups: tuple[Group, ...] = ()
    zones: tuple[Zone, ...] = ()
    deny: tuple[str, ...] = ()
    watch: tuple[str, ...] = ()
    duress: tuple[str, ...] = ()
    slow: tuple[str, ...] = ()
    slow_s: float = 0.0
    passback: Passback = field(default_factory=Passback)
    second: tuple[Second, ...] = ()
    check_one_in: int = 0
    check_again_h: float = 12.0
    check_spared: tuple[str, ...] = ()
    overrule: Overruling = field(default_factory=Overruling)
    assist: tuple[str, ...] = ()
    programme: str = ""

    def zone(self, name: str | None) -> Zone | None:
        """The zone of that name."""
        return next((zone for zone in self.zones if zone.name == name), None)


def people(rules: Rules) -> bytes:
    """Eight bytes that differ when somebody is put into groups, or asked for a second person, in another way."""
    return hashlib.sha256(repr(asked((rules.groups, rules.second))).encode()).digest()[:8]


def named_groups(rules: Rules) -> Iterator[tuple[str, str]]:
    """Every group that a table names, with where."""
    tables: dict[str, tuple[str, ...]] = {
        "deny": rules.deny,
        "watch": rules.watch,
        "duress": rules.duress,
        "slow": rules.slow,
        "passback.bypass": rules.passback.bypass,
        "check_spared": rules.check_spared,
        "assist": rules.assist,
    }
    tables |= {f"hours[{number}]": hours.groups for number, hours in enumerate(rules.hours)}
    tables |= {f"zones.{zone.name}": (*zone.groups, *zone.needs) for zone in rules.zones}
    tables |= {f"second[{number}]": (*each.groups, *each.by) for number, each in enumerate(rules.second)}
    for where, names in tables.items():
        for name in names:
            yield where, name
