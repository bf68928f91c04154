from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.biometric.alignment import eyes_px, similarity
from edge.errors import Reason, Refusal

TEMPLATE = np.array([[47.7, 47.1], [100.3, 47.1], [74.2, 77.2], [52.6, 107.8], [96.1, 107.6]], np.float32)


@given(st.floats(-3.1, 3.1), st.floats(0.3, 8), st.floats(-500, 500), st.floats(-500, 500))
def test_a_turned_scaled_shifted_face_comes_back_into_place(turn: float, scale: float, x: float, y: float) -> None:
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    landmarks = (TEMPLATE @ linear.T + [x, y]).astype(np.float32)
    matrix = similarity(landmarks, TEMPLATE)
    assert np.allclose(landmarks @ matrix[:, :2].T + matrix[:, 2], TEMPLATE, atol=0.02)


def test_it_is_the_least_squares_solution_of_the_definition() -> None:
    random = np.random.default_rng(3)
    landmarks = (TEMPLATE * 2 + random.normal(0, 6, TEMPLATE.shape)).astype(np.float32)
    rows, targets = [], []
    for (x, y), (u, v) in zip(landmarks.tolist(), TEMPLATE.tolist(), strict=True):
        rows += [[x, -y, 1, 0], [y, x, 0, 1]]
        targets += [u, v]
    a, b, tx, ty = np.linalg.lstsq(np.array(rows), np.array(targets), rcond=None)[0]
    assert np.allclose(similarity(landmarks, TEMPLATE), [[a, -b, tx], [b, a, ty]], atol=1e-4)


def test_opencv_finds_the_same_transform_when_nothing_is_in_doubt() -> None:
    landmarks = (TEMPLATE * 3 + 20).astype(np.float32)
    independent, _ = cv2.estimateAffinePartial2D(landmarks, TEMPLATE)
    assert np.allclose(similarity(landmarks, TEMPLATE), independent, atol=1e-3)


def test_the_distance_between_the_eyes() -> None:
    assert eyes_px(TEMPLATE) == pytest.approx(52.6, abs=1e-4)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_landmarks_that_are_no_face_are_refused(value: float) -> None:
    with pytest.raises(Refusal) as caught:
        similarity(np.full((5, 2), value, np.float32), TEMPLATE)
    assert caught.value.reason is Reason.PROBE_QUALITY
