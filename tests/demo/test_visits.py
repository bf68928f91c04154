"""The visits cover what the demo promises, and each card is good or bad in exactly its own way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from edge.credential import verify
from edge.demo.cards import Issuers
from edge.demo.planned import Algorithm, Around, Card, Dialect, Visit
from edge.demo.stage import ROOT
from edge.demo.visits import VISITS
from edge.errors import Reason, Refusal
from edge.trust.interval import Interval
from edge.trust.list import open_list

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
CARD_REASONS = {Reason.BAD_SIGNATURE, Reason.EXPIRED, Reason.UNKNOWN_ISSUER, Reason.UNKNOWN_KEY}
CARDS = [visit for visit in VISITS if isinstance(visit.shows, Card)]


@pytest.fixture(scope="module")
def issuers() -> Issuers:
    return Issuers(ROOT / "models" / "portraits")


def test_every_promised_outcome_is_among_the_visits() -> None:
    promised = CARD_REASONS | {Reason.NO_MATCH, Reason.SEVERAL_FACES, Reason.NO_PROBE, Reason.NOT_A_CREDENTIAL, None}
    promised |= {
        Reason.NOT_ENROLLED,
        Reason.NOT_RECOGNISED,
        Reason.PASSED_BEFORE,
        Reason.ALREADY_RECEIVED,
        Reason.REFERRED,
    }
    watched = {Reason.PRESENTATION_ATTACK, Reason.CAMERA_FAULT, Reason.TASK_NOT_DONE}
    assert {visit.refused for visit in VISITS} == promised | watched
    assert {visit.around for visit in VISITS} == set(Around)
    assert {visit.expected for visit in VISITS} >= {"granted, taken", "granted, not taken"}


def test_the_holder_is_admitted_with_two_photos_that_are_not_in_the_card() -> None:
    admitted = [v for v in VISITS if v.refused is None and isinstance(v.shows, Card) and v.shows.portrait == "obama"]
    assert {stand.portrait for visit in admitted for stand in visit.stands} == {"obama2", "obama3"}


def test_both_dialects_and_both_algorithms_are_admitted() -> None:
    cards = [visit.shows for visit in CARDS if visit.refused is None and isinstance(visit.shows, Card)]
    assert {card.dialect for card in cards} == set(Dialect)
    assert {card.algorithm for card in cards} == set(Algorithm)


def test_only_attacks_templates_and_tasks_are_left_out_where_the_standard_set_is_not() -> None:
    left_out = [
        visit.needs_tasks
        or visit.shows is None
        or bool(set(visit.profiles) & {"turnstile", "benefit", "egate"} and "pilot" not in visit.profiles)
        or visit.refused is Reason.PRESENTATION_ATTACK
        or (isinstance(visit.shows, Card) and visit.shows.template > 0)
        for visit in VISITS
    ]
    assert [visit.needs_detector for visit in VISITS] == left_out


def test_names_are_unique() -> None:
    assert len({visit.name for visit in VISITS}) == len(VISITS)


@pytest.mark.parametrize("visit", CARDS, ids=lambda visit: visit.name)
def test_a_card_is_what_its_visit_says(visit: Visit, issuers: Issuers) -> None:
    assert isinstance(visit.shows, Card)
    trust = open_list(issuers.trust_list(NOW), [issuers.root])
    found = None
    try:
        verify(issuers.text(visit.shows, NOW), trust, Interval.exactly(NOW), timedelta(seconds=60))
    except Refusal as refusal:
        found = refusal.reason
    assert found == (visit.refused if visit.refused in CARD_REASONS else None)
