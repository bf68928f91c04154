"""What a gate says of itself to whoever watches many."""

from __future__ import annotations

import asyncio
from pathlib import Path

from edge.app.stated import Stated
from edge.audit.entry import Event, Kind, Value
from edge.devices.follower import Follower
from edge.devices.journal import SqliteJournal
from edge.devices.simulated import SimulatedClock

CLOSED: dict[str, Value] = {"what": "lock-down", "on": True, "outcome": "obeyed"}


def written(folder: Path, *events: Event) -> None:
    """One life of the gate."""
    journal = SqliteJournal.open(folder / "journal.db", "urn:gate:a:b:c", "c", SimulatedClock())
    for event in events:
        asyncio.run(journal.append(event))
    journal.close()


def test_what_does_not_answer_and_what_alarmed_is_told(tmp_path: Path) -> None:
    log = Follower(tmp_path / "journal.db")
    stated = Stated(log)
    assert stated()["alarms"] == 0  # before there is a log
    lost = (Event(Kind.DEVICE_LOST, {"device": name}) for name in ("token", "camera"))
    written(tmp_path, Event(Kind.BOOT), *lost, Event(Kind.DEVICE_BACK, {"device": "token"}), Event(Kind.DOOR_FORCED))
    told = stated()
    assert (told["lost"], told["alarms"]) == ("camera", 1)
    assert told["alarm"] == "door-forced 2026-11-22 12:00:00 UTC"
    written(tmp_path, Event(Kind.DISPENSER_FAULT))
    assert stated()["alarm"] == "dispenser-fault 2026-11-22 12:00:00 UTC"
    assert "locked_down" not in told
    written(tmp_path, Event(Kind.BOOT), Event(Kind.COMMAND, CLOSED), Event(Kind.SHUTDOWN))
    told = stated()
    assert (told["lost"], told["alarms"], told["locked_down"]) == ("gate", 0, True)
    assert "alarm" not in told
    written(tmp_path, Event(Kind.BOOT))
    assert stated()["locked_down"] is True
    assert stated()["lost"] == ""
    log.close()


def test_duress_and_the_watch_list_are_not_told(tmp_path: Path) -> None:
    written(tmp_path, Event(Kind.BOOT), Event(Kind.DURESS), Event(Kind.NOTICED))
    log = Follower(tmp_path / "journal.db")
    told = Stated(log)()
    assert told["alarms"] == 0
    assert "alarm" not in told
    log.close()
