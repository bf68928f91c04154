"""Devices that go and come back: said once, written down, and out of service only where it must be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from edge.audit.entry import CRITICAL, Event, Kind
from edge.devices.simulated import SimulatedClock, SimulatedJournal
from edge.watch import FORK_S, KEPT, SETTLE_S, SILENT_S, START_S, Watch

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def house() -> tuple[SimulatedJournal, SimulatedClock, Watch]:
    """A gate that has been at work for a while."""
    journal, clock = SimulatedJournal(), SimulatedClock()
    watch = Watch(journal, clock)
    clock.go(START_S)
    return journal, clock, watch


async def written(watch: Watch) -> None:
    task = asyncio.ensure_future(watch.run())
    await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_a_device_that_goes_and_comes_back_is_two_entries_however_often_it_says_so(run: Run) -> None:
    async def story() -> None:
        journal, clock, watch = house()
        for ok in (True, True, False, False, False):
            watch.heard("token", ok, "" if ok else "pulled out")
            clock.go(1)
        await written(watch)
        assert watch.out_of_service() == ""
        clock.go(SETTLE_S + 1)
        watch.heard("token", True, "")
        await written(watch)
        assert [(e.kind, e.fields["device"]) for e in journal.events] == [
            (Kind.DEVICE_LOST, "token"),
            (Kind.DEVICE_BACK, "token"),
        ]

    run(story())


def test_silence_is_a_device_lost(run: Run) -> None:
    async def story() -> None:
        journal, clock, watch = house()
        watch.heard("camera", True, "")
        clock.go(SILENT_S + 1)
        await written(watch)
        assert "silent" in watch.out_of_service()
        assert [e.kind for e in journal.events] == [Kind.DEVICE_LOST]

    run(story())


def test_only_required_devices_take_the_gate_out_of_service(run: Run) -> None:
    async def story() -> None:
        _, _, watch = house()
        for device in ("token", "broker", "pages"):
            watch.lost(device, "gone")
        assert watch.out_of_service() == ""
        watch.lost("camera", "no frame for 2 s")
        assert watch.out_of_service() == "camera: no frame for 2 s"

    run(story())


@pytest.mark.parametrize("device", ["camera", "models", "journal", "gate", "trust", "ledger", "dispenser"])
def test_nobody_is_invited_to_a_gate_that_would_refuse_everybody(run: Run, device: str) -> None:
    async def story() -> None:
        _, _, watch = house()
        watch.lost(device, "gone")
        assert watch.out_of_service() == f"{device}: gone"
        watch.back(device)
        assert watch.out_of_service() == ""

    run(story())


def test_what_cannot_be_written_now_is_written_when_the_disk_is_back(run: Run) -> None:
    async def story() -> None:
        journal, _, watch = house()
        journal.fault = "disk full"
        watch.lost("camera", "gone")
        await written(watch)
        assert watch.conditions()["journal"] == (False, "disk full")
        journal.fault = ""
        await written(watch)
        await written(watch)
        told = [(e.kind, e.fields["device"]) for e in journal.events]
        assert (Kind.DEVICE_LOST, "camera") in told
        assert (Kind.DEVICE_LOST, "journal") in told
        assert (Kind.DEVICE_BACK, "journal") in told

    run(story())


def test_an_older_word_of_the_process_does_not_undo_what_we_saw(run: Run) -> None:
    async def story() -> None:
        _, clock, watch = house()
        watch.heard("camera", True, "")
        watch.lost("camera", "edge-vision does not answer")
        watch.heard("camera", True, "")
        assert watch.out_of_service()
        clock.go(SETTLE_S + 1)
        watch.heard("camera", True, "")
        assert not watch.out_of_service()

    run(story())


def test_a_device_that_comes_up_with_the_gate_was_never_lost(run: Run) -> None:
    async def story() -> None:
        journal, clock = SimulatedJournal(), SimulatedClock()
        watch = Watch(journal, clock)
        watch.lost("camera", "edge-vision does not answer")
        assert watch.out_of_service()
        clock.go(SETTLE_S)
        watch.heard("camera", True, "")
        await written(watch)
        assert not watch.out_of_service()
        assert journal.events == []

    run(story())


def test_a_device_that_never_comes_up_is_lost(run: Run) -> None:
    async def story() -> None:
        journal, clock = SimulatedJournal(), SimulatedClock()
        watch = Watch(journal, clock)
        watch.lost("camera", "edge-vision does not answer")
        await written(watch)
        assert journal.events == []
        clock.go(START_S)
        await written(watch)
        assert [e.kind for e in journal.events] == [Kind.DEVICE_LOST]

    run(story())


def test_a_process_in_other_hands_cannot_fill_the_log(run: Run) -> None:
    async def story() -> None:
        journal, _, watch = house()
        for number in range(5000):
            watch.heard(f"made-up-{number}", False, "x")
            watch.heard("token", number % 2 == 0, "x")
        await written(watch)
        assert len(journal.events) <= 1
        assert set(watch.conditions()) <= {"token"}

    run(story())


def test_what_another_process_says_cannot_forge_a_line(run: Run) -> None:
    async def story() -> None:
        journal, clock, watch = house()
        watch.heard("token", True, "")
        clock.go(2)
        watch.heard("token", False, "gone\nedge-gate INFO edge.visit: outcome=granted")
        await written(watch)
        assert "\n" not in str(journal.events[0].fields["detail"])

    run(story())


def test_what_is_too_much_to_keep_is_counted(run: Run) -> None:
    async def story() -> None:
        journal, _, watch = house()
        journal.fault = "disk full"
        for _ in range(KEPT + 7):
            watch.later(Event(Kind.TAMPER))
        await written(watch)
        journal.fault = ""
        await written(watch)
        await written(watch)
        counted = [event.fields["count"] for event in journal.events if event.kind is Kind.DROPPED]
        assert sum(int(str(count)) for count in counted) + KEPT >= KEPT + 7

    run(story())


def test_a_fork_is_an_entry_of_its_own_even_where_the_neighbours_were_not_heard_before(run: Run) -> None:
    """Whoever keeps the neighbours away first hides nothing by that."""

    async def story() -> None:
        journal, clock, watch = house()
        watch.heard("witnesses", False, "1 of 2 neighbours cosign")
        for _ in range(5):
            clock.go(FORK_S)
            watch.heard("witnesses", False, "forked: urn:gate:test:site:north (two heads of one size)")
        for number in range(20):
            clock.go(1)
            watch.heard("witnesses", False, f"forked: made up {number}")  # edge-sync in somebody else's hands
        await written(watch)
        assert [event.kind for event in journal.events] == [Kind.DEVICE_LOST, Kind.FORK, Kind.FORK]  # not twenty
        assert "north" in str(journal.events[1].fields["told"])
        assert Kind.FORK in CRITICAL

    run(story())
