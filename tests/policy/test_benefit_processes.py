"""A benefit point of five real processes; edge-gate is killed while it hands out, and starts again by itself.

Slow: ``pytest tests/policy/test_benefit_processes.py -m slow``.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from edge.audit.entry import Entry, Kind
from edge.demo import footage, prop
from edge.demo.footage import Hold, Stand
from edge.demo.planned import Card
from edge.demo.stage import Stage, Wanted, models_of
from edge.passage import Indication

HOLD = Hold(module_px=3.0, turn=(6.0, -5.0, 2.0), at=(430.0, 480.0), glare=0.25)
STAND = Stand("obama2", eyes_px=92.0, at=(800.0, 190.0))
PEOPLE = 6
AMOUNT = 2
"""Portions of the cycle that the stage's desk opens."""
ENDS = (Kind.COMMIT, Kind.RELEASE)


class Point:
    """A benefit point at work, and several people with a card each."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        portraits = stage.wanted.portraits
        for number in range(PEOPLE):
            card = Card(side_px=64, picture_bytes=800, holder=f"person {number}")
            text = stage.issuers.text(card, datetime.now(UTC))
            paper = prop.card(text, "REPUBLIC OF EXAMPLE", (prop.IDENTITY_CARD,), (220, 225, 230))
            footage.write(stage.scene / f"{number}.npy", footage.both_clip(portraits, paper, HOLD, STAND, seed=number))
        footage.write(stage.scene / "nobody.npy", footage.face_clip(portraits, (), seed=0))
        stage.play("nobody")

    def entries(self, first: int) -> list[Entry]:
        return self.stage.log.entries(first, self.stage.log.size() - first)

    def kinds(self, first: int) -> list[int]:
        return [entry.kind for entry in self.entries(first)]

    def portions(self) -> int:
        place = self.stage.scene / "portions"
        return int(place.read_text()) if place.exists() else 0

    def until(self, done: Callable[[], bool], what: str, within_s: float = 60.0) -> None:
        end = time.monotonic() + within_s
        while not done():
            assert time.monotonic() < end, f"waited in vain: {what}; {self.stage.processes.last_words('gate', 8)}"
            time.sleep(0.002)

    def comes(self, number: int) -> int:
        """Person ``number`` shows card and face; returns the size of the log before."""
        self.stage.play("nobody")
        self.until(lambda: self.stage.panel() == Indication.READY.value, "ready")
        time.sleep(2.2)  # a code held up counts once until it was gone for two seconds
        before = self.stage.log.size()
        self.stage.play(str(number))
        return before

    def story(self, before: int) -> str:
        """What the log says since then."""
        return "; ".join(f"{entry.kind!r} {dict(entry.fields)}" for entry in self.entries(before))

    def outcome(self, before: int) -> str:
        ends = (Kind.DENIED, Kind.TAKEN, Kind.NOT_TAKEN)
        self.until(lambda: any(kind in ends for kind in self.kinds(before)), "an outcome")
        self.stage.play("nobody")
        end = next(entry for entry in self.entries(before) if entry.kind in ends)
        return str(end.fields.get("reason") or Kind(end.kind).name)


@pytest.fixture(scope="module")
def point() -> Iterator[Point]:
    wanted = Wanted(profile="benefit")
    if not models_of(wanted)[1]:
        pytest.skip("the model set here detects no attacks")
    with Stage(wanted) as stage:
        here = Point(stage)
        stage.start()
        yield here


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_edge_gate_killed_while_it_hands_out_gives_nobody_twice_and_forgets_nobody(point: Point) -> None:
    told: list[str] = []
    for number in range(PEOPLE):
        portions, before = point.portions(), point.comes(number)
        if number % 2:
            point.until(lambda portions=portions: point.portions() > portions, "a portion")  # type: ignore[misc] # bound now
        else:
            point.until(lambda before=before: Kind.RESERVATION in point.kinds(before), "a reservation")  # type: ignore[misc]
        os.kill(point.stage.processes.pids()["gate"], signal.SIGKILL)
        point.stage.play("nobody")
        point.until(lambda before=before: any(kind in ENDS for kind in point.kinds(before)), "the end of it")  # type: ignore[misc]
        (end,) = (entry for entry in point.entries(before) if entry.kind in ENDS)
        fell = point.portions() - portions
        assert end.kind is (Kind.COMMIT if fell else Kind.RELEASE)
        assert end.fields.get("dispensed", 0) == fell
        assert end.fields.get("sure", True) is (fell in (0, AMOUNT)), "who got less is flagged"
        outcome = point.outcome(point.comes(number))
        assert outcome == ("already-received" if fell else "TAKEN")
        assert point.portions() == portions + (fell or AMOUNT), point.story(before)
        told.append(f"{end.fields['why']!s} {fell}")
    assert any("resumed" in each for each in told), told
