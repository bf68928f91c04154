"""The people of the demo: public-domain portraits, cut out of their background.

Rules:

1. A portrait is pinned by its SHA-256 in ``models/models.toml``, so its eyes may be pinned here too: the demo needs no
   detector to place a face or to crop one for a card, and the gate's detector cannot help it to look good.
2. The face itself is never touched: no sharpening, no retouching. The person is cut out along the outline, scaled, lit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.demo import layers
from edge.demo.layers import Pixels

Point = tuple[float, float]

_MATTE_EYES_PX = 44.0  # the outline is searched at this size: fast, and fine enough for a soft edge


@dataclass(frozen=True)
class Portrait:
    """One photograph.

    Attributes:
        file: its name.
        landmarks: eyes, nose, mouth corners, the person's right first, pixels.
        hair: outline of hair that is as dark as what is behind it; empty when the outline is plain to see.
    """

    file: str
    landmarks: tuple[Point, Point, Point, Point, Point]
    hair: tuple[tuple[int, int], ...] = ()

    @property
    def eye_distance(self) -> float:
        """Pixels between the eyes."""
        (ax, ay), (bx, by) = self.landmarks[:2]
        return float(np.hypot(bx - ax, by - ay))

    @property
    def between_eyes(self) -> Point:
        """The point between the eyes."""
        (ax, ay), (bx, by) = self.landmarks[:2]
        return (ax + bx) / 2, (ay + by) / 2


_DARK_HAIR = ((220, 280), (228, 248), (247, 220), (277, 191), (312, 177), (355, 166), (405, 170), (455, 192),
    (490, 225), (512, 260), (523, 310), (515, 360), (490, 395), (440, 300), (300, 260))  # fmt: skip
PORTRAITS = {
    "obama": Portrait("obama.jpg", ((438, 210), (545, 204), (499, 276), (446, 327), (546, 323))),
    "obama2": Portrait("obama2.jpg", ((256, 365), (381, 378), (292, 443), (248, 508), (360, 521)), _DARK_HAIR),
    "obama3": Portrait("obama3.jpg", ((741, 385), (860, 389), (811, 454), (736, 511), (841, 516))),
    "biden": Portrait("biden.jpg", ((529, 322), (660, 340), (596, 409), (510, 461), (622, 478))),
    "astronaut": Portrait("astronaut.png", ((206, 97), (248, 103), (223, 127), (201, 141), (239, 146))),
}


@dataclass(frozen=True)
class Figure:
    """A person without background.

    Attributes:
        layer: the person.
        between_eyes: pixel of ``layer``.
        eye_distance: pixels.
    """

    layer: Pixels
    between_eyes: Point
    eye_distance: float


def load(folder: Path, name: str) -> Pixels:
    """The portrait as pixels, (h, w, 3), BGR.

    Raises:
        FileNotFoundError: it was not fetched yet; says which command does.
    """
    path = folder / PORTRAITS[name].file
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise FileNotFoundError(f"{path} is missing: run scripts/setup, or edge models pull")
    return np.asarray(picture, np.uint8)


@cache
def figure(folder: Path, name: str, eyes_px: float) -> Figure:
    """The person of portrait ``name``, cut out, with ``eyes_px`` between the eyes."""
    crop, between, distance = _crop(load(folder, name), PORTRAITS[name])
    alpha = _matte(folder, name)
    scale = eyes_px / distance
    size = (round(crop.shape[1] * scale), round(crop.shape[0] * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    colour = np.asarray(cv2.resize(crop, size, interpolation=way), np.uint8)
    soft = cv2.resize(alpha, size, interpolation=cv2.INTER_LINEAR)
    soft = cv2.GaussianBlur(soft, (0, 0), eyes_px / 70)
    return Figure(
        layers.layer(colour, (soft * 255).astype(np.uint8)), (between[0] * scale, between[1] * scale), eyes_px
    )


def _crop(picture: Pixels, portrait: Portrait) -> tuple[Pixels, Point, float]:
    """Head and chest, as far as the portrait goes."""
    (x, y), eye = portrait.between_eyes, portrait.eye_distance
    height, width = picture.shape[:2]
    left, right = max(0, round(x - 4.2 * eye)), min(width, round(x + 4.2 * eye))
    top, bottom = max(0, round(y - 2.6 * eye)), min(height, round(y + 5.4 * eye))
    return picture[top:bottom, left:right], (x - left, y - top), eye


@cache
def _matte(folder: Path, name: str) -> NDArray[np.float32]:
    """Where the person is in the crop, 0 to 1: GrabCut from a rough head and shoulders."""
    crop, (x, y), distance = _crop(load(folder, name), PORTRAITS[name])
    scale = _MATTE_EYES_PX / distance
    small = cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    guess = _guess(small.shape[:2], (x * scale, y * scale), _MATTE_EYES_PX)
    if hair := PORTRAITS[name].hair:
        offset = np.subtract((x, y), PORTRAITS[name].between_eyes)
        cv2.fillPoly(guess, [np.rint((np.array(hair) + offset) * scale).astype(np.int32)], cv2.GC_FGD)
    cv2.setRNGSeed(1)
    cv2.grabCut(small, guess, (0, 0, 0, 0), np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_MASK)
    person = np.isin(guess, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    _, label, stats, _ = cv2.connectedComponentsWithStats(person)
    body = (label == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(body, (0, 0), 0.8), np.float32)


def _guess(shape: tuple[int, ...], between: Point, eye: float) -> Pixels:
    """Surely the person, perhaps the person, surely not: from the proportions of a head and shoulders."""
    mask = np.full(shape, cv2.GC_BGD, np.uint8)
    _head_and_shoulders(mask, between, eye, cv2.GC_PR_BGD, (1.9, 2.5), (1.2, 1.2, 4.0, 2.7, 5.0))
    _head_and_shoulders(mask, between, eye, cv2.GC_PR_FGD, (1.45, 2.0), (0.8, 1.6, 3.6, 3.4, 3.9))
    _head_and_shoulders(mask, between, eye, cv2.GC_FGD, (0.85, 1.5), (0.4, 2.2, 2.0, 3.9, 2.2))
    return mask


def _head_and_shoulders(
    mask: Pixels, between: Point, eye: float, value: int, head: Point, body: tuple[float, float, float, float, float]
) -> None:
    """Draw one outline, in eye distances: half the head; neck and shoulder, each with its height; waist."""

    def at(x: float, y: float) -> tuple[int, int]:
        return round(between[0] + x * eye), round(between[1] + y * eye)

    cv2.ellipse(mask, at(0, 0.35), (round(head[0] * eye), round(head[1] * eye)), 0, 0, 360, value, -1)
    neck, neck_y, shoulder, shoulder_y, waist = body
    right = [(neck, neck_y), (shoulder, shoulder_y), (waist, 9.0)]
    outline = [at(x, y) for x, y in right] + [at(-x, y) for x, y in reversed(right)]
    cv2.fillPoly(mask, [np.array(outline, np.int32)], value)
