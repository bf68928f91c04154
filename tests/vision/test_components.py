"""Each component says what its name says, on real faces."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from edge.bench import quality
from edge.cli import main
from edge.demo import acting, footage, people
from edge.demo.footage import Stand
from edge.vision.components import components
from edge.vision.frames import Pixels
from edge.vision.sessions import ModelSessions

STAND = Stand("obama3", eyes_px=92.0, at=(640.0, 300.0))


def told(sessions: ModelSessions, image: Pixels) -> dict[str, int]:
    (face,) = sessions.detector.detect(image)
    return components(image, np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8), face, sessions.motion)


@pytest.fixture
def person(standard_set: ModelSessions, models: Path) -> people.Figure:
    return people.figure(models / "portraits", "obama3", 92.0)


def scene(figure: people.Figure, stand: Stand = STAND) -> Pixels:
    return footage.composed([(figure, stand)], 1)[0]


def test_eyes_that_are_closed_are_told(standard_set: ModelSessions, person: people.Figure) -> None:
    assert told(standard_set, scene(person))["eyes_open"] > 80
    assert told(standard_set, scene(acting.eyes_shut(person, "obama3")))["eyes_open"] < 20


def test_an_open_mouth_is_told_from_closed_lips_and_from_teeth(
    standard_set: ModelSessions, portraits: dict[str, NDArray[np.uint8]]
) -> None:
    found = {name: told(standard_set, portraits[name])["mouth_closed"] for name in ("obama", "obama2", "biden")}
    assert found["obama2"] < 20
    assert min(found["obama"], found["biden"]) > 80


def test_a_head_that_looks_elsewhere_is_told(standard_set: ModelSessions, person: people.Figure) -> None:
    ahead = told(standard_set, scene(person))
    aside = told(standard_set, scene(acting.turned_head(person, "obama3", 35)))
    tilted = told(standard_set, scene(person, Stand("obama3", 92.0, (640.0, 300.0), lean=25)))
    assert aside["yaw"] < ahead["yaw"] - 10
    assert tilted["roll"] < ahead["roll"] - 4


def test_blur_light_and_distance_are_told(standard_set: ModelSessions, person: people.Figure) -> None:
    clear = scene(person)
    whole = told(standard_set, clear)
    blurred = told(standard_set, np.asarray(cv2.GaussianBlur(clear, (0, 0), 4), np.uint8))
    dim = told(standard_set, np.asarray(cv2.convertScaleAbs(clear, alpha=0.15), np.uint8))
    shade = clear.copy()
    shade[:, 640:] = shade[:, 640:] // 2
    far = told(standard_set, np.asarray(cv2.resize(clear, None, fx=0.5, fy=0.5), np.uint8))
    assert blurred["sharp"] < whole["sharp"]
    assert dim["exposed"] < whole["exposed"] - 30
    assert told(standard_set, shade)["even"] < whole["even"] - 20
    assert far["size"] < whole["size"] - 30


def test_what_a_set_cannot_see_is_left_out(default_set: ModelSessions, portraits: dict[str, NDArray[np.uint8]]) -> None:
    assert {"eyes_open", "yaw", "pitch"}.isdisjoint(told(default_set, portraits["obama"]))


def test_the_command_prints_a_line_a_picture_and_whose_measures_they_are(
    models: Path, standard_set: ModelSessions, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["face", "quality", str(models / "portraits" / "obama.jpg"), "--set", "standard"]) == 0
    said = capsys.readouterr().out
    assert "eyes_open 100" in said
    assert "not OFIQ's" in said
    blank = tmp_path / "blank.png"
    cv2.imwrite(str(blank), np.full((200, 200, 3), 90, np.uint8))
    assert main(["face", "quality", str(blank), "--set", "standard"]) == 1
    assert "0 faces, one is needed" in capsys.readouterr().err


def test_several_frames_of_a_visit_score_better_than_one(standard_set: ModelSessions, models: Path) -> None:
    found = quality.measure(Console(quiet=True), models, frames=8)
    assert found["comparisons"] <= 48
    ways = found["ways"]
    assert ways["mean of all"]["lowest_percent"] > ways["the first frame"]["lowest_percent"]
    assert ways["mean of all"]["median"] > ways["the best frame by components"]["median"]
