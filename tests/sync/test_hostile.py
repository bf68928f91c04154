"""A broker, a gate or a certificate holder that means harm: said once, no effect, memory bounded."""

from __future__ import annotations

import logging
import random
import resource
import sqlite3
import ssl
import time
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from edge.demo.broker import COLLECTOR
from edge.errors import DeviceError
from edge.sync.batch import Batch, pack
from edge.sync.connection import Connection, Message
from edge.sync.received import counted

GATE, OTHER = "demo/lobby/gate-1", "demo/lobby/gate-2"
CONNACK = bytes.fromhex("2003000000")
SUBACK = bytes.fromhex("90040001 00 01")


def until(true: Callable[[], object], within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


def resident_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_a_packet_of_256_mb_is_not_read(site: Any, false_broker: Any) -> None:
    swallowed: list[int] = []

    def endless(caller: ssl.SSLSocket) -> None:
        caller.recv(4096)
        caller.sendall(CONNACK + b"\x30\xff\xff\xff\x7f")
        sent = 0
        try:
            while True:
                sent += caller.send(bytes(65536))
        finally:
            swallowed.append(sent)

    site.log(GATE, 10)
    before = resident_kib()
    with false_broker(endless) as link:
        sender = site.sender(GATE, link=link)
        until(lambda: len(swallowed) >= 2)
        assert "connection lost" in sender.condition()
        sender.stop()
    assert resident_kib() - before < 16 * 1024


def test_packets_of_noise_end_the_connection_and_nothing_else(site: Any, false_broker: Any) -> None:
    chance, calls = random.Random(169), [0]

    def noise(caller: ssl.SSLSocket) -> None:
        calls[0] += 1
        caller.recv(4096)
        caller.sendall(CONNACK)
        kinds = bytes(chance.choices([0x20, 0x30, 0x32, 0x40, 0x90, 0xE0, 0xF0, 0x62, 0x00], k=6))
        for kind in kinds:
            body = chance.randbytes(chance.randrange(0, 40))
            caller.sendall(bytes([kind, len(body)]) + body)
        time.sleep(0.05)

    log = site.log(GATE, 10)
    with false_broker(noise) as link:
        sender = site.sender(GATE, link=link)
        until(lambda: calls[0] >= 8)
        sender.condition()  # raises when the thread died
        assert sender.position.acked == 0
        sender.stop()
    site.collector()
    again = site.sender(GATE)
    until(lambda: again.position.acked == log.size())


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 302 Found\r\nLocation: http://portal.example/\r\n\r\n"])
def test_what_is_no_broker_is_given_up(site: Any, false_broker: Any, said: bytes) -> None:
    def portal(caller: Any) -> None:
        caller.recv(4096)
        if said:
            caller.sendall(said)
        else:
            time.sleep(1.5)

    site.log(GATE, 10)
    with false_broker(portal, tls=False) as link:
        sender = site.sender(GATE, link=link)
        until(lambda: "cannot be reached" in sender.condition())
        sender.stop()


def test_a_broker_that_says_yes_to_everything_moves_nothing(site: Any, false_broker: Any) -> None:
    taken = [0]

    def yes(caller: ssl.SSLSocket) -> None:
        caller.recv(4096)
        caller.sendall(CONNACK)
        request = caller.recv(4096)
        caller.sendall(b"\x90\x04" + request[2:4] + b"\x00\x01")
        while caller.recv(65536):
            taken[0] += 1
            for mid in range(1, 8):
                caller.sendall(b"\x40\x02" + mid.to_bytes(2, "big"))

    site.log(GATE, 500)
    with false_broker(yes) as link:
        sender = site.sender(GATE, link=link)
        until(lambda: taken[0] >= 3)
        assert sender.position.acked == 0
        sender.stop()


MANY = pytest.mark.parametrize("many", [500, pytest.param(10_000, marks=pytest.mark.slow)])


@MANY
def test_messages_of_noise_are_said_once_and_entries_still_go(
    site: Any,
    many: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "edge.sync")
    log, before = site.log(GATE, 10), resident_kib()
    sender = site.sender(GATE)
    until(lambda: sender.condition() == "no collector listens")
    noisy = Connection(site.link(COLLECTOR), COLLECTOR, queue=400)
    noisy.open()
    for number in range(many):
        noisy.publish(Message(site.address(GATE).topic("ack"), number.to_bytes(4, "big") * 16))
        while noisy.in_flight > 100:
            noisy.turn(0.05)
    while noisy.in_flight:
        noisy.turn(0.05)
    noisy.close()
    until(lambda: sender.ignored == many)
    assert len([record for record in caplog.records if "ignored" in record.message]) <= 3
    assert resident_kib() - before < 16 * 1024
    site.collector()
    until(lambda: sender.position.acked == log.size())


@MANY
def test_retained_topics_reach_nobody(site: Any, many: int) -> None:
    log = site.log(GATE, 10)
    junk = Connection(site.link(COLLECTOR), COLLECTOR, queue=400)
    junk.open()
    for payload in (b"junk", b""):  # kept, and at the end taken away again
        for number in range(many):
            junk.publish(Message(f"gates/v1/demo/lobby/junk-{number}/ack", payload, retain=True))
            while junk.in_flight > 100:
                junk.turn(0.05)
        while junk.in_flight:
            junk.turn(0.05)
        if payload:
            junk.close()
            collector, sender = site.collector(), site.sender(GATE)
            until(lambda sender=sender: sender.position.acked == log.size())  # type: ignore[misc]
            assert (sender.ignored, collector.figures.refused) == (0, 0)
            collector.stop()
            junk = Connection(site.link(COLLECTOR), COLLECTOR, queue=400)
            junk.open()
    junk.close()


def test_a_hostile_gate_fills_neither_store_nor_log_and_holds_nobody_up(
    site: Any,
    tmp_path: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR, "edge.sync")
    log, good = site.log(GATE, 300), site.log(OTHER, 300)
    collector = site.collector()
    until(lambda: collector.condition() == "")
    hostile = Connection(site.link(GATE), GATE, queue=400)
    hostile.open()
    topic = site.address(GATE).topic("evt")
    for number in range(240):
        for payload in (
            number.to_bytes(4, "big"),
            zlib.compress(bytes(2_000_000)),
            pack(Batch(log.origin, number, 7, (b"gap",))),
            pack(Batch(log.origin, 1, 0, (log.read(number % 299 + 1, 1)[0],))),
            pack(Batch(log.origin, number, 0, (), (b"no checkpoint",))),
        ):
            hostile.publish(Message(topic, payload, correlation=b"x"))
        while hostile.in_flight > 100:
            hostile.turn(0.05)
    sender = site.sender(OTHER)
    until(lambda: sender.position.acked == 300)
    until(lambda: collector.figures.gaps + collector.figures.refused == 1200)
    hostile.close()
    collector.condition()
    collector.stop()
    assert counted(tmp_path / "received.db") == {good.origin: 300}
    with sqlite3.connect(tmp_path / "received.db") as base:
        (alarms,) = base.execute("SELECT count(*) FROM alarm").fetchone()
        (logs,) = base.execute("SELECT count(*) FROM log").fetchone()
    base.close()
    assert alarms <= 201
    assert logs == 1
    assert len(caplog.records) <= 201


def test_a_message_beyond_the_brokers_limit_is_said(site: Any) -> None:
    connection = Connection(site.link(GATE), GATE)
    connection.open()
    with pytest.raises(DeviceError, match="connection"):
        connection.publish(Message(site.address(GATE).topic("evt"), bytes(300_000), correlation=b"x"))
        while connection.in_flight:
            connection.turn(0.1)
    connection.close(gracefully=False)
