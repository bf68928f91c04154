"""What the log says about a start."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.app.gate import entrance_of, serve
from edge.app.ground import Chosen, ground
from edge.app.starting import after, say_started, say_stopped
from edge.audit.entry import Event, Kind
from edge.devices.clock import SystemClock
from edge.devices.follower import Follower
from edge.devices.journal import SqliteJournal
from edge.devices.simulated import SimulatedGate
from edge.policy.presence import passes
from edge.settings import Clock, Gate, load

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("last", "before", "kinds", "why"),
    [
        (None, "", [Kind.BOOT], "nothing"),
        (Kind.SHUTDOWN, "a", [Kind.BOOT], "shutdown"),
        (Kind.SHUTDOWN, "b", [Kind.BOOT], "shutdown"),
        (Kind.GRANTED, "b", [Kind.BOOT], "end of the process"),
        (Kind.GRANTED, "", [Kind.BOOT], "end of the process"),
        (Kind.GRANTED, "a", [Kind.POWER_LOST, Kind.POWER_BACK, Kind.BOOT], "power"),
    ],
)
def test_how_it_ended_the_last_time_is_said(last: Kind | None, before: str, kinds: list[Kind], why: str) -> None:
    events = after(last, before, "b")
    assert [event.kind for event in events] == kinds
    assert events[-1].fields["after"] == why


@pytest.mark.parametrize(("unused", "inside"), [(True, []), (False, ["inside"])])
def test_who_never_came_before_an_orderly_stop_is_not_inside_after_it(
    unused: bool, inside: list[str], tmp_path: Path
) -> None:
    """An update that restarts the gate bars nobody whose grant was still waiting for them."""

    async def life() -> None:
        clock = SystemClock(Clock("floor", 2.0), tmp_path / "floor")
        journal = SqliteJournal.open(tmp_path / "journal.db", "urn:gate:a:b:c", "c", clock, None)
        grant = await journal.append(Event(Kind.GRANTED, {"facts": {"zone": "inside"}}, subject=b"s" * 16))
        await say_stopped(journal, grant.index if unused else None)
        journal.close()

    asyncio.run(life())
    log = Follower(tmp_path / "journal.db")
    entries = log.entries(0, 100)
    log.close()
    assert entries[-1].kind is Kind.SHUTDOWN
    assert [each.zone for each in passes(entries)] == inside


def test_a_power_cut_is_in_the_log_of_the_next_start(tmp_path: Path) -> None:
    machine, seen = tmp_path / "boot-id", tmp_path / "seen"

    def live(boot: str) -> None:
        async def life() -> None:
            machine.write_text(boot, encoding="ascii")
            clock = SystemClock(Clock("floor", 2.0), tmp_path / "floor")
            journal = SqliteJournal.open(tmp_path / "journal.db", "urn:gate:a:b:c", "c", clock, None)
            log = Follower(tmp_path / "journal.db")
            await say_started(journal, log, seen, machine)
            log.close()
            journal.close()

        asyncio.run(life())

    for boot in ("first", "first", "second"):
        live(boot)
    log = Follower(tmp_path / "journal.db")
    kinds = [entry.kind for entry in log.entries(0, 100) if entry.kind is not Kind.EPOCH_OPEN]
    log.close()
    assert kinds == [Kind.BOOT, Kind.BOOT, Kind.POWER_LOST, Kind.POWER_BACK, Kind.BOOT]


def test_the_heartbeat_moves_while_the_gate_serves_and_not_after_its_end(
    tmp_path: Path, pins: Gate, run: Callable[[Coroutine[Any, Any, Any]], Any]
) -> None:
    found = load(ROOT / "config" / "edge.toml")
    paths = replace(found.paths, state=tmp_path / "state", run=tmp_path / "run", credentials=tmp_path)
    paths.journal.parent.mkdir(parents=True)
    (tmp_path / "site-key").write_bytes(bytes(range(32)))
    models = replace(found.models, folder=ROOT / "models")
    settings = replace(found, paths=paths, models=models, gate=replace(pins, heartbeat_pin=4))

    async def story() -> None:
        with contextlib.ExitStack() as closing:
            chosen = Chosen.of(settings)
            on = await ground(chosen, closing)
            assert isinstance(on.gate, SimulatedGate)
            wire = on.gate.factory.pin(4)
            entrance = await entrance_of(chosen, on, closing)
            assert not wire.state
            serving = asyncio.create_task(serve(settings, on, entrance))
            async with asyncio.timeout(30):
                for level in (True, False):
                    while bool(wire.state) is not level:  # noqa: ASYNC110 -- a pin has no event
                        await asyncio.sleep(0.01)
            serving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await serving
            entrance.doorway.stop()
            await entrance.vision.close()
            stopped = len(wire.states)
            await asyncio.sleep(1.2)
            assert len(wire.states) == stopped

    run(story())
