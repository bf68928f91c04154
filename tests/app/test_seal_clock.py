"""The sealer's time goes by the log where nobody vouches for the system clock."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from edge.app.seal import take_time
from edge.audit.entry import Event, Kind
from edge.devices.clock import SystemClock
from edge.devices.follower import Follower
from edge.devices.journal import SqliteJournal
from edge.devices.simulated import SimulatedClock
from edge.settings import Clock


def test_a_checkpoint_is_not_older_than_the_entries_under_it(tmp_path: Path) -> None:
    ahead = SimulatedClock()
    ahead.moment += timedelta(days=90)
    journal = SqliteJournal.open(tmp_path / "journal.db", "urn:gate:a:b:c", "c", ahead)
    asyncio.run(journal.append(Event(Kind.TAMPER)))
    log, clock = Follower(tmp_path / "journal.db"), SystemClock(Clock("floor", 5.0), tmp_path / "floor")
    take_time(log, clock)
    assert clock.now().lower >= ahead.moment
    log.close()
    journal.close()


def test_without_a_log_the_sealer_keeps_its_own_floor(tmp_path: Path) -> None:
    clock = SystemClock(Clock("floor", 5.0), tmp_path / "floor")
    before = clock.now().lower
    take_time(Follower(tmp_path / "journal.db"), clock)
    assert clock.now().lower - before < timedelta(hours=1)
