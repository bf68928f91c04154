"""The parts of a site as processes of their own, to be killed: ``python actors.py <what> <JSON>``.

``device`` is a gate and its sealer over the real journal, ``send`` the real sender, ``collect`` the real collector.
``guard`` is sender and way in over a log in memory. ``send-on-puback`` and ``hear`` are what this program does not do:
a sender that believes the broker, and a consumer that keeps whatever reaches it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import sqlite3
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge.audit.entry import Event, Kind
from edge.audit.sealing import SealingPolicy
from edge.devices.checkpoints import CheckpointReader, SqliteCheckpoints
from edge.devices.clock import SystemClock
from edge.devices.follower import Follower
from edge.devices.journal import SqliteJournal
from edge.devices.truststore import TrustStore
from edge.errors import DeviceError
from edge.sealer import Sealer
from edge.settings import Clock
from edge.sync.batch import Batch, pack, unpack
from edge.sync.collector import Collector, signing_key
from edge.sync.connection import Connection, Link, Message
from edge.sync.sender import Pace, Sender, pinned
from edge.sync.simulated import SimulatedLog
from edge.sync.topics import SHARED, Address
from edge.sync.updates import Haste, Keeper, Updates

PACE = Pace(connect_s=0.05, connect_most_s=0.5, retry_s=0.5, retry_most_s=2.0)
GROUP = 5


class SoftwareToken:
    """A token made of a number."""

    def __init__(self, origin: str) -> None:
        number = int.from_bytes(hashlib.sha256(origin.encode()).digest(), "big") >> 1 | 1
        self._key = ec.derive_private_key(number, ec.SECP256R1())
        self.point = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.note: bytes | None = None

    async def sign(self, statement: bytes) -> bytes:
        r, s = decode_dss_signature(self._key.sign(statement, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    async def public_key(self) -> bytes:
        return self.point

    async def remember(self, note: bytes) -> None:
        self.note = note

    async def recall(self) -> bytes | None:
        return self.note


def address_of(asked: dict[str, Any]) -> Address:
    return Address(*asked["gate"].split("/"))


def link_of(asked: dict[str, Any]) -> Link:
    ca, certificate, key = (Path(asked[name]) for name in ("ca", "certificate", "key"))
    return Link("127.0.0.1", asked["port"], ca, certificate, key, keepalive_s=60, patience_s=20.0)


async def device(asked: dict[str, Any]) -> None:
    folder, address = Path(asked["folder"]), address_of(asked)
    clock = SystemClock(Clock("system", 1.0), folder / "floor")
    checkpoints, log = SqliteCheckpoints(folder / "checkpoints.db"), Follower(folder / "journal.db", 0.02)
    journal = SqliteJournal.open(folder / "journal.db", address.origin, address.gate, clock)
    policy = SealingPolicy(64, 1.0, 0.3)
    sealer = Sealer(address.origin, policy, log, checkpoints, SoftwareToken(address.origin), clock)
    async with asyncio.TaskGroup() as parts:
        parts.create_task(sealer.run())
        while log.size() < asked["entries"]:
            events = [Event(Kind.GRANTED, {"score": 9400}, subject=os.urandom(16))] * GROUP
            await journal.append_all(events[: asked["entries"] - log.size()])
            await asyncio.sleep(asked["pause_s"])
        await asyncio.Event().wait()


def send(asked: dict[str, Any]) -> None:
    folder = Path(asked["folder"])
    log, checkpoints = Follower(folder / "journal.db"), CheckpointReader(folder / "checkpoints.db")
    collector = pinned(Path(asked["collector_key"]))
    sender = Sender(address_of(asked), link_of(asked), collector, log, checkpoints, folder / "sync.db", pace=PACE)
    sender.start()
    while True:
        time.sleep(0.2)
        sender.condition()


def guard(asked: dict[str, Any]) -> None:
    """The real sender and the real way in over a log in memory; says every moment what it has, and logs to stderr."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    folder, address = Path(asked["folder"]), address_of(asked)
    log = SimulatedLog(address.origin)
    log.grow(asked["entries"])
    anchor = Path(asked["anchor"]).read_bytes()
    haste = Haste(spread_s=0, least_s=0, absent_s=0.3, again_s=0.1, again_most_s=0.3)
    updates = Updates(
        asked["repository"], lambda: Keeper(TrustStore(folder / "trust.db"), anchor, lambda: datetime.now(UTC)), haste
    )
    pace = Pace(connect_s=0.02, connect_most_s=0.05, retry_s=0.5, retry_most_s=2.0)
    collector = pinned(Path(asked["collector_key"]))
    outbox = folder / "sync.db"
    sender = Sender(address, link_of(asked), collector, log, log, outbox, pace=pace, updates=updates)
    sender.start()
    new = folder / "status.new"
    while True:
        time.sleep(0.05)
        told = {"trouble": sender.condition(), "acked": sender.position.acked, "ignored": sender.ignored}
        new.write_text(json.dumps({**told, "trust": updates.taken, "delivery": updates.trouble}))
        new.replace(folder / "status.json")


def collect(asked: dict[str, Any]) -> None:
    gates = {name: SoftwareToken(Address(*name.split("/")).origin).point for name in asked["gates"]}
    signing = signing_key(Path(asked["signing_key"]))
    collector = Collector(link_of(asked), signing, gates, Path(asked["store"]), pace=PACE)
    collector.start()
    while True:
        time.sleep(0.2)
        collector.condition()


def hear(asked: dict[str, Any]) -> None:
    base = sqlite3.connect(asked["store"], isolation_level=None)
    base.execute("PRAGMA journal_mode = WAL")
    base.execute("CREATE TABLE IF NOT EXISTS heard (origin TEXT, number INTEGER, PRIMARY KEY (origin, number))")

    def keep(message: Message) -> None:
        batch = unpack(message.payload)
        numbers = ((batch.origin, batch.first + offset) for offset in range(len(batch.entries)))
        base.executemany("INSERT OR IGNORE INTO heard VALUES (?, ?)", numbers)

    def connected(connection: Connection) -> None:
        connection.subscribe(SHARED)
        while True:
            connection.gather(0.1)
            for message in connection.take():
                keep(message)

    again_and_again(asked, "collector", connected)


def send_on_puback(asked: dict[str, Any]) -> None:
    folder, address = Path(asked["folder"]), address_of(asked)
    log, cursor = Follower(folder / "journal.db"), folder / "cursor"

    def connected(connection: Connection) -> None:
        first = int(cursor.read_text()) if cursor.exists() else 0
        while True:
            entries = log.read(first, 50)
            if entries:
                batch = Batch(address.origin, log.epoch(), first, tuple(entries))
                connection.publish(Message(address.topic("evt"), pack(batch)))
                while connection.in_flight:
                    connection.turn(0.1)
                first += len(entries)
                part = cursor.with_suffix(".new")
                part.write_text(str(first))
                part.replace(cursor)
            else:
                connection.turn(0.1)

    again_and_again(asked, address.name, connected)


def again_and_again(asked: dict[str, Any], name: str, connected: Any) -> None:
    while True:
        connection = Connection(link_of(asked), name)
        with contextlib.suppress(DeviceError):
            connection.open()
            connected(connection)
        connection.close(gracefully=False)
        time.sleep(0.1)


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    wish = json.loads(sys.argv[2])
    match sys.argv[1]:
        case "device":
            asyncio.run(device(wish))
        case "send":
            send(wish)
        case "collect":
            collect(wish)
        case "guard":
            guard(wish)
        case "hear":
            hear(wish)
        case "send-on-puback":
            send_on_puback(wish)
