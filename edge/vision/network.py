"""One network at work: ONNX through onnxruntime, on the CPU, with the threads it is given.

1. The file is read once, its SHA-256 held against the manifest, and exactly those bytes are loaded.
2. Threads do not spin while they wait: the next frame is tens of milliseconds away and the camera needs the core.
3. The library is told to report to nobody before it is imported: its wheel would keep a device number in the cache of
   whoever runs it, and send figures to its makers.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.biometric.model import Model
from edge.errors import DeviceError

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime as ort

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]


class Network:
    """A loaded model: pictures in, named arrays out."""

    def __init__(self, model: Model, content: bytes, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises a dozen classes with no common base
            raise DeviceError("models", f"{model.name} cannot be loaded: {type(error).__name__}") from error
        self.name = model.name
        self._input = model.input
        self._outputs = [output.name for output in self._session.get_outputs()]

    @classmethod
    def load(cls, model: Model, folder: Path, threads: int) -> Network:
        """Load the model's file.

        Raises:
            DeviceError: the file is missing, is not the one of the manifest, or does not load.
        """
        path = folder / model.asset.file
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DeviceError("models", f"{path}: {error.strerror}; run `edge models pull`") from error
        if hashlib.sha256(content).digest() != model.asset.sha256:
            raise DeviceError(
                "models", f"{path} is not the {model.name} of models.toml; delete it and run `edge models pull`"
            )
        return cls(model, content, threads)

    def tensor(self, *pictures: Image) -> Floats:
        """Pictures (h, w, 3), BGR, as the network wants them: (n, 3, h, w)."""
        batch = np.stack(pictures).astype(np.float32)
        if self._input.colours == "rgb":
            batch = batch[..., ::-1]
        if any(self._input.mean):
            batch = batch - np.array(self._input.mean, np.float32)
        if self._input.scale != 1:
            batch = batch * np.float32(self._input.scale)
        return np.ascontiguousarray(batch.transpose(0, 3, 1, 2))

    def run(self, tensor: Floats) -> Mapping[str, Floats]:
        """What the network says, by the names of its outputs.

        Raises:
            DeviceError: it says nothing, or something that is no number.
        """
        try:
            values = self._session.run(self._outputs, {self._input.name: tensor})
        except Exception as error:
            raise DeviceError("models", f"{self.name} gave no answer: {type(error).__name__}") from error
        return dict(zip(self._outputs, values, strict=True))
