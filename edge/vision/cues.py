"""Signs of a picture that need no model: the pattern of a screen's pixels, and straight borders around the face."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.frames import Pixels
from edge.vision.models import Box

Floats = NDArray[np.float32]
_BAND = (0.12, 0.48)  # cycles a pixel: below is the face itself
_SIDE_PX = 256
_FACE_PX = 48.0  # width of the face when borders are looked for
_LEAST_STEP = 8.0  # luma a pixel, along a whole border
_BEYOND = 0.12  # of the face: how much longer than the face a border is
_TILTS = (-0.10, -0.05, 0.0, 0.05, 0.10)


def moire(luma: Pixels, box: Box) -> float:
    """How far one fine regular pattern stands out of the face: log10 of its amplitude over that of its like.

    Noise gives 0.5 to 0.8, hair and cloth up to 1.2, two grids of pixels that beat against each other 1.5 and more.
    Patterns of 8 pixels and their parts are those of picture compression and do not count.
    """
    x, y, w, h = box
    side = int(min(_SIDE_PX, w, h, *luma.shape))
    if side < 32:
        return 0.0
    left = int(min(max(x + (w - side) / 2, 0), luma.shape[1] - side))
    top = int(min(max(y + (h - side) / 2, 0), luma.shape[0] - side))
    seen = luma[top : top + side, left : left + side].astype(np.float32)
    window, ring, counts = _frequencies(seen.shape[0])
    amplitude = np.abs(np.fft.rfft2((seen - seen.mean()) * window))
    kept = ring >= 0
    levels, of = np.log(amplitude[kept] + 1e-3), ring[kept]
    typical = np.bincount(of, weights=levels, minlength=counts.size) / np.maximum(counts, 1)
    above = levels - typical[of]
    return float(above.max() / np.log(10))


@cache
def _frequencies(side: int) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    """Window, the ring of each frequency (-1 where it does not count), and how many there are in each ring."""
    hann = np.hanning(side).astype(np.float32)
    v, u = np.abs(np.fft.fftfreq(side)), np.abs(np.fft.rfftfreq(side))
    radius = np.hypot(v[:, None], u[None])
    ring = (radius * 40).astype(np.int64)
    near = 1.5 / side

    def of_compression(axis: NDArray[np.float64]) -> NDArray[np.bool_]:
        return np.abs(axis * 8 - np.round(axis * 8)) / 8 < near

    on_axis = (of_compression(v)[:, None] & (u < near)[None]) | ((v < near)[:, None] & of_compression(u)[None])
    ring[(radius < _BAND[0]) | (radius > _BAND[1]) | on_axis] = -1
    counts = np.bincount(ring[ring >= 0], minlength=int(ring.max()) + 1)
    return np.outer(hann, hann), ring, counts


def border(luma: Pixels, box: Box) -> float:
    """How straight and whole a frame around the face is, 0 to 1: the third best of its four sides.

    Two sides may be doors and walls; a sheet or a phone held up shows three at least.
    """
    x, y, w, h = box
    scale = _FACE_PX / w
    left, top = max(0, int(x - 1.3 * w)), max(0, int(y - 1.3 * h))
    seen = luma[top : int(y + 2.3 * h), left : int(x + 2.3 * w)]
    if min(seen.shape) < 16:
        return 0.0
    small = cv2.resize(seen, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    smooth = np.asarray(cv2.GaussianBlur(small, (0, 0), 0.8), np.float32)
    x, y, w, h = ((x - left) * scale, (y - top) * scale, w * scale, h * scale)
    across = np.asarray(cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8), np.float32)
    down = np.asarray(cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8), np.float32).T
    upright, level = (y - _BEYOND * h, y + (1 + _BEYOND) * h), (x - _BEYOND * w, x + (1 + _BEYOND) * w)
    sides = [
        _line(across, upright, (x - 1.2 * w, x)),
        _line(across, upright, (x + w, x + 2.2 * w)),
        _line(down, level, (y - 1.2 * h, y)),
        _line(down, level, (y + h, y + 2.2 * h)),
    ]
    return sorted(sides)[1]


def _line(steps: Floats, along: tuple[float, float], between: tuple[float, float]) -> float:
    """The best straight line in a strip: how much of it is one step of the same sign, 0 to 1."""
    rows = slice(max(0, int(along[0])), min(steps.shape[0], int(along[1])))
    columns = slice(max(0, int(between[0])), min(steps.shape[1], int(between[1])))
    strip = steps[rows, columns]
    if strip.shape[0] < 8 or strip.shape[1] < 3:
        return 0.0
    best = 0.0
    for tilt in _TILTS:
        matrix = np.array([[1, tilt, -tilt * strip.shape[0] / 2], [0, 1, 0]], np.float32)
        upright = strip if not tilt else cv2.warpAffine(strip, matrix, strip.shape[::-1])
        for sign in (1.0, -1.0):
            best = max(best, float((sign * upright >= _LEAST_STEP).mean(axis=0).max()))
    return best
