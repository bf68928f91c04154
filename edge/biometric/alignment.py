"""Where the model expects a face: the similarity transform from five landmarks to its template.

1. Landmarks are eyes, nose, mouth corners, the person's right first (left in the picture), pixels, x then y.
2. Only turning, uniform scale and shift: a face is never sheared or mirrored into place.

Source: Umeyama, "Least-squares estimation of transformation parameters between two point patterns" (1991).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.errors import Reason, Refusal

CLOSEST_EYES_PX = 4.0
"""Landmarks nearer to each other than this are one blob, not a face."""


def eyes_px(landmarks: NDArray[np.float32]) -> float:
    """Distance between the eyes, pixels."""
    return float(np.linalg.norm(landmarks[1] - landmarks[0]))


def similarity(landmarks: NDArray[np.float32], template: NDArray[np.float32]) -> NDArray[np.float64]:
    """The turn, scale and shift that brings ``landmarks`` nearest to ``template``.

    Args:
        landmarks: (5, 2), pixels of the picture.
        template: (5, 2), pixels of the model's input.

    Returns:
        (2, 3): multiply with (x, y, 1) of the picture to get pixels of the input.

    Raises:
        Refusal: the landmarks are not those of a face (``probe-quality``).
    """
    source, target = np.asarray(landmarks, np.float64), np.asarray(template, np.float64)
    if source.shape != (5, 2) or not np.isfinite(source).all() or eyes_px(landmarks) < CLOSEST_EYES_PX:
        raise Refusal(Reason.PROBE_QUALITY, "landmarks are not those of a face")
    from_centre, to_centre = source.mean(0), target.mean(0)
    a, b = source - from_centre, target - to_centre
    # In two dimensions a turn with scale is one complex number, and least squares is one division.
    turn = np.sum(a * b)
    twist = np.sum(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
    square = np.sum(a * a)
    linear = np.array([[turn, -twist], [twist, turn]]) / square
    return np.hstack([linear, (to_centre - linear @ from_centre)[:, None]])
