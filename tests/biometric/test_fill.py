from __future__ import annotations

from random import Random

import numpy as np
import pytest

from edge.biometric.fill import SLOTS, Level, answer, drawn
from edge.biometric.liveness import NO_ANSWER
from edge.biometric.values import LightCode

CODE = LightCode(100.0, 0.2, (True, False, False, True, True, False))


def seen(
    code: LightCode = CODE,
    face: float = 0.3,
    around: float = 0.04,
    late_s: float = 0.05,
    fps: float = 15,
    count: int = 18,
) -> list[Level]:
    """What a camera sees whose frames come so late, of a face and a wall that the light brightens by these shares."""
    random = np.random.default_rng(1)
    levels = []
    for number in range(count):
        at = 100.03 + number / fps
        lit = code.lit_at(at - late_s)
        noise = random.normal(0, 0.2, 2)
        levels.append(Level(at, 110 * (1 + face * lit) + noise[0], 90 * (1 + around * lit) + noise[1]))
    return levels


@pytest.mark.parametrize("late_s", [0.0, 0.05, 0.1, 0.2, 0.3])
@pytest.mark.parametrize("fps", [15, 30])
def test_a_face_answers_the_light_however_late_its_frames_come(late_s: float, fps: float) -> None:
    said = answer(CODE, seen(late_s=late_s, fps=fps, count=round(1.2 * fps)))
    assert said is not None
    assert said > 3


def test_a_picture_answers_as_its_surroundings_do_and_a_film_not_at_all() -> None:
    assert answer(CODE, seen(face=0.3, around=0.3)) == pytest.approx(1.0, abs=0.1)
    assert answer(CODE, seen(face=0.0, around=0.0)) == NO_ANSWER
    assert answer(CODE, seen(face=0.0, around=0.2)) == NO_ANSWER


def test_an_answer_to_another_code_is_none() -> None:
    others = [drawn(100.0, Random(seed).sample) for seed in range(60)]
    wrong = [answer(CODE, seen(code)) for code in others if code.lit != CODE.lit]
    assert sum(said < 1.6 for said in wrong) > 0.6 * len(wrong)


def test_too_few_frames_are_no_answer() -> None:
    assert answer(CODE, seen(count=3)) == NO_ANSWER
    assert answer(CODE, []) == NO_ANSWER
    assert answer(CODE, [Level(100.1, 100, 100)] * 9) == NO_ANSWER


@pytest.mark.parametrize("seed", range(40))
def test_a_film_of_somebody_who_moves_answers_no_code(seed: int) -> None:
    """Its face grows brighter while it comes closer, and stands still before or after that."""
    code = drawn(100.0, Random(seed).sample)
    for begins in (0.0, 0.3, 0.6, 0.9):
        film = [
            Level(100.0 + frame / 15, 100 + 12 * min(1.0, max(0.0, frame / 15 - begins) / 0.5) + frame % 2 * 0.2, 80)
            for frame in range(20)
        ]
        assert answer(code, film) == NO_ANSWER


def test_codes_are_drawn_with_as_much_light_as_dark_and_all_of_them_come_up() -> None:
    codes = {drawn(0.0, Random(seed).sample).lit for seed in range(400)}
    assert {sum(lit) for lit in codes} == {SLOTS // 2}
    assert len(codes) == 14, "all but those in two or three pieces"


@pytest.mark.parametrize(
    ("slot_s", "lit"),
    [(0.0, (True, False)), (0.2, ()), (0.2, (True,)), (float("nan"), (True, False)), (0.2, (True,) * 65)],
)
def test_a_code_that_is_none_cannot_be_made(slot_s: float, lit: tuple[bool, ...]) -> None:
    with pytest.raises(ValueError, match="light code"):
        LightCode(0.0, slot_s, lit)
