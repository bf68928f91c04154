"""D19: the network lies, stops in the middle or is slow. Entries and trust arrive all the same, later."""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edge.demo.broker import COLLECTOR, HOST, PUBLISHER
from edge.devices.truststore import TrustStore
from edge.sync.connection import Connection, Message
from edge.sync.office import Office
from edge.sync.updates import Haste, Keeper, Updates, offer

GATE, OTHER = "demo/lobby/gate-1", "demo/lobby/gate-2"


def until(true: Callable[[], object], within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


class Line:
    """A line to the broker that may be slow, or swallow everything without a word."""

    def __init__(self, port: int) -> None:
        self.swallows, self.bytes_per_s, self.calls = False, 0, 0
        self._to, self._ended = port, threading.Event()
        self._door = socket.create_server((HOST, 0))
        self._door.settimeout(0.1)
        self.port = self._door.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._door.close()

    def _accept(self) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(TimeoutError):
                here, _ = self._door.accept()
                self.calls += 1
                self._threads.append(threading.Thread(target=self._carry, args=(here, self.calls)))
                self._threads[-1].start()

    def _carry(self, here: socket.socket, call: int) -> None:
        with here, socket.create_connection((HOST, self._to)) as there, contextlib.suppress(OSError):
            way = {here: there, there: here}
            while not self._ended.is_set():
                for side in select.select([here, there], [], [], 0.05)[0]:
                    came = side.recv(4096)
                    if not came:
                        return
                    if self.bytes_per_s and side is there:
                        time.sleep(len(came) / self.bytes_per_s)
                    if not (self.swallows and call == 1):  # a later connection takes another way
                        way[side].sendall(came)


@pytest.fixture
def line(site: Any) -> Iterator[Line]:
    made = Line(site.broker.port)
    yield made
    made.close()


def test_d19_a_line_that_swallows_everything_is_noticed_and_left(site: Any, line: Line) -> None:
    log = site.log(GATE, 20)
    site.collector()
    link = replace(site.link(GATE), port=line.port, keepalive_s=1, patience_s=1.0)
    sender = site.sender(GATE, link=link)
    until(lambda: sender.position.acked == 20)
    line.swallows = True  # nobody closes: half open
    log.grow(20)
    until(lambda: sender.position.acked == 40)
    assert line.calls >= 2


def test_d19_a_name_that_leads_to_somebody_else_is_not_believed_and_later_to_the_right_one(
    fragile_site: Any, false_broker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "edge.sync")
    broker, heard = fragile_site.broker, []
    fragile_site.log(GATE, 20)
    stranger = broker.authority.issue("demo/lobby/thief")  # of our own authority, but no broker's name
    broker.stop()
    with false_broker(lambda caller: heard.append(caller.recv(4096)), identity=stranger, port=broker.port):
        sender = fragile_site.sender(GATE, link=replace(fragile_site.link(GATE), host="localhost"))
        until(lambda: "not valid" in sender.condition())
        time.sleep(0.5)
    assert (heard, sender.position.acked) == ([], 0)
    broker.start()
    fragile_site.collector()
    until(lambda: sender.position.acked == 20)
    assert len([record for record in caplog.records if "not valid" in record.message]) == 1


def test_d19_a_name_that_nobody_knows_is_said(site: Any) -> None:
    site.log(GATE, 20)
    sender = site.sender(GATE, link=replace(site.link(GATE), host="broker.invalid"))
    until(lambda: "cannot be reached" in sender.condition())
    assert sender.position.acked == 0


def test_d19_a_slow_line_brings_large_files_although_each_takes_longer_than_an_absent_one(
    site: Any, line: Line, tmp_path: Path
) -> None:
    office = Office.begin(tmp_path / "office", f"r{time.monotonic_ns()}")
    iss = "https://id.example"
    office.book.withdraw(iss, [f"card-{number}" for number in range(12_000)])  # 96 KiB: two pieces
    office.publish()
    out = Connection(site.link(PUBLISHER), PUBLISHER)
    out.open()
    offer(out, office.name, office.current())
    inward = Connection(replace(site.link(GATE), port=line.port), GATE)
    inward.open()
    line.bytes_per_s = 60_000
    keeper = Keeper(TrustStore(tmp_path / "trust.db"), office.anchor(), lambda: datetime.now(UTC))
    haste = Haste(spread_s=0, least_s=0, absent_s=0.7, again_s=0.1, again_most_s=0.3)
    updates = Updates(office.name, lambda: keeper, haste)
    updates.hear()

    def taken() -> bool:
        updates.serve(inward)  # looks again where this machine, and not the line, was silent for so long
        return (updates.trouble, updates.taken) == ("", 1)

    until(taken)
    for each in (out, inward, keeper):
        each.close()


def test_a_burst_waits_at_the_broker_for_whoever_takes_slowly(site: Any) -> None:
    many, topic = 300, site.address(GATE).topic("ack")
    slow, out = Connection(site.link(GATE), GATE), Connection(site.link(COLLECTOR), COLLECTOR, queue=400)
    slow.open()
    slow.subscribe(topic)
    out.open()
    for number in range(many):
        out.publish(Message(topic, b"%d" % number))
    heard: list[bytes] = []

    def taken() -> bool:
        out.turn(0)
        for _ in range(100):  # more than the inbox holds may come between two looks into it
            slow.turn(0.001)
        heard.extend(message.payload for message in slow.take())
        return len(heard) >= many

    until(taken)
    assert heard == [b"%d" % number for number in range(many)]
    slow.close()
    out.close()


def test_d21_a_will_in_the_name_of_another_gate_is_not_spoken(site: Any) -> None:
    listening = Connection(site.link(COLLECTOR), COLLECTOR)
    listening.open()
    listening.subscribe("gates/v1/+/+/+/state")
    topic = site.address(OTHER).topic("state")
    thief = Connection(site.link(GATE), GATE, Message(topic, b'{"online": false}', retain=True))
    thief.open()
    thief.close(gracefully=False)  # the broker speaks the will now
    own = Connection(site.link(GATE), GATE, Message(site.address(GATE).topic("state"), b'{"online": false, "w": 1}'))
    own.open()
    own.close(gracefully=False)
    heard: list[Message] = []

    def spoken() -> bool:
        listening.turn(0.05)
        heard.extend(listening.take())
        return any(b'"w"' in message.payload for message in heard)

    until(spoken)  # a gate's own will comes, so the other one would have come before it
    listening.close()
    assert all(message.topic != topic or message.payload != b'{"online": false}' for message in heard)


def test_d22_a_new_authority_is_followed_without_a_restart(site: Any, tmp_path: Path) -> None:
    """The broker's authority is replaced: its file is read anew with each connection."""
    log = site.log(GATE, 20)
    site.collector()
    ca = tmp_path / "ca.pem"
    stranger = type(site.broker.authority)(tmp_path / "stranger")
    ca.write_bytes(stranger.certificate.read_bytes())  # not rotated yet at this gate
    sender = site.sender(GATE, link=replace(site.link(GATE), ca=ca))
    until(lambda: "not valid" in sender.condition())
    ca.write_bytes(site.broker.ca.read_bytes())
    until(lambda: sender.position.acked == log.size())
