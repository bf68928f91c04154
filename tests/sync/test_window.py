"""What an acknowledgement is worth."""

from __future__ import annotations

import itertools
import random

import pytest

from edge.errors import Refusal
from edge.sync.batch import Ack
from edge.sync.simulated import SimulatedLog
from edge.sync.window import Window

ORIGIN = "urn:gate:demo:lobby:gate-1"
LOG = SimulatedLog(ORIGIN)
LOG.grow(1000)


def window(acked: int = 0) -> Window:
    return Window(ORIGIN, 1, acked, 0, retry_s=1, retry_most_s=8)


def ack(size: int, answers: bytes = b"", *, epoch: int = 1, root: bytes | None = None, origin: str = ORIGIN) -> Ack:
    return Ack(origin, epoch, size, LOG.root(min(size, 1000)) if root is None else root, 0, answers)


def heard(to: Window, what: Ack, now: float = 0.0) -> None:
    to.hear(what, LOG.size(), LOG.root, now)


def test_an_answer_moves_the_position() -> None:
    w = window()
    w.sent(b"a", 200, 0, 0)
    heard(w, ack(200, b"a"))
    assert (w.acked, w.on_way) == (200, 0)


def test_sending_alone_moves_nothing() -> None:
    w = window()
    w.sent(b"a", 200, 0, 0)
    assert (w.acked, w.next) == (0, 200)


@pytest.mark.parametrize(
    "false",
    [
        ack(1001, b"a"),
        ack(200, b"a", root=bytes(32)),
        ack(200, b"a", epoch=2),
        ack(200, b"a", origin="urn:gate:demo:lobby:gate-2"),
        ack(10, b"old"),
    ],
    ids=["too large", "wrong root", "other epoch", "other gate", "stale"],
)
def test_what_is_not_true_changes_nothing(false: Ack) -> None:
    w = window(acked=100)
    w.sent(b"a", 200, 0, 0)
    with pytest.raises(Refusal):
        heard(w, false)
    assert (w.acked, w.next, w.on_way) == (100, 200, 1)


def test_four_messages_are_on_their_way_at_most() -> None:
    w = window()
    for number in range(4):
        assert w.open(0)
        w.sent(bytes([number]), number + 1, 0, 0)
    assert not w.open(0)
    heard(w, ack(2, b"\x01"))
    assert w.open(0)
    assert w.on_way == 2


def test_a_gap_is_sent_again() -> None:
    w = window(acked=100)
    w.sent(b"a", 200, 0, 0)
    w.sent(b"b", 300, 0, 0)
    heard(w, ack(100, b"b"))
    assert (w.acked, w.next, w.on_way) == (100, 100, 0)


def test_a_gap_that_stays_is_tried_more_and_more_rarely() -> None:
    w, now, tries = window(acked=100), 0.0, []
    for _ in range(6):
        while not w.open(now):
            now += 0.5
        tries.append(now)
        w.sent(b"a", 200, 0, now)
        heard(w, ack(100, b"a"), now)
    pauses = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 8


def test_a_collector_that_lost_entries_gets_them_again() -> None:
    w = window(acked=500)
    w.sent(b"a", 700, 0, 0)
    heard(w, ack(300, b"a"))
    assert (w.acked, w.next, w.lost) == (500, 300, True)


def test_a_lost_position_is_found_again_at_the_collector() -> None:
    w = window(acked=0)
    w.sent(b"a", 200, 0, 0)
    heard(w, ack(900, b"a"))
    assert (w.acked, w.next) == (900, 900)


def test_a_late_answer_is_no_alarm_and_changes_nothing() -> None:
    w = window()
    w.sent(b"a", 200, 0, 0)
    assert w.overdue(1.0)
    w.sent(b"b", 300, 0, 5)
    heard(w, ack(300, b"b"))
    heard(w, ack(200, b"a"))
    heard(w, ack(300, b"b"))
    assert (w.acked, w.next) == (300, 300)


def test_silence_is_answered_by_sending_again() -> None:
    w = window()
    w.sent(b"a", 200, 0, 0)
    assert not w.overdue(0.9)
    assert w.overdue(1.0)
    assert (w.next, w.on_way) == (0, 0)
    assert not w.open(1.5)
    assert w.open(10)


def test_entries_arrive_over_a_line_that_loses_repeats_and_reorders() -> None:
    for seed in range(50):
        chance = random.Random(seed)
        w, now, collected = window(), 0.0, 0
        line: list[tuple[bytes, int, int]] = []
        answers: list[Ack] = []
        for step in range(20_000):
            now += 0.1
            w.overdue(now)
            if w.open(now) and w.next < 1000:
                name, first, end = step.to_bytes(4, "big"), w.next, min(1000, w.next + 50)
                w.sent(name, end, 0, now)
                line += [(name, first, end)] * chance.choice([0, 1, 1, 1, 2])
            if line:
                name, first, end = line.pop(chance.randrange(min(2, len(line))))
                collected = max(collected, end) if first <= collected else collected
                answers += [ack(collected, name)] * chance.choice([0, 1, 1, 2])
            if answers:
                heard(w, answers.pop(chance.randrange(min(3, len(answers)))), now)
            assert w.acked <= collected
            if w.acked == 1000:
                break
        assert w.acked == 1000, seed
