"""A dispenser that jams: what comes loose later is the portion of whose it was, and of nobody a second time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest

from edge.audit.entry import Entry, Event, Kind, Quality
from edge.benefit import Benefit
from edge.devices.simulated import SimulatedClock, SimulatedJournal, SimulatedPanel
from edge.doorway import Doorway
from edge.errors import DeviceError
from edge.passage import DISPENSER, Sensed
from edge.policy.ledger import Ledger
from edge.ports import Receipt
from edge.trust.cycles import Cycle

Run = Callable[[Coroutine[Any, Any, Any]], Any]
CYCLE = Cycle("rice", "2026-11", 1, 1, datetime(2027, 1, 1, tzinfo=UTC))
MARK = b"m" * 16
HELD_S = 15.0


class Machine:
    """What falls, counted where the dispenser has a count; it is the doorway's lock and sensors."""

    def __init__(self, counts: bool) -> None:
        self.fallen, self._counts = 0, counts

    def counted(self) -> int | None:
        return self.fallen if self._counts else None

    def unlock(self, receipt: Receipt) -> None:
        assert receipt.kind is Kind.GRANTED

    def lock(self) -> None:
        pass

    def unlock_exit(self, receipt: Receipt) -> None:
        raise AssertionError("there is no second door")

    lock_exit = free_exit = lock

    async def sensed(self) -> AsyncIterator[Sensed]:
        await asyncio.Event().wait()
        yield Sensed.FAULT


class Point:
    """A benefit point from its start to its end; the log and the dispenser outlive it."""

    def __init__(self, machine: Machine, journal: SimulatedJournal) -> None:
        self.machine, self.journal, self.reads = machine, journal, 0
        parts = (machine, SimulatedPanel(), machine, journal, SimulatedClock())
        self.door = Doorway(*parts, release_s=5.0, held_s=HELD_S, plan=DISPENSER)
        self.benefit = Benefit(journal, machine, self.door, self._read, settle_s=HELD_S)

    def _read(self) -> Ledger:
        self.reads += 1
        told = enumerate(self.journal.events)
        return Ledger(Entry(n, 1, 0, Quality.SYNCED, 0, 1, e.kind, "point", e.fields) for n, e in told)

    def falls(self) -> None:
        self.machine.fallen += 1
        self.door.happened(Sensed.PORTION)

    async def visit(self, meanwhile: Callable[[], Awaitable[None]]) -> Kind:
        grant = await self.journal.append(Event(Kind.GRANTED))
        handing = asyncio.ensure_future(self.benefit.hand_out(grant, MARK, CYCLE))
        await asyncio.sleep(0.1)
        await meanwhile()
        return await handing

    async def due(self) -> str:
        return (await self.benefit.ledger()).benefit(MARK)


@pytest.mark.parametrize("counts", [False, True], ids=["without a count", "with a count"])
def test_a_portion_that_comes_loose_long_after_the_jam_is_given_once(counts: bool, hours: Run) -> None:
    async def story() -> None:
        point = Point(Machine(counts), SimulatedJournal())
        await point.benefit.opened(CYCLE)

        async def jams_and_is_cleared() -> None:
            point.door.happened(Sensed.FAULT)
            await asyncio.sleep(600)
            point.falls()
            point.door.happened(Sensed.FAULT_OVER)

        assert await point.visit(jams_and_is_cleared) is Kind.TAKEN
        assert await point.due() == "received"
        assert [e.kind for e in point.journal.events if e.kind is Kind.RELEASE] == []

    hours(story())


def test_a_portion_that_comes_loose_only_after_the_jam_was_cleared_is_given_once(hours: Run) -> None:
    async def story() -> None:
        point = Point(Machine(counts=False), SimulatedJournal())
        await point.benefit.opened(CYCLE)

        async def falls_late() -> None:
            point.door.happened(Sensed.FAULT)
            await asyncio.sleep(600)
            point.door.happened(Sensed.FAULT_OVER)
            await asyncio.sleep(HELD_S - 1)
            point.falls()

        assert await point.visit(falls_late) is Kind.TAKEN
        assert await point.due() == "received"

    hours(story())


def test_what_was_taken_out_while_the_jam_was_cleared_is_still_due(hours: Run) -> None:
    async def story() -> None:
        point = Point(Machine(counts=True), SimulatedJournal())
        await point.benefit.opened(CYCLE)

        async def is_cleared() -> None:
            for sensed in (Sensed.FAULT, Sensed.DOOR_OPEN, Sensed.FAULT_OVER, Sensed.DOOR_CLOSED):
                point.door.happened(sensed)
                await asyncio.sleep(60)

        assert await point.visit(is_cleared) is Kind.NOT_TAKEN
        assert await point.due() == "free"

        async def gives() -> None:
            point.falls()

        assert await point.visit(gives) is Kind.TAKEN
        assert point.machine.fallen == 1

    hours(story())


@pytest.mark.parametrize("amiss", [Sensed.FAULT, Sensed.DOOR_OPEN])
def test_a_visit_that_a_power_cut_ended_in_a_jam_is_finished_when_the_jam_is_cleared(amiss: Sensed, hours: Run) -> None:
    async def story() -> None:
        before = Point(Machine(counts=True), SimulatedJournal())
        await before.benefit.opened(CYCLE)

        async def jams() -> None:
            before.door.happened(amiss)

        cut = asyncio.ensure_future(before.visit(jams))
        await asyncio.sleep(1)
        cut.cancel()
        await asyncio.gather(cut, return_exceptions=True)

        point = Point(before.machine, before.journal)
        asked = asyncio.ensure_future(point.due())
        await asyncio.sleep(1)
        point.door.happened(amiss)  # the sensors tell it a little later
        with pytest.raises(DeviceError, match="when the dispenser is mended"):
            await asked
        for _ in range(3):
            with pytest.raises(DeviceError, match="when the dispenser is mended"):
                await point.due()
        assert point.reads == 1, "a whole log is not read again for every card that is shown in a jam"
        point.falls()
        point.door.happened({Sensed.FAULT: Sensed.FAULT_OVER, Sensed.DOOR_OPEN: Sensed.DOOR_CLOSED}[amiss])
        assert await point.due() == "received"
        assert [e.kind for e in point.journal.events][-1] is Kind.COMMIT

    hours(story())
