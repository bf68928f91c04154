"""Tasks end to end: the processes ask, the kiosk page says what, and somebody does it, something else, or nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from subprocess import CompletedProcess

import numpy as np
import pytest

from edge.biometric.values import Task
from edge.demo import acting
from edge.demo.acting import Acts
from edge.demo.fakes import Fake, Medium
from edge.demo.footage import Stand
from edge.demo.planned import under_tasks
from edge.demo.stage import ROOT, Stage, Wanted, models_of
from edge.demo.visits import VISITS
from edge.errors import Reason

WITH_TASKS = [visit for visit in VISITS if visit.needs_tasks or visit.fed_in]


@pytest.mark.timeout(1300)
def test_who_does_what_the_screen_asks_and_answers_the_light_is_admitted_and_nobody_else(
    demo: Callable[..., CompletedProcess[str]],
) -> None:
    if models_of(Wanted())[0] != "standard":
        pytest.skip("the standard set is not here")
    only = [word for visit in WITH_TASKS for word in ("--only", visit.name)]
    done = demo("--profile", "egate", "--light", *only)
    run = json.loads(done.stdout)
    assert {visit["name"]: visit["actual"] for visit in run["visits"]} == {
        "film fed in": "denied: presentation-attack",
        "does as asked": "granted, taken",
        "does nothing": "denied: task-not-done",
        "does something else": "denied: task-not-done",
    }
    film, holder, *_ = [visit["facts"] for visit in run["visits"]]
    assert holder["tasks"] == film["tasks"] == 2
    assert holder["bona_fide"] > 9000 > 5000 > film["bona_fide"]
    assert film["score"] >= film["threshold"]
    assert run["good"], done.stderr[-2000:]


def test_what_is_done_is_what_is_shown_or_something_else_or_nothing() -> None:
    for task in Task:
        assert acting.done(Acts.AS_ASKED, task.value) is task
        assert acting.done(Acts.OTHERWISE, task.value) not in (task, None)
        assert acting.done(Acts.NOTHING, task.value) is None
    assert acting.done(Acts.AS_ASKED, "look-here") is None


@pytest.mark.parametrize("task", Task)
def test_an_act_begins_at_rest_and_only_who_comes_closer_does_not_come_back(task: Task) -> None:
    first, *_, last = acting.moments(task)
    assert first == acting.Moment()
    assert (last.near > 1) is (task is Task.CLOSER)
    assert last.yaw == pytest.approx(0, abs=1e-6)
    assert last.pitch == pytest.approx(0, abs=1e-6)


def test_no_two_consecutive_frames_of_an_act_are_equal() -> None:
    stand = Stand("obama2", eyes_px=60.0)
    frames = acting.clip(ROOT / "models" / "portraits", stand, Task.BLINK, 1)
    assert all(np.any(one != other) for one, other in pairwise(frames))


def test_where_tasks_are_asked_for_a_picture_is_refused_because_it_did_nothing() -> None:
    attacks = [visit for visit in VISITS if visit.stands and isinstance(visit.stands[0], Fake)]
    assert attacks
    assert {under_tasks(visit).refused for visit in attacks} == {Reason.TASK_NOT_DONE}
    assert Fake("obama2", Medium.PAPER) == attacks[0].stands[0]


def test_a_demo_with_tasks_has_the_patience_that_they_take() -> None:
    stage = Stage(Wanted())
    assert "capture_s = 8.0" in stage._impatient("tasks = 0\ncapture_s = 20.0\n")
    assert "capture_s = 18.0" in stage._impatient("tasks = 2\ncapture_s = 20.0\n")
