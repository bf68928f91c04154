"""The measurement of benefit point and border counts what the log says of visits, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from edge.audit.entry import Entry, Kind, Quality
from edge.bench import lanes
from edge.demo.director import Outcome
from edge.demo.planned import Card, Visit
from edge.demo.stage import Wanted, models_of
from edge.demo.visits import VISITS
from edge.errors import DeviceError, Reason

VISIT = Visit("comes", "Somebody comes.", Card(holder="rice"))
DECISION = Entry(0, 1, 0, Quality.SYNCED, 0, 1, Kind.GRANTED, "north", {})
PASSAGE = replace(DECISION, index=1, kind=Kind.TAKEN)
GOOD = Outcome(VISIT, VISIT.expected, decision=DECISION, passage=PASSAGE, took_s=2.0)


def test_a_visit_whose_passage_is_not_in_the_log_has_no_outcome() -> None:
    stuck = Outcome(VISIT, "waited for an entry", decision=DECISION)
    refused = Outcome(VISIT, "denied: expired", Reason.EXPIRED, decision=replace(DECISION, kind=Kind.DENIED))
    silent = Outcome(VISIT, "waited for an answer")
    found = lanes.Played([GOOD, stuck, refused, silent], took_s=36.0).figures()
    assert (found["visits"], found["with_an_outcome"], found["share"]) == (4, 2, 50.0)
    assert (found["as_expected"], found["through"]) == (1, 1)
    assert (found["per_hour"], found["spare_s"]) == (100, 11.0), "who was refused is not through"
    assert found["otherwise"] == [
        "comes: denied: expired",
        "comes: waited for an answer",
        "comes: waited for an entry",
    ]


def test_a_few_visits_speak_for_less_than_many() -> None:
    assert round(lanes.surely(26, 26), 3) == 0.906
    assert round(lanes.surely(600, 600), 4) == 0.9955
    assert lanes.surely(599, 600) < lanes.surely(600, 600)


def test_who_comes_twice_in_a_round_is_somebody_else_in_the_next() -> None:
    first, second = lanes.in_round(VISIT, 1), lanes.in_round(VISIT, 2)
    assert isinstance(first.shows, Card)
    assert isinstance(second.shows, Card)
    assert first.shows.holder != second.shows.holder
    assert lanes.in_round(VISIT, 1) == first
    assert lanes.in_round(replace(VISIT, shows=Card()), 2).shows == Card(), "new to the gate anyway"


def test_every_traveller_is_a_visit_of_the_demo() -> None:
    assert {visit.name for visit in VISITS} >= set(lanes.TRAVELLERS)


@pytest.mark.timeout(900)
def test_a_round_is_played_by_the_five_processes() -> None:
    try:
        if not models_of(Wanted())[1]:
            pytest.skip("a benefit point asks for attack detection: edge models pull --set standard")
    except DeviceError as error:
        pytest.skip(str(error))
    visits = tuple(visit for visit in VISITS if visit.name in ("receives", "expired card"))
    for _ in range(3):  # a busy machine may not see whoever comes: that it never does is a fault, and all else at once
        played = lanes.played("benefit", visits, 0.0, Console(quiet=True))
        if not any(outcome.decision is None or outcome.refused is Reason.NO_PROBE for outcome in played.outcomes):
            break
    found = played.figures()
    assert (found["visits"], found["with_an_outcome"], found["otherwise"]) == (2, 2, [])
