"""Time without a clock: an interval, not a moment.

Rules:

1. Now lies in [lower, upper]. ``lower`` only ever grows; ``upper`` is None until authenticated time came in this boot.
2. Past the upper edge of a validity for sure: ``lower`` is beyond it. Still inside for sure: ``upper`` is before it.
3. Between the two the profile decides, and the entry says so.
4. With only a floor, nobody is refused for a credential that is not valid *yet*: after a power cut that would refuse
   everybody.
5. What is added is added to now, never to a date that somebody wrote: 9999-12-31 means "no end" in a certificate.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum


class ClockState(Enum):
    """How well the gate knows the time."""

    SYNCED = "synced"  # authenticated time in this boot
    HELD = "held"  # was synced in this boot, kept since
    FLOOR = "floor"  # only a lower bound
    UNKNOWN = "unknown"


class Validity(Enum):
    """Where now stands against a validity."""

    VALID = "valid"
    EXPIRED = "expired"
    NOT_YET = "not-yet"
    UNSURE = "unsure"


@dataclass(frozen=True)
class Interval:
    """Now is somewhere between ``lower`` and ``upper``, both aware and in UTC."""

    lower: datetime
    upper: datetime | None
    state: ClockState

    @classmethod
    def exactly(cls, moment: datetime) -> Interval:
        """The interval of somebody who knows the time, as tests and tools do."""
        return cls(moment, moment, ClockState.SYNCED)

    def within(self, not_before: datetime | None, expires: datetime | None, skew: timedelta) -> Validity:
        """Hold now against a validity, giving ``skew`` to both edges (gate.md section 6)."""
        if expires is not None and expires <= self.lower - skew:
            return Validity.EXPIRED
        if not_before is not None and self.upper is not None and self.upper + skew < not_before:
            return Validity.NOT_YET
        if expires is not None and (self.upper is None or self.upper - skew >= expires):
            return Validity.UNSURE
        return Validity.VALID
