from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.vision.attack import surroundings
from edge.vision.selftest import printed
from edge.vision.sessions import ModelSessions


@given(st.floats(-300, 1500), st.floats(-300, 900), st.floats(8, 900), st.floats(8, 900), st.sampled_from([2.7, 4.0]))
def test_a_detector_looks_inside_the_picture_whatever_the_box(
    x: float, y: float, w: float, h: float, crop: float
) -> None:
    left, top, right, bottom = surroundings((x, y, w, h), crop, 1280, 720)
    assert 0 <= left < right < 1280
    assert 0 <= top < bottom < 720


def test_a_face_with_room_around_it_is_seen_with_all_of_it() -> None:
    left, top, right, bottom = surroundings((600, 300, 100, 120), 2.7, 1280, 720)
    assert (right - left, bottom - top) == (270, 324)
    assert (left + right) // 2 == 650


@pytest.mark.parametrize("name", ["obama", "obama2", "obama3", "biden", "astronaut"])
def test_a_portrait_passes_and_its_print_does_not(
    name: str, standard_set: ModelSessions, portraits: dict[str, NDArray[np.uint8]]
) -> None:
    assert standard_set.attack is not None
    (face,) = standard_set.detector.detect(portraits[name])
    assert standard_set.attack.bona_fide(portraits[name], face.box) > 0.7
    shown, box = printed(portraits[name], face.box)
    assert standard_set.attack.bona_fide(shown, box) < 0.3


def test_the_default_set_says_that_it_detects_no_attacks(
    default_set: ModelSessions, standard_set: ModelSessions
) -> None:
    assert default_set.attack is None
    assert not default_set.models.detects_attacks
    assert standard_set.models.detects_attacks
