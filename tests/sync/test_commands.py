"""Commands are carried in and answers out; nothing is judged here, and nothing old is passed on."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from edge.demo.broker import COLLECTOR, OPERATOR
from edge.devices.checkpoints import CheckpointReader
from edge.devices.follower import Follower
from edge.errors import DeviceError
from edge.sync.commands import LIMIT, WAITING, Desk, ask
from edge.sync.connection import Connection, Message
from edge.sync.outbox import Outbox, Position
from edge.sync.sender import Pace, Sender, pinned
from edge.sync.topics import Address

GATE = "demo/lobby/gate-1"
ADDRESS = Address("demo", "lobby", "gate-1")


def desk() -> tuple[Desk, list[tuple[bytes, Callable[[bytes], None]]]]:
    heard: list[tuple[bytes, Callable[[bytes], None]]] = []
    return Desk(ADDRESS, lambda signed, answer: heard.append((signed, answer))), heard


def command(payload: bytes = b"signed", *, retain: bool = False) -> Message:
    return Message(ADDRESS.topic("cmd"), payload, retain=retain, correlation=b"one")


def test_a_command_is_passed_on_and_its_answer_goes_back() -> None:
    made, heard = desk()
    assert made.hear(command()) == ""
    ((signed, answer),) = heard
    assert signed == b"signed"
    answer(b"done")
    answer(b"done twice")
    (out,) = made.answers()
    assert (out.topic, out.payload, out.correlation) == (ADDRESS.topic("cmd/res"), b"done", b"one")


@pytest.mark.parametrize("bad", [command(retain=True), command(b""), command(bytes(LIMIT + 1))])
def test_retained_empty_and_endless_commands_go_no_further(bad: Message) -> None:
    made, heard = desk()
    assert made.hear(bad)
    assert heard == []


def test_a_flood_of_commands_is_dropped() -> None:
    made, heard = desk()
    refused = [made.hear(command()) for _ in range(WAITING + 5)]
    assert refused.count("") == len(heard) == WAITING
    heard[0][1](b"done")
    made.answers()
    assert made.hear(command()) == ""


def test_an_operator_asks_and_the_gate_answers(site: Any, tmp_path: Any) -> None:
    def handler(signed: bytes, answer: Callable[[bytes], None]) -> None:
        threading.Timer(0.05, lambda: answer(signed[::-1])).start()  # the gate takes its time, elsewhere

    log = site.log(GATE)
    outbox = tmp_path / "sync.db"
    key = pinned(site.broker.collector_key)
    sender = Sender(ADDRESS, site.link(GATE), key, log, log, outbox, commands=handler)
    sender.start()
    try:
        while sender.condition():
            time.sleep(0.01)
        assert ask(site.link(OPERATOR), OPERATOR, ADDRESS, b"unlock", 60.0) == b"kcolnu"
        retained = Connection(site.link(OPERATOR), OPERATOR)
        retained.open()
        retained.publish(command(b"old", retain=True))
        deadline = time.monotonic() + 60
        while not sender.ignored and time.monotonic() < deadline:
            retained.turn(0.05)
        assert sender.condition() == "ignored: a retained command"
        retained.publish(command(b"", retain=True))
        while retained.in_flight:
            retained.turn(0.05)
        retained.close()
    finally:
        sender.stop()
    Outbox(outbox).close()


@pytest.mark.parametrize(("acked", "why"), [(11, "rolled back"), (10, "not those that were acknowledged")])
def test_a_command_reaches_a_gate_whose_log_is_not_the_one_that_was_acknowledged(
    site: Any, tmp_path: Any, acked: int, why: str
) -> None:
    """Nothing is sent of such a log; a lock-down comes in all the same, for as long as it takes somebody to look."""
    log, outbox = site.log(GATE, 10), tmp_path / "sync.db"
    kept = Outbox(outbox)
    kept.move(log.origin, 1, Position(acked, bytes(32), 0))
    kept.close()
    key = pinned(site.broker.collector_key)
    sender = Sender(ADDRESS, site.link(GATE), key, log, log, outbox, commands=lambda signed, say: say(signed[::-1]))
    sender.start()
    try:
        deadline = time.monotonic() + 60
        while why not in sender.condition():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert ask(site.link(OPERATOR), OPERATOR, ADDRESS, b"lock-down", 60.0) == b"nwod-kcol"
        assert why in sender.condition()
        assert sender.position.acked == acked
    finally:
        sender.stop()


@pytest.mark.parametrize("damaged", ["checkpoints", "journal"])
def test_a_command_reaches_a_gate_whose_log_cannot_be_read(site: Any, tmp_path: Any, damaged: str) -> None:
    """The gate stands; what is in force there, a lock-down say, does not wait for a technician with another card."""
    log, file = site.log(GATE, 10), tmp_path / f"{damaged}.db"
    site.collector()
    file.write_bytes(b"no database at all" * 1000)
    entries = Follower(file) if damaged == "journal" else log
    sealed = CheckpointReader(file) if damaged == "checkpoints" else log
    key, pace = pinned(site.broker.collector_key), Pace(retry_s=0.3, state_s=0.1)
    sender = Sender(
        ADDRESS,
        site.link(GATE),
        key,
        entries,
        sealed,
        tmp_path / "sync.db",
        pace=pace,
        commands=lambda signed, say: say(signed[::-1]),
    )
    sender.start()

    def comes(true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not true():
            assert time.monotonic() < deadline, sender.condition()
            time.sleep(0.01)

    try:
        comes(lambda: sender.condition().startswith(f"{damaged}: ") and "damaged" in sender.condition())
        for _ in range(3):  # on one connection, and while it is looked at again and again
            assert ask(site.link(OPERATOR), OPERATOR, ADDRESS, b"lock-down", 60.0) == b"nwod-kcol"
        assert "damaged" in sender.condition()
        watching = Connection(site.link(COLLECTOR), COLLECTOR)
        watching.open()
        watching.subscribe(ADDRESS.topic("state"))
        states: list[Message] = []

        def stands() -> bool:
            watching.turn(0.05)
            states.extend(watching.take())
            return any(json.loads(state.payload)["online"] for state in states)

        comes(stands)
        watching.close()
        file.unlink()  # set aside
        comes(lambda: not sender.condition())
        comes(lambda: sender.position.acked == entries.size())
    finally:
        sender.stop()


def test_a_gate_that_is_not_there_is_said(site: Any) -> None:
    with pytest.raises(DeviceError, match="not connected"):
        ask(site.link(OPERATOR), OPERATOR, Address("demo", "lobby", "gate-8"), b"unlock")
