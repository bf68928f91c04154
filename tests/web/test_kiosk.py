"""What the person in front of the gate sees."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from edge.audit.entry import Kind, Value
from edge.biometric.values import Hint
from edge.errors import Reason
from edge.passage import Indication
from edge.web import roll as roll_module
from edge.web.kiosk import HINT_S, REFUSED_S, SILENT_S, WELCOME_S, Face, Kiosk, Screen
from edge.web.standing import Told

Folder = Any  # of conftest.py
Run = Callable[[Coroutine[Any, Any, Any]], Any]


class Hour:
    """A kiosk and the time."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.kiosk = Kiosk(self.now_s)

    def shown(self, *indications: Indication) -> Hour:
        for indication in indications:
            self.kiosk.shown(indication, self.now_s)
        return self

    def told(self, kind: Kind, **fields: Value) -> Hour:
        self.kiosk.told(Told(0, None, kind, fields), self.now_s)
        return self

    def wait(self, seconds: float) -> Hour:
        self.now_s += seconds
        return self

    def face(self) -> Face:
        return self.kiosk.face(self.now_s)


@pytest.mark.parametrize("indication", Indication)
def test_the_screen_says_what_the_lights_say(indication: Indication) -> None:
    face = Hour().shown(Indication.READING, indication).face()
    expected = {"ready": "idle"}.get(indication.value, indication.value)
    assert face == Face(Screen(expected))


def test_a_refusal_names_its_reason_whichever_comes_first() -> None:
    log_first = Hour().shown(Indication.READING).told(Kind.DENIED, reason="expired").shown(Indication.REFUSED)
    lights_first = Hour().shown(Indication.READING, Indication.REFUSED).told(Kind.DENIED, reason="expired")
    assert log_first.face() == lights_first.face() == Face(Screen.REFUSED, Reason.EXPIRED)


def test_a_reason_is_not_carried_over_to_the_next_person() -> None:
    hour = Hour().shown(Indication.READING).told(Kind.DENIED, reason="expired").shown(Indication.REFUSED)
    hour.shown(Indication.READY, Indication.READING, Indication.REFUSED)
    assert hour.face() == Face(Screen.REFUSED, None)


def test_a_sentence_stays_long_enough_to_be_read() -> None:
    hour = Hour().shown(Indication.READING, Indication.REFUSED).told(Kind.DENIED, reason="no-match")
    hour.wait(1.2).shown(Indication.READY)
    assert hour.face() == Face(Screen.REFUSED, Reason.NO_MATCH)
    for _ in range(int(REFUSED_S)):
        hour.wait(1.0).shown(Indication.READY)
    assert hour.face() == Face(Screen.IDLE)


def test_the_next_person_ends_the_sentence_of_the_one_before() -> None:
    hour = Hour().shown(Indication.READING, Indication.REFUSED).told(Kind.DENIED, reason="no-match")
    assert hour.shown(Indication.READY, Indication.READING).face() == Face(Screen.READING)


def test_welcome_goes_when_it_was_seen() -> None:
    hour = Hour().shown(Indication.READING).told(Kind.GRANTED).shown(Indication.WELCOME, Indication.READY)
    assert hour.face() == Face(Screen.WELCOME)
    assert hour.wait(WELCOME_S).face() == Face(Screen.IDLE)


@pytest.mark.parametrize("reason", [Reason.REFERRED, Reason.UNSEALED_TOO_LONG])
def test_a_person_who_is_referred_is_sent_to_the_reception(reason: Reason) -> None:
    hour = Hour().shown(Indication.READING, Indication.REFUSED).told(Kind.DENIED, reason=reason.code)
    assert hour.face() == Face(Screen.ASSISTED, reason)


def test_a_fault_of_the_gate_is_not_shown_as_the_fault_of_the_person() -> None:
    hour = Hour().shown(Indication.READING, Indication.REFUSED).told(Kind.DENIED, reason="camera-fault")
    assert hour.face() == Face(Screen.OUT_OF_SERVICE)


def test_a_person_who_is_not_seen_well_is_told_what_would_help() -> None:
    hour = Hour().shown(Indication.READING, Indication.LOOK)
    hour.kiosk.hinted(Hint.CLOSER)
    assert hour.face() == Face(Screen.LOOK, hint=Hint.CLOSER)
    assert hour.shown(Indication.LOOK).face() == Face(Screen.LOOK, hint=Hint.CLOSER)
    assert hour.shown(Indication.WELCOME).face() == Face(Screen.WELCOME)
    hour.kiosk.hinted(Hint.STILL)
    assert hour.face() == Face(Screen.WELCOME)
    assert hour.shown(Indication.READING, Indication.LOOK).face() == Face(Screen.LOOK)


def test_a_silent_gate_is_out_of_service() -> None:
    hour = Hour()
    assert hour.face() == Face(Screen.OUT_OF_SERVICE)
    assert hour.shown(Indication.READY).face() == Face(Screen.IDLE)
    assert hour.kiosk.serving(hour.now_s)
    assert hour.wait(SILENT_S).face() == Face(Screen.OUT_OF_SERVICE)
    assert not hour.kiosk.serving(hour.now_s)
    assert hour.shown(Indication.READY).face() == Face(Screen.IDLE)


def test_fire_comes_before_everything() -> None:
    hour = Hour().shown(Indication.READY)
    hour.kiosk.burning(True)
    assert hour.shown(Indication.WELCOME).wait(60).face() == Face(Screen.FIRE)
    hour.kiosk.burning(False)
    assert hour.shown(Indication.READY).face() == Face(Screen.IDLE)


@pytest.mark.parametrize(
    ("kind", "fields"), [(Kind.GRANTED, {}), (Kind.OVERRIDE, {}), (Kind.DENIED, {"reason": "full"})]
)
def test_an_alarm_stays_whatever_the_log_says_later(kind: Kind, fields: dict[str, Value]) -> None:
    hour = Hour().shown(Indication.WELCOME, Indication.ALARM).told(kind, **fields)
    assert hour.shown(Indication.ALARM).face() == Face(Screen.ALARM)
    assert hour.shown(Indication.READY).face() == Face(Screen.IDLE)


def test_who_is_granted_while_somebody_leaves_is_welcomed_with_the_lights_and_not_before() -> None:
    hour = Hour().shown(Indication.LOOK, Indication.STEP_BACK).told(Kind.GRANTED)
    assert hour.face().screen is Screen.STEP_BACK
    assert hour.shown(Indication.WELCOME).face().screen is Screen.WELCOME


def test_whose_card_was_held_up_through_an_alarm_is_asked_to_show_it_again() -> None:
    for before in ([Indication.ALARM], [Indication.ALARM, Indication.READY]):
        hour = Hour().shown(*before, Indication.REFUSED)
        assert hour.face() == Face(Screen.REFUSED, Reason.NO_PROBE)
    assert hour.wait(REFUSED_S).shown(Indication.READY).face() == Face(Screen.IDLE)
    hour.shown(Indication.READING, Indication.REFUSED)
    assert hour.face() == Face(Screen.REFUSED), "whoever comes after that has a reason of their own"


def test_in_a_lane_without_cards_nobody_is_asked_for_one() -> None:
    hour = Hour()
    hour.kiosk.without_cards(True)
    hour.shown(Indication.READY)
    assert hour.face() == Face(Screen.LOOK)
    hour.kiosk.hinted(Hint.CLOSER, hour.now_s)
    assert hour.wait(1.0).face() == Face(Screen.LOOK, hint=Hint.CLOSER)
    hour.wait(HINT_S - 1.0).shown(Indication.READY)
    assert hour.face() == Face(Screen.LOOK), "whoever it was for has gone"
    for reason in ("presentation-attack", "task-not-done", "not-recognised"):
        hour.shown(Indication.LOOK, Indication.REFUSED).told(Kind.DENIED, reason=reason)
        assert hour.face() == Face(Screen.REFUSED, Reason.NOT_RECOGNISED)
    hour.kiosk.without_cards(False)
    hour.wait(REFUSED_S).shown(Indication.READY)
    assert hour.face() == Face(Screen.IDLE)


def test_a_gate_that_is_locked_down_asks_for_nothing() -> None:
    hour = Hour()
    hour.kiosk.locked_down(True)
    assert hour.shown(Indication.READY).face() == Face(Screen.CLOSED)
    hour.shown(Indication.READING, Indication.REFUSED).told(Kind.DENIED, reason="locked-down")
    assert hour.face() == Face(Screen.REFUSED, Reason.LOCKED_DOWN)
    hour.kiosk.without_cards(True)
    assert hour.wait(REFUSED_S).shown(Indication.READY).face() == Face(Screen.CLOSED)
    hour.kiosk.burning(True)
    assert hour.face() == Face(Screen.FIRE)
    hour.kiosk.burning(False)
    hour.kiosk.locked_down(False)
    assert hour.shown(Indication.READY).face() == Face(Screen.LOOK)


def test_a_lock_down_from_before_the_start_is_asked_for(
    folder: Folder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roll_module, "EVERY_S", 0.05)

    async def story() -> None:
        async with folder.stand(roll=True) as stand:
            await stand.commands.close(True)  # as it is read at a start; the log since then tells nothing of it
            async with asyncio.timeout(45):
                while stand.board.face() != Face(Screen.CLOSED):
                    stand.show(Indication.READY)
                    await asyncio.sleep(0.05)

    run(story())
