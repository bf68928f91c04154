"""Whoever watches many gates is told of one that crashed."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from edge.app.service import report_health
from edge.app.stated import Listening, Stated
from edge.audit.entry import Event, Kind
from edge.devices.follower import Follower
from edge.devices.journal import SqliteJournal
from edge.devices.simulated import SimulatedClock


class Watch:
    """A clock that is told."""

    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


def test_a_gate_that_crashed_is_told_although_its_log_is_not(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path / "journal.db", "urn:gate:a:b:c", "c", SimulatedClock())
    for event in (Event(Kind.BOOT), Event(Kind.DEVICE_LOST, {"device": "camera"})):
        asyncio.run(journal.append(event))
    journal.close()
    log, watch = Follower(tmp_path / "journal.db"), Watch()
    listening = Listening(15, watch)
    stated = Stated(log, listening.away)
    for second in range(16):
        watch.s = second
        listening.note(False)
        assert stated()["lost"] == "camera"  # a start takes a while
    watch.s = 15.5
    assert stated()["lost"] == "gate, camera"
    listening.note(True)
    assert stated()["lost"] == "camera"
    watch.s = 100
    assert stated()["lost"] == "camera"
    log.close()


def test_whoever_reports_hears_whether_the_gate_listens(tmp_path: Path) -> None:
    place = tmp_path / "health"

    async def story() -> None:
        heard = asyncio.Queue[bool]()
        reporting = asyncio.ensure_future(report_health(place, lambda: {"broker": "", "x": ""}, heard.put_nowait))
        assert not await heard.get()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
            ear.bind(str(place))
            while not await heard.get():  # one was on its way before there was an ear
                pass
        while await heard.get():  # it is gone without a word
            pass
        reporting.cancel()

    asyncio.run(asyncio.wait_for(story(), 60))
