from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.biometric.values import Hint, ProbeQuality
from edge.errors import Reason
from edge.vision.frames import BgrShot, Frame
from edge.vision.quality import Fault, Sighting, judge
from edge.vision.sessions import ModelSessions

Image = NDArray[np.uint8]
NAMES = ["obama", "obama2", "obama3", "biden", "astronaut"]


def judged(sessions: ModelSessions, image: Image) -> Sighting | Fault:
    faces = sessions.detector.detect(image)
    return judge(Frame(1, 0.0, BgrShot(image)), faces, ProbeQuality(eyes_px=30))


def with_mask(image: Image, landmarks: NDArray[np.float32], colour: tuple[int, int, int]) -> Image:
    """A mask over nose, mouth and chin, with the noise of a sensor."""
    distance = float(np.linalg.norm(landmarks[1] - landmarks[0]))
    nose, mouth = landmarks[2], landmarks[3:].mean(axis=0)
    upper, lower = [(-0.9, -0.15), (0, -0.35), (0.9, -0.15)], [(0.75, 0.5), (0, 0.9), (-0.75, 0.5)]
    outline = [(x, y, at) for points, at in ((upper, nose), (lower, mouth)) for x, y in points]
    corners = np.array([(at[0] + x * distance, at[1] + y * distance) for x, y, at in outline], np.int32)
    worn = cv2.fillPoly(image.copy(), [corners], colour)
    noise = np.random.default_rng(1).normal(0, 2, image.shape)
    return np.clip(worn + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", NAMES)
def test_a_bare_face_is_not_taken_for_a_covered_one(
    name: str, standard_set: ModelSessions, portraits: dict[str, Image]
) -> None:
    for light in (0.5, 1.0, 1.2):
        shown = np.clip(portraits[name] * light, 0, 255).astype(np.uint8)
        found = judged(standard_set, shown)
        assert isinstance(found, Sighting) or found.hint is not Hint.UNCOVER


@pytest.mark.parametrize("colour", [(190, 150, 90), (225, 225, 225), (30, 30, 30)])
@pytest.mark.parametrize("name", ["obama", "biden"])
def test_a_mask_is_asked_to_be_taken_off(
    name: str, colour: tuple[int, int, int], standard_set: ModelSessions, portraits: dict[str, Image]
) -> None:
    landmarks = standard_set.detector.detect(portraits[name])[0].landmarks
    found = judged(standard_set, with_mask(portraits[name], landmarks, colour))
    assert isinstance(found, Fault)
    assert (found.reason, found.hint, found.detail) == (Reason.PROBE_QUALITY, Hint.UNCOVER, "mouth covered")


@pytest.mark.parametrize("name", ["obama", "biden"])
def test_dark_glasses_are_asked_to_be_taken_off(
    name: str, standard_set: ModelSessions, portraits: dict[str, Image]
) -> None:
    image = portraits[name].copy()
    landmarks = standard_set.detector.detect(image)[0].landmarks
    distance = float(np.linalg.norm(landmarks[1] - landmarks[0]))
    for x, y in landmarks[:2]:
        cv2.ellipse(image, (int(x), int(y)), (int(0.38 * distance), int(0.28 * distance)), 0, 0, 360, (25, 22, 22), -1)
    found = judged(standard_set, image)
    assert isinstance(found, Fault)
    assert found.detail == "eyes covered"
