"""D20: a broker that comes back is not overrun by the gates that lost it."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.demo import broker as brokers
from edge.settings import load
from edge.sync.pauses import Pauses
from edge.sync.received import counted
from edge.sync.sender import Pace, Sender, pinned

CONFIG = Path(__file__).resolve().parents[2] / "config" / "edge.toml"
GATES = tuple(f"demo/lobby/gate-{number}" for number in range(1, 31))


def until(true: Callable[[], object], within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


@given(
    first=st.floats(0, 120),
    step=st.floats(0.01, 10),
    most=st.floats(0.01, 900),
    stood=st.lists(st.booleans(), max_size=40),
    dice=st.randoms(use_true_random=False),
)
def test_d20_each_pause_is_a_random_part_of_what_the_failures_before_it_allow(
    first: float, step: float, most: float, stood: list[bool], dice: random.Random
) -> None:
    asked: list[tuple[float, float]] = []

    def noted(least: float, greatest: float) -> float:
        asked.append((least, greatest))
        return dice.uniform(least, greatest)

    pauses, failures = Pauses(first, step, most, noted), 0
    assert 0 <= pauses.first() <= first
    for each in stood:
        failures = 0 if each else failures + 1
        allowed = max(first, min(most, step * 2**failures))
        assert 0 <= pauses.after(stood=each) <= allowed
        assert asked[-1] == (0.0, allowed)  # from nothing on: every gate has its own moment


@pytest.mark.parametrize("dead_s", [0, 5, 60, 600, 7200])
def test_d20_a_thousand_gates_that_lost_their_broker_come_back_spread_out(dead_s: float) -> None:
    """By the default pace, whether the broker is away for a moment or for hours."""
    dice, pace = random.Random(169), Pace(first_s=load(CONFIG).mqtt.spread_s)
    seconds: Counter[int] = Counter()
    for _ in range(1000):
        pauses = Pauses(pace.first_s, pace.connect_s, pace.connect_most_s, dice.uniform)
        at = pauses.after(stood=True)
        while at < dead_s:
            at += pauses.after(stood=False)
        seconds[int(at)] += 1
    assert max(seconds.values()) < 60  # of 1,000 in the worst second


def test_d20_the_first_connection_comes_at_a_random_moment_too(site: Any, tmp_path: Path) -> None:
    """The power of a whole town comes back: all gates start in the same second."""
    pace, key = Pace(first_s=1.5, connect_s=0.05, connect_most_s=0.4), pinned(site.broker.collector_key)
    senders, waits = [], list[Waits]()
    for name in GATES[:8]:
        log = site.log(name, 1)
        outbox = tmp_path / name / "sync.db"
        senders.append(Sender(site.address(name), site.link(name), key, log, log, outbox, pace=pace))
        waits.append(Waits.of(senders[-1]))
    for sender in senders:
        sender.start()
    until(lambda: all(sender.condition() != "connecting" for sender in senders))
    for sender in senders:
        sender.stop()
    first = [each.asked[0] for each in waits]
    assert 0 <= min(first) <= max(first) <= 1.5
    assert max(first) - min(first) > 0.1


class Waits(threading.Event):
    """How long a sender means to wait, each time: what it asks for is its own, what it gets is the machine's."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float] = []

    @classmethod
    def of(cls, sender: Sender) -> Waits:
        """Put into a sender that is not started yet."""
        made = cls()
        sender._stopping = made
        return made

    def wait(self, timeout: float | None = None) -> bool:
        self.asked.append(timeout or 0.0)
        return super().wait(timeout)


def test_d20_gates_of_a_broker_that_dies_knock_one_by_one_and_lose_nothing(site: Any, tmp_path: Path) -> None:
    pace = Pace(connect_s=0.6, connect_most_s=1.2, retry_s=0.5, state_s=5.0, first_s=1.2)
    with brokers.start(tmp_path / "broker", GATES) as broker:
        storm = type(site)(broker, tmp_path)
        logs = {name: storm.log(name, 5) for name in GATES}
        storm.collector()
        key = pinned(broker.collector_key)
        senders = [
            Sender(storm.address(name), storm.link(name), key, log, log, tmp_path / name / "sync.db", pace=pace)
            for name, log in logs.items()
        ]
        waits = [Waits.of(sender) for sender in senders]
        for sender in senders:
            sender.start()
        until(lambda: all(sender.position.acked == 5 for sender in senders))
        before = [len(each.asked) for each in waits]
        broker.kill()
        until(lambda: all(len(each.asked) >= told + 3 for each, told in zip(waits, before, strict=True)))
        for name in GATES:
            storm.log(name, 5)
        broker.start()
        until(lambda: all(sender.position.acked == 10 for sender in senders))
        for sender in senders:
            sender.stop()
        storm.end()
    came = [at for each, told in zip(waits, before, strict=True) for at in accumulate(each.asked[told : told + 3])]
    assert max(sum(start <= at < start + 0.2 for at in came) for start in came) < 0.5 * len(came)
    assert set(counted(tmp_path / "received.db").values()) == {10}
