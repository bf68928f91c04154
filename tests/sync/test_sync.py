"""Entries out, over a real broker that is slow, dead, hostile or somebody else."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge.audit.tree import leaf_hash
from edge.demo.broker import COLLECTOR, Authority, Broker, write_key
from edge.sync.batch import Ack, Batch, bare, pack, sign, unpack
from edge.sync.collector import signing_key
from edge.sync.connection import Connection, Link, Message
from edge.sync.outbox import Outbox, Position
from edge.sync.received import counted
from edge.sync.sender import Pace, Sender
from edge.sync.simulated import SimulatedLog
from edge.sync.topics import SHARED, STATES

GATE, OTHER = "demo/lobby/gate-1", "demo/lobby/gate-2"
PATIENT = Pace(connect_s=0.05, connect_most_s=0.4, retry_s=60, retry_most_s=60, state_s=0.1)
"""Sends nothing twice because a busy machine took its time to answer."""
ROOT = Path(__file__).resolve().parents[2]


def until(true: Callable[[], object], within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


def stored(path: Path) -> list[bytes]:
    query = "SELECT bytes FROM entry JOIN log ON log.id = entry.log ORDER BY origin, epoch, number"
    with sqlite3.connect(path) as base:
        found = [row[0] for row in base.execute(query)]
    base.close()
    return found


def spoken(site: Any, name: str, *topics: str) -> Connection:
    """A bare connection of somebody with a valid certificate."""
    connection = Connection(site.link(name), name)
    connection.open()
    if topics:
        connection.subscribe(*topics)
    return connection


def next_of(connection: Connection, within_s: float = 60) -> Message:
    taken: list[Message] = []
    deadline = time.monotonic() + within_s
    while not taken:
        assert time.monotonic() < deadline, "nothing came"
        connection.turn(0.05)
        taken = connection.take()
    return taken[0]


def test_entries_arrive_once_and_in_order(site: Any, tmp_path: Path) -> None:
    log = site.log(GATE, 1000, 64)
    collector = site.collector()
    until(lambda: collector.condition() == "")  # what nobody listens to is sent again only after a minute
    sender = site.sender(GATE, pace=PATIENT)
    until(lambda: sender.position.acked == 1000)
    assert stored(tmp_path / "received.db") == log.read(0, 1000)
    assert counted(tmp_path / "received.db") == {log.origin: 1000}
    assert collector.figures.again == 0
    assert collector.figures.refused == 0
    until(lambda: sender.position.sealed == 960)
    log.grow(10)
    log.seal()
    until(lambda: sender.position == Position(1010, log.root(1010), 1010))
    until(lambda: sender.condition() == "")


def test_the_position_stands_until_the_collector_signs(site: Any) -> None:
    site.log(GATE, 300)
    silent = spoken(site, COLLECTOR, SHARED)  # the broker delivers to it and sends PUBACKs for it
    sender = site.sender(GATE)
    batch = unpack(next_of(silent).payload)
    assert (batch.first, batch.end) == (0, 200)
    for _ in range(20):
        silent.turn(0.05)
    assert sender.position.acked == 0
    until(lambda: "acknowledges nothing" in sender.condition())
    silent.close()
    site.collector()
    until(lambda: sender.position.acked == 300)


def test_without_a_collector_the_technician_is_told(site: Any) -> None:
    site.log(GATE, 10)
    sender = site.sender(GATE)
    until(lambda: sender.condition() == "no collector listens")
    assert sender.position.acked == 0


@pytest.mark.parametrize(
    "how", ["another key", "too large", "wrong root", "another gate", "noise", "stale", "retained"]
)
def test_a_false_acknowledgement_is_ignored_and_reported(site: Any, how: str, tmp_path: Path) -> None:
    log = site.log(GATE, 300)
    address = site.address(GATE)
    with Outbox_at(tmp_path / GATE / "sync.db") as outbox:
        outbox.move(log.origin, 1, Position(100, log.root(100), 0))
    hostile = spoken(site, COLLECTOR, SHARED)
    sender = site.sender(GATE)
    asked = next_of(hostile)
    right = Ack(log.origin, 1, 300, log.root(300), 0, asked.correlation)
    key = signing_key(site.broker.signing_key)
    forged: dict[str, bytes] = {
        "another key": sign(right, ec.generate_private_key(ec.SECP256R1())),
        "too large": sign(Ack(log.origin, 1, 301, log.root(300), 0, asked.correlation), key),
        "wrong root": sign(Ack(log.origin, 1, 300, log.root(299), 0, asked.correlation), key),
        "another gate": sign(Ack(site.address(OTHER).origin, 1, 300, log.root(300), 0, asked.correlation), key),
        "noise": b"\xd2\x84noise",
        "stale": sign(Ack(log.origin, 1, 50, log.root(50), 0, b"long ago"), key),
        "retained": sign(Ack(log.origin, 1, 100, log.root(100), 0, b""), key),
    }
    hostile.publish(Message(address.topic("ack"), forged[how], retain=how == "retained"))
    until(lambda: sender.ignored == 1)
    if how == "retained":
        hostile.publish(Message(address.topic("ack"), b"", retain=True))
        while hostile.in_flight:
            hostile.turn(0.05)
    assert sender.position.acked == 100
    hostile.close()
    if how == "another key":
        site.collector()
        until(lambda: sender.position.acked == 300)
        until(lambda: sender.condition().startswith("ignored: bad-signature"))


class Outbox_at:  # noqa: N801 -- reads as a sentence where it is used
    def __init__(self, path: Path) -> None:
        self.outbox = Outbox(path)

    def __enter__(self) -> Outbox:
        return self.outbox

    def __exit__(self, *_: object) -> None:
        self.outbox.close()


def test_a_broker_that_dies_and_comes_back_loses_nothing(fragile_site: Any, tmp_path: Path) -> None:
    site = fragile_site
    log = site.log(GATE, 2000, 64)
    collector, sender = site.collector(), site.sender(GATE)
    for share in (0.2, 0.5, 0.8):
        until(lambda share=share: sender.position.acked >= share * 2000)  # type: ignore[misc]
        site.broker.kill()
        until(sender.condition)
        log.grow(100)  # the gate goes on writing
        site.broker.start()
    until(lambda: sender.position.acked == 2300)
    assert stored(tmp_path / "received.db") == log.read(0, 2300)
    until(lambda: sender.condition() == "")
    until(lambda: collector.condition() == "")


def test_no_broker_is_said_and_harms_nothing(fragile_site: Any) -> None:
    site = fragile_site
    site.broker.kill()
    log = site.log(GATE, 10)
    sender = site.sender(GATE)
    until(lambda: "cannot be reached" in sender.condition())
    log.grow(10)
    site.collector()
    site.broker.start()
    until(lambda: sender.position.acked == 20)


def test_a_collector_that_dies_goes_on_where_it_was(site: Any, tmp_path: Path) -> None:
    log = site.log(GATE, 4000)
    first, sender = site.collector(), site.sender(GATE)
    until(lambda: sender.position.acked > 500)
    first.stop()
    site.collector()
    until(lambda: sender.position.acked == 4000)
    assert stored(tmp_path / "received.db") == log.read(0, 4000)


def test_two_collectors_share_one_store(site: Any, tmp_path: Path) -> None:
    logs = [site.log(f"demo/lobby/gate-{number}", 1500, 64) for number in (1, 2, 3)]
    both = [site.collector(), site.collector("collector-2")]
    until(lambda: [collector.condition() for collector in both] == ["", ""])
    senders = [site.sender(f"demo/lobby/gate-{number}") for number in (1, 2, 3)]
    until(lambda: [sender.position.acked for sender in senders] == [1500] * 3)
    assert all(collector.figures.entries > 0 for collector in both)
    assert sum(collector.figures.entries for collector in both) == 4500
    assert stored(tmp_path / "received.db") == [entry for log in logs for entry in log.read(0, 1500)]
    both[0].stop()
    logs[0].grow(500)
    until(lambda: senders[0].position.acked == 2000)


def test_a_broker_that_hangs_is_noticed_and_nothing_is_lost(fragile_site: Any) -> None:
    site = fragile_site
    log = site.log(GATE, 100)
    site.collector()
    sender = site.sender(GATE)
    until(lambda: sender.position.acked == 100)
    os.kill(site.broker.pid, signal.SIGSTOP)
    try:
        log.grow(100)
        until(sender.condition)
        assert sender.position.acked == 100
    finally:
        os.kill(site.broker.pid, signal.SIGCONT)
    until(lambda: sender.position.acked == 200)


def test_a_collector_that_lost_its_store_gets_everything_again(site: Any, tmp_path: Path) -> None:
    log = site.log(GATE, 500)
    first, sender = site.collector(), site.sender(GATE)
    until(lambda: sender.position.acked == 500)
    first.stop()
    log.grow(1)
    site.collector(store="second.db")
    until(lambda: sender.position.acked == 501)
    assert stored(tmp_path / "second.db") == log.read(0, 501)


def test_a_collector_that_lost_its_store_gets_the_hashes_of_what_was_pruned(site: Any, tmp_path: Path) -> None:
    log = site.log(GATE, 500, 64)
    first, sender = site.collector(), site.sender(GATE)
    until(lambda: sender.position.acked == 500)
    first.stop()
    log.pruned = set(range(3, 300))  # all of it was acknowledged
    log.grow(1)
    site.collector(store="second.db")
    until(lambda: sender.position.acked == 501)
    whole = log.read(0, 501)
    assert stored(tmp_path / "second.db") == [*whole[:3], *(bare(leaf_hash(one)) for one in whole[3:300]), *whole[300:]]
    with closing(sqlite3.connect(tmp_path / "second.db")) as base:
        assert [what for (what,) in base.execute("SELECT what FROM alarm")] == [
            "epoch 1: the gate had pruned what it sent: hashes came"
        ]


def test_a_lost_position_costs_nothing_but_a_message(site: Any, tmp_path: Path) -> None:
    site.log(GATE, 1000)
    collector = site.collector()
    until(lambda: collector.condition() == "")  # what nobody listens to is sent again only after a minute
    sender = site.sender(GATE, pace=PATIENT)
    until(lambda: sender.position.acked == 1000)
    sender.stop()
    for path in (tmp_path / GATE).glob("sync.db*"):
        path.unlink()
    again = site.sender(GATE, pace=PATIENT)
    until(lambda: again.position.acked == 1000)
    assert collector.figures.again <= 800


def test_a_log_that_was_rolled_back_is_noticed_before_anything_is_sent(site: Any, tmp_path: Path) -> None:
    log = site.log(GATE, 100)
    with Outbox_at(tmp_path / GATE / "sync.db") as outbox:
        outbox.move(log.origin, 1, Position(101, bytes(32), 0))
    sender = site.sender(GATE)
    until(lambda: "rolled back" in sender.condition())


def test_a_log_that_is_whole_again_is_sent(site: Any, tmp_path: Path) -> None:
    log, whole = site.log(GATE, 100), SimulatedLog(site.address(GATE).origin)
    whole.grow(101)
    with Outbox_at(tmp_path / GATE / "sync.db") as outbox:
        outbox.move(log.origin, 1, Position(101, whole.root(101), 0))
    site.collector()
    sender = site.sender(GATE)
    until(lambda: "rolled back" in sender.condition())
    log.grow(2)
    until(lambda: sender.position.acked == 102)


def test_a_log_with_other_entries_is_noticed(site: Any, tmp_path: Path) -> None:
    log = site.log(GATE, 100)
    with Outbox_at(tmp_path / GATE / "sync.db") as outbox:
        outbox.move(log.origin, 1, Position(100, bytes(32), 0))
    sender = site.sender(GATE)
    until(lambda: "not those that were acknowledged" in sender.condition())


@pytest.mark.parametrize("wrong", ["of another authority", "expired", "missing", "for another broker"])
def test_a_wrong_certificate_is_said_and_tried_again(site: Any, wrong: str, tmp_path: Path) -> None:
    site.log(GATE, 10)
    right = site.link(GATE)
    stranger = Authority(tmp_path / "stranger")
    identity = site.broker.identities[GATE]
    ca = right.ca
    match wrong:
        case "of another authority":
            identity = stranger.issue(GATE)
        case "expired":
            identity = site.broker.authority.issue("demo/lobby/late", days=-1)
        case "missing":
            right = Link(right.host, right.port, ca, tmp_path / "none.pem", right.key)
        case _:
            ca = stranger.certificate
    if wrong != "missing":
        right = Link(right.host, right.port, ca, identity.certificate, identity.key, 60, 20.0)
    sender = site.sender(GATE, link=right)
    until(lambda: sender.condition() not in ("", "connecting"))
    assert sender.position.acked == 0


def test_a_gate_cannot_speak_for_another_one(site: Any, tmp_path: Path) -> None:
    site.log(GATE, 5)
    log = site.log(OTHER, 5)
    collector = site.collector()
    until(lambda: collector.condition() == "")
    thief = spoken(site, GATE)
    batch = pack(Batch(log.origin, 1, 0, tuple(log.read(0, 5))))
    thief.publish(Message(site.address(OTHER).topic("evt"), batch))  # the broker's rule
    thief.publish(Message(site.address(GATE).topic("evt"), batch))  # ours
    until(lambda: collector.figures.refused == 1)
    thief.turn(0.2)
    thief.close()
    collector.stop()
    assert counted(tmp_path / "received.db").get(log.origin, 0) == 0


def test_the_state_of_a_gate_stays_readable_and_ends_with_the_gate(site: Any) -> None:
    site.log(GATE, 5)
    collector, sender = site.collector(), site.sender(GATE)
    until(lambda: sender.position.acked == 5)
    collector.stop()  # the watcher has its name
    watcher, states = spoken(site, COLLECTOR, STATES), list[bytes]()

    def told(*words: bytes) -> bool:
        """Whether the newest state has these words."""
        watcher.turn(0.05)
        states.extend(one.payload for one in watcher.take() if one.topic == site.address(GATE).topic("state"))
        return bool(states) and all(word in states[-1] for word in words)

    until(lambda: told(b'"online": true', b'"acknowledged": 5'))
    sender.stop()
    until(lambda: told(b'"online": false'))
    watcher.close()


_SENDER = """
import sys, time
from pathlib import Path
from edge.sync.connection import Link
from edge.sync.sender import Pace, Sender, pinned
from edge.sync.simulated import SimulatedLog
from edge.sync.topics import Address
name, host, port, ca, certificate, key, collector, outbox, entries = sys.argv[1:]
address = Address(*name.split("/"))
log = SimulatedLog(address.origin)
log.grow(int(entries), 64)
link = Link(host, int(port), Path(ca), Path(certificate), Path(key), 60, 20.0)
pace = Pace(connect_s=0.05, connect_most_s=0.4, retry_s=0.3, retry_most_s=1.0)
sender = Sender(address, link, pinned(Path(collector)), log, log, Path(outbox), pace=pace)
sender.start()
print("started", flush=True)
while True:
    time.sleep(0.1)
    sender.condition()
"""


def test_a_sender_killed_at_any_moment_goes_on(site: Any, tmp_path: Path) -> None:
    entries = 3000
    log = site.log(GATE, entries, 64)
    site.collector()
    outbox = tmp_path / "killed" / "sync.db"
    identity, broker = site.broker.identities[GATE], site.broker
    command = [sys.executable, "-c", _SENDER, GATE, broker.host, str(broker.port), *map(str, (broker.ca,))]
    command += [*map(str, (identity.certificate, identity.key, broker.collector_key, outbox)), str(entries)]
    positions = []
    for life_s in (0.15, 0.25, 0.2, 60):
        child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        deadline = time.monotonic() + life_s
        while time.monotonic() < deadline and counted(tmp_path / "received.db").get(log.origin, 0) < entries:
            time.sleep(0.02)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
        positions.append(_acked(outbox))
    assert positions == sorted(positions)
    assert stored(tmp_path / "received.db") == log.read(0, entries)


def _acked(outbox: Path) -> int:
    if not outbox.exists():
        return 0
    with sqlite3.connect(outbox) as base:
        found = base.execute("SELECT acked FROM position").fetchone()
    base.close()
    return int(found[0]) if found else 0


def test_edge_collect_collects_until_it_is_told_to_end(site: Any, tmp_path: Path) -> None:
    log = site.log(GATE, 300, 64)
    enrolled = tmp_path / "enrolled" / f"{GATE}.pem"
    enrolled.parent.mkdir(parents=True)
    public = log.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    enrolled.write_bytes(public)
    broker, identity = site.broker, site.broker.identities[COLLECTOR]
    options = {
        "host": broker.host,
        "port": broker.port,
        "ca": broker.ca,
        "certificate": identity.certificate,
        "key": identity.key,
        "signing-key": broker.signing_key,
        "gates": tmp_path / "enrolled",
        "store": tmp_path / "received.db",
    }
    command = [sys.executable, "-m", "edge", "collect"]
    command += [part for name, value in options.items() for part in (f"--{name}", str(value))]
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        sender = site.sender(GATE)
        until(lambda: sender.position.acked == 300)
        running.terminate()
        out, _ = running.communicate(timeout=60)
    finally:
        running.kill()
        running.communicate()
    assert running.returncode == 0
    assert "300 entries new" in out


_SANDBOXED = """
import sys
from pathlib import Path
from edge.sync.connection import Connection, Link, Message

def forbid(event, arguments):
    if event in ("socket.bind", "os.exec", "os.fork", "subprocess.Popen"):
        raise PermissionError(event)

sys.addaudithook(forbid)
port, ca, certificate, key, name = sys.argv[1:]
connection = Connection(Link("127.0.0.1", int(port), Path(ca), Path(certificate), Path(key), 60, 30.0), name)
connection.open()
connection.subscribe(f"gates/v1/{name}/ack")
connection.publish(Message(f"gates/v1/{name}/evt", b"x", correlation=b"x"))
while connection.in_flight:
    connection.turn(0.1)
connection.close()
print("done")
"""


def test_the_way_out_binds_no_socket(site: Any) -> None:
    broker, identity = site.broker, site.broker.identities[GATE]
    arguments = [str(broker.port), str(broker.ca), str(identity.certificate), str(identity.key), GATE]
    ended = subprocess.run(
        [sys.executable, "-c", _SANDBOXED, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert ended.stdout == "done\n", ended.stderr


def test_a_renewed_certificate_is_used_without_a_restart(site: Any, tmp_path: Path) -> None:
    site.log(GATE, 10)
    site.collector()
    late, right = site.broker.authority.issue("demo/lobby/late", days=-1), site.link(GATE)
    certificate, key = tmp_path / "gate.pem", tmp_path / "gate.key"
    certificate.write_bytes(late.certificate.read_bytes())
    key.write_bytes(late.key.read_bytes())
    sender = site.sender(GATE, link=Link(right.host, right.port, right.ca, certificate, key, 60, 20.0))
    until(lambda: sender.condition() not in ("", "connecting"))
    certificate.write_bytes(right.certificate.read_bytes())
    key.write_bytes(right.key.read_bytes())
    until(lambda: sender.position.acked == 10)


def test_a_private_key_is_its_owners_alone(tmp_path: Path) -> None:
    write_key(tmp_path / "key", ec.generate_private_key(ec.SECP256R1()))
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_the_broker_keeps_its_port_over_a_restart(fragile_site: Any) -> None:
    broker: Broker = fragile_site.broker
    port = broker.port
    broker.restart()
    assert broker.port == port
    assert isinstance(fragile_site.sender(GATE), Sender)
