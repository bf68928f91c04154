"""Which cycle of a benefit is open: said by a signed message, never by the clock of a point that hands it out.

Rules:

1. Signed by a live key, for one site, with a version that never goes back; it names every programme's open cycle.
2. The cycles of a site are numbered, whatever the programme; two never have one number. What is not named is closed.
3. The end of the dispute window is told with it: after that nobody can be asked about a cycle any more, because the
   key of its ledger is gone (``edge/policy/ledger.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from edge.errors import Reason, Refusal
from edge.trust.cose import Signer
from edge.trust.keys import Key
from edge.trust.signed import Purpose, Times, counting, moment, seal, unseal

PROGRAMMES: Final = 64
_MEMBERS: Final = {"programme", "cycle", "number", "amount", "disputed_until"}


@dataclass(frozen=True)
class Cycle:
    """One open cycle.

    Attributes:
        programme: which benefit.
        cycle: what people call it: ``2026-11``.
        number: counts the cycles of the site.
        amount: portions for each person.
        disputed_until: end of the dispute window.
    """

    programme: str
    cycle: str
    number: int
    amount: int
    disputed_until: datetime


@dataclass(frozen=True)
class Cycles:
    """What is open at one site, by programme."""

    site: str = ""
    open: Mapping[str, Cycle] = field(default_factory=dict)
    version: int = 0
    issued_at: datetime | None = None
    expires: datetime | None = None


def write_cycles(version: int, site: str, cycles: Iterable[Cycle], times: Times, by: Signer) -> bytes:
    """Sign what is open."""
    told = [
        {
            "programme": each.programme,
            "cycle": each.cycle,
            "number": each.number,
            "amount": each.amount,
            "disputed_until": int(each.disputed_until.timestamp()),
        }
        for each in cycles
    ]
    return seal(Purpose.CYCLES, {"version": version, "site": site, "cycles": told}, times, by)


def open_cycles(data: bytes, keys: Sequence[Key], known_version: int = 0) -> Cycles:
    """Verify what is open.

    Raises:
        Refusal: whatever is wrong with it.
    """
    document = unseal(Purpose.CYCLES, data, keys, ("version", "site", "cycles"))
    version, site, told = (document.members[name] for name in ("version", "site", "cycles"))
    if not isinstance(site, str) or not site or not isinstance(told, list) or len(told) > PROGRAMMES:
        raise Refusal(Reason.BAD_CLAIM, "not the cycles of a site")
    if counting(version) < known_version:
        raise Refusal(Reason.NO_TRUST, f"version {version} is older than {known_version}")
    cycles = [_cycle(each) for each in told]
    found = {each.programme: each for each in cycles}
    if len(found) != len(cycles) or len({each.number for each in cycles}) != len(cycles):
        raise Refusal(Reason.BAD_CLAIM, "two open cycles of one programme, or of one number")
    return Cycles(site, found, version, document.issued_at, document.expires)


def _cycle(told: Any) -> Cycle:
    if not isinstance(told, dict) or set(told) != _MEMBERS:
        raise Refusal(Reason.BAD_CLAIM, "not the members of a cycle")
    programme, cycle = told["programme"], told["cycle"]
    if not all(isinstance(text, str) and 0 < len(text) <= 64 for text in (programme, cycle)):
        raise Refusal(Reason.BAD_CLAIM, "a cycle has a programme and a name")
    number, amount = counting(told["number"]), counting(told["amount"])
    if amount > 1000:
        raise Refusal(Reason.BAD_CLAIM, "no dispenser hands out so much")
    return Cycle(programme, cycle, number, amount, moment(told["disputed_until"]))
