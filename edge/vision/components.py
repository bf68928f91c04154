"""How good a face is, component by component: our own measures, 0 (useless) to 100, after the names of ISO/IEC 29794-5.

None of them is OFIQ's, and none was compared with it. They need no model but the two small ones for tasks; where a set
has none, what they would say is missing.

1. size: 90 pixels between the eyes. sharp: variance of the Laplacian of 200 on the aligned face.
2. exposed: share of the aligned face that is neither black (luma to 25) nor white (from 247). even: the darker side
   against the brighter one.
3. yaw, pitch, roll: squared cosine, so that 20 degrees still give 88.
4. eyes_open: probability of the surer eye; narrow eyes and glasses can be taken for closed.
5. mouth_closed: where lips meet, little is much darker than the face; a dark beard looks like an open mouth. A smile
   that shows teeth is not seen.
"""

from __future__ import annotations

import cv2
import numpy as np

from edge.biometric.alignment import eyes_px
from edge.vision.frames import Pixels
from edge.vision.models import Face, MotionDetector, Vector, of_models
from edge.vision.portrait import FRAMING, framed

_SIDE = 112
_FACE = np.s_[30:100, 20:92]  # forehead to chin in the aligned view, without hair and background
_MOUTH = (-10, 16)  # rows above and below the mouth corners
_DARK = 0.45  # of the face's median: the gap between open lips
_OPEN = (0.06, 0.24)  # share of the mouth that is dark: closed mouths up to 0.09, an open one 0.24


def components(image: Pixels, luma: Pixels, face: Face, motion: MotionDetector | None) -> dict[str, int]:
    """Every component of this face that can be told.

    Args:
        image: (h, w, 3), BGR.
        luma: the same, grey.
        face: in it.
        motion: sees head pose and eyes, where the set has it.

    Raises:
        Refusal: the landmarks are not those of a face (``probe-quality``).
        DeviceError: the models fail.
    """
    view = framed(luma, face.landmarks, _SIDE)
    found = {
        "size": eyes_px(face.landmarks) / 90,
        "sharp": float(cv2.Laplacian(view, cv2.CV_32F).var()) / 200,
        "exposed": float(((view > 25) & (view < 247)).mean()),
        "even": _even(view),
        "roll": float(np.cos(_roll(face.landmarks)) ** 2),
        "mouth_closed": 1 - (_gap(view) - _OPEN[0]) / (_OPEN[1] - _OPEN[0]),
    }
    if motion is not None:
        yaw, pitch = of_models(lambda: motion.pose(image, face.box))
        found |= {"yaw": float(np.cos(np.radians(yaw)) ** 2), "pitch": float(np.cos(np.radians(pitch)) ** 2)}
        found["eyes_open"] = of_models(lambda: motion.eyes_open(image, face.landmarks))
    return {name: round(100 * min(max(value, 0.0), 1.0)) for name, value in found.items()}


def _even(view: Pixels) -> float:
    """The darker side of the face against the brighter one."""
    seen = view[_FACE]
    middle = seen.shape[1] // 2
    sides = sorted((float(seen[:, :middle].mean()), float(seen[:, middle:].mean())))
    return sides[0] / max(sides[1], 1.0)


def _roll(landmarks: Vector) -> float:
    across = np.asarray(landmarks, np.float64)[1] - np.asarray(landmarks, np.float64)[0]
    return float(np.arctan2(across[1], across[0]))


def _gap(view: Pixels) -> float:
    """Share of the mouth that is much darker than the face."""
    (left, y), (right, _) = FRAMING[3] * _SIDE, FRAMING[4] * _SIDE
    mouth = view[int(y) + _MOUTH[0] : int(y) + _MOUTH[1], int(left) : int(right)]
    return float((mouth < _DARK * np.median(view[_FACE])).mean())
