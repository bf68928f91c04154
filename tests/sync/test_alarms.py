"""What the collector says somebody must look at: silence, forgotten epochs; and what a hostile client cannot do."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.audit.entry import Entry, Kind, Quality, Value, encode
from edge.demo.broker import COLLECTOR
from edge.errors import DeviceError
from edge.sync.batch import Batch, pack
from edge.sync.collector import Collector, signing_key
from edge.sync.connection import Connection, Message
from edge.sync.epochs import broken
from edge.sync.received import Received
from edge.sync.sender import Pace
from edge.sync.silence import Silence
from edge.sync.simulated import SimulatedLog
from edge.sync.topics import Address

GATE, OTHER = "demo/lobby/gate-1", "demo/lobby/gate-2"
ADDRESS = Address("demo", "lobby", "gate-1")
PACE = Pace(connect_s=0.05, connect_most_s=0.4)


def until(true: Callable[[], object], within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


def alarms(path: Path) -> list[tuple[str, str]]:
    """Which log, and what."""
    if not path.exists():
        return []
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as base:
        found = base.execute("SELECT origin, what FROM alarm ORDER BY what").fetchall()
    base.close()
    return found


def said(online: object, name: str = GATE) -> Message:
    return Message(f"gates/v1/{name}/state", json.dumps({"online": online}).encode(), retain=True)


def test_a_gate_that_vanishes_or_never_came_is_noticed_once() -> None:
    silence = Silence([GATE, OTHER], 60)
    silence.begin(0)
    assert silence.hear(said(True), 1)
    assert silence.away(59) == []
    assert silence.away(61) == [OTHER]
    assert silence.away(62) == []
    silence.hear(said(False), 100)
    assert silence.away(159) == []
    assert silence.away(161) == [GATE]
    silence.hear(said(True), 170)
    silence.hear(said(False), 171)
    assert silence.away(232) == [GATE]
    assert not silence.hear(Message(ADDRESS.topic("evt"), b"x"), 0)


@pytest.mark.parametrize("payload", [b"", b"[]", b"{", b"[" * 3000, bytes(9000), b'{"online": "yes"}'])
def test_d21_a_forged_state_is_an_alarm_at_most(payload: bytes) -> None:
    silence = Silence([GATE], 60)
    silence.begin(0)
    assert silence.hear(Message(ADDRESS.topic("state"), payload), 1)
    assert silence.away(61.5) == [GATE]


def test_silence_is_an_alarm_in_the_store(site: Any, tmp_path: Path) -> None:
    site.log(GATE, 20)
    gates = {name: log.point for name, log in site.logs.items()} | {"demo/lobby/gate-7": site.log(GATE).point}
    key = signing_key(site.broker.signing_key)
    collector = Collector(
        site.link(COLLECTOR), key, gates, tmp_path / "received.db", name=COLLECTOR, pace=PACE, silent_s=1.5
    )
    collector.start()
    sender = site.sender(GATE)
    until(lambda: sender.position.acked == 20)
    never = (Address("demo", "lobby", "gate-7").origin, "silent: the gate is not connected")
    until(lambda: never in alarms(tmp_path / "received.db"))
    collector.stop()
    assert collector.figures.refused == 0


def opening(fields: dict[str, Value], kind: Kind = Kind.EPOCH_OPEN, epoch: int = 2) -> bytes:
    return encode(
        Entry(
            index=0,
            epoch=epoch,
            wall_ms=1,
            quality=Quality.FLOOR,
            monotonic_ms=1,
            boot=1,
            kind=kind,
            gate=GATE,
            fields=fields,
        )
    )


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[SimulatedLog, Callable[..., str]]]:
    """A log of which 30 entries are sealed, 35 are here and 40 are written; and what is said of the next epoch."""
    log = SimulatedLog(ADDRESS.origin)
    log.grow(40, 10)
    received = Received(tmp_path / "received.db")
    with received.committed():
        sealed = tuple(one.encode() for one in log.checkpoints[:3])
        received.take(Batch(log.origin, 1, 0, tuple(log.read(0, 35)), sealed), log.point)

    def said(first: bytes, epoch: int = 2) -> str:
        with received.committed():
            return broken(first, log.origin, epoch, received)

    yield log, said
    received.close()


Held = tuple[SimulatedLog, Callable[..., str]]


@pytest.mark.parametrize("size", [30, 33, 35])
@pytest.mark.parametrize("epoch", [2, 1001, 1 << 40])
def test_a_new_epoch_that_continues_is_no_alarm(held: Held, size: int, epoch: int) -> None:
    log, said = held
    assert said(opening({"why": "damaged", "epoch": 1, "size": size, "root": log.root(size)}, epoch=epoch), epoch) == ""


@pytest.mark.parametrize("size", [0, 10, 29])
@pytest.mark.parametrize("epoch", [2, 1001, 1 << 40])
def test_a_new_epoch_that_forgets_sealed_entries_is_an_alarm(held: Held, size: int, epoch: int) -> None:
    """Whatever number it has: what is here is asked for by what is here, not by counting down."""
    log, said = held
    found = said(opening({"epoch": 1, "size": size, "root": log.root(size)}, epoch=epoch), epoch)
    assert "rolled back" in found
    assert "forgets entries" in found


@pytest.mark.parametrize(("named", "size"), [(1, 36), (1, 500), (2, 1)])
def test_a_new_epoch_that_knows_of_entries_that_never_came_is_an_alarm(held: Held, named: int, size: int) -> None:
    _log, said = held
    found = said(opening({"epoch": named, "size": size, "root": bytes(32)}, epoch=3), 3)
    assert f"missing: epoch 3 goes on from {size} entries of epoch {named}" in found


def test_a_new_epoch_of_a_log_that_was_never_here_says_what_is_missing(tmp_path: Path) -> None:
    received = Received(tmp_path / "received.db")
    with received.committed():
        new = opening({"epoch": 1, "size": 9, "root": bytes(32)})
        assert "0 are here" in broken(new, ADDRESS.origin, 2, received)
        for first in (opening({}, Kind.BOOT, epoch=1), b"noise"):
            assert broken(first, ADDRESS.origin, 1, received) == ""
    received.close()


def test_a_new_epoch_with_another_past_is_an_alarm(held: Held) -> None:
    log, said = held
    for size in (30, 33, 35):
        assert "fork" in said(opening({"epoch": 1, "size": size, "root": log.root(29)}))
    assert "does not name" in said(opening({"why": "new card"}))
    assert "does not name" in said(opening({"epoch": 2, "size": 1, "root": b""}))
    assert "does not name" in said(opening({}, Kind.BOOT))
    assert "no entry" in said(b"noise")


def test_a_forgotten_epoch_reaches_the_alarms(site: Any, tmp_path: Path) -> None:
    log = site.log(GATE, 30, 10)
    collector = site.collector()
    sender = site.sender(GATE)
    until(lambda: sender.position.acked == 30)
    sender.stop()
    connection = Connection(site.link(GATE), GATE)
    connection.open()
    forgetful = opening({"epoch": 1, "size": 5, "root": log.root(5)}, epoch=1501)
    batch = Batch(log.origin, 1501, 0, (forgetful,))
    connection.publish(Message(ADDRESS.topic("evt"), pack(batch), correlation=b"x"))
    while connection.in_flight:
        connection.turn(0.05)
    until(lambda: any("forgets entries" in what for _, what in alarms(tmp_path / "received.db")))
    connection.close()
    until(lambda: collector.condition() == "")


def test_d15_nobody_takes_over_the_session_of_another_gate(site: Any) -> None:
    """The broker takes the client id from the certificate, whatever a client calls itself."""
    here = Connection(site.link(GATE), GATE)
    here.open()
    thief = Connection(site.link(OTHER), GATE)
    with contextlib.suppress(DeviceError):
        thief.open()
    for _ in range(10):
        here.turn(0.05)  # would raise if the session had been taken over
    thief.close()
    here.close()
