"""Every step of the gate's time is an entry: what the collector signed, and what somebody did to the clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

from edge.app.standing import GateStanding, Witness, look_round, time_of_trust, time_told
from edge.app.told import ToldPanel
from edge.audit.entry import Entry, Kind
from edge.devices.clock import BUILT_AT, SystemClock
from edge.devices.follower import Follower
from edge.devices.journal import SqliteJournal
from edge.devices.simulated import SimulatedClock
from edge.settings import Clock
from edge.watch import Watch

ORIGIN = "urn:gate:a:b:c"


class Told:
    """What the collector signed, one moment after the other."""

    def __init__(self, *moments: datetime) -> None:
        self._moments = list(moments)
        self.asked = 0

    def signed_at(self, epoch: int) -> datetime | None:
        self.asked += 1
        return self._moments.pop(0) if self._moments else None


class Quiet:
    """Parts of a gate that have nothing to do here."""

    trustfile: Any = None
    detail = ""
    signed_at: datetime | None = None

    def __init__(self) -> None:
        self.trustfile = self
        self.said: list[str] = []

    def trust(self) -> None:
        return None

    def look(self) -> None:
        pass

    def reload(self) -> bool:
        return False

    def lost(self, device: str, message: str) -> None:
        self.said.append(f"{device}: {message}")

    def back(self, device: str) -> None:
        self.said.append(f"{device}: back")

    def conditions(self) -> dict[str, tuple[bool, str]]:
        return {said.partition(":")[0]: (said.endswith("back"), "") for said in self.said}

    def tell(self) -> None:
        pass


class House:
    """A journal and a clock that anybody may set."""

    def __init__(self, folder: Path) -> None:
        self.wall, self.stopwatch = BUILT_AT + timedelta(days=100), 0.0
        self.clock = SystemClock(
            Clock("system", 5.0), folder / "floor", wall=lambda: self.wall.timestamp(), stopwatch=lambda: self.stopwatch
        )
        self.journal = SqliteJournal.open(folder / "journal.db", ORIGIN, "c", self.clock)
        self._log = Follower(folder / "journal.db", 0.02)

    def steps(self) -> list[Entry]:
        return [entry for entry in self._log.entries(0, self._log.size()) if entry.kind is Kind.CLOCK_STEP]

    def close(self) -> None:
        self._log.close()
        self.journal.close()


def lived(folder: Path, story: Callable[[House], Coroutine[Any, Any, None]]) -> None:
    house = House(folder)
    try:
        asyncio.run(story(house))
    finally:
        house.close()


def test_a_time_that_the_collector_signed_is_an_entry_when_it_is_a_step(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        ahead = house.wall + timedelta(days=3)
        told = cast(Witness, Told(house.wall + timedelta(seconds=30), ahead, ahead - timedelta(days=1)))
        for _ in range(4):
            await time_told(told, house.clock, house.journal, cast(Watch, Quiet()))
        (step,) = house.steps()
        assert step.fields["by"] == "collector"
        assert step.fields["floor"] == int(ahead.timestamp())
        assert house.clock.now().lower >= ahead

    lived(tmp_path, story)


def test_a_collector_whose_clock_is_years_ahead_moves_no_gate_s_time(tmp_path: Path) -> None:
    """Else one acknowledgement would let no card in for years, through every restart."""

    async def story(house: House) -> None:
        quiet: Any = Quiet()
        before = house.clock.now()
        told = cast(Witness, Told(house.wall + timedelta(days=5 * 365), house.wall + timedelta(minutes=2)))
        await time_told(told, house.clock, house.journal, cast(Watch, quiet))
        assert house.clock.now() == before
        (said,) = quiet.said
        assert said.startswith("clock: the collector says 2032")
        assert "edge audit anew --time" in said
        await time_told(told, house.clock, house.journal, cast(Watch, quiet))
        assert quiet.said[1:] == ["clock: back"]
        assert [step.fields["seconds"] for step in house.steps()] == [125]

    lived(tmp_path, story)


def test_a_clock_that_somebody_sets_is_an_entry(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        quiet: Any = Quiet()
        parts = cast(GateStanding, quiet), house.clock, house.journal, cast(Watch, quiet), cast(ToldPanel, quiet)
        told = Told()
        looking = asyncio.create_task(look_round(*parts, cast(Witness, told)))

        async def rounds(count: int) -> None:
            while told.asked < count:  # noqa: ASYNC110 -- a round has no event
                await asyncio.sleep(0.01)

        try:
            async with asyncio.timeout(60):
                await rounds(2)
                assert house.steps() == []
                house.wall -= timedelta(hours=2)
                await rounds(told.asked + 3)
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
        (step,) = house.steps()
        assert step.fields["seconds"] == -7200

    lived(tmp_path, story)


def test_a_gate_from_the_storeroom_says_that_its_trust_is_from_much_later(tmp_path: Path) -> None:
    """It stays in the past, and lets cards in that ended since: nobody learns of it otherwise."""

    async def story(house: House) -> None:
        house.wall = BUILT_AT  # a clock without a battery
        quiet: Any = Quiet()
        here, clock = cast(GateStanding, quiet), house.clock
        time_of_trust(here, clock, quiet)
        assert quiet.said == []
        quiet.signed_at = BUILT_AT + timedelta(days=420)
        for _ in range(2):
            time_of_trust(here, clock, quiet)
        assert {said[:36] for said in quiet.said} == {"trust-time: trust says 2028-01-16, w"}
        assert "edge audit anew --time" in quiet.said[0]
        assert clock.now().lower < BUILT_AT + timedelta(days=1)
        house.wall = quiet.signed_at + timedelta(days=1)  # the site vouches for the clock that was set
        time_of_trust(here, clock, quiet)
        assert quiet.said[2:] == ["trust-time: back"]
        assert clock.now().lower >= quiet.signed_at

    lived(tmp_path, story)


def test_what_takes_the_gate_out_of_service_is_not_when_its_trust_is_from_much_later(tmp_path: Path) -> None:
    watch = Watch(cast(SqliteJournal, None), SimulatedClock())
    watch.lost("trust-time", "far ahead")
    assert watch.out_of_service() == ""
