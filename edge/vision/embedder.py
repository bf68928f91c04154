"""From a face to its template: aligned as the model expects it, then a vector of length one."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.biometric.alignment import similarity
from edge.biometric.model import Model
from edge.biometric.score import unit
from edge.errors import DeviceError
from edge.vision.network import Network

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]


class Embedder:
    """Turns faces into vectors that can be compared by their cosine."""

    def __init__(self, network: Network, model: Model) -> None:
        self._network, self._model = network, model
        self._template = np.array(model.points, np.float32)
        self.name = model.name
        self.dimensions = model.dimensions

    def align(self, image: Image, landmarks: Floats) -> Image:
        """Turn and scale a face so that its eyes, nose and mouth stand where the model expects them.

        Args:
            image: (h, w, 3), BGR.
            landmarks: (5, 2), pixels: eyes, nose, mouth corners, the person's right first.

        Returns:
            (height, width, 3) of the model's input, BGR.

        Raises:
            Refusal: the landmarks are not those of a face (``probe-quality``).
        """
        matrix = similarity(landmarks, self._template)
        shape = (self._model.input.width, self._model.input.height)
        return cv2.warpAffine(image, matrix, shape, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(
            np.uint8, copy=False
        )

    def embed(self, image: Image, landmarks: Floats) -> Floats:
        """The template of a face: (dimensions,), length one.

        Raises:
            Refusal: the landmarks are not those of a face (``probe-quality``).
            DeviceError: the network gave no answer.
        """
        return self.embed_aligned(self.align(image, landmarks))

    def embed_aligned(self, aligned: Image) -> Floats:
        """The template of a face that stands where the model expects it.

        Raises:
            DeviceError: the network gave no answer.
        """
        seen = (aligned, aligned[:, ::-1]) if self._model.mirror else (aligned,)
        (vectors,) = self._network.run(self._network.tensor(*seen)).values()
        vector = vectors.reshape(len(seen), -1).mean(axis=0)
        if vector.shape != (self.dimensions,) or not np.isfinite(vector).all() or not vector.any():
            raise DeviceError("models", f"{self.name} gave no vector")
        return unit(vector)
