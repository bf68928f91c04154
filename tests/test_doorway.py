"""The passage at work on mock pins: what the relay does, and what is written down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from edge.audit.entry import Event, Kind
from edge.devices.simulated import SimulatedClock, SimulatedGate, SimulatedJournal
from edge.doorway import Doorway
from edge.errors import DeviceError
from edge.passage import DISPENSER, INTERLOCK, TURNSTILE, Happening, Indication, Plan, State
from edge.ports import Receipt
from edge.settings import Gate

Run = Callable[[Coroutine[Any, Any, Any]], Any]
GRANT = SimulatedJournal().written(Event(Kind.GRANTED))


@pytest.fixture
def run(hours: Run) -> Run:
    """Releases and people take seconds, and no machine is too slow for them."""
    return hours


def doorway(
    gate: SimulatedGate,
    journal: SimulatedJournal,
    plan: Plan = TURNSTILE,
    *,
    release_s: float = 1.0,
    held_s: float = 1.0,
) -> Doorway:
    return Doorway(gate, gate, gate, journal, SimulatedClock(), release_s=release_s, held_s=held_s, plan=plan)


async def granted(journal: SimulatedJournal) -> Receipt:
    return await journal.append(Event(Kind.GRANTED))


async def beside(door: Doorway, story: Coroutine[Any, Any, Any]) -> Any:
    task = asyncio.ensure_future(door.run())
    try:
        return await story
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    ("person", "outcome"),
    [("through", Kind.TAKEN), ("turns-back", Kind.NOT_TAKEN), ("stays", Kind.NOT_TAKEN), ("tailgate", Kind.TAKEN)],
)
def test_a_granted_person_is_let_through_and_the_relay_drops(
    pins: Gate, run: Run, tmp_path: Path, person: str, outcome: Kind
) -> None:
    async def story() -> None:
        (tmp_path / "person").write_text(person)
        gate, journal = SimulatedGate(pins, tmp_path), SimulatedJournal()
        door = doorway(gate, journal, release_s=0.5)

        async def visit() -> None:
            assert await door.let_through(GRANT) is outcome
            assert not gate.unlocked
            await asyncio.sleep(1.0 if person == "tailgate" else 0)

        await beside(door, visit())
        assert [e.kind for e in journal.events] == ([Kind.TAILGATE] if person == "tailgate" else [])
        gate.close()

    run(story())


def test_nothing_unlocks_without_a_receipt(pins: Gate, run: Run) -> None:
    async def story() -> None:
        gate = SimulatedGate(pins)
        door = doorway(gate, SimulatedJournal())
        with pytest.raises(RuntimeError):
            door.happened(Happening.GRANTED)
        assert not gate.unlocked
        with pytest.raises(TypeError):
            gate.unlock(None)  # type: ignore[arg-type] # what a careless caller would do
        assert not gate.unlocked
        gate.close()

    run(story())


def test_the_gate_is_locked_when_the_part_is_cancelled(pins: Gate, run: Run, tmp_path: Path) -> None:
    async def story() -> None:
        (tmp_path / "person").write_text("stays")
        gate = SimulatedGate(pins, tmp_path)
        door = doorway(gate, SimulatedJournal(), release_s=60)
        running = asyncio.ensure_future(door.run())
        passing = asyncio.ensure_future(door.let_through(GRANT))
        await asyncio.sleep(0.05)
        states = [gate.unlocked]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        states.append(gate.unlocked)
        assert states == [True, False]
        assert await passing is Kind.NOT_TAKEN
        gate.close()

    run(story())


@pytest.mark.parametrize(
    ("pin", "kind"),
    [("door_pin", Kind.DOOR_FORCED), ("fire_pin", Kind.FIRE), ("tamper_pin", Kind.TAMPER)],
)
def test_a_cut_wire_is_reported_and_opens_nothing(pins: Gate, run: Run, pin: str, kind: Kind) -> None:
    async def story() -> None:
        gate, journal = SimulatedGate(pins), SimulatedJournal()
        door = doorway(gate, journal)

        async def cut() -> None:
            await asyncio.sleep(0.05)
            gate.sense(getattr(pins, pin), broken=True)
            await asyncio.sleep(0.05)

        await beside(door, cut())
        assert [e.kind for e in journal.events] == [kind]
        assert not gate.unlocked
        gate.close()

    run(story())


def test_a_report_waits_for_a_full_disk(pins: Gate, run: Run) -> None:
    async def story() -> None:
        gate, journal = SimulatedGate(pins), SimulatedJournal()
        journal.fault = "disk full"
        door = doorway(gate, journal)

        async def cut() -> None:
            gate.sense(pins.tamper_pin, broken=True)
            await asyncio.sleep(0.1)
            assert journal.events == []
            journal.fault = ""
            await asyncio.sleep(1.2)
            assert [e.kind for e in journal.events] == [Kind.TAMPER]

        await beside(door, cut())
        gate.close()

    run(story())


def test_somebody_standing_in_the_gate_is_held_and_then_locked(pins: Gate, run: Run, tmp_path: Path) -> None:
    async def story() -> None:
        (tmp_path / "person").write_text("stays")
        gate, journal = SimulatedGate(pins, tmp_path), SimulatedJournal()
        door = doorway(gate, journal, release_s=0.2, held_s=0.3)

        async def stand() -> None:
            passing = asyncio.ensure_future(door.let_through(GRANT))
            await asyncio.sleep(0.05)
            gate.sense(pins.beam_1_pin, broken=True)
            began = asyncio.get_running_loop().time()
            assert await passing is Kind.NOT_TAKEN
            assert asyncio.get_running_loop().time() - began < 1.0
            assert not gate.unlocked
            await asyncio.sleep(0.05)

        await beside(door, stand())
        assert Kind.DOOR_HELD in [e.kind for e in journal.events]
        assert (tmp_path / "panel").read_text().strip() == Indication.ALARM.value
        gate.close()

    run(story())


def test_the_state_is_locked_before_anybody_comes(pins: Gate, run: Run) -> None:
    async def story() -> None:
        gate = SimulatedGate(pins)
        assert doorway(gate, SimulatedJournal()).state is State.LOCKED
        assert not gate.unlocked
        gate.close()

    run(story())


def test_a_relay_that_does_not_drop_ends_the_part_instead_of_being_left_alone(
    pins: Gate, run: Run, tmp_path: Path
) -> None:
    async def story() -> None:
        (tmp_path / "person").write_text("stays")
        gate = SimulatedGate(pins, tmp_path)
        door = doorway(gate, SimulatedJournal(), release_s=0.1)
        drop, tried = gate.lock, list[str]()

        def stuck() -> None:
            if not tried:
                tried.append("timer")
                raise DeviceError("gate", "GPIO: no answer")
            drop()

        gate.lock = stuck  # type: ignore[method-assign] # a relay that fails once
        running = asyncio.ensure_future(door.run())
        passing = asyncio.ensure_future(door.let_through(GRANT))
        with pytest.raises(ExceptionGroup) as failed:
            await running
        assert failed.group_contains(DeviceError)
        assert not gate.unlocked, "the way out locks"
        passing.cancel()
        await asyncio.gather(passing, return_exceptions=True)
        gate.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asyncio.base_events.logger.error", lambda *_, **__: None)
        run(story())


def test_a_timer_that_was_stopped_locks_nobody_out(pins: Gate, run: Run, tmp_path: Path) -> None:
    async def story() -> None:
        gate = SimulatedGate(pins, tmp_path)
        door = doorway(gate, SimulatedJournal(), release_s=0.6)

        async def two_in_a_row() -> None:
            assert await door.let_through(GRANT) is Kind.TAKEN
            await door.clear()
            (tmp_path / "person").write_text("stays")
            second = asyncio.ensure_future(door.let_through(GRANT))
            await asyncio.sleep(0.4)  # the first one's time is over by now
            assert gate.unlocked
            assert await second is Kind.NOT_TAKEN

        await beside(door, two_in_a_row())
        gate.close()

    run(story())


def test_a_forced_door_is_an_alarm_until_it_is_closed(pins: Gate, run: Run) -> None:
    async def story() -> None:
        gate = SimulatedGate(pins)
        door = doorway(gate, SimulatedJournal())

        async def force() -> None:
            gate.sense(pins.door_pin, broken=True)
            for broken in (True, False):
                gate.sense(pins.beam_1_pin, broken=broken)
            await asyncio.sleep(0.05)
            states = [door.state]
            gate.sense(pins.door_pin, broken=False)
            await asyncio.sleep(0.05)
            states.append(door.state)
            assert states == [State.DOOR_FORCED, State.LOCKED]

        await beside(door, force())
        gate.close()

    run(story())


def test_a_door_that_is_left_open_after_a_passage_is_reported(pins: Gate, run: Run, tmp_path: Path) -> None:
    async def story() -> None:
        gate, journal = SimulatedGate(pins, tmp_path), SimulatedJournal()
        door = doorway(gate, journal, held_s=0.5)

        async def leave_open() -> None:
            passing = asyncio.ensure_future(door.let_through(GRANT))
            await asyncio.sleep(0.05)
            gate.sense(pins.door_pin, broken=True)
            assert await passing is Kind.TAKEN
            await door.clear()
            await asyncio.sleep(0.8)
            assert [event.kind for event in journal.events] == [Kind.DOOR_HELD]
            assert door.state is State.DOOR_FORCED

        await beside(door, leave_open())
        gate.close()

    run(story())


def kind_of_passage(pins: Gate, passage: Literal["turnstile", "dispenser", "interlock"]) -> Gate:
    return replace(pins, passage=passage, exit_pin=27, exit_door_pin=6, portion_pin=12, fault_pin=13)


@pytest.mark.parametrize(
    ("person", "outcome", "reported"),
    [
        ("through", Kind.TAKEN, []),
        ("turns-back", Kind.NOT_TAKEN, []),
        ("two-inside", Kind.NOT_TAKEN, [Kind.TAILGATE]),
        ("stays", Kind.NOT_TAKEN, []),
        ("stays-inside", Kind.NOT_TAKEN, []),
    ],
)
def test_two_doors_let_one_person_through_one_after_the_other(
    pins: Gate, run: Run, tmp_path: Path, person: str, outcome: Kind, reported: list[Kind]
) -> None:
    async def story() -> None:
        (tmp_path / "person").write_text(person)
        gate, journal = SimulatedGate(kind_of_passage(pins, "interlock"), tmp_path), SimulatedJournal()
        door = doorway(gate, journal, INTERLOCK, held_s=5.0)
        both = False

        async def look() -> None:
            nonlocal both
            while True:
                both |= gate.unlocked and gate.exit_unlocked
                await asyncio.sleep(0.005)

        async def visit() -> None:
            looking = asyncio.ensure_future(look())
            assert await door.let_through(await granted(journal)) is outcome
            looking.cancel()
            assert not gate.unlocked
            assert not gate.exit_unlocked
            assert not both
            await asyncio.sleep(0.05)  # the report is queued behind

        await beside(door, visit())
        assert [e.kind for e in journal.events if e.kind is not Kind.GRANTED] == reported
        gate.close()

    run(story())


@pytest.mark.parametrize(
    ("dispenser", "outcome", "came", "reported"),
    [
        ("gives", Kind.TAKEN, 3, []),
        ("jams", Kind.NOT_TAKEN, 0, [Kind.DISPENSER_FAULT]),
        ("empty", Kind.NOT_TAKEN, 0, []),
        ("late", Kind.NOT_TAKEN, 1, []),
    ],
)
def test_a_dispenser_gives_out_as_many_portions_as_were_granted(
    pins: Gate, run: Run, tmp_path: Path, dispenser: str, outcome: Kind, came: int, reported: list[Kind]
) -> None:
    async def story() -> None:
        (tmp_path / "person").write_text(dispenser)
        gate, journal = SimulatedGate(kind_of_passage(pins, "dispenser"), tmp_path), SimulatedJournal()
        door = doorway(gate, journal, DISPENSER, held_s=0.5)

        async def visit() -> None:
            assert await door.let_through(await granted(journal), portions=3) is outcome
            assert door.dispensed == came
            assert not gate.unlocked
            await asyncio.sleep(0.05)  # the report is queued behind

        await beside(door, visit())
        assert [e.kind for e in journal.events if e.kind is not Kind.GRANTED] == reported
        gate.close()

    run(story())


def test_a_fire_frees_the_second_door_at_once_although_the_disk_is_full(pins: Gate, run: Run, tmp_path: Path) -> None:
    async def story() -> None:
        wired = kind_of_passage(pins, "interlock")
        gate, journal = SimulatedGate(wired, tmp_path), SimulatedJournal()
        journal.fault = "disk full"
        door = doorway(gate, journal, INTERLOCK)

        async def burn() -> None:
            await asyncio.sleep(0.05)
            gate.sense(wired.fire_pin, broken=True)
            await asyncio.sleep(0.1)
            assert gate.exit_unlocked
            assert not gate.unlocked
            gate.sense(wired.fire_pin, broken=False)
            await asyncio.sleep(0.1)
            assert not gate.exit_unlocked

        await beside(door, burn())
        gate.close()

    run(story())


@pytest.mark.parametrize(
    ("passage", "plan"), [("turnstile", TURNSTILE), ("interlock", INTERLOCK), ("dispenser", DISPENSER)]
)
def test_a_lock_down_ends_a_release_that_nobody_used_and_opens_nothing_until_it_is_lifted(
    passage: Literal["turnstile", "dispenser", "interlock"], plan: Plan, pins: Gate, run: Run, tmp_path: Path
) -> None:
    async def story() -> None:
        (tmp_path / "person").write_text("empty" if plan is DISPENSER else "stays")
        gate = SimulatedGate(kind_of_passage(pins, passage), tmp_path)
        door = doorway(gate, SimulatedJournal(), plan, release_s=60, held_s=0.2)

        async def close() -> None:
            passing, waiting = (asyncio.ensure_future(door.let_through(GRANT)) for _ in range(2))
            await asyncio.sleep(0.05)
            opened = gate.unlocked
            door.shut(True)
            assert (opened, gate.unlocked) == (True, False)  # in the same moment
            assert [await asyncio.wait_for(one, 2) for one in (passing, waiting)] == [Kind.NOT_TAKEN] * 2
            assert gate.unlocks == 1
            door.shut(False)
            again = asyncio.ensure_future(door.let_through(GRANT))
            await asyncio.sleep(0.05)
            assert gate.unlocked
            door.shut(True)
            assert await asyncio.wait_for(again, 2) is Kind.NOT_TAKEN

        await beside(door, close())
        gate.close()

    run(story())


def test_a_lock_down_keeps_the_second_door_shut_for_who_is_between_the_doors(
    pins: Gate, run: Run, tmp_path: Path
) -> None:
    async def story() -> None:
        (tmp_path / "person").write_text("stays")
        wired = kind_of_passage(pins, "interlock")
        gate = SimulatedGate(wired, tmp_path)
        door = doorway(gate, SimulatedJournal(), INTERLOCK, release_s=0.3, held_s=60)

        async def close() -> None:
            passing = asyncio.ensure_future(door.let_through(GRANT))
            await asyncio.sleep(0.05)
            for pin in (wired.door_pin, wired.beam_1_pin, wired.beam_2_pin):
                gate.sense(pin, broken=True)
                await asyncio.sleep(0.05)
            gate.sense(wired.beam_1_pin, broken=False)
            await asyncio.sleep(0.05)
            inside = door.state
            door.shut(True)
            gate.sense(wired.door_pin, broken=False)
            await asyncio.sleep(0.05)
            assert (inside, door.state, gate.exit_unlocked) == (State.INSIDE, State.EXIT_RELEASED, False)
            assert await asyncio.wait_for(passing, 5) is Kind.NOT_TAKEN

        await beside(door, close())
        gate.close()

    run(story())


def test_a_lock_down_leaves_whoever_is_in_the_turnstile_to_finish(pins: Gate, run: Run, tmp_path: Path) -> None:
    async def story() -> None:
        (tmp_path / "person").write_text("stays")
        gate = SimulatedGate(pins, tmp_path)
        door = doorway(gate, SimulatedJournal(), release_s=60)

        async def close() -> None:
            passing = asyncio.ensure_future(door.let_through(GRANT))
            await asyncio.sleep(0.05)
            gate.sense(pins.beam_1_pin, broken=True)
            await asyncio.sleep(0.05)
            door.shut(True)
            assert gate.unlocked
            gate.sense(pins.beam_2_pin, broken=True)
            assert await asyncio.wait_for(passing, 2) is Kind.TAKEN
            assert not gate.unlocked

        await beside(door, close())
        gate.close()

    run(story())


def test_nobody_who_waited_is_let_in_after_the_end(pins: Gate, run: Run, tmp_path: Path) -> None:
    """An operator's order that waits behind a visit must not open while the process ends."""

    async def story() -> None:
        (tmp_path / "person").write_text("stays")
        gate = SimulatedGate(pins, tmp_path)
        door = doorway(gate, SimulatedJournal(), release_s=60)
        running = asyncio.ensure_future(door.run())
        first, second = (asyncio.ensure_future(door.let_through(GRANT)) for _ in range(2))
        await asyncio.sleep(0.05)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert [await first, await asyncio.wait_for(second, 1)] == [Kind.NOT_TAKEN, Kind.NOT_TAKEN]
        assert not gate.unlocked
        assert gate.unlocks == 1
        gate.close()

    run(story())


def reported(journal: SimulatedJournal) -> list[tuple[Kind, object]]:
    """What was written down beside grants, and to which visit it belongs."""
    return [(e.kind, e.fields.get("visit")) for e in journal.events if e.kind is not Kind.GRANTED]


@pytest.mark.parametrize(
    ("amiss", "kind"), [("fault_pin", Kind.DISPENSER_FAULT), ("door_pin", Kind.DOOR_FORCED)], ids=["jam", "cabinet"]
)
def test_a_portion_that_falls_after_a_jam_is_counted_and_one_after_the_visit_is_reported(
    pins: Gate, run: Run, tmp_path: Path, amiss: str, kind: Kind
) -> None:
    async def story() -> None:
        (tmp_path / "person").write_text("empty")
        wired = kind_of_passage(pins, "dispenser")
        gate, journal = SimulatedGate(wired, tmp_path), SimulatedJournal()
        door = doorway(gate, journal, DISPENSER, release_s=60, held_s=0.5)

        async def falls() -> None:
            for broken in (False, True):
                gate.sense(wired.portion_pin, broken=broken)
                await asyncio.sleep(0.05)

        async def jam() -> None:
            passing = asyncio.ensure_future(door.let_through(await granted(journal), portions=3))
            await asyncio.sleep(0.05)
            gate.sense(getattr(wired, amiss), broken=True)
            await asyncio.sleep(0.05)
            assert not gate.unlocked
            assert door.alarmed
            await asyncio.sleep(2.0)  # much more than the held time: somebody comes to mend it
            await falls()
            assert not passing.done()
            gate.sense(getattr(wired, amiss), broken=False)
            await asyncio.sleep(0.05)
            assert (tmp_path / "panel").read_text().strip() == Indication.WELCOME.value, "it is still their visit"
            assert await passing is Kind.NOT_TAKEN
            assert door.dispensed == 1
            await falls()
            await asyncio.sleep(0.05)
            assert door.alarmed

        await beside(door, jam())
        assert reported(journal) == [(kind, 0), (Kind.PORTION_UNGRANTED, None)]
        gate.close()

    run(story())


def test_at_the_end_of_service_nobody_says_that_a_benefit_was_not_taken(pins: Gate, run: Run, tmp_path: Path) -> None:
    async def story() -> None:
        (tmp_path / "person").write_text("empty")
        gate = SimulatedGate(kind_of_passage(pins, "dispenser"), tmp_path)
        door = doorway(gate, SimulatedJournal(), DISPENSER, release_s=60)
        running = asyncio.ensure_future(door.run())
        passing = asyncio.ensure_future(door.let_through(GRANT))
        await asyncio.sleep(0.05)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert not gate.unlocked
        with pytest.raises(DeviceError, match="before everything had fallen"):
            await passing
        gate.close()

    run(story())


def test_what_came_for_the_person_before_is_not_this_one_s(pins: Gate, run: Run, tmp_path: Path) -> None:
    async def story() -> None:
        gate = SimulatedGate(kind_of_passage(pins, "dispenser"), tmp_path)
        door = doorway(gate, SimulatedJournal(), DISPENSER)

        async def two() -> None:
            assert await door.let_through(GRANT) is Kind.TAKEN
            assert door.dispensed == 1
            door.shut(True)
            assert await door.let_through(GRANT) is Kind.NOT_TAKEN
            assert door.dispensed == 0

        await beside(door, two())
        gate.close()

    run(story())


def test_who_needs_longer_has_it_to_come_and_to_go_through(pins: Gate, run: Run, tmp_path: Path) -> None:
    async def story() -> None:
        (tmp_path / "person").write_text("stays")
        gate, journal = SimulatedGate(pins, tmp_path), SimulatedJournal()
        door = doorway(gate, journal, release_s=0.15, held_s=0.15)

        async def slowly() -> None:
            passing = asyncio.ensure_future(door.let_through(GRANT, longer_s=0.5))
            await asyncio.sleep(0.4)
            assert gate.unlocked, "comes late"
            gate.sense(pins.beam_1_pin, broken=True)
            await asyncio.sleep(0.6)
            assert gate.unlocked, "goes slowly"
            gate.sense(pins.beam_2_pin, broken=True)
            assert await passing is Kind.TAKEN
            for pin in (pins.beam_1_pin, pins.beam_2_pin):
                gate.sense(pin, broken=False)
            await door.clear()
            began = asyncio.get_running_loop().time()
            assert await door.let_through(GRANT) is Kind.NOT_TAKEN
            assert asyncio.get_running_loop().time() - began < 0.5, "the next one has as long as anybody"

        await beside(door, slowly())
        assert journal.events == []
        gate.close()

    run(story())


def test_between_two_doors_too_who_needs_longer_has_it(pins: Gate, run: Run, tmp_path: Path) -> None:
    async def story() -> None:
        (tmp_path / "person").write_text("stays")
        wired = kind_of_passage(pins, "interlock")
        gate, journal = SimulatedGate(wired, tmp_path), SimulatedJournal()
        door = doorway(gate, journal, INTERLOCK, release_s=0.2, held_s=0.2)

        async def slowly() -> None:
            passing = asyncio.ensure_future(door.let_through(GRANT, longer_s=0.6))
            await asyncio.sleep(0.05)
            for pin, broken in ((wired.door_pin, True), (wired.beam_1_pin, True), (wired.beam_2_pin, True)):
                gate.sense(pin, broken=broken)
                await asyncio.sleep(0.15)
            (tmp_path / "person").write_text("stays-inside")
            gate.sense(wired.beam_1_pin, broken=False)
            gate.sense(wired.door_pin, broken=False)
            await asyncio.sleep(0.4)
            assert gate.exit_unlocked
            gate.sense(wired.exit_door_pin, broken=True)
            await asyncio.sleep(0.4)
            gate.sense(wired.beam_2_pin, broken=False)
            assert await asyncio.wait_for(passing, 2) is Kind.TAKEN

        await beside(door, slowly())
        assert journal.events == []
        gate.close()

    run(story())


def test_an_exit_request_keeps_a_door_from_looking_like_an_intrusion_for_as_long_as_a_release(
    pins: Gate, run: Run
) -> None:
    async def story() -> None:
        gate, journal = SimulatedGate(pins), SimulatedJournal()
        door = doorway(gate, journal, release_s=0.3)

        async def leave() -> None:
            for pressed in (False, True):
                gate.sense(pins.exit_request_pin, broken=not pressed)
                await asyncio.sleep(0.05)
            for broken in (True, False):
                gate.sense(pins.door_pin, broken=broken)
                await asyncio.sleep(0.05)
            assert not door.alarmed
            await asyncio.sleep(0.4)
            gate.sense(pins.door_pin, broken=True)
            await asyncio.sleep(0.05)
            assert door.alarmed

        await beside(door, leave())
        assert [e.kind for e in journal.events] == [Kind.EXIT_REQUEST, Kind.DOOR_FORCED]
        gate.close()

    run(story())


def test_an_exit_request_is_over_although_somebody_was_let_in_meanwhile(pins: Gate, run: Run, tmp_path: Path) -> None:
    async def story() -> None:
        gate, journal = SimulatedGate(pins, tmp_path), SimulatedJournal()
        door = doorway(gate, journal, release_s=0.8)

        async def leave() -> None:
            gate.sense(pins.exit_request_pin, broken=False)
            await asyncio.sleep(0.05)
            assert await door.let_through(GRANT) is Kind.TAKEN  # its end stops the timers of the table
            await door.clear()
            await asyncio.sleep(0.9)
            gate.sense(pins.door_pin, broken=True)
            await asyncio.sleep(0.05)
            assert door.alarmed

        await beside(door, leave())
        gate.close()

    run(story())


def test_the_alarm_of_a_tailgate_waits_for_an_empty_lane_and_names_the_visit(
    pins: Gate, run: Run, tmp_path: Path
) -> None:
    async def story() -> None:
        (tmp_path / "person").write_text("stays")
        gate, journal = SimulatedGate(pins, tmp_path), SimulatedJournal()
        door = Doorway(gate, gate, gate, journal, SimulatedClock(), release_s=1, held_s=5, alarm_s=0.2)

        async def close_behind() -> None:
            passing = asyncio.ensure_future(door.let_through(await granted(journal)))
            await asyncio.sleep(0.05)
            for pin, broken in (
                *((pins.beam_1_pin, True), (pins.beam_2_pin, True), (pins.beam_1_pin, False)),
                *((pins.beam_1_pin, True), (pins.beam_2_pin, False), (pins.beam_2_pin, True)),
                (pins.beam_1_pin, False),
            ):
                gate.sense(pin, broken=broken)
                await asyncio.sleep(0.05)
            assert await passing is Kind.TAKEN
            await asyncio.sleep(0.3)
            assert door.alarmed
            gate.sense(pins.beam_2_pin, broken=False)
            await asyncio.sleep(0.1)
            assert door.alarmed, "not at once either"
            await asyncio.wait_for(door.clear(), 1)
            gate.sense(pins.door_pin, broken=True)
            await asyncio.sleep(0.05)

        await beside(door, close_behind())
        assert reported(journal) == [(Kind.TAILGATE, 0), (Kind.DOOR_FORCED, None)]
        gate.close()

    run(story())


def test_whoever_is_granted_while_somebody_is_still_in_the_lane_is_waited_for(
    pins: Gate, run: Run, tmp_path: Path
) -> None:
    async def story() -> None:
        gate = SimulatedGate(pins, tmp_path)
        door = doorway(gate, SimulatedJournal())

        async def two() -> None:
            first = door.let_through(GRANT)
            second = asyncio.ensure_future(asyncio.sleep(0.01, door.let_through(GRANT)))  # an override, say
            assert [await first, await (await second)] == [Kind.TAKEN, Kind.TAKEN]

        await beside(door, two())
        gate.close()

    run(story())


def test_nobody_waits_for_a_lane_that_stays_blocked(pins: Gate, run: Run, tmp_path: Path) -> None:
    async def story() -> None:
        (tmp_path / "person").write_text("stays")
        gate = SimulatedGate(pins, tmp_path)
        door = doorway(gate, SimulatedJournal(), held_s=0.2)

        async def wait() -> None:
            gate.sense(pins.beam_1_pin, broken=True)
            gate.sense(pins.beam_2_pin, broken=True)
            await asyncio.sleep(0.05)
            assert door.alarmed
            assert await asyncio.wait_for(door.let_through(GRANT), 0.5) is Kind.NOT_TAKEN
            assert gate.unlocks == 0

        await beside(door, wait())
        gate.close()

    run(story())


def test_a_second_beam_that_stays_broken_is_an_alarm_and_opens_for_nobody(pins: Gate, run: Run, tmp_path: Path) -> None:
    """A cut wire, a sticker, or an accomplice: behind it nobody would be counted."""

    async def story() -> None:
        (tmp_path / "person").write_text("turns-back")  # what the beams say of whoever goes in
        gate, journal = SimulatedGate(pins, tmp_path), SimulatedJournal()
        door = doorway(gate, journal, held_s=0.5)

        async def blind() -> None:
            gate.sense(pins.beam_2_pin, broken=True)
            await asyncio.sleep(0.05)
            assert await door.let_through(GRANT) is Kind.NOT_TAKEN
            assert door.alarmed
            assert await door.let_through(GRANT) is Kind.NOT_TAKEN
            assert gate.unlocks == 0
            assert (tmp_path / "panel").read_text().strip() == Indication.ALARM.value
            await asyncio.sleep(0.05)

        await beside(door, blind())
        assert reported(journal) == [(Kind.DOOR_HELD, None)]
        gate.close()

    run(story())


def test_who_is_granted_while_somebody_leaves_goes_when_the_lane_is_clear(pins: Gate, run: Run, tmp_path: Path) -> None:
    async def story() -> None:
        gate = SimulatedGate(pins, tmp_path)
        door = doorway(gate, SimulatedJournal())

        async def meet() -> None:
            gate.sense(pins.beam_2_pin, broken=True)
            await asyncio.sleep(0.05)
            passing = asyncio.ensure_future(door.let_through(GRANT))
            for pin, broken in ((pins.beam_1_pin, True), (pins.beam_2_pin, False)):
                await asyncio.sleep(0.05)
                gate.sense(pin, broken=broken)
            await asyncio.sleep(0.05)
            assert not gate.unlocked
            gate.sense(pins.beam_1_pin, broken=False)
            assert await passing is Kind.TAKEN

        await beside(door, meet())
        gate.close()

    run(story())


def test_who_waits_in_the_first_beam_while_somebody_leaves_is_let_in_and_welcomed_then(
    pins: Gate, run: Run, tmp_path: Path
) -> None:
    async def story() -> None:
        (tmp_path / "person").write_text("stays")
        gate = SimulatedGate(pins, tmp_path)
        door = doorway(gate, SimulatedJournal(), release_s=5.0)
        shown: list[tuple[Indication, bool]] = []
        gate.show = lambda indication: shown.append((indication, gate.unlocked))  # type: ignore[method-assign]

        async def meet() -> None:
            gate.sense(pins.beam_2_pin, broken=True)
            await asyncio.sleep(0.05)
            gate.sense(pins.beam_1_pin, broken=True)
            await asyncio.sleep(0.05)
            passing = asyncio.ensure_future(door.let_through(GRANT))
            await asyncio.sleep(0.5)
            gate.sense(pins.beam_2_pin, broken=False)
            await asyncio.sleep(0.9)
            assert not gate.unlocked
            assert not passing.done()
            await asyncio.sleep(0.2)
            gate.sense(pins.beam_1_pin, broken=False)
            gate.sense(pins.beam_2_pin, broken=True)
            assert await passing is Kind.TAKEN

        await beside(door, meet())
        assert shown == [(Indication.WELCOME, True)]
        gate.close()

    run(story())


def test_who_swings_in_the_entry_beam_has_as_long_as_the_release(pins: Gate, run: Run, tmp_path: Path) -> None:
    async def story() -> None:
        (tmp_path / "person").write_text("stays")
        gate, journal = SimulatedGate(pins, tmp_path), SimulatedJournal()
        door = doorway(gate, journal, release_s=1.0)

        async def swing() -> None:
            began = asyncio.get_running_loop().time()
            passing = asyncio.ensure_future(door.let_through(GRANT))
            for broken in (True, False, True, False):
                await asyncio.sleep(0.1)
                gate.sense(pins.beam_1_pin, broken=broken)
            await asyncio.sleep(0.1)
            assert gate.unlocked
            assert await passing is Kind.NOT_TAKEN
            assert asyncio.get_running_loop().time() - began < 1.1, "and no longer"
            assert not gate.unlocked

        await beside(door, swing())
        assert journal.events == []
        gate.close()

    run(story())


def test_who_is_behind_a_locked_exit_is_told_to_step_back(pins: Gate, run: Run, tmp_path: Path) -> None:
    async def story() -> None:
        (tmp_path / "person").write_text("stays-inside")
        wired = kind_of_passage(pins, "interlock")
        gate = SimulatedGate(wired, tmp_path)
        door = doorway(gate, SimulatedJournal(), INTERLOCK, held_s=5.0)

        def told() -> str:
            return (tmp_path / "panel").read_text().strip()

        async def too_slow() -> None:
            gate.show(Indication.WELCOME)
            passing = asyncio.ensure_future(door.let_through(GRANT))
            while not gate.exit_unlocked:  # noqa: ASYNC110 -- a pin has no event
                await asyncio.sleep(0.05)
            assert (told(), door.turned_away) == (Indication.WELCOME.value, False)
            assert await passing is Kind.NOT_TAKEN
            assert (told(), door.turned_away) == (Indication.STEP_BACK.value, True)
            gate.sense(wired.door_pin, broken=True)
            await asyncio.sleep(0.1)
            assert door.turned_away, "on the way out"
            gate.sense(wired.beam_2_pin, broken=False)
            gate.sense(wired.door_pin, broken=False)
            await door.clear()
            assert not door.turned_away

        await beside(door, too_slow())
        gate.close()

    run(story())


def test_whom_the_exit_falls_shut_before_opens_it_again(pins: Gate, run: Run, tmp_path: Path) -> None:
    async def story() -> None:
        (tmp_path / "person").write_text("stays-inside")
        wired = kind_of_passage(pins, "interlock")
        gate, journal = SimulatedGate(wired, tmp_path), SimulatedJournal()
        door = doorway(gate, journal, INTERLOCK, held_s=5.0)

        async def pulls_it_shut() -> None:
            passing = asyncio.ensure_future(door.let_through(GRANT))
            while not gate.exit_unlocked:  # noqa: ASYNC110 -- a pin has no event
                await asyncio.sleep(0.05)
            for broken in (True, False):
                gate.sense(wired.exit_door_pin, broken=broken)
                await asyncio.sleep(0.05)
                assert gate.exit_unlocked != broken
            for pin, broken in ((wired.exit_door_pin, True), (wired.beam_2_pin, False), (wired.exit_door_pin, False)):
                gate.sense(pin, broken=broken)
                await asyncio.sleep(0.05)
            assert await passing is Kind.TAKEN
            assert not gate.exit_unlocked

        await beside(door, pulls_it_shut())
        assert journal.events == []
        gate.close()

    run(story())


@pytest.mark.parametrize("first", ["the doorway", "who waits"])
@pytest.mark.parametrize("came", ["nobody came", "somebody came", "stepped back"])
def test_a_grant_that_nobody_used_when_service_ends_is_known(
    first: str, came: str, pins: Gate, run: Run, tmp_path: Path
) -> None:
    async def story() -> None:
        (tmp_path / "person").write_text("stays")
        gate, journal = SimulatedGate(pins, tmp_path), SimulatedJournal()
        door = doorway(gate, journal, release_s=60)
        receipt = await granted(journal)
        parts = {"the doorway": door.run(), "who waits": door.let_through(receipt)}
        parts = {name: parts[name] for name in sorted(parts, key=lambda name: name != first)}

        async def service() -> None:
            async with asyncio.TaskGroup() as group:
                for part in parts.values():
                    group.create_task(part)

        serving = asyncio.ensure_future(service())
        await asyncio.sleep(0.05)
        gate.sense(pins.beam_1_pin, broken=came != "nobody came")
        gate.sense(pins.beam_1_pin, broken=came == "somebody came")
        await asyncio.sleep(0.05)
        states = [gate.unlocked]
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        states.append(gate.unlocked)
        assert states == [True, False]
        assert door.unused == (None if came == "somebody came" else receipt.index)
        gate.close()

    run(story())


def test_a_grant_whose_outcome_somebody_heard_is_told_once(pins: Gate, run: Run, tmp_path: Path) -> None:
    async def story() -> None:
        (tmp_path / "person").write_text("stays")
        gate = SimulatedGate(pins, tmp_path)
        door = doorway(gate, SimulatedJournal(), release_s=60)
        order = asyncio.ensure_future(door.let_through(GRANT))
        await asyncio.sleep(0.05)
        door.stop()
        assert await order is Kind.NOT_TAKEN
        assert door.unused is None
        gate.close()

    run(story())


def test_an_order_whose_lock_fails_has_an_outcome_and_ends_the_part(pins: Gate, run: Run, tmp_path: Path) -> None:
    """Whoever waits for it may be a task that nobody waits for."""

    async def story() -> None:
        gate = SimulatedGate(pins, tmp_path)
        door = doorway(gate, SimulatedJournal())

        def fails(receipt: Receipt) -> None:
            raise DeviceError("controller", "line gone")

        gate.unlock = fails  # type: ignore[method-assign] # a relay that fails
        running = asyncio.ensure_future(door.run())
        order = asyncio.ensure_future(door.let_through(GRANT))
        with pytest.raises(ExceptionGroup) as failed:
            await running
        assert failed.group_contains(DeviceError, match="line gone")
        assert await order is Kind.NOT_TAKEN
        assert not gate.unlocked
        gate.close()

    run(story())
