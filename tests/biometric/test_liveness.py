from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.biometric.liveness import NO_ANSWER, Cue, fused, light, parallax

CUES = {"moire": Cue(1.3, -6.0, 4.0, 0.0), "parallax": Cue(0.09, 40.0, 3.0, 1.0)}
FACE = np.array([[-31, 0, 0], [31, 0, 0], [0, 38, 22], [-25, 70, 0], [25, 70, 0]], np.float64)
"""Millimetres: right eye, left eye, tip of the nose, mouth corners; the last is depth."""


def turned(degrees: float, nose: float = 22.0, noise: float = 0.0, seed: int = 0) -> NDArray[np.float32]:
    """The landmarks of a head turned so far, seen from half a metre."""
    face = FACE.copy()
    face[2, 2] = nose
    a = np.radians(degrees)
    x, z = face[:, 0] * np.cos(a) + face[:, 2] * np.sin(a), face[:, 2] * np.cos(a) - face[:, 0] * np.sin(a)
    away = 500 / (500 - z)
    points = np.stack([x * away, face[:, 1] * away], axis=1) * 1.6 + 300
    return (points + np.random.default_rng(seed).normal(0, noise, points.shape)).astype(np.float32)


def test_a_nose_leaves_the_plane_of_the_face_and_a_printed_one_does_not() -> None:
    noise = 1.0  # pixels, at 100 between the eyes
    heads = [parallax([turned(d, noise=noise, seed=s + d) for d in range(0, 21, 2)]) for s in range(50)]
    prints = [parallax([turned(d, 0.0, noise, s + d) for d in range(0, 21, 2)]) for s in range(50)]
    assert min(heads) > 0.08
    assert max(prints) < 0.05


def test_a_still_face_has_no_parallax() -> None:
    assert parallax([turned(0)] * 5) == pytest.approx(0, abs=1e-4)
    assert parallax([turned(0)]) == 0


def test_no_cue_decides_alone() -> None:
    assert fused(0.999, {"moire": 9.0}, CUES) > 0.9
    assert fused(0.9, {"moire": 2.2}, CUES) < 0.5
    assert fused(0.1, {"parallax": 1.0}, CUES) < 0.5
    assert fused(0.6, {"parallax": 0.0}, CUES) < 0.5


@pytest.mark.parametrize("networks", [0.5, 0.9999, 1.0])
def test_a_face_that_leaves_the_light_without_any_answer_is_no_person_however_sure_the_networks_are(
    networks: float,
) -> None:
    cues = CUES | {"light": Cue(1.6, 3.0, 8.0, 1.0)}
    assert fused(networks, {"light": NO_ANSWER, "parallax": 0.3}, cues) == 0.0
    assert fused(networks, {"light": NO_ANSWER}, CUES) == networks, "where no light is fitted, it says nothing"


def test_what_cannot_be_seen_shifts_nothing() -> None:
    assert fused(0.7, {}, CUES) == 0.7
    assert fused(0.7, {"moire": 0.5, "unheard-of": 9.0}, CUES) == 0.7


def test_certainty_can_still_be_shaken() -> None:
    assert 0.99 < fused(1.0, {"moire": 3.0}, CUES) < 1.0
    assert 0 < fused(0.0, {"parallax": 0.3}, CUES) < 0.01


CODE = [True, False, True, True, False, False, True, False]


def levels(on: float, off: float) -> list[float]:
    random = np.random.default_rng(1)
    return [(on if lit else off) + float(random.normal(0, 0.2)) for lit in CODE]


def test_the_fill_light_brightens_a_face_more_than_the_wall_and_a_print_as_much_as_its_own_surroundings() -> None:
    person = light(CODE, levels(150, 110), levels(104, 100))
    held_up = light(CODE, levels(150, 110), levels(136, 100))
    screen = light(CODE, levels(110.1, 110), levels(104, 100))
    assert person is not None and person > 5
    assert held_up == pytest.approx(1.0, abs=0.1)
    assert screen == NO_ANSWER


def test_a_light_that_does_not_change_says_nothing() -> None:
    assert light([True] * 4, [1.0] * 4, [1.0] * 4) is None
