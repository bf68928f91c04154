"""How busy the gate was lately, for a drawing: people a few minutes at a time. Pure, like ``standing.py``.

Time here is the log's own: seconds since the machine started would end with it, and a wall clock may not be known. An
entry without a time counts as being of the newest slot. After one whose clock stood hours ahead the drawing begins
anew, so that nobody is left out until that time has come.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from edge.audit.entry import Kind
from edge.web.standing import BUCKETS_S, Standing, Times, Told

SLOT_S = 300
SLOTS = 48


@dataclass(frozen=True)
class Charted:
    """Granted and denied per slot of five minutes, the newest ``SLOTS`` of them; slots are numbered since 1970."""

    newest: int = 0
    slots: Mapping[int, tuple[int, int]] = field(default_factory=dict)

    def after(self, told: Told) -> Charted:
        """With one more entry."""
        if told.kind not in (Kind.GRANTED, Kind.DENIED):
            return self
        slot = int(told.at.timestamp()) // SLOT_S if told.at else self.newest
        if slot <= self.newest - SLOTS:
            return Charted(slot).after(told)
        newest = max(slot, self.newest)
        granted, denied = self.slots.get(slot, (0, 0))
        here = (granted + 1, denied) if told.kind is Kind.GRANTED else (granted, denied + 1)
        kept = {one: counts for one, counts in self.slots.items() if one > newest - SLOTS}
        return Charted(newest, {**kept, slot: here})

    def rows(self, now: datetime | None) -> dict[str, object]:
        """``rows``: [seconds since 1970, granted, denied] of each slot of four hours in which somebody came.

        ``now``: begin of the slot they end with, the present one; None, and that of the last visit, when nobody knows.
        """
        newest = self.newest if now is None else int(now.timestamp()) // SLOT_S
        kept = sorted((slot, counts) for slot, counts in self.slots.items() if newest - SLOTS < slot <= newest)
        rows = [[slot * SLOT_S, *counts] for slot, counts in kept]
        return {"now": None if now is None else newest * SLOT_S, "rows": rows}


def latency(standing: Standing) -> list[dict[str, object]]:
    """How long it took, by bucket: from code to open gate, then each stage."""
    named = {"whole": standing.whole, **dict(sorted(standing.stages.items()))}
    return [
        {"name": name, "count": times.count, "mean_ms": _mean_ms(times), "buckets": _apart(times)}
        for name, times in named.items()
        if times.count
    ]


def _mean_ms(times: Times) -> float:
    return round(times.total_us / times.count / 1000, 1)


def _apart(times: Times) -> list[list[float | int | None]]:
    """[upper edge in seconds or None, how many] of each bucket, not added up."""
    before, rows = 0, []
    for upper, count in zip((*BUCKETS_S, None), (*times.up_to, times.count), strict=True):
        rows.append([upper, count - before])
        before = count
    return rows
