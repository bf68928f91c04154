"""Faces that are painted and models that see paint: the twin of the model sessions, for tests without weights.

A painted face is a textured square with a magenta right eye, a cyan left eye, and a nose whose grey says who it is.
The twin refuses what the real models refuse: where no face is painted it finds none, and what is cut off is not found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.biometric.liveness import Cue
from edge.biometric.values import ModelSet
from edge.vision.frames import Pixels
from edge.vision.portrait import FRAMING

_RIGHT, _LEFT = (255, 0, 255), (255, 255, 0)  # BGR
_PEOPLE = 8


@dataclass(frozen=True)
class PaintedFace:
    """A painted face, found again."""

    box: tuple[float, float, float, float]
    landmarks: NDArray[np.float32] = field(repr=False)
    score: float = 0.9


def paint(canvas: Pixels, who: int, centre: tuple[int, int], eyes_px: int, light: float = 1.0) -> None:
    """Paint person number ``who`` (0 to 7) with the middle between the eyes at ``centre``, onto ``canvas``."""
    side = round(eyes_px / float(FRAMING[1, 0] - FRAMING[0, 0]))
    texture = np.random.default_rng(who).integers(90, 170, (max(2, side // 6), max(2, side // 6)), np.uint8)
    face = np.asarray(cv2.resize(texture, (side, side), interpolation=cv2.INTER_NEAREST), np.float32) * light
    face = np.repeat(np.clip(face, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)
    points = [(round(float(x) * side), round(float(y) * side)) for x, y in FRAMING]
    dot = max(2, side // 16)
    cv2.circle(face, points[0], dot, _RIGHT, -1)
    cv2.circle(face, points[1], dot, _LEFT, -1)
    cv2.circle(face, points[2], 2 * dot, (_shade(who),) * 3, -1)
    left, top = centre[0] - side // 2, centre[1] - points[0][1]
    height, width = canvas.shape[:2]
    x0, y0, x1, y1 = max(0, left), max(0, top), min(width, left + side), min(height, top + side)
    if x0 < x1 and y0 < y1:
        canvas[y0:y1, x0:x1] = face[y0 - top : y1 - top, x0 - left : x1 - left]


class PaintDetector:
    """Finds painted faces by their eyes."""

    def detect(self, image: Pixels) -> list[PaintedFace]:
        """All faces whose two eyes are in the picture."""
        rights, lefts = _dots(image, _RIGHT), _dots(image, _LEFT)
        faces = []
        for right in rights:
            if not lefts:
                break
            left = min(lefts, key=lambda dot: float(np.hypot(*(dot - right))))
            lefts = [dot for dot in lefts if dot is not left]
            side = float(np.hypot(*(left - right))) / float(FRAMING[1, 0] - FRAMING[0, 0])
            corner = (right + left) / 2 - np.array([0.5, float(FRAMING[0, 1])]) * side
            landmarks = (corner + FRAMING * side).astype(np.float32)
            faces.append(PaintedFace((float(corner[0]), float(corner[1]), side, side), landmarks))
        return faces


class PaintEmbedder:
    """Knows a painted person by the grey of the nose."""

    name = "paint-1"

    def embed(self, image: Pixels, landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
        """A vector that is the same for the same person and at right angles to everybody else's."""
        x, y = (int(v) for v in landmarks[2])
        nose = float(image[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].mean())
        vector = np.zeros(_PEOPLE, np.float32)
        vector[min(range(_PEOPLE), key=lambda who: abs(_shade(who) - nose))] = 1.0
        return vector


@dataclass(frozen=True)
class PaintSessions:
    """Stands where ``ModelSessions`` stands."""

    detector: PaintDetector = field(default_factory=PaintDetector)
    embedder: PaintEmbedder = field(default_factory=PaintEmbedder)
    attack: None = None
    motion: None = None
    same_face: float = 0.5
    cues: Mapping[str, Cue] = field(default_factory=dict)
    models: ModelSet = field(
        default_factory=lambda: ModelSet(
            "paint", {"detector": ("paint", bytes(32)), "embedder": ("paint-1", bytes(32))}
        )
    )


def _shade(who: int) -> int:
    return 16 + 32 * who


def _dots(image: Pixels, colour: tuple[int, int, int]) -> list[NDArray[np.float64]]:
    low = np.array([max(0, part - 90) for part in colour], np.uint8)
    high = np.array([min(255, part + 90) for part in colour], np.uint8)
    found, _, stats, centres = cv2.connectedComponentsWithStats(cv2.inRange(image, low, high))
    return [np.asarray(centres[i], np.float64) for i in range(1, found) if stats[i, cv2.CC_STAT_AREA] >= 4]
