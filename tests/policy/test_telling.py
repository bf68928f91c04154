"""Gates of a site tell each other who went through: authenticated, under pseudonyms, over a real broker."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.app.telling import SiteTelling
from edge.demo.broker import start as start_broker
from edge.devices.simulated import SimulatedClock
from edge.errors import Refusal
from edge.policy.checks import not_inside
from edge.policy.presence import Pass
from edge.policy.rules import Passback, Rules
from edge.policy.telling import LIMIT, MOST, Hearing, Rounds, Statement, hear, say
from edge.premises import Place, Premises
from edge.sync.connection import Connection, Link, Message
from edge.sync.telling import Telling
from edge.sync.topics import Address
from edge.trust.interval import Interval
from edge.wire import Neighbour, decode, ear

SITE_KEY = b"site key of thirty-two bytes ...."
NOW = Interval.exactly(datetime(2026, 11, 22, 12, tzinfo=UTC))
RULES = Rules(passback=Passback("hard", silent_s=60, alone="refer"))
ANNA = b"a" * 16
FULL = Statement(
    "urn:gate:demo:lobby:north",
    3,
    9,
    tuple(Pass(bytes([n]) * 16, "inside", 1_790_000_000 + n) for n in range(MOST)),
    tuple(bytes([n]) * 16 for n in range(MOST)),
)
# ruff: noqa: ASYNC110 -- what comes over a broker has no event here
Run = Callable[[Coroutine[Any, Any, Any]], Any]


def test_a_statement_is_heard_as_it_was_said_and_stays_below_its_limit() -> None:
    data = say(SITE_KEY, FULL)
    assert hear(SITE_KEY, data) == FULL
    assert len(data) < LIMIT


@given(at=st.integers(0, 2_000), bit=st.integers(0, 7))
def test_whoever_carries_it_can_change_nothing(at: int, bit: int) -> None:
    data = bytearray(say(SITE_KEY, FULL))
    data[at % len(data)] ^= 1 << bit
    with pytest.raises(Refusal):
        hear(SITE_KEY, bytes(data))


@pytest.mark.parametrize("data", [b"", b"x" * 15, b"x" * (LIMIT + 1), say(b"the key of another site .........", FULL)])
def test_what_no_gate_of_this_site_said_is_not_believed(data: bytes) -> None:
    with pytest.raises(Refusal):
        hear(SITE_KEY, data)


def test_an_old_statement_is_no_sign_of_life() -> None:
    hearing = Hearing("urn:gate:demo:lobby:south")
    assert hearing.silent_s(100.0) is None
    assert hearing.fresh(FULL, 100.0)
    assert not hearing.fresh(FULL, 150.0), "played again"
    assert hearing.silent_s(150.0) == 50.0
    assert not hearing.fresh(Statement(FULL.gate, 2, 99), 151.0), "of a boot before"
    assert hearing.fresh(Statement(FULL.gate, 4, 1), 152.0)
    assert not hearing.fresh(Statement("urn:gate:demo:lobby:south", 9, 9), 153.0), "our own"


@given(st.integers(0, 400))
def test_everything_is_said_again_in_a_few_rounds_and_what_is_new_at_once(count: int) -> None:
    rounds, known = Rounds[int](), list(range(count))
    said: set[int] = set()
    for _ in range(count // (MOST // 2) + 2):
        told = rounds.next(known)
        assert len(told) <= MOST
        assert told[-1:] == tuple(known[-1:])
        said |= set(told)
    assert said == set(known)


class Gate:
    """One gate's edge-gate and edge-sync, as far as they tell each other anything."""

    def __init__(self, folder: Path, name: str, broker: Any) -> None:
        self.address = Address("demo", "lobby", name)
        place = folder / name
        place.mkdir()
        self.said, self.heard = place / "told.sock", place / "health.sock"
        self.clock = SimulatedClock()
        self.telling = SiteTelling(SITE_KEY, self.address.origin, 1, self.said, time.monotonic, beat_s=0.2)
        self.premises = Premises(RULES, time.monotonic, Place("inside"), silent_s=self.telling.silent_s)
        self.telling.premises = self.premises
        identity = broker.identities[self.address.name]
        self.link = Link(broker.host, broker.port, broker.ca, identity.certificate, identity.key, 5, 3.0)
        self.carrying = Telling(self.address, self.said, self.heard)
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._carry)
        self.thread.start()

    def _carry(self) -> None:
        """What the sender does with it."""
        connection = Connection(self.link, self.address.name)
        connection.open()
        self.carrying.connected(connection)
        while not self.stopping.is_set():
            connection.turn(0.02)
            for message in connection.take():
                assert self.carrying.hear(connection, message)
            self.carrying.serve(connection)
        self.carrying.close()
        connection.close()

    async def listen(self) -> None:
        """What edge-gate hears."""
        with ear(self.heard) as listening:
            while True:
                message = decode(await asyncio.get_running_loop().sock_recv(listening, 8192))
                assert isinstance(message, Neighbour)
                self.telling.hear(message.said)

    def stop(self) -> None:
        self.stopping.set()
        self.thread.join(5)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Gate, Gate]]:
    names = ("north", "south")
    with ExitStack() as closing:
        broker = closing.enter_context(start_broker(tmp_path / "broker", [f"demo/lobby/{name}" for name in names]))
        north, south = (Gate(tmp_path, name, broker) for name in names)
        closing.callback(south.stop)
        closing.callback(north.stop)
        yield north, south


def test_the_same_card_at_two_gates_is_refused_at_the_second(site: tuple[Gate, Gate], run: Run) -> None:
    async def story() -> None:
        north, south = site
        tasks = [asyncio.ensure_future(part) for g in site for part in (g.listen(), g.telling.run())]
        try:
            while south.telling.silent_s() is None or north.telling.silent_s() is None:
                await asyncio.sleep(0.02)
            facts = await south.premises.facts(None, (ANNA,), NOW)
            assert (facts.alone, not_inside(RULES, facts)) == (False, None)
            began = time.monotonic()
            north.premises.passed(ANNA, NOW)
            while (await south.premises.facts(None, (ANNA,), NOW)).passed_zone is None:
                await asyncio.sleep(0.005)
            took_s = time.monotonic() - began
            facts = await south.premises.facts(None, (ANNA,), NOW)
            reason = not_inside(RULES, facts)
            assert reason is not None
            assert reason.code == "passed-before"
            assert took_s < 2.0
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    run(story())


def test_a_gate_that_hears_nobody_knows_that(run: Run) -> None:
    async def story() -> None:
        telling = SiteTelling(SITE_KEY, "urn:gate:demo:lobby:north", 1, Path("/nowhere"), lambda: 100.0)
        premises = telling.premises = Premises(RULES, lambda: 100.0, silent_s=telling.silent_s)
        facts = await premises.facts(None, (ANNA,), NOW)
        assert facts.alone is True
        telling.hear(
            say(SITE_KEY, Statement("urn:gate:demo:lobby:south", 1, 1, (Pass(ANNA, "inside", 1_795_000_000),)))
        )
        facts = await premises.facts(None, (ANNA,), NOW)
        assert facts.alone is False
        assert facts.passed_zone == "inside"
        telling.hear(b"anything at all")
        assert premises.rules is RULES

    run(story())


def test_a_retained_message_and_one_of_another_site_are_not_carried(tmp_path: Path) -> None:
    carrying = Telling(Address("demo", "lobby", "north"), tmp_path / "said", tmp_path / "heard")
    with ear(tmp_path / "heard") as listening:
        for topic, retain, payload in (
            ("gates/v1/demo/lobby/south/told", True, b"x"),
            ("gates/v1/demo/attic/south/told", False, b"x"),
            ("gates/v1/demo/lobby/north/told", False, b"x"),
            ("gates/v1/demo/lobby/south/told", False, b"x" * (LIMIT + 1)),
        ):
            assert carrying.hear(None, Message(topic, payload, retain=retain))  # type: ignore[arg-type] # not asked
            with pytest.raises(BlockingIOError):
                listening.recv(100)
        assert not carrying.hear(None, Message("gates/v1/demo/lobby/south/head", b"x"))  # type: ignore[arg-type]
        for _ in range(80):
            carrying.hear(None, Message("gates/v1/demo/lobby/south/told", b"x"))  # type: ignore[arg-type]
        came = 0
        try:
            while listening.recv(100):
                came += 1
        except BlockingIOError:
            pass
        assert 0 < came <= 100, "a flood is bounded"
    assert isinstance(listening, socket.socket)
