"""What no publication names any more does not stay at the broker for ever."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge.demo.broker import PUBLISHER
from edge.errors import DeviceError
from edge.sync.connection import Connection, Message
from edge.sync.metadata import TIMESTAMP
from edge.sync.office import Office
from edge.sync.pieces import cut
from edge.sync.retained import Retained
from edge.sync.updates import PREFIX, offer

GATE, ISS = "demo/lobby/gate-1", "https://id.example"
NOW = datetime.now(UTC).replace(microsecond=0)


class Desk:
    """An operator's desk at a real broker."""

    def __init__(self, site: Any, folder: Path) -> None:
        self.site, self.office = site, Office.begin(folder / "office", f"r{time.monotonic_ns()}")
        self.out = Connection(site.link(PUBLISHER), PUBLISHER)
        self.out.open()
        self.kept = self.office.folder / "retained.json"
        self.days = 0

    def names(self) -> set[str]:
        """A publication a day, with a hash list of two pieces; the topics that it names."""
        self.days += 1
        self.office.book.withdraw(ISS, [f"{self.days}-{number}" for number in range(9000)])
        self.files = self.office.publish(NOW + timedelta(days=self.days))
        return {path for file, data in self.files.items() for path, _ in cut(file, data)}

    def published(self) -> set[str]:
        named = self.names()
        offer(self.out, self.office.name, self.files, retained=Retained(self.kept, "broker:8883"))
        return named

    def there(self) -> set[str]:
        """What whoever asks for everything gets, up to something that came after it."""
        reader, found = Connection(self.site.link(GATE), GATE), set[str]()
        reader.open()
        base = f"{PREFIX}/{self.office.name}/"
        reader.subscribe(f"{base}#")
        deadline = time.monotonic() + 60
        while "end" not in found:
            assert time.monotonic() < deadline
            self.out.publish(Message(f"{base}end", b"of it"))
            self.out.turn(0.05)
            reader.turn(0.05)
            found |= {message.topic.removeprefix(base) for message in reader.take()}
        reader.close()
        return found - {"end"}


@pytest.fixture
def desk(site: Any, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(site, tmp_path)
    yield made
    made.out.close()


def test_what_is_over_is_cleared_with_its_pieces_and_roots_stay(desk: Desk) -> None:
    before = desk.published()
    assert any(name.endswith("/1") for name in before)
    for _ in range(3):
        desk.office.rotate("root", now=NOW)
        named = desk.published()
        roots = {name for name in named if name.endswith(".root.json")}
        assert desk.there() == named | before
        assert TIMESTAMP in named
        before = named
    assert len(roots) == 4


def test_what_did_not_all_arrive_clears_nothing_and_is_cleared_later(desk: Desk) -> None:
    first = desk.published()
    lost = desk.names()
    Retained(desk.kept, "broker:8883").begins(lost)  # and then the connection broke
    half = [(path, data) for path, data in desk.files.items() if path != TIMESTAMP]
    for path, data in half:
        for name, piece in cut(path, data):
            desk.out.publish(Message(f"{PREFIX}/{desk.office.name}/{name}", piece, retain=True))
        while desk.out.in_flight:
            desk.out.turn(0.05)
    second = desk.published()
    assert desk.there() >= first | second
    third, fourth = desk.published(), desk.published()
    assert desk.there() == third | fourth


def test_what_another_broker_has_is_its_own_affair(desk: Desk) -> None:
    names = desk.published(), desk.published(), desk.published()
    other = Retained(desk.kept, "other:8883")
    other.begins(names[-1])
    assert other.over() == []
    noted = json.loads(desk.kept.read_text())
    assert noted["broker:8883"]["publications"] == 3
    assert noted["other:8883"]["publications"] == 1


def test_a_note_that_is_damaged_keeps_no_list_back(desk: Desk) -> None:
    desk.published()
    desk.kept.write_text("{")
    named = desk.published()
    assert desk.there() >= named


def test_without_a_broker_nothing_counts(desk: Desk) -> None:
    desk.published()
    desk.out.close()
    desk.names()
    with pytest.raises(DeviceError):
        offer(desk.out, desk.office.name, desk.files, within_s=0.1, retained=Retained(desk.kept, "broker:8883"))
    assert json.loads(desk.kept.read_text())["broker:8883"]["publications"] == 1
