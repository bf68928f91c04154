from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from edge.bench import liveness
from edge.biometric.challenge import NOD_DEG, TURN_DEG
from edge.biometric.liveness import parallax
from edge.vision.cues import border, moire
from edge.vision.sessions import ModelSessions


def seen(sessions: ModelSessions, image: NDArray[np.uint8]) -> tuple[tuple[float, float], NDArray[np.float32]]:
    assert sessions.motion is not None
    (face,) = sessions.detector.detect(image)
    return sessions.motion.pose(image, face.box), face.landmarks


@pytest.mark.parametrize("name", ["obama3", "biden", "astronaut"])
def test_a_head_that_turns_is_seen_to_turn_and_a_print_is_not(
    name: str, standard_set: ModelSessions, models: Path
) -> None:
    folder = models / "portraits"
    (ahead, _), before = seen(standard_set, liveness.turned(folder, name, 0))
    (aside, _), after = seen(standard_set, liveness.turned(folder, name, 30))
    assert aside - ahead >= 0.9 * TURN_DEG
    assert parallax([before, after]) > 0.11
    (ahead, _), before = seen(standard_set, liveness.turned(folder, name, 0, flat=True))
    (aside, _), after = seen(standard_set, liveness.turned(folder, name, 30, flat=True))
    assert abs(aside - ahead) < 0.5 * TURN_DEG


def test_a_nod_is_seen(standard_set: ModelSessions, models: Path) -> None:
    (_, up), _ = seen(standard_set, liveness.turned(models / "portraits", "biden", 0, 15))
    (_, down), _ = seen(standard_set, liveness.turned(models / "portraits", "biden", 0, -15))
    assert abs(up - down) > NOD_DEG


def test_open_eyes_are_seen_open_and_covered_ones_closed(
    standard_set: ModelSessions, portraits: dict[str, NDArray[np.uint8]]
) -> None:
    assert standard_set.motion is not None
    image = portraits["obama"].copy()
    landmarks = standard_set.detector.detect(image)[0].landmarks
    assert standard_set.motion.eyes_open(image, landmarks) > 0.9
    distance = float(np.linalg.norm(landmarks[1] - landmarks[0]))
    for x, y in landmarks[:2]:
        below = image[int(y + 0.16 * distance) : int(y + 0.22 * distance), int(x) - 8 : int(x) + 8]
        skin = below.reshape(-1, 3).mean(0).tolist()
        cv2.ellipse(image, (int(x), int(y)), (int(0.24 * distance), int(0.11 * distance)), 0, 0, 360, skin, -1)
    assert standard_set.motion.eyes_open(image, landmarks) < 0.3


def test_each_cue_lowers_the_errors_and_raises_none(standard_set: ModelSessions, models: Path) -> None:
    assert standard_set.motion is not None
    found = liveness.measure(Console(quiet=True), models, ("obama2",))

    def rate(way: str, title: str) -> float:
        return float(found["errors"][way][title].split()[0])

    for title in ("APCER print", "APCER phone", "BPCER person"):
        assert rate("all", title) <= rate("networks", title)
    assert rate("all", "BPCER person") == 0
    assert found["cues"]["moire, phone"][0] > 1.5 > found["cues"]["moire, person"][2]


def test_a_face_too_small_to_judge_gives_no_sign() -> None:
    luma = np.full((200, 200), 90, np.uint8)
    assert moire(luma, (10, 10, 20, 20)) == 0
    assert border(luma, (0, 0, 200, 200)) == 0


def test_picture_compression_is_no_screen() -> None:
    luma = np.random.default_rng(1).integers(80, 120, (256, 256)).astype(np.uint8)
    blocks = np.kron(np.indices((32, 32)).sum(0) % 2 * 12, np.ones((8, 8), int))
    assert moire((luma + blocks).astype(np.uint8), (0, 0, 256, 256)) < 1.3
