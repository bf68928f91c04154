"""Faces in a picture: box, five landmarks, score.

1. A picture is scaled down, never up, until its longer side is at most ``side`` pixels, and padded at the right and at
   the bottom to multiples of 32.
2. What the network says becomes faces in ``decode``: a plain function per network, held against a naive one by a test.
3. Of overlapping faces the one with the higher score stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.biometric.model import Model
from edge.vision.network import Network

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]
Outputs = Mapping[str, Floats]


@dataclass(frozen=True)
class Face:
    """One face found.

    Attributes:
        box: x, y, width, height, pixels of the picture; may reach beyond its border.
        landmarks: (5, 2): eyes, nose, mouth corners, the person's right first (left in the picture).
        score: certainty of the detector, 0 to 1.
    """

    box: tuple[float, float, float, float] = field(repr=False)
    landmarks: Floats = field(repr=False)
    score: float


@dataclass(frozen=True)
class Found:
    """Faces as arrays, in pixels of the network's input: boxes (n, 4) as x, y, width, height; landmarks (n, 5, 2)."""

    boxes: Floats
    landmarks: Floats
    scores: Floats


def decode_centerface(outputs: Outputs, least: float) -> Found:
    """Faces from CenterFace's maps: heat, scale, offset and landmarks per cell of 4 pixels, height before width.

    Args:
        outputs: ``537`` (1, 1, h, w), ``538`` and ``539`` (1, 2, h, w), ``540`` (1, 10, h, w).
        least: score below which a cell is not a face.
    """
    heat = outputs["537"][0, 0]
    row, column = np.nonzero(heat >= least)
    cell = np.stack([row, column])
    size = np.exp(outputs["538"][0][:, row, column]) * 4
    corner = (cell + outputs["539"][0][:, row, column] + 0.5) * 4 - size / 2
    points = outputs["540"][0][:, row, column].reshape(5, 2, -1) * size + corner
    boxes = np.stack([corner[1], corner[0], size[1], size[0]], axis=1)
    return Found(boxes.astype(np.float32), points[:, ::-1].transpose(2, 0, 1).astype(np.float32), heat[row, column])


def decode_yunet(outputs: Outputs, least: float) -> Found:
    """Faces from YuNet's lists: class, object, box and landmarks per cell of 8, 16 and 32 pixels, row by row.

    Args:
        outputs: ``cls_S`` and ``obj_S`` (1, n, 1), ``bbox_S`` (1, n, 4), ``kps_S`` (1, n, 10), and ``width``, the
            width of the network's input in pixels.
        least: score below which a cell is not a face.
    """
    width = int(outputs["width"].item())
    boxes, landmarks, scores = [], [], []
    for stride in (8, 16, 32):
        score = np.sqrt(
            np.clip(outputs[f"cls_{stride}"][0, :, 0], 0, 1) * np.clip(outputs[f"obj_{stride}"][0, :, 0], 0, 1)
        )
        kept = np.flatnonzero(score >= least)
        cell = np.stack([kept % (width // stride), kept // (width // stride)], axis=1)
        box = outputs[f"bbox_{stride}"][0, kept]
        size = np.exp(box[:, 2:]) * stride
        centre = (cell + box[:, :2]) * stride
        boxes.append(np.hstack([centre - size / 2, size]))
        landmarks.append((outputs[f"kps_{stride}"][0, kept].reshape(-1, 5, 2) + cell[:, None]) * stride)
        scores.append(score[kept])
    return Found(
        np.concatenate(boxes).astype(np.float32),
        np.concatenate(landmarks).astype(np.float32),
        np.concatenate(scores).astype(np.float32),
    )


def apart(found: Found, overlap: float) -> list[int]:
    """Which faces stay, best first, when one of two goes whose intersection over union is more than ``overlap``."""
    order = list(np.argsort(-found.scores, kind="stable"))
    stays: list[int] = []
    for index in order:
        if all(_overlap(found.boxes[index], found.boxes[other]) <= overlap for other in stays):
            stays.append(int(index))
    return stays


def _overlap(a: Floats, b: Floats) -> float:
    """Intersection over union of two boxes."""
    left, top = np.maximum(a[:2], b[:2])
    right, bottom = np.minimum(a[:2] + a[2:], b[:2] + b[2:])
    shared = float(max(0.0, right - left) * max(0.0, bottom - top))
    return shared / (float(a[2] * a[3] + b[2] * b[3]) - shared)


DECODERS: dict[str, Callable[[Outputs, float], Found]] = {"centerface": decode_centerface, "yunet": decode_yunet}


class Detector:
    """Finds the faces of a picture."""

    def __init__(self, network: Network, model: Model, side: int = 320, overlap: float = 0.3) -> None:
        self._network, self._model, self._side, self._overlap = network, model, side, overlap
        self._decode = DECODERS[model.kind]

    def detect(self, image: Image, side: int | None = None) -> list[Face]:
        """All faces of the picture, the surest first.

        Args:
            image: (h, w, 3), BGR.
            side: longest side to look at, pixels; the detector's own when not given.

        Raises:
            DeviceError: the network gave no answer.
        """
        scale = min(1.0, (side or self._side) / max(image.shape[:2]))
        fitted, back = _fitted(image, scale)
        outputs = dict(self._network.run(self._network.tensor(fitted)))
        outputs["width"] = np.array([fitted.shape[1]], np.float32)
        found = self._decode(outputs, self._model.least)
        faces = []
        for index in apart(found, self._overlap):
            (x, y), (width, height) = (found.boxes[index].reshape(2, 2) * back).tolist()
            faces.append(Face((x, y, width, height), found.landmarks[index] * back, float(found.scores[index])))
        return faces


def _fitted(image: Image, scale: float) -> tuple[Image, Floats]:
    """The picture scaled and padded to multiples of 32, and the factors (x, y) that lead back."""
    height, width = max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale))
    scaled = image if scale == 1.0 else cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    padded = cv2.copyMakeBorder(scaled, 0, -height % 32, 0, -width % 32, cv2.BORDER_CONSTANT)
    return padded.astype(np.uint8, copy=False), np.array([image.shape[1] / width, image.shape[0] / height], np.float32)
