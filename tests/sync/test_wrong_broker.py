"""A wrong, expired or hostile broker: logged once, without effect, memory bounded. The gate is a process of its own."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edge.demo.broker import COLLECTOR, PUBLISHER, Authority
from edge.sync.connection import Connection, Link, Message
from edge.sync.office import Office
from edge.sync.updates import PREFIX, offer

HERE = Path(__file__).resolve().parent
GATE = "demo/lobby/gate-1"
ENTRIES = 10
MOST_KIB = 6 * 1024
CONNACK = bytes.fromhex("2003000000")
MANY = 10_000


def until(true: Callable[[], object], within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


@dataclass
class Guarded:
    """A gate's sender and way in, in a process of its own, and what can be seen of it from outside."""

    running: subprocess.Popen[bytes]
    folder: Path

    def __getitem__(self, name: str) -> Any:
        path = self.folder / "status.json"
        return json.loads(path.read_text())[name] if path.exists() else ""

    def lines(self) -> list[str]:
        """What it has logged."""
        return (self.folder / "log").read_text().splitlines()

    def resident_kib(self) -> int:
        """What it has in memory."""
        status = Path(f"/proc/{self.running.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))

    def most_kib(self) -> int:
        """The most that it ever had."""
        status = Path(f"/proc/{self.running.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


@pytest.fixture
def office(tmp_path: Path) -> Office:
    made = Office.begin(tmp_path / "office", f"r{time.monotonic_ns()}")
    made.publish()
    return made


@contextmanager
def guarded(site: Any, office: Office, link: Link, folder: Path) -> Iterator[Guarded]:
    folder.mkdir()
    (folder / "anchor.json").write_bytes(office.anchor())
    asked = {
        "folder": folder,
        "gate": GATE,
        "entries": ENTRIES,
        "port": link.port,
        "ca": link.ca,
        "certificate": link.certificate,
        "key": link.key,
        "collector_key": site.broker.collector_key,
        "anchor": folder / "anchor.json",
        "repository": office.name,
    }
    words = [sys.executable, str(HERE / "actors.py"), "guard", json.dumps(asked, default=str)]
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen(words, stdin=subprocess.PIPE, stderr=log)
    try:
        yield Guarded(running, folder)
        assert running.poll() is None, (folder / "log").read_text()
    finally:
        running.kill()
        running.communicate()


def subscribed(caller: Any) -> None:
    """Say yes to a connection and to what it asks for at the beginning."""
    caller.recv(4096)
    caller.sendall(CONNACK)
    for _ in range(2):
        asked = caller.recv(4096)
        caller.sendall(b"\x90\x04" + asked[2:4] + b"\x00\x01")


def published(topic: str, payload: bytes) -> bytes:
    body = len(topic).to_bytes(2, "big") + topic.encode() + b"\x00" + payload
    return b"\x30" + bytes([len(body) % 128 | 128, len(body) // 128]) + body


class Harm:
    """What hostile brokers do with whoever connects; counts how often."""

    def __init__(self) -> None:
        self.calls, self.chance = 0, random.Random(169)

    def topics(self, caller: Any) -> None:
        """Messages that nobody asked for."""
        subscribed(caller)
        caller.settimeout(60)
        for number in range(MANY):
            caller.sendall(published(f"gates/v1/demo/hall/gate-{number}/ack", bytes(1000)))
            self.calls += 1
        while True:
            caller.sendall(b"\xd0\x00")  # alive
            time.sleep(0.5)

    def giant(self, caller: Any) -> None:
        """A packet of 256 MB."""
        subscribed(caller)
        self.calls += 1
        caller.sendall(b"\x30\xff\xff\xff\x7f")
        while True:
            caller.sendall(bytes(65536))

    def noise(self, caller: Any) -> None:
        """Packets that are none."""
        subscribed(caller)
        self.calls += 1
        for kind in self.chance.choices([0x20, 0x30, 0x32, 0x40, 0x90, 0xE0, 0xF0, 0x62, 0x00], k=6):
            body = self.chance.randbytes(self.chance.randrange(0, 40))
            caller.sendall(bytes([kind, len(body)]) + body)
        time.sleep(0.02)


@pytest.mark.parametrize("harm", ["topics", "giant", "noise"])
def test_what_a_hostile_broker_sends_is_said_once_and_changes_nothing(
    site: Any, office: Office, tmp_path: Path, false_broker: Any, harm: str
) -> None:
    hostile = Harm()
    with false_broker(getattr(hostile, harm)) as link, guarded(site, office, link, tmp_path / "gate") as gate:
        until(lambda: hostile.calls >= 5)
        before = gate.resident_kib()
        until(lambda: hostile.calls >= (MANY if harm == "topics" else 15))
        if harm == "topics":
            until(lambda: gate["ignored"] == MANY)
        assert gate.most_kib() - before < MOST_KIB
        assert (gate["acked"], gate["trust"]) == (0, 0)
        complaints = [line for line in gate.lines() if not line.startswith("INFO")]
        assert len(complaints) == len(set(complaints)) <= 2  # the second one, on a slow machine: that nobody answers
        assert len(gate.lines()) <= 3  # that it was connected, once
    assert ("ignored" if harm == "topics" else "connection lost") in complaints[0]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("of another authority", "not valid"),
        ("expired", "expired"),
        ("for another name", "not valid"),
        ("ours has expired", "lost|cannot be reached"),
        ("ours is of another authority", "lost|cannot be reached"),
    ],
)
def test_d22_a_certificate_that_is_not_good_is_said_once_and_nothing_is_sent(
    site: Any, office: Office, tmp_path: Path, false_broker: Any, wrong: str, said: str
) -> None:
    heard: list[bytes] = []
    authority, right = site.broker.authority, site.link(GATE)
    stranger = Authority(tmp_path / "stranger")
    shown = None
    if wrong == "of another authority":
        shown = stranger.issue("false broker", server=True)
    elif wrong == "expired":
        shown = authority.issue("late broker", server=True, days=-1)
    elif wrong == "for another name":
        shown = authority.issue("demo/lobby/gate-9")

    def listen(caller: Any) -> None:
        heard.append(caller.recv(4096))

    with false_broker(listen, identity=shown) as link:
        if shown is None:
            own = authority.issue("demo/lobby/late", days=-1) if "expired" in wrong else stranger.issue(GATE)
            link = Link(right.host, right.port, right.ca, own.certificate, own.key)  # to the real one
        with guarded(site, office, link, tmp_path / "gate") as gate:
            until(lambda: gate["trouble"] not in ("", "connecting"))
            time.sleep(0.5)
            before = gate.resident_kib()
            time.sleep(1.0)  # some forty attempts
            assert gate.most_kib() - before < MOST_KIB
            assert (gate["acked"], gate["trust"], heard) == (0, 0, [])
            (complaint,) = gate.lines()
    assert any(each in complaint for each in said.split("|"))


def test_d18_ten_thousand_retained_junk_topics_reach_neither_log_nor_memory(
    fragile_site: Any, office: Office, tmp_path: Path
) -> None:
    junk, out = (Connection(fragile_site.link(name), name, queue=400) for name in (COLLECTOR, PUBLISHER))
    junk.open()
    out.open()
    for number in range(MANY // 2):
        junk.publish(Message(f"gates/v1/demo/lobby/junk-{number}/ack", b"junk", retain=True))
        out.publish(Message(f"{PREFIX}/{office.name}/t/junk/{number}", b"junk", retain=True))
        while junk.in_flight > 100 or out.in_flight > 100:
            junk.turn(0.01)
            out.turn(0.01)
    junk.publish(Message(f"gates/v1/{GATE}/ack", bytes(60_000), retain=True))  # in its own place
    while junk.in_flight or out.in_flight:
        junk.turn(0.01)
        out.turn(0.01)
    junk.close()
    fragile_site.log(GATE, ENTRIES)
    with guarded(fragile_site, office, fragile_site.link(GATE), tmp_path / "gate") as gate:
        until(lambda: gate["ignored"] == 1)
        before = gate.resident_kib()
        offer(out, office.name, office.current())
        fragile_site.collector()
        until(lambda: gate["acked"] == ENTRIES and gate["trust"] == 1)
        out.close()
        assert gate.most_kib() - before < 16 * 1024  # with the framework that verifies what is trusted
        assert gate["ignored"] == 1
        complaints = [line for line in gate.lines() if not line.startswith("INFO")]
        assert len([line for line in complaints if "ignored" in line]) == 1
        assert len(gate.lines()) <= 6
