"""How bright a face is, and what is beside it: what the fill light's code is looked for in."""

from __future__ import annotations

import numpy as np

from edge.biometric.fill import Level
from edge.vision.frames import Pixels
from edge.vision.models import Box

_BESIDE = (0.25, 0.9)  # face widths from the face's side to the strip beside it, and to its end
_LEAST_PX = 8


def level(at: float, luma: Pixels, box: Box) -> Level | None:
    """The middle of the face, and strips at its sides; None when nothing is beside it in the picture."""
    x, y, w, h = box
    near, far = _BESIDE
    upper = (y, y + 0.7 * h)  # shoulders are as near to the light as the face
    beside = (x - far * w, x - near * w), (x + (1 + near) * w, x + (1 + far) * w)
    strips = [_part(luma, across, upper) for across in beside]
    seen = [float(strip.mean()) for strip in strips if strip.shape[1] >= _LEAST_PX and strip.size]
    face = _part(luma, (x + 0.2 * w, x + 0.8 * w), (y + 0.2 * h, y + 0.8 * h))
    if not seen or not face.size:
        return None
    return Level(at, float(face.mean()), float(np.mean(seen)))


def _part(luma: Pixels, across: tuple[float, float], down: tuple[float, float]) -> Pixels:
    rows, columns = (slice(max(0, round(first)), max(0, round(last))) for first, last in (down, across))
    return luma[rows, columns]
