"""The other two sites: nobody leaves a benefit point without an outcome, and so many cross a border in an hour.

benefit   all visits of the demo that belong there, over and over, kills, jams and an empty dispenser among them: how
          many have an outcome, which is a decision in the log and, where somebody was admitted, what came of it; how
          many were as they must be; seconds from the card in view to the decision
egate     travellers one after the other, each with a card of their own, who do what the screen asks: how many are
          through both doors in an hour; seconds from the card in view to the decision

Nobody here walks as slowly as people do: a simulated person is through both doors in about a second. So what an hour
holds is what the gate itself leaves room for; ``spare_s`` is what it leaves each traveller for looking up and walking.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Any

from edge.audit.entry import Kind
from edge.bench.figures import least, most, percentiles
from edge.demo.director import Director, Outcome
from edge.demo.planned import Card, Lane, Visit
from edge.demo.screen import ScreenReader
from edge.demo.stage import ROOT, Stage, Wanted, models_of
from edge.demo.visits import VISITS
from edge.errors import DeviceError
from edge.settings import read_toml

if TYPE_CHECKING:
    from rich.console import Console

OUTCOMES = 99.5  # of a hundred visits
PER_HOUR = 180
DECIDED_S = {"benefit": (8.0, 20.0), "egate": (12.0, 20.0)}
"""Seconds until the decision at most: median and 95th percentile."""
TRAVELLERS = ("right holder", "right holder again", "second person")


@dataclass
class Played:
    """What a lane's visits came to."""

    outcomes: list[Outcome] = field(default_factory=list)
    took_s: float = 0.0

    def figures(self) -> dict[str, Any]:
        """For people and programs."""
        decided = [outcome.took_s for outcome in self.outcomes if outcome.decision is not None]
        known = [outcome for outcome in self.outcomes if _ended(outcome)]
        through = [each for each in self.outcomes if each.passage is not None and each.passage.kind is Kind.TAKEN]
        others = (f"{each.visit.name}: {each.actual}" for each in self.outcomes if not each.as_expected)
        return {
            "visits": len(self.outcomes),
            "with_an_outcome": len(known),
            "share": round(100 * len(known) / len(self.outcomes), 2),
            "surely": round(100 * surely(len(known), len(self.outcomes)), 2),
            "as_expected": sum(outcome.as_expected for outcome in self.outcomes),
            "otherwise": sorted(set(others)),
            "decided_s": percentiles(decided),
            "through": len(through),
            "per_hour": round(3600 * len(through) / self.took_s),
            "spare_s": round(3600 / PER_HOUR - self.took_s / len(self.outcomes), 1),
        }


def measure(console: Console, minutes: float = 1.0) -> dict[str, Any]:
    """Play both lanes, half of the time each.

    Raises:
        DeviceError: the models have no attack detector, which both lanes ask for.
    """
    models, detector = models_of(Wanted())
    if not detector:
        raise DeviceError("models", "both lanes ask for attack detection: edge models pull --set standard")
    travellers = tuple(visit for visit in VISITS if visit.name in TRAVELLERS)
    benefit = played("benefit", VISITS, 30 * minutes, console).figures()
    egate = played("egate", travellers, 30 * minutes, console).figures()
    targets = [
        least("benefit: visits with an outcome", "%", OUTCOMES, benefit["share"]),
        least("egate: people an hour", "1/h", PER_HOUR, egate["per_hour"]),
        *(
            least(f"{name}: visits as they must be", "", found["visits"], found["as_expected"])
            for name, found in (("benefit", benefit), ("egate", egate))
        ),
    ]
    for name, found in (("benefit", benefit), ("egate", egate)):
        for which, limit in zip(("p50", "p95"), DECIDED_S[name], strict=True):
            targets.append(
                most(f"{name}: card in view to decision, {which}", "s", limit, found["decided_s"].get(which))
            )
    return {"models": models, "benefit": benefit, "egate": egate, "targets": targets}


def played(profile: str, visits: tuple[Visit, ...], seconds: float, console: Console) -> Played:
    """As many rounds of the visits as begin in so many seconds; every round has people of its own."""
    written = read_toml(ROOT / "config" / "profiles" / f"{profile}.toml")
    lane = Lane.of(profile, written, detector=True, light=False)
    planned, played = lane.chosen(visits), Played()
    with Stage(Wanted(profile=profile)) as stage, ScreenReader(stage.settings.web.host, stage.settings.web.port) as eye:
        director = Director(stage, eye if lane.tasks else None)
        director.open()
        with console.status(f"{profile}: starting the five processes") as status:
            stage.start()
            next(director.visits(planned[:1]))  # the first one warms it up and is not counted
            began = time.monotonic()
            for turn in _rounds(began + seconds):
                for outcome in director.visits(tuple(in_round(visit, turn) for visit in planned)):
                    played.outcomes.append(outcome)
                    status.update(f"{profile}: {len(played.outcomes)} visits, {outcome.visit.name}: {outcome.actual}")
            played.took_s = time.monotonic() - began
    return played


def _rounds(end: float) -> Iterator[int]:
    """Rounds that begin before then, one at least."""
    for turn in count(1):
        yield turn
        if time.monotonic() >= end:
            return


def in_round(visit: Visit, turn: int) -> Visit:
    """The visit of a round: who comes twice in it is not who came in the one before."""
    card = visit.shows
    if isinstance(card, Card) and card.holder:
        card = replace(card, holder=f"{card.holder}-{turn}")
    return replace(visit, name=f"{visit.name} {turn}", shows=card)


def surely(good: int, of: int) -> float:
    """The least share that so many good ones of so many speak for, at 95 % (Wilson's bound)."""
    z, share = 1.645, good / of
    spread = z * math.sqrt(share * (1 - share) / of + (z / (2 * of)) ** 2)
    return (share + z * z / (2 * of) - spread) / (1 + z * z / of)


def _ended(outcome: Outcome) -> bool:
    """Whether the log says what became of it."""
    return outcome.decision is not None and (outcome.refused is not None or outcome.passage is not None)
