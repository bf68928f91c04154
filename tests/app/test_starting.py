"""What the log says about a start."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from edge.app.starting import after, say_started
from edge.audit.entry import Kind
from edge.devices.clock import SystemClock
from edge.devices.follower import Follower
from edge.devices.journal import SqliteJournal
from edge.settings import Clock


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
