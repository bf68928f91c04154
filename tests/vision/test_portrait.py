from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge.errors import Refusal
from edge.vision.pictures import picture
from edge.vision.portrait import FRAMING, best_side, fit_face, framed
from edge.vision.reference import template
from edge.vision.simulated import PaintDetector, PaintSessions, paint

ROOM = cv2.resize(np.random.default_rng(2).integers(60, 190, (30, 40), np.uint8), (640, 480))
PORTRAIT = np.asarray(cv2.cvtColor(ROOM, cv2.COLOR_GRAY2BGR), np.uint8)
paint(PORTRAIT, 4, (320, 220), 100)
LANDMARKS = PaintDetector().detect(PORTRAIT)[0].landmarks


@pytest.mark.parametrize("budget", [300, 400, 500, 800, 1200])
def test_a_face_keeps_within_its_bytes_and_uses_them(budget: int) -> None:
    side = best_side(budget)
    data = fit_face(PORTRAIT, LANDMARKS, side, budget)
    assert len(data) <= budget
    assert picture(data).shape == (side, side, 3)


def test_more_bytes_give_a_better_picture() -> None:
    original = framed(PORTRAIT, LANDMARKS, 64)

    def loss(budget: int) -> float:
        return float(np.abs(picture(fit_face(PORTRAIT, LANDMARKS, 64, budget)).astype(int) - original).mean())

    assert loss(2000) < loss(600)


def test_the_best_side_follows_the_budget() -> None:
    assert [best_side(budget) for budget in (300, 499, 500, 1200, 3000)] == [48, 48, 64, 64, 96]


def test_a_budget_that_cannot_be_met_says_so() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        fit_face(PORTRAIT, LANDMARKS, 96, 60)


def test_the_face_fills_the_square_and_stands_upright() -> None:
    turn = cv2.getRotationMatrix2D((320, 240), 25, 1.0)
    turned = np.asarray(cv2.warpAffine(PORTRAIT, turn, (640, 480)), np.uint8)
    points = np.hstack([LANDMARKS, np.ones((5, 1), np.float32)]) @ turn.T.astype(np.float32)
    face = framed(turned, points.astype(np.float32), 128)
    found = PaintDetector().detect(face)
    assert len(found) == 1
    assert np.allclose(found[0].landmarks, FRAMING * 128, atol=4)


def test_a_card_made_from_a_portrait_is_recognised_again() -> None:
    sessions = PaintSessions()
    card = picture(fit_face(PORTRAIT, LANDMARKS, 64, 1200))
    vector, _ = template(card, sessions)
    assert float(vector @ sessions.embedder.embed(PORTRAIT, LANDMARKS)) == pytest.approx(1.0)


def test_points_that_are_no_face_are_refused() -> None:
    with pytest.raises(Refusal):
        framed(PORTRAIT, np.zeros((5, 2), np.float32), 64)
