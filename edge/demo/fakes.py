"""Presentation attacks: a photo of the holder on paper, or on the screen of a phone, held before the camera.

Played only where the model set has a detector for them; where it has none, the demo says so instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from edge.demo import layers, people, prop
from edge.demo.layers import Pixels

_FACE_BOX = 3.1  # height of a face as detectors draw it, in eye distances
_CROP = 1.3  # side of the square that is shown, in such heights


class Medium(Enum):
    """What the photo is shown on."""

    PAPER = "paper"
    PHONE = "phone"


@dataclass(frozen=True)
class Fake:
    """A photo of somebody, held before the camera.

    Attributes:
        portrait: name in ``people.PORTRAITS``.
        medium: paper or phone.
        eyes_px: distance between the eyes in the frame, pixels.
        at: where the point between the eyes is, pixels.
        lean: degrees.
    """

    portrait: str
    medium: Medium
    eyes_px: float = 84.0
    at: tuple[float, float] = (640.0, 300.0)
    lean: float = -2.0


@cache
def figure(folder: Path, fake: Fake) -> people.Figure:
    """The photo with the hand that holds it, as the scene places people."""
    portrait = people.PORTRAITS[fake.portrait]
    half = round(portrait.eye_distance * _FACE_BOX * _CROP / 2)
    (x, y), picture = portrait.between_eyes, people.load(folder, fake.portrait)
    middle = y + 0.45 * portrait.eye_distance
    top, left = max(0, round(middle) - half), max(0, round(x) - half)
    crop = picture[top : round(middle) + half, left : round(x) + half]
    scale = fake.eyes_px / portrait.eye_distance
    shown, inset = _printed(crop, scale) if fake.medium is Medium.PAPER else _lit(crop, scale)
    height, width = shown.shape[:2]
    sheet = np.zeros((height + round(1.6 * width), width, 4), np.uint8)
    opaque = np.full((height, width), 255, np.uint8)
    layers.lay(sheet[:height], shown, opaque)
    prop.hand(sheet, (0, 0), width / prop.CARD[0] * 1.5, height)
    between = ((x - left) * scale + inset[0], (y - top) * scale + inset[1])
    return people.Figure(sheet, between, fake.eyes_px)


def _printed(crop: Pixels, scale: float) -> tuple[Pixels, tuple[int, int]]:
    """On paper: paler, with a white border."""
    small = cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    paler = np.asarray(cv2.convertScaleAbs(small, alpha=0.8, beta=30), np.uint8)
    border = max(6, round(0.06 * paler.shape[1]))
    framed = cv2.copyMakeBorder(paler, border, border, border, border, cv2.BORDER_CONSTANT, value=(225, 228, 230))
    return np.asarray(framed, np.uint8), (border, border)


def _lit(crop: Pixels, scale: float) -> tuple[Pixels, tuple[int, int]]:
    """On a phone: brighter and bluer, with the pattern of its pixels, in a black frame."""
    small = cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.float32)
    y, x = np.mgrid[: small.shape[0], : small.shape[1]].astype(np.float32)
    moire = 8 * np.sin(1.9 * x + 0.23 * y) + 6 * np.sin(2.1 * y)
    lit = np.clip(1.05 * small + moire[..., None] + np.array((10, 2, -4), np.float32), 0, 255).astype(np.uint8)
    side = max(8, round(0.05 * lit.shape[1]))
    framed = cv2.copyMakeBorder(lit, 2 * side, 2 * side, side, side, cv2.BORDER_CONSTANT, value=(14, 14, 14))
    return np.asarray(framed, np.uint8), (side, 2 * side)
