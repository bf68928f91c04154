from __future__ import annotations

from itertools import product
from random import Random

import pytest

from edge.biometric.challenge import HINTS, Challenge, Pose, drawn
from edge.biometric.values import Hint, Task


def seen(at: float, yaw: float = 0, pitch: float = 0, eyes_open: float = 1, eyes_px: float = 100) -> Pose:
    return Pose(at, yaw, pitch, eyes_open, eyes_px)


ANSWERS = {
    Task.TURN_LEFT: [seen(0), seen(0.1, yaw=10), seen(0.2, yaw=20)],
    Task.TURN_RIGHT: [seen(0), seen(0.1, yaw=-10), seen(0.2, yaw=-20)],
    Task.NOD: [seen(0), seen(0.1, pitch=7), seen(0.2, pitch=-7)],
    Task.BLINK: [seen(0), seen(0.1, eyes_open=0), seen(0.2)],
    Task.CLOSER: [seen(0), seen(0.1, eyes_px=110), seen(0.2, eyes_px=130)],
}


@pytest.mark.parametrize(("task", "done"), [*product(Task, Task)])
def test_a_task_is_answered_by_what_it_asks_for_and_by_nothing_else(task: Task, done: Task) -> None:
    challenge = Challenge([task])
    for pose in ANSWERS[done]:
        challenge.see(pose)
    assert (challenge.task is None) is (task is done)
    assert challenge.done == (task is done)


def test_somebody_who_stands_askew_has_not_turned() -> None:
    challenge = Challenge([Task.TURN_LEFT])
    for number in range(10):
        challenge.see(seen(number / 30, yaw=25))
    assert challenge.task is Task.TURN_LEFT


def test_closed_eyes_for_long_are_no_blink() -> None:
    challenge = Challenge([Task.BLINK])
    for number, eyes_open in enumerate([1.0, *[0.0] * 40, 1.0]):
        challenge.see(seen(number / 30, eyes_open=eyes_open))
    assert challenge.task is Task.BLINK


def test_eyes_that_are_not_seen_open_are_asked_to_nod_instead() -> None:
    challenge = Challenge([Task.BLINK, Task.NOD])
    challenge.see(seen(0, eyes_open=0))
    assert challenge.task is Task.TURN_LEFT
    challenge = Challenge([Task.BLINK])
    challenge.see(seen(0, eyes_open=0))
    assert challenge.task is Task.NOD


def test_tasks_are_answered_one_after_another() -> None:
    challenge = Challenge([Task.NOD, Task.CLOSER])
    for pose in ANSWERS[Task.NOD]:
        challenge.see(pose)
    assert challenge.hint is HINTS[Task.CLOSER]
    for pose in ANSWERS[Task.CLOSER]:
        challenge.see(pose)
    assert challenge.task is None
    assert challenge.done == 2


def test_one_turn_the_wrong_way_counts_once_however_long() -> None:
    challenge = Challenge([Task.TURN_LEFT])
    for yaw in (0, -20, -30, -30):
        challenge.see(seen(0, yaw=yaw))
    assert challenge.mistakes == 1
    assert not challenge.failed


def test_tasks_are_drawn_without_repeating_and_all_of_them_come_up() -> None:
    draws = [drawn(2, Random(seed).sample) for seed in range(200)]
    assert all(len(set(draw)) == 2 for draw in draws)
    assert len(set(draws)) == 20
    assert drawn(0, Random(1).sample) == ()


def test_coming_back_from_a_turn_is_no_turn_the_other_way() -> None:
    challenge = Challenge([Task.TURN_LEFT, Task.TURN_RIGHT])
    for yaw in (0, 20, 35, 20, 5, 0):
        challenge.see(seen(0, yaw=yaw))
    assert challenge.done == 1
    challenge.see(seen(0, yaw=-20))
    assert challenge.done == 2


def test_between_two_tasks_the_person_is_told_to_look_ahead_again() -> None:
    challenge = Challenge([Task.TURN_LEFT, Task.NOD])
    hints = []
    for yaw in (0, 20, 35, 5):
        challenge.see(seen(0, yaw=yaw))
        hints.append(challenge.hint)
    assert hints == [Hint.TURN_LEFT, Hint.NOD, Hint.LOOK, Hint.NOD]


def test_eyes_that_are_not_seen_to_close_are_asked_to_nod_after_a_while() -> None:
    challenge = Challenge([Task.BLINK])
    for number in range(10):
        challenge.see(seen(number / 2))
    assert challenge.task is Task.NOD
    assert not challenge.done


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_somebody_whose_eyes_are_never_seen_open_gets_other_tasks_however_many_are_asked(count: int) -> None:
    for seed in range(40):
        challenge, at = Challenge(drawn(count, Random(seed).sample)), 0.0
        while (task := challenge.task) is not None and at < 600:
            for pose in (seen(0), *ANSWERS[task]):
                at += 0.2
                challenge.see(seen(at, pose.yaw, pose.pitch, 0.4, pose.eyes_px))
        assert challenge.done == count
