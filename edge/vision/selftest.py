"""Do the models still tell people apart? Asked at every start, with portraits whose answer is known.

A damaged file is caught by its SHA-256 before it is loaded. This catches what a digest cannot: a manifest that names
the wrong file, a runtime that computes something else on this processor, a quantised model that finds everybody alike.
Public reports have similarity near 1 for different people after quantisation, so impostor pairs matter most.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.biometric.manifest import Manifest
from edge.biometric.score import cosine
from edge.biometric.values import ReferenceKind
from edge.errors import DeviceError
from edge.vision.detector import Face
from edge.vision.fetch import PORTRAITS
from edge.vision.sessions import ModelSessions

Image = NDArray[np.uint8]
REAL_FROM = 0.5
APART_FMR = 0.01
"""Strangers must stay below the score of this rate, ten times looser than the one at which one person must match: a
model that quantisation has ruined lifts strangers long before it takes all of them for one."""
PAPER = (0.8, 30.0)
"""Contrast and brightness of a print, as a camera sees it."""


@dataclass(frozen=True)
class Outcome:
    """One question of the self-test: what was asked, the score, the threshold, and whether it came out right."""

    asked: str
    score: float
    threshold: float
    right: bool


def run(sessions: ModelSessions, manifest: Manifest, folder: Path) -> list[Outcome]:
    """Ask every question; returns the answers.

    Args:
        sessions: the models as loaded.
        manifest: says which portraits are one person's, and the threshold.
        folder: holds ``portraits/``.

    Raises:
        DeviceError: an answer is wrong, or a portrait is missing; nobody may be admitted by these models.
    """
    outcomes = answers(sessions, manifest, folder)
    wrong = [outcome for outcome in outcomes if not outcome.right]
    if wrong:
        said = "; ".join(f"{each.asked}: {each.score:.3f} against {each.threshold:.3f}" for each in wrong)
        raise DeviceError("models", f"self-test of the {sessions.models.name} set failed: {said}")
    return outcomes


def answers(sessions: ModelSessions, manifest: Manifest, folder: Path) -> list[Outcome]:
    """All answers, right or wrong.

    Raises:
        DeviceError: a portrait is missing, or no face is found in it.
    """
    test = manifest.selftest
    least = manifest.threshold(sessions.embedder.name, ReferenceKind.FULL, test.fmr)
    apart = manifest.threshold(sessions.embedder.name, ReferenceKind.FULL, max(APART_FMR, test.fmr))
    names = dict.fromkeys(name for pair in test.genuine + test.impostor for name in pair)
    seen = {name: _face(sessions, manifest, folder, name) for name in names}
    templates = {name: sessions.embedder.embed(image, face.landmarks) for name, (image, face) in seen.items()}
    outcomes = []
    for pairs, alike, threshold in ((test.genuine, True, least), (test.impostor, False, apart)):
        for a, b in pairs:
            score = cosine(templates[a], templates[b])
            asked = f"{a} and {b} {'match' if alike else 'differ'}"
            outcomes.append(Outcome(asked, score, threshold, (score >= threshold) is alike))
    if sessions.attack is not None:
        image, face = seen[test.genuine[0][0]]
        real = sessions.attack.bona_fide(image, face.box)
        outcomes.append(Outcome("a portrait passes for a person", real, REAL_FROM, real >= REAL_FROM))
        shown, box = printed(image, face.box)
        fake = sessions.attack.bona_fide(shown, box)
        outcomes.append(Outcome("its print does not", fake, REAL_FROM, fake < REAL_FROM))
    return outcomes


def printed(image: Image, box: tuple[float, float, float, float]) -> tuple[Image, tuple[float, float, float, float]]:
    """A scene in which somebody holds up a small print of this face; and where the face is in it."""
    x, y, w, h = box
    half = 0.6 * h
    left, top = max(0, int(x + w / 2 - half)), max(0, int(y + h / 2 - half))
    crop = image[top : int(y + h / 2 + half), left : int(x + w / 2 + half)]
    scale = 150 / w
    small = cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) * PAPER[0] + PAPER[1]
    border = max(6, round(0.06 * small.shape[1]))
    paper = cv2.copyMakeBorder(small, border, border, border, border, cv2.BORDER_CONSTANT, value=(225, 228, 230))
    scene = np.full((720, 1280, 3), 120, np.float32)
    row, column = (720 - paper.shape[0]) // 2, (1280 - paper.shape[1]) // 2
    scene[row : row + paper.shape[0], column : column + paper.shape[1]] = paper
    shown = cv2.GaussianBlur(scene, (0, 0), 0.8).astype(np.uint8)
    at = column + border + (x - left) * scale, row + border + (y - top) * scale
    return shown, (*at, w * scale, h * scale)


def _face(sessions: ModelSessions, manifest: Manifest, folder: Path, name: str) -> tuple[Image, Face]:
    """A portrait and the one face in it."""
    path = folder / PORTRAITS / manifest.portraits[name].file
    image = cv2.imread(str(path)) if path.is_file() else None
    if image is None:
        raise DeviceError("models", f"{path} is missing; run `edge models pull`")
    faces = sessions.detector.detect(image.astype(np.uint8, copy=False))
    if len(faces) != 1:
        raise DeviceError("models", f"self-test of the {sessions.models.name} set failed: {len(faces)} faces in {name}")
    return image.astype(np.uint8, copy=False), faces[0]
