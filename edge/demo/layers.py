"""Pictures on top of each other: what the demo composes its footage from.

A layer is (h, w, 4), 8 bit: blue, green, red already multiplied by alpha, then alpha. Whole numbers, because the
composition must keep up with a camera on a small machine.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]


def layer(colour: Pixels, alpha: Pixels) -> Pixels:
    """A layer of this colour where ``alpha`` is."""
    three = cv2.merge([alpha, alpha, alpha])
    return np.asarray(np.dstack([cv2.multiply(colour, three, scale=1 / 255), alpha]), np.uint8)


def lay(under: Pixels, colour: Pixels | Colour, alpha: Pixels) -> None:
    """Lay ``colour`` over the layer ``under`` where ``alpha`` is, in place."""
    left, top, width, height = cv2.boundingRect(alpha)
    part = np.s_[top : top + height, left : left + width]
    if isinstance(colour, tuple):
        plain = np.empty((height, width, 3), np.uint8)
        plain[:] = colour
    else:
        plain = np.ascontiguousarray(colour[part])
    over(under[part], layer(plain, np.ascontiguousarray(alpha[part])))


def over(under: Pixels, top: Pixels) -> None:
    """Lay the layer ``top`` over a layer or a plain picture of the same size, in place."""
    rest = 255 - top[..., 3]
    channels = under.shape[2]
    kept = cv2.multiply(np.ascontiguousarray(under), cv2.merge([rest] * channels), scale=1 / 255)
    under[:] = cv2.add(kept, np.ascontiguousarray(top[..., :channels]))


def soft(mask: Pixels, sigma: float) -> Pixels:
    """A mask with soft edges."""
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), sigma), np.uint8)
