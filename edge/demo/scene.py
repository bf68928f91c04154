"""The place where the demo's gate stands, and its camera: a lobby behind the gate's two wings, light, sensor noise."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.demo import layers
from edge.demo.layers import Pixels

WIDTH, HEIGHT = 1280, 720
OPENING = (330, 950)  # between the wings of the gate, pixels
_NOISE = 2.2  # standard deviation of the sensor's noise, of 255


@cache
def lobby() -> Pixels:
    """The background, out of focus: (h, w, 3)."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    wall = (
        np.array((168, 176, 180), np.float32)
        * (0.78 + 0.22 * np.exp(-(((x - 860) / 620) ** 2)) - 0.16 * y / HEIGHT)[..., None]
    )
    room = np.ascontiguousarray(wall, np.float32)
    cv2.rectangle(room, (395, 90), (560, 640), (150, 158, 160), -1)  # a door
    cv2.rectangle(room, (405, 100), (550, 640), (128, 120, 108), -1)
    cv2.rectangle(room, (690, 60), (930, 330), (226, 222, 210), -1)  # a window
    cv2.line(room, (810, 60), (810, 330), (140, 142, 140), 8)
    for _ in range(60):  # a plant below it
        at = (int(rng.normal(880, 34)), int(rng.normal(500, 52)))
        green = (int(rng.integers(60, 90)), int(rng.integers(96, 140)), int(rng.integers(70, 100)))
        cv2.ellipse(room, at, (30, 9), float(rng.uniform(0, 180)), 0, 360, green, -1)
    cv2.fillPoly(room, [np.array([(0, 640), (1280, 620), (1280, 720), (0, 720)], np.int32)], (110, 118, 126))
    room = np.asarray(cv2.GaussianBlur(room, (0, 0), 9), np.float32)
    texture = cv2.GaussianBlur(rng.normal(0, 1, (HEIGHT, WIDTH)).astype(np.float32), (0, 0), 2)
    return np.asarray(np.clip(room + 9 * texture[..., None], 0, 255), np.uint8)


@cache
def wings() -> Pixels:
    """The two wings of the gate, near the camera and soft: a layer."""
    rng = np.random.default_rng(5)
    x = np.arange(WIDTH, dtype=np.float32)
    left, right = OPENING
    rims = np.exp(-(((x - left + 22) / 9) ** 2)) + np.exp(-(((x - right - 22) / 9) ** 2))
    metal = 112 + 22 * np.cos((x - 80) / 78) + 44 * rims
    brushed = cv2.GaussianBlur(rng.normal(0, 1, (HEIGHT, WIDTH)).astype(np.float32), (0, 0), sigmaX=24, sigmaY=0.7)
    fall = 1.05 - 0.28 * np.arange(HEIGHT, dtype=np.float32) / HEIGHT
    colour = (metal[None] + 26 * brushed)[..., None] * np.array((1.02, 1.0, 0.97), np.float32) * fall[:, None, None]
    for edge in (left - 10, right + 10):  # a strip of light on each
        colour[110:610, edge - 3 : edge + 3] = (200, 232, 150)
    alpha = np.repeat(((x < left) | (x > right)).astype(np.float32)[None], HEIGHT, 0)
    _arrow(colour, (left // 2, 560))
    soft = np.asarray(cv2.GaussianBlur(alpha, (0, 0), 2.5) * 255, np.uint8)
    return layers.layer(np.asarray(cv2.GaussianBlur(np.clip(colour, 0, 255), (0, 0), 1.6), np.uint8), soft)


def _arrow(colour: NDArray[np.float32], at: tuple[int, int]) -> None:
    """A lit sign: this way."""
    x, y = at
    cv2.circle(colour, at, 46, (60, 66, 66), -1, cv2.LINE_AA)
    cv2.arrowedLine(colour, (x, y + 26), (x, y - 26), (150, 235, 160), 9, cv2.LINE_AA, tipLength=0.5)


@cache
def empty() -> Pixels:
    """The lobby between the wings, nobody there."""
    picture = lobby().copy()
    layers.over(picture, wings())
    return picture


@cache
def _grain() -> NDArray[np.int8]:
    """A stock of sensor noise, larger than a frame; any part of it may be taken."""
    grain = np.random.default_rng(11).normal(0, _NOISE, (HEIGHT + 256, WIDTH + 256, 3))
    return np.rint(grain).astype(np.int8)


def expose(picture: Pixels, rng: np.random.Generator, light: float = 1.0) -> Pixels:
    """What the sensor makes of ``picture``: exposure, fresh noise."""
    y, x = (int(n) for n in rng.integers(0, 256, 2))
    lit = picture if light == 1.0 else cv2.convertScaleAbs(picture, alpha=light)
    return np.asarray(cv2.add(lit, _grain()[y : y + HEIGHT, x : x + WIDTH], dtype=cv2.CV_8U), np.uint8)
