"""Composed footage is what a camera would see: readable, moving, and of the people it says."""

from __future__ import annotations

import string
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.demo import footage, people, prop, scene
from edge.demo.footage import Hold, Stand
from edge.demo.layers import Pixels
from edge.demo.stage import ROOT
from edge.demo.visits import VISITS
from edge.vision.frames import BgrShot, Frame
from edge.vision.reader import CodeReader

PORTRAITS = ROOT / "models" / "portraits"


def text(length: int) -> str:
    letters = string.ascii_uppercase + string.digits
    return "".join(np.random.default_rng(3).choice(list(letters), length))


def card(length: int) -> prop.Prop:
    return prop.card(text(length), "REPUBLIC OF EXAMPLE", ("Identity card",), (206, 222, 226))


def frames_read(clip: list[Pixels], length: int) -> int:
    """In how many frames the gate's reader finds the code."""
    reader, found = CodeReader(), 0
    for number, picture in enumerate(clip):
        read = reader.look(Frame(number, number / 15, BgrShot(picture)))
        found += read is not None and text(length) in str(read)
    return found


def test_a_card_that_is_held_up_can_be_read() -> None:
    clip = footage.card_clip(card(2100), Hold(), seed=1)
    assert frames_read(clip, 2100) >= len(clip) // 2


def test_a_card_at_the_edge_of_readability_is_read_now_and_then() -> None:
    hard = next(visit for visit in VISITS if visit.name == "hard to read")
    assert 0 < frames_read(footage.card_clip(card(1500), hard.hold, seed=1) * 2, 1500) < 36


def test_a_card_in_motion_cannot_be_read() -> None:
    clip = footage.card_clip(card(1500), Hold(), seed=1)
    assert frames_read(clip[:2], 1500) == 0


def test_no_two_consecutive_frames_are_equal() -> None:
    clip = footage.face_clip(PORTRAITS, (), seed=1)
    assert all((one != other).any() for one, other in zip(clip, clip[1:] + clip[:1], strict=True))


def test_a_clip_ends_where_it_began_so_that_it_can_loop() -> None:
    clip = footage.card_clip(card(1500), Hold(), seed=1)
    steps = [float(cv2.absdiff(a, b).mean()) for a, b in zip(clip, clip[1:] + clip[:1], strict=True)]
    assert steps[-1] <= 2 * max(steps[:-1])


def test_a_frame_is_1280_by_720() -> None:
    assert scene.expose(scene.empty(), np.random.default_rng(1)).shape == (720, 1280, 3)


def test_the_eyes_are_where_the_visit_wants_them() -> None:
    figure = people.figure(PORTRAITS, "obama", 100.0)
    x, y = figure.between_eyes
    assert figure.eye_distance == 100.0
    assert figure.layer[round(y), round(x), 3] == 255, "between the eyes there is a face, not background"


@pytest.mark.parametrize("name", sorted(people.PORTRAITS))
def test_a_person_is_cut_out_along_the_outline(name: str) -> None:
    alpha = people.figure(PORTRAITS, name, 60.0).layer[..., 3]
    assert 0.25 < (alpha > 127).mean() < 0.85
    assert (alpha[: len(alpha) // 20] < 20).mean() > 0.5, "above the head there is nobody"


def test_a_missing_portrait_names_the_command_that_fetches_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="edge models pull"):
        people.load(tmp_path, "obama")


def test_two_people_are_both_in_the_picture() -> None:
    alone = footage.face_clip(PORTRAITS, (Stand("obama3", 92.0, (520.0, 300.0)),), seed=1)[9]
    both = [Stand("obama3", 92.0, (520.0, 300.0)), Stand("astronaut", 92.0, (778.0, 312.0))]
    pair = footage.face_clip(PORTRAITS, tuple(both), seed=1)[9]
    changed = cv2.absdiff(alone, pair).max(axis=2) > 40
    assert changed[:, 640:].mean() > 5 * changed[:, :520].mean()


def test_footage_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    clip = footage.face_clip(PORTRAITS, (), seed=1)
    footage.write(tmp_path / "nobody.npy", clip)
    assert [path.name for path in tmp_path.iterdir()] == ["nobody.npy"]
    assert np.load(tmp_path / "nobody.npy", mmap_mode="r").shape == (footage.FRAMES, 720, 1280, 3)
