"""The passage at work on mock pins: what the relay does, and what is written down."""

from __future__ import annotations

import asyncio
import time
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
            began = time.monotonic()
            assert await passing is Kind.NOT_TAKEN
            assert time.monotonic() - began < 1.0
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
