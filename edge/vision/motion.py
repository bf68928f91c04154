"""What a person does with head and eyes, as two small networks see it: asked only while an answer is awaited."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.biometric.alignment import eyes_px
from edge.biometric.model import Model
from edge.errors import DeviceError
from edge.vision.network import Network

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]
Box = tuple[float, float, float, float]
OPEN = 1  # which of the two outputs is the open eye; its card says the other one


class MotionDetector:
    """Says where a face looks and whether its eyes are open."""

    def __init__(self, pose: tuple[Network, Model], eyes: tuple[Network, Model]) -> None:
        self._pose, self._eyes = pose, eyes

    def pose(self, image: Image, box: Box) -> tuple[float, float]:
        """Yaw and pitch in degrees; yaw is positive when the person turns to their own left.

        Raises:
            DeviceError: the network gave no answer.
        """
        x, y, w, h = box
        network, model = self._pose
        seen = _square(image, (x + w / 2, y + h / 2), model.crop * max(w, h), model.input.width)
        said = network.run(network.tensor(seen))
        return _number(said, "fc_y", model.name), _number(said, "fc_p", model.name)

    def eyes_open(self, image: Image, landmarks: Floats) -> float:
        """Probability that an eye is open: of the eye that is surer to be.

        Raises:
            DeviceError: the network gave no answer.
        """
        network, model = self._eyes
        side = model.crop * eyes_px(landmarks)
        shares = []
        for eye in np.asarray(landmarks, np.float64)[:2]:
            seen = _square(image, (float(eye[0]), float(eye[1])), side, model.input.width)
            (said,) = network.run(network.tensor(seen)).values()
            shares.append(float(said.ravel()[OPEN]))
        if not np.isfinite(shares).all():
            raise DeviceError("models", f"{model.name} gave no probability")
        return max(shares)


def _square(image: Image, centre: tuple[float, float], side: float, pixels: int) -> Image:
    """A square of the picture, scaled to so many pixels; its border goes on beyond the picture's."""
    whole = max(pixels // 4, round(side))
    seen = cv2.getRectSubPix(image, (whole, whole), centre)
    how = cv2.INTER_AREA if whole > pixels else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(seen, (pixels, pixels), interpolation=how), np.uint8)


def _number(said: Mapping[str, Floats], output: str, name: str) -> float:
    value = float(said[output].item())
    if not np.isfinite(value):
        raise DeviceError("models", f"{name} gave no angle")
    return value
