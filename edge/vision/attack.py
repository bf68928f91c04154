"""Passive presentation attack detection: does this look like a person, or like a picture of one?

1. Each network looks at a square around the face, its own number of face boxes wide, moved inside the picture.
2. Their answers are averaged. Class 1 of the three is bona fide.
3. They live on the surroundings of the face: a view that leaves less than 1.6 face boxes is no basis for an answer.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.biometric.model import Model
from edge.errors import DeviceError
from edge.vision.network import Network

Image = NDArray[np.uint8]
Box = tuple[float, float, float, float]
BONA_FIDE = 1


def surroundings(box: Box, factor: float, width: int, height: int) -> tuple[int, int, int, int]:
    """The square that a network looks at: left, top, right, bottom, inside the picture.

    It is ``factor`` face boxes in size, smaller where the picture is, and moved rather than cut at the border.
    """
    x, y, w, h = box
    factor = min((height - 1) / h, (width - 1) / w, factor)
    half_w, half_h = w * factor / 2, h * factor / 2
    centre_x = min(max(x + w / 2, half_w), width - 1 - half_w)
    centre_y = min(max(y + h / 2, half_h), height - 1 - half_h)
    return int(centre_x - half_w), int(centre_y - half_h), int(centre_x + half_w), int(centre_y + half_h)


class AttackDetector:
    """Networks that judge together."""

    def __init__(self, networks: Sequence[tuple[Network, Model]]) -> None:
        self._networks = tuple(networks)

    def bona_fide(self, image: Image, box: Box) -> float:
        """Probability that a real person is seen, 0 to 1: the mean of all networks.

        Args:
            image: (h, w, 3), BGR.
            box: x, y, width, height of the face, pixels.

        Raises:
            DeviceError: a network gave no answer.
        """
        return float(np.mean([self.one(network, model, image, box) for network, model in self._networks]))

    def each(self, image: Image, box: Box) -> dict[str, float]:
        """The answer of every network by its name, for calibration."""
        return {model.name: self.one(network, model, image, box) for network, model in self._networks}

    def one(self, network: Network, model: Model, image: Image, box: Box) -> float:
        """The answer of one network."""
        left, top, right, bottom = surroundings(box, model.crop, image.shape[1], image.shape[0])
        seen = image[top : bottom + 1, left : right + 1]
        if not seen.size:
            raise DeviceError("models", f"{model.name} was shown an empty picture")
        shown = cv2.resize(seen, (model.input.width, model.input.height)).astype(np.uint8, copy=False)
        (logits,) = network.run(network.tensor(shown)).values()
        odds = np.exp(logits[0] - logits[0].max())
        share = float(odds[BONA_FIDE] / odds.sum())
        if not np.isfinite(share):
            raise DeviceError("models", f"{model.name} gave no probability")
        return share
