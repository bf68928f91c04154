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

from edge.app.telling import BEAT_S, HURRY_S, SiteTelling
from edge.demo.broker import start as start_broker
from edge.devices.simulated import SimulatedClock
from edge.errors import Refusal
from edge.policy.checks import not_inside
from edge.policy.faults import faults
from edge.policy.presence import Pass, Presence
from edge.policy.rules import LONGEST, Passback, Rules, Zone
from edge.policy.telling import ANSWERS, AWAY_S, LATE_S, LIMIT, MOST, WORD, Hearing, Rounds, Statement, hear, say
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
NOW_S = 1_795_348_800
FULL = Statement(
    "urn:gate:" + ":".join("n" * 48 for _ in range(3)),
    bytes(WORD),
    tuple(bytes([n]) * WORD for n in range(ANSWERS)),
    (2026 * 12 + 10, 2026 * 12 + 9),
    tuple(Pass(bytes([n]) * 16, "z" * LONGEST, NOW_S - 100_000 - n, (1 << 40) - 1 - n) for n in range(MOST)),
    1 << 36,
    tuple(bytes([n]) * 16 for n in range(MOST)),
)
SOUTH = "urn:gate:demo:lobby:south"
# ruff: noqa: ASYNC110 -- what comes over a broker has no event here
Run = Callable[[Coroutine[Any, Any, Any]], Any]


def test_a_statement_is_heard_as_it_was_said_and_stays_below_its_limit() -> None:
    data = say(SITE_KEY, FULL, NOW_S)
    heard = hear(SITE_KEY, data, NOW_S)
    assert heard == FULL
    assert [each.turn for each in heard.passes] == [each.turn for each in FULL.passes]
    assert len(data) < LIMIT


def test_what_is_told_is_how_long_ago_it_was_whatever_the_clocks_say() -> None:
    heard = hear(SITE_KEY, say(SITE_KEY, FULL, NOW_S), 1_000_000)
    assert [1_000_000 - each.at_s for each in heard.passes] == [NOW_S - each.at_s for each in FULL.passes]


def test_a_zone_whose_name_no_neighbour_would_read_is_a_fault() -> None:
    names = ("z" * LONGEST, "\u12a0" * (LONGEST // 3))
    assert not faults(Rules(zones=tuple(map(Zone, names))))
    for name in ("", "z" * (LONGEST + 1), "\u12a0" * LONGEST):
        assert any("bytes long" in fault for fault in faults(Rules(zones=(Zone(name),))))
    assert any("silent_s" in fault for fault in faults(Rules(passback=Passback("hard", silent_s=5))))
    assert not faults(Rules(passback=Passback("off", silent_s=5))), "nobody asks"


@given(at=st.integers(0, 2_000), bit=st.integers(0, 7))
def test_whoever_carries_it_can_change_nothing(at: int, bit: int) -> None:
    data = bytearray(say(SITE_KEY, FULL, NOW_S))
    data[at % len(data)] ^= 1 << bit
    with pytest.raises(Refusal):
        hear(SITE_KEY, bytes(data), NOW_S)


@pytest.mark.parametrize(
    "data", [b"", b"x" * 15, b"x" * (LIMIT + 1), say(b"the key of another site ....", FULL, NOW_S)]
)
def test_what_no_gate_of_this_site_said_is_not_believed(data: bytes) -> None:
    with pytest.raises(Refusal):
        hear(SITE_KEY, data, NOW_S)


def test_only_an_answer_is_a_sign_of_life() -> None:
    hearing = Hearing(SOUTH)
    assert hearing.silent_s(100.0) is None
    assert not hearing.answers(FULL, 100.0), "it answers nothing of ours"
    assert hearing.words() == (FULL.word,)
    hearing.said(b"our word", 101.0)
    answer = Statement(FULL.gate, b"another.", (b"our word",))
    assert not hearing.answers(Statement(SOUTH, b"another.", (b"our word",)), 102.0), "our own"
    assert hearing.answers(answer, 104.0)
    assert hearing.silent_s(104.0) == 3.0, "it was said after 101"
    assert hearing.answers(answer, 110.0)
    assert hearing.silent_s(110.0) == 9.0, "played again it is no newer"
    assert not hearing.answers(answer, 101.5 + LATE_S)
    assert hearing.words() == (b"another.",)


def test_what_was_recorded_before_a_restart_is_no_sign_of_life_after_it() -> None:
    before, after = Hearing(SOUTH), Hearing(SOUTH)
    recorded = [Statement(FULL.gate, bytes([n]) * WORD, (bytes([n]) * WORD,)) for n in range(100)]
    for number, each in enumerate(recorded):
        before.said(each.answers[0], float(number))
        assert before.answers(each, float(number))
    after.said(b"restart.", 200.0)
    assert not any(after.answers(each, 200.0) for each in recorded)
    assert after.silent_s(200.0) is None


def test_statements_played_again_between_two_gates_that_hear_each_other_part_nobody() -> None:
    """Whoever may publish for one gate of the site plays an old statement of each to the other, once per pause."""
    clock, names = SimulatedClock(), ("urn:gate:demo:lobby:north", SOUTH)
    gates = [SiteTelling(SITE_KEY, name, Path("/nowhere"), clock) for name in names]
    for gate in gates:
        gate.premises = Premises(RULES, clock.monotonic, silent_s=gate.silent_s)

    def everybody_speaks() -> list[bytes]:
        said = []
        for gate, other in (gates, gates[::-1]):
            assert gate.premises is not None
            said.append(gate.next(gate.premises))
            other.hear(said[-1])
            clock.go(BEAT_S / 2)
        return said

    recorded = [everybody_speaks() for _ in range(4)]
    clock.go(300.0)
    for _ in range(4):
        everybody_speaks()
    for old in (*recorded * 5, *(recorded[-1:] * 40)):
        gates[0].hear(old[1])
        gates[1].hear(old[0])
        recorded.append(everybody_speaks())
        for gate in gates:
            silent_s = gate.silent_s()
            assert silent_s is not None
            assert silent_s <= LATE_S
    for at in range(20):  # and what was said a moment ago, which still is an answer
        gates[0].hear(recorded[-2][1])
        gates[1].hear(recorded[-2][0])
        recorded.append(everybody_speaks())
        assert all((gate.silent_s() or 0.0) <= LATE_S for gate in gates), at


def test_a_gate_that_starts_again_is_heard_at_once_by_who_heard_it_before() -> None:
    clock, north = SimulatedClock(), "urn:gate:demo:lobby:north"
    before, after, south = (SiteTelling(SITE_KEY, name, Path("/nowhere"), clock) for name in (north, north, SOUTH))
    for gate in (before, after, south):
        gate.premises = Premises(RULES, clock.monotonic, silent_s=gate.silent_s)
    for gate in (before, after):
        assert gate.premises is not None
        assert south.premises is not None
        for _ in range(2):
            south.hear(gate.next(gate.premises))
            gate.hear(south.next(south.premises))
            clock.go(1.0)
    assert after.silent_s() is not None
    assert (south.silent_s() or 99.0) <= 2.0


def test_whoever_carries_it_reads_nobody_s_name_and_nobody_s_two_names_side_by_side() -> None:
    names = [each.subject for each in FULL.passes] + [*FULL.marks] + [FULL.gate.encode(), b"zzz"]
    data = say(SITE_KEY, FULL, NOW_S)
    assert not [name for name in names if name in data]
    again = say(SITE_KEY, Statement(FULL.gate, b"another.", passes=FULL.passes), NOW_S)
    assert again[:12] != data[:12], "a nonce is used once"
    assert not {data[at : at + 16] for at in range(len(data) - 15)} & {again[at : at + 16] for at in range(len(again))}


def test_a_gate_that_is_back_hears_everything_soon_and_then_the_pace_is_as_before() -> None:
    here = SimulatedClock()
    telling = SiteTelling(SITE_KEY, "urn:gate:demo:lobby:north", Path("/nowhere"), here)
    presence = Presence([Pass(n.to_bytes(16), "inside", NOW_S - 500) for n in range(1_000)])
    premises = telling.premises = Premises(RULES, here.monotonic, presence=presence, silent_s=telling.silent_s)

    def heard(word: bytes) -> Statement:
        told = hear(SITE_KEY, telling.next(premises), NOW_S)
        telling.hear(say(SITE_KEY, Statement(SOUTH, word, (told.word,)), NOW_S))
        return told

    assert telling.pause_s == BEAT_S, "nobody is there"
    heard(b"a word..")
    told: set[bytes] = set()
    spoken = 0
    while telling.pause_s == HURRY_S and spoken < 60:
        told |= {each.subject for each in heard(b"another.").passes}
        here.go(HURRY_S)
        spoken += 1
    assert len(told) == 1_000
    assert spoken <= 50, "half a minute"
    here.go(BEAT_S)
    heard(b"and on..")
    assert telling.pause_s == BEAT_S, "it was there all the time"
    here.go(AWAY_S + 1)
    heard(b"back....")
    assert telling.pause_s == HURRY_S


def test_a_gate_that_lost_its_log_is_heard_like_any_other() -> None:
    """Nothing is counted: whatever was lost, its next answer is an answer."""
    hearing = Hearing(SOUTH)
    for at_s in (1.0, 2.0):
        hearing.said(b"our word", at_s)
        assert hearing.answers(Statement(FULL.gate, bytes(WORD), (b"our word",)), at_s)


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


class Here(SimulatedClock):
    """A clock whose seconds pass, at a moment that stays."""

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> Interval:
        return NOW


class Gate:
    """One gate's edge-gate and edge-sync, as far as they tell each other anything."""

    def __init__(self, folder: Path, name: str, broker: Any) -> None:
        self.address = Address("demo", "lobby", name)
        place = folder / name
        place.mkdir()
        self.said, self.heard = place / "told.sock", place / "health.sock"
        self.telling = SiteTelling(SITE_KEY, self.address.origin, self.said, Here(), beat_s=0.2)
        self.premises = Premises(RULES, time.monotonic, Place("inside"), silent_s=self.telling.silent_s)
        self.telling.premises = self.premises
        identity = broker.identities[self.address.name]
        self.link = Link(broker.host, broker.port, broker.ca, identity.certificate, identity.key, 60, 20.0)
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
        self.thread.join(60)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Gate, Gate]]:
    names = ("north", "south")
    with ExitStack() as closing:
        broker = closing.enter_context(start_broker(tmp_path / "broker", [f"demo/lobby/{name}" for name in names]))
        north, south = (Gate(tmp_path, name, broker) for name in names)
        closing.callback(south.stop)
        closing.callback(north.stop)
        yield north, south


def noted(telling: SiteTelling) -> list[bytes]:
    """What it says from now on."""
    said, real = list[bytes](), telling.next

    def also(premises: Premises) -> bytes:
        said.append(real(premises))
        return said[-1]

    telling.next = also  # type: ignore[method-assign] # listened to
    return said


def test_the_same_card_at_two_gates_is_refused_at_the_second(site: tuple[Gate, Gate], run: Run) -> None:
    async def story() -> None:
        north, south = site
        tasks = [asyncio.ensure_future(part) for g in site for part in (g.listen(), g.telling.run())]
        try:
            while south.telling.silent_s() is None or north.telling.silent_s() is None:
                await asyncio.sleep(0.02)
            facts = await south.premises.facts(None, (ANNA,), NOW)
            assert (facts.alone, not_inside(RULES, facts)) == (False, None)
            said = noted(north.telling)
            north.telling._beat_s = 600  # after the next statement nothing but news is said
            while not said or north.telling.pause_s < 600:
                await asyncio.sleep(0.02)
            before = len(said)
            north.premises.passed(ANNA, NOW)
            while len(said) == before:
                await asyncio.sleep(0.005)
            assert ANNA in [each.subject for each in hear(SITE_KEY, said[before], NOW_S).passes]
            north.telling._beat_s = 0.2  # what is lost on the way is said again
            north.premises.news.set()
            while (await south.premises.facts(None, (ANNA,), NOW)).passed_zone is None:
                await asyncio.sleep(0.005)
            facts = await south.premises.facts(None, (ANNA,), NOW)
            reason = not_inside(RULES, facts)
            assert reason is not None
            assert reason.code == "passed-before"
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    run(story())


def test_a_gate_that_hears_nobody_knows_that(run: Run) -> None:
    async def story() -> None:
        telling = SiteTelling(SITE_KEY, "urn:gate:demo:lobby:north", Path("/nowhere"), SimulatedClock())
        premises = telling.premises = Premises(RULES, lambda: 100.0, silent_s=telling.silent_s)
        facts = await premises.facts(None, (ANNA,), NOW)
        assert facts.alone is True
        asked = hear(SITE_KEY, telling.next(premises), NOW_S)
        told = (Pass(ANNA, "inside", NOW_S, NOW_S),)
        telling.hear(say(SITE_KEY, Statement(SOUTH, bytes(WORD), passes=told), NOW_S))
        facts = await premises.facts(None, (ANNA,), NOW)
        assert (facts.alone, facts.passed_zone) == (True, None), "it may be a month old"
        telling.hear(say(SITE_KEY, Statement(SOUTH, bytes(WORD), (asked.word,), passes=told), NOW_S))
        facts = await premises.facts(None, (ANNA,), NOW)
        assert facts.alone is False
        assert facts.passed_zone == "inside"
        assert hear(SITE_KEY, telling.next(premises), NOW_S).answers == (bytes(WORD),)
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
