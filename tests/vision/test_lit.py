"""How a face answers the fill light's code, from the camera's pixels to the one score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.biometric.liveness import Cue
from edge.biometric.values import LightCode, ModelSet, Probe, ProbeQuality
from edge.errors import DeviceError
from edge.vision.faces import FaceReader
from edge.vision.footage import FootageCamera
from edge.vision.frames import BgrShot, Frame, Pixels
from edge.vision.lit import level
from edge.vision.models import AttackDetector, Box, MotionDetector
from edge.vision.simulated import PaintDetector, PaintEmbedder, PaintSessions, paint

CODE = LightCode(0.0, 0.2, (True, False, False, True, True, False))
CUES = {"light": Cue(neutral=1.6, weight=3.0, limit=8.0, trust=1.0)}
FPS = 30


class Sure:
    """A detector of attacks that takes everything for a person."""

    def bona_fide(self, image: Pixels, box: Box) -> float:
        return 0.99


@dataclass(frozen=True)
class Watchful:
    """Painted faces, and a detector of attacks that sees nothing."""

    attack: AttackDetector = field(default_factory=Sure)
    detector: PaintDetector = field(default_factory=PaintDetector)
    embedder: PaintEmbedder = field(default_factory=PaintEmbedder)
    motion: MotionDetector | None = None
    cues: Mapping[str, Cue] = field(default_factory=lambda: CUES)
    same_face: float = 0.5
    models: ModelSet = field(default_factory=lambda: PaintSessions().models)


def shown(number: int, face: float, wall: float) -> Frame:
    """A frame in which the light brightens face and wall by these shares, where it shines."""
    lit = CODE.lit_at(number / FPS - 0.05)
    noise = np.random.default_rng(number).integers(-2, 3, (720, 1280, 3))
    picture = np.full((720, 1280, 3), 110 * (1 + wall * lit), np.uint8)
    paint(picture, 1, (640, 300), 90, 1 + face * lit)
    return Frame(number, number / FPS, BgrShot(np.clip(picture + noise, 0, 255).astype(np.uint8)))


def probed(face: float, wall: float, code: LightCode | None = CODE) -> tuple[Probe, int]:
    search = FaceReader(Watchful()).search(replace(ProbeQuality(), light=code))
    for number in range(1, 80):
        if (found := search.look(shown(number, face, wall))) is not None:
            return found, number
    raise AssertionError("no probe")


def test_a_face_that_answers_the_light_is_a_person_s_and_a_film_that_does_not_is_none() -> None:
    person, frames = probed(face=0.3, wall=0.04)
    film, _ = probed(face=0.0, wall=0.0)
    assert person.bona_fide is not None
    assert film.bona_fide is not None
    assert person.bona_fide > 0.99
    assert film.bona_fide < 0.5
    assert frames >= CODE.period_s * FPS


def test_without_a_light_nothing_waits_for_its_code() -> None:
    film, frames = probed(face=0.0, wall=0.0, code=None)
    assert frames == 5
    assert film.bona_fide == pytest.approx(0.99)


def test_where_nothing_judges_attacks_nobody_waits_for_the_light() -> None:
    search = FaceReader(PaintSessions()).search(replace(ProbeQuality(), light=CODE))
    found = search.look(shown(1, 0.0, 0.0))
    assert found is not None
    assert found.bona_fide is None


def test_brightness_is_that_of_the_face_and_of_what_is_beside_it() -> None:
    luma = np.full((400, 600), 60, np.uint8)
    luma[100:300, 200:400] = 150
    found = level(1.0, luma, (200.0, 100.0, 200.0, 200.0))
    assert found is not None
    assert (found.face, found.around) == (150, 60)
    assert level(1.0, luma[:, 200:400], (0.0, 100.0, 200.0, 200.0)) is None
    one_side = level(1.0, luma[:, 200:], (0.0, 100.0, 200.0, 200.0))
    assert one_side is not None
    assert one_side.around == 60


def test_the_stage_s_light_falls_on_footage_that_answers_it(tmp_path: Path) -> None:
    np.save(tmp_path / "somebody.npy", np.full((2, 40, 60, 3), 100, np.uint8))
    percent = np.zeros((40, 60), np.uint8)
    percent[:, 30:] = 30
    np.save(tmp_path / "somebody.light.npy", percent)
    (tmp_path / "playing").write_text("somebody.npy loop\n")
    camera = FootageCamera(str(tmp_path), 500)
    assert set(np.unique(camera.read().colour())) == {100}
    (tmp_path / "light").write_text("1\n")
    lit = camera.read().colour()
    assert set(np.unique(lit[:, :30])) == {100}
    assert set(np.unique(lit[:, 30:])) == {130}
    (tmp_path / "light").write_text("0\n")
    assert set(np.unique(camera.read().colour())) == {100}


@pytest.mark.parametrize("percent", [np.zeros((3, 3), np.uint8), np.zeros((40, 60), np.float32)])
def test_an_answer_of_another_size_is_no_footage(tmp_path: Path, percent: NDArray[Any]) -> None:
    np.save(tmp_path / "somebody.npy", np.full((2, 40, 60, 3), 100, np.uint8))
    np.save(tmp_path / "somebody.light.npy", percent)
    (tmp_path / "playing").write_text("somebody.npy loop\n")
    with pytest.raises(DeviceError, match=r"somebody\.light\.npy"):
        FootageCamera(str(tmp_path), 500)
