"""Three gates and one real broker: each cosigns the others, and what is deleted at one is missed by its neighbours."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from edge.audit.checkpoint import Checkpoint, key_id
from edge.audit.entry import Event, Kind
from edge.audit.export import sequence
from edge.audit.sealing import SealingPolicy
from edge.audit.witness import cosigners
from edge.demo.broker import Broker
from edge.demo.broker import start as start_broker
from edge.devices.checkpoints import CheckpointReader, SqliteCheckpoints
from edge.devices.journal import Follower, SqliteJournal
from edge.devices.simulated_token import SimulatedToken
from edge.devices.token import to_pem
from edge.errors import DeviceError
from edge.sealer import Sealer
from edge.sync.connection import Connection, Link, Message
from edge.sync.sender import Pace, Sender, pinned
from edge.sync.topics import Address
from edge.sync.witnessed import Witnessed, joined
from edge.sync.witnessing import Neighbours, _encoded, neighbourhood, witness_key
from edge.trust.interval import Interval

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("north", "south", "west")
PACE = Pace(connect_s=0.05, connect_most_s=0.4, retry_s=0.5, retry_most_s=2.0, state_s=5.0)


class NowClock:
    def now(self) -> Interval:
        return Interval.exactly(datetime.now(UTC))

    def raise_floor(self, moment: datetime) -> None:
        pass

    def monotonic(self) -> float:
        return time.monotonic()


class Gate:
    """Journal, checkpoints, token and sender of one gate."""

    def __init__(self, site: Site, name: str) -> None:
        self.site, self.name = site, name
        self.address = Address("demo", "lobby", name)
        self.folder = site.folder / name
        self.folder.mkdir()
        self.token_key, self.key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        (site.folder / f"{name}.token.pem").write_bytes(to_pem(SimulatedToken("", self.token_key).enrolled))
        (site.folder / f"{name}.witness.pem").write_bytes(
            self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
        self.sender: Sender | None = None

    def open(self) -> None:
        """Log and token, from what is on disk."""
        self.journal = SqliteJournal.open(self.folder / "journal.db", self.address.origin, self.name, NowClock())
        self.log = Follower(self.folder / "journal.db")
        self.checkpoints = SqliteCheckpoints(self.folder / "checkpoints.db")
        token = SimulatedToken(self.address.origin, self.token_key)
        policy = SealingPolicy(64, 60, 0)
        self.sealer = Sealer(self.address.origin, policy, self.log, self.checkpoints, token, NowClock())

    def connect(self) -> None:
        """On the network."""
        identity = self.site.broker.identities[self.address.name]
        broker = self.site.broker
        link = Link(broker.host, broker.port, broker.ca, identity.certificate, identity.key, 60, 20.0)
        pem = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        policy = neighbourhood(self.site.folder / "witnesses.toml")
        store = self.folder / "neighbours.db"
        self.neighbours = Neighbours(self.address, policy, witness_key(pem), self.checkpoints, store)
        outbox, collector = self.folder / "sync.db", pinned(broker.collector_key)
        self.sender = Sender(
            self.address,
            link,
            collector,
            self.log,
            self.checkpoints,
            outbox,
            pace=PACE,
            neighbours=self.neighbours,
        )
        self.sender.start()

    def write(self, count: int, word: str = "expired") -> Checkpoint:
        """So many entries, and a checkpoint over them."""

        async def told() -> Checkpoint:
            for _ in range(count):
                await self.journal.append(Event(Kind.DENIED, {"reason": word}))
            sealed = await self.sealer.seal()
            assert sealed is not None
            return sealed

        return asyncio.run(told())

    def cosigned_by(self, checkpoint: Checkpoint) -> int:
        file = Witnessed(self.folder / "neighbours.db")
        try:
            policy = neighbourhood(self.site.folder / "witnesses.toml")
            return len(cosigners(joined(checkpoint, file.cosignatures(checkpoint)), policy.witnesses))
        finally:
            file.close()

    def seen(self, other: Gate) -> int:
        file = Witnessed(self.folder / "neighbours.db")
        try:
            newest = file.newest(other.address.origin)
            return 0 if newest is None else newest.head.size
        finally:
            file.close()

    def leave(self) -> None:
        if self.sender is not None:
            self.sender.stop()
            self.sender = None

    def close(self) -> None:
        self.leave()
        for part in (self.journal, self.log, self.checkpoints):
            part.close()


class Site:
    """Three gates under one policy."""

    def __init__(self, folder: Path, broker: Broker) -> None:
        self.folder, self.broker = folder, broker
        self.gates = [Gate(self, name) for name in NAMES]
        keys = ", ".join(f'"{name}.witness.pem"' for name in NAMES)
        logs = "\n".join(f'"{gate.address.origin}" = "{gate.name}.token.pem"' for gate in self.gates)
        (folder / "witnesses.toml").write_text(f"quorum = 2\nkeys = [{keys}]\n\n[logs]\n{logs}\n")
        for gate in self.gates:
            gate.open()
            gate.connect()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with start_broker(tmp_path / "broker", [f"demo/lobby/{name}" for name in NAMES]) as broker:
        here = Site(tmp_path, broker)
        yield here
        for gate in here.gates:
            gate.close()


def until(holds: Callable[[], bool], within_s: float = 60) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def verify(*arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "verify_log.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_neighbours_cosign_and_an_auditor_asks_for_two_of_three(site: Site, tmp_path: Path) -> None:
    north, south, west = site.gates
    for _ in range(3):
        newest = north.write(5)
        until(partial(lambda head: north.cosigned_by(head) == 2, newest))
    assert south.seen(north) == west.seen(north) == newest.head.size == 15
    rows = [(entry, leaf) for entry, leaf in north.log.rows(0, 15)]
    file = Witnessed(north.folder / "neighbours.db")
    heads = [joined(head, file.cosignatures(head)) for head in north.checkpoints.after(0, 0, 99)]
    file.close()
    for name, sealed in (("with", heads), ("without", north.checkpoints.after(0, 0, 99))):
        (tmp_path / name).write_bytes(b"".join(sequence(north.address.origin, 1, rows, sealed)))
    told = ("--key", site.folder / "north.token.pem", "--witnesses", site.folder / "witnesses.toml")
    assert verify("--export", tmp_path / "with", *told).returncode == 0
    assert verify("--export", tmp_path / "without", *told).returncode == 2


def test_a_neighbour_that_was_away_asks_for_the_steps_it_missed(site: Site) -> None:
    north, south, _ = site.gates
    first = north.write(3)
    until(lambda: north.cosigned_by(first) == 2)
    south.leave()
    for _ in range(40):  # more than go into one answer
        newest = north.write(1)
    south.connect()
    until(lambda: south.seen(north) == newest.head.size)
    until(lambda: north.cosigned_by(newest) == 2)


def test_what_was_deleted_and_signed_anew_with_the_real_key_is_seen_by_the_neighbours(site: Site) -> None:
    north, south, west = site.gates
    older = north.write(5)
    until(lambda: north.cosigned_by(older) == 2)
    north.leave()
    shutil.copytree(north.folder, saved := site.folder / "yesterday")
    north.connect()
    newest = north.write(20)
    until(lambda: south.seen(north) == west.seen(north) == newest.head.size)
    north.close()
    for path in [*north.folder.iterdir()]:  # the newest twenty entries never were: the thief has disk and token
        path.unlink()
    for path in saved.iterdir():
        shutil.copy(path, north.folder / path.name)
    north.open()
    north.write(3, "invented")  # still smaller than what was seen
    north.connect()
    until(lambda: bool(south.neighbours.forks) and bool(west.neighbours.forks))
    assert "left out" in south.neighbours.condition()
    until(lambda: bool(north.neighbours.forks))  # it is told too, and writes it down
    file = Witnessed(south.folder / "neighbours.db")
    (fork, *_) = file.forks()
    file.close()
    point = SimulatedToken("", north.token_key).enrolled
    for head in (fork.one, fork.other):
        head.verify(point)
    south.leave()
    south.connect()
    until(lambda: "forked" in south.neighbours.condition())  # it is kept


def test_forged_and_foreign_messages_change_nothing(site: Site) -> None:
    north, south, west = site.gates
    newest = north.write(5)
    until(lambda: north.cosigned_by(newest) == 2)
    west.leave()
    identity = site.broker.identities[west.address.name]
    broker = site.broker
    liar = Connection(
        Link(broker.host, broker.port, broker.ca, identity.certificate, identity.key, 60, 20.0), west.address.name
    )
    liar.open()
    for topic, payload in (
        ("head", b"\xff" * 50),
        ("head", b"\x80"),
        ("head", b"\x81" + newest.encode()),
        ("wish", b"\xa0"),
        ("cosign", b"\xa0"),
        ("fork", b"\x82\x40\x40"),
        ("fork", b"\x00"),
    ):
        liar.publish(Message(west.address.topic(topic), payload))
        liar.turn(0.1)
    with suppress(DeviceError):
        for _ in range(5):
            liar.turn(0.1)
    liar.close()
    again = north.write(2)
    west.connect()
    until(lambda: north.cosigned_by(again) == 2)
    assert south.neighbours.condition() == north.neighbours.condition() == ""


def beside(folder: Path) -> list[Gate]:
    """Two gates without a network, under one policy."""
    site = cast(Site, SimpleNamespace(folder=folder))
    gates = [Gate(site, name) for name in ("north", "south")]
    logs = "\n".join(f'"{gate.address.origin}" = "{gate.name}.token.pem"' for gate in gates)
    (folder / "witnesses.toml").write_text(f'quorum = 1\nkeys = ["south.witness.pem"]\n\n[logs]\n{logs}\n')
    for gate in gates:
        gate.open()
    return gates


def listening(gate: Gate) -> Neighbours:
    policy = neighbourhood(gate.site.folder / "witnesses.toml")
    return Neighbours(gate.address, policy, gate.key, gate.checkpoints, gate.folder / "neighbours.db")


@pytest.mark.parametrize("retained", [False, True])
@pytest.mark.parametrize("number", [-1, 1 << 63, 1 << 64, 10**5000], ids=["-1", "64 bits", "65", "a lot"])
def test_numbers_without_end_from_a_neighbour_end_nothing(tmp_path: Path, number: int, retained: bool) -> None:
    """A retained one would come again with each connection, and nothing else would ever be served."""
    north, south = beside(tmp_path)
    kid, signature = key_id(_encoded(south.key.public_key())), bytes(64)
    place = {"origin": north.address.origin, "epoch": 1, "size": north.write(5).head.size}
    heard = listening(north)
    nobody = cast(Connection, SimpleNamespace(publish=lambda _: None))
    for kind, told in (
        ("wish", place | {"epoch": number}),
        ("wish", place | {"size": number}),
        ("cosign", place | {"epoch": number, "kid": kid, "at": 0, "signature": signature}),
        ("cosign", place | {"size": number, "kid": kid, "at": 0, "signature": signature}),
        ("cosign", place | {"kid": kid, "at": number, "signature": signature}),
    ):
        message = Message(south.address.topic(kind), cbor2.dumps(told, canonical=True), retain=retained)
        assert heard.hear(nobody, message)
    assert heard.condition() == ""
    heard.close()
    north.close()
    south.close()


def test_what_is_only_for_now_is_passed_over_when_it_is_retained(tmp_path: Path) -> None:
    north, south = beside(tmp_path)
    north.write(5)
    heard = listening(north)
    wish = {"origin": north.address.origin, "epoch": 0, "size": 0}
    said = cbor2.dumps(wish, canonical=True)
    out: list[Message] = []
    connection = SimpleNamespace(publish=out.append)
    assert heard.hear(cast(Connection, connection), Message(south.address.topic("wish"), said, retain=True))
    assert out == []
    assert heard.hear(cast(Connection, connection), Message(south.address.topic("wish"), said))
    assert [message.topic for message in out] == [north.address.topic("head")]
    heard.close()
    north.close()
    south.close()


def test_neighbours_are_watched_although_our_own_checkpoints_are_damaged(tmp_path: Path) -> None:
    north, south = beside(tmp_path)
    file = tmp_path / "damaged.db"
    file.write_bytes(b"no database at all" * 1000)
    policy, damaged = neighbourhood(tmp_path / "witnesses.toml"), CheckpointReader(file)
    watching = Neighbours(north.address, policy, north.key, damaged, north.folder / "neighbours.db")
    out: list[Message] = []
    connection = cast(Connection, SimpleNamespace(publish=out.append))
    watching.serve(connection)
    assert "damaged" in watching.condition()
    wish = {"origin": north.address.origin, "epoch": 0, "size": 0}
    for kind, told in (("wish", wish), ("head", [south.write(5).encode()])):
        assert watching.hear(connection, Message(south.address.topic(kind), cbor2.dumps(told, canonical=True)))
    assert [message.topic for message in out] == [north.address.topic("cosign")]
    watching.close()
    for part in (damaged, north, south):
        part.close()


def test_a_policy_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "witnesses.toml").write_text('quorum = 1\nkeys = ["absent.pem"]\n')
    with pytest.raises(DeviceError):
        neighbourhood(tmp_path / "witnesses.toml")
    with pytest.raises(DeviceError):
        witness_key(b"no key")
