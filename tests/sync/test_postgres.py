"""The collector on a real PostgreSQL: several at once, and nothing lost when the database is killed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.demo.broker import COLLECTOR
from edge.demo.database import Database, programs
from edge.sync.batch import Batch
from edge.sync.checked import Tampered
from edge.sync.collector import Collector, signing_key
from edge.sync.received import Received, counted
from edge.sync.sender import Pace
from edge.sync.simulated import SimulatedLog

pytestmark = pytest.mark.skipif(programs() is None, reason="PostgreSQL is not installed")
GATE, OTHER = "demo/lobby/gate-1", "demo/lobby/gate-2"
PACE = Pace(connect_s=0.05, connect_most_s=0.4)


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    made = Database()
    yield made
    made.close()


def a_log(name: str) -> SimulatedLog:
    return SimulatedLog(f"urn:gate:{name}:a:b")


def taken(where: str, log: SimulatedLog, first: int, count: int, sealed: bool = False) -> int:
    received = Received(where)
    checkpoints = tuple(one.encode() for one in log.checkpoints) if sealed else ()
    try:
        with received.committed():
            received.take(Batch(log.origin, 1, first, tuple(log.read(first, count)), checkpoints), log.point)
        with received.committed():
            return received.known(log.origin, 1).tree.size
    finally:
        received.close()


def test_what_sqlite_keeps_postgresql_keeps(database: Database) -> None:
    log = a_log("keeps")
    log.grow(300, 100)
    assert taken(database.where, log, 0, 150) == 150
    assert taken(database.where, log, 100, 200, sealed=True) == 300
    assert taken(database.where, log, 250, 50) == 300
    assert counted(database.where)[log.origin] == 300
    received = Received(database.where)
    with received.committed():
        known = received.known(log.origin, 1)
        assert (known.tree.root(), known.sealed.size) == (log.root(300), 300)
        assert received.alarm(log.origin, "something", "now")
        assert not received.alarm(log.origin, "something", "later")
    received.close()


def test_a_fork_is_a_fork_here_too_and_leaves_nothing(database: Database) -> None:
    log, other = a_log("fork"), SimulatedLog("urn:gate:fork:a:b")
    log.grow(20)
    taken(database.where, log, 0, 20)
    other.grow(30)
    changed = list(other.read(0, 30))
    changed[5] = changed[6]
    received = Received(database.where)
    with pytest.raises(Tampered, match="fork"), received.committed():
        received.take(Batch(log.origin, 1, 0, tuple(changed)), log.point)
    with received.committed():
        assert received.known(log.origin, 1).tree.size == 20
    received.close()


def test_two_collectors_and_a_database_that_dies_lose_nothing(database: Database, site: Any) -> None:
    logs = [site.log(GATE, 3000, 64), site.log(OTHER, 3000, 64)]
    gates = {name: log.point for name, log in site.logs.items()}
    key = signing_key(site.broker.signing_key)
    collectors = [
        Collector(site.link(name), key, gates, database.where, name=name, pace=PACE)
        for name in (COLLECTOR, "collector-2")
    ]
    senders = [site.sender(name) for name in (GATE, OTHER)]
    for collector in collectors:
        collector.start()
    deadline = time.monotonic() + 150
    killed = False
    while not killed or any(sender.position.acked < 3500 for sender in senders):
        assert time.monotonic() < deadline, [sender.position.acked for sender in senders]
        if not killed and all(sender.position.acked > 200 for sender in senders):
            database.kill()
            for log in logs:
                log.grow(500)  # however far they were: something comes while it is dead
            time.sleep(0.3)
            database.start()
            killed = True
        time.sleep(0.01)
    for collector in collectors:
        collector.stop()
    found = counted(database.where)
    assert [found[log.origin] for log in logs] == [3500, 3500]
    assert [sender.position.root for sender in senders] == [log.root(3500) for log in logs]


def test_no_gate_loads_it() -> None:
    script = "import sys, edge.app.sync, edge.app.gate; sys.exit('psycopg' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], check=False, cwd=Path(__file__).resolve().parents[2])
    assert ran.returncode == 0


def test_a_database_that_is_not_there_is_said(site: Any) -> None:
    site.log(GATE)
    collector = Collector(
        site.link(COLLECTOR),
        signing_key(site.broker.signing_key),
        {},
        "postgresql://edge@/postgres?host=/nowhere",
        name=COLLECTOR,
        pace=PACE,
    )
    collector.start()
    deadline = time.monotonic() + 60
    while "cannot be kept" not in collector.condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    collector.stop()
