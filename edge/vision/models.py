"""The models as the story of a face needs them. ``sessions.py`` has the real ones, ``simulated.py`` their twin."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge.biometric.liveness import Cue
from edge.biometric.values import ModelSet
from edge.errors import DeviceError, Refusal
from edge.vision.frames import Pixels

Vector = NDArray[np.float32]
Box = tuple[float, float, float, float]
T = TypeVar("T")


class Face(Protocol):
    """A face as a detector finds it, in pixels of the picture."""

    @property
    def box(self) -> Box:
        """x, y, width, height; may reach beyond the border."""
        ...

    @property
    def landmarks(self) -> Vector:
        """(5, 2): eyes, nose, mouth corners, the person's right first."""
        ...

    @property
    def score(self) -> float:
        """Certainty, 0 to 1."""
        ...


class Detector(Protocol):
    """Finds faces."""

    def detect(self, image: Pixels) -> Sequence[Face]:
        """All faces in a BGR picture."""
        ...


class Embedder(Protocol):
    """Makes templates."""

    @property
    def name(self) -> str:
        """Name and version, as the thresholds know it."""
        ...

    def embed(self, image: Pixels, landmarks: Vector) -> Vector:
        """The template of one face of a BGR picture, of unit length."""
        ...


class AttackDetector(Protocol):
    """Tells people from photos, screens and masks."""

    def bona_fide(self, image: Pixels, box: Box) -> float:
        """Probability of a real person, 0 to 1."""
        ...


class MotionDetector(Protocol):
    """Sees what a person does with head and eyes."""

    def pose(self, image: Pixels, box: Box) -> tuple[float, float]:
        """Yaw and pitch in degrees; yaw is positive when the person turns to their own left."""
        ...

    def eyes_open(self, image: Pixels, landmarks: Vector) -> float:
        """Probability that the eyes are open."""
        ...


class Sessions(Protocol):
    """The models at work."""

    @property
    def models(self) -> ModelSet:
        """Their names and digests."""
        ...

    @property
    def detector(self) -> Detector:
        """Finds faces."""
        ...

    @property
    def embedder(self) -> Embedder:
        """Makes templates."""
        ...

    @property
    def attack(self) -> AttackDetector | None:
        """Tells people from photos, where the set has such a model."""
        ...

    @property
    def motion(self) -> MotionDetector | None:
        """Sees what a person does, where the set has such models."""
        ...

    @property
    def cues(self) -> Mapping[str, Cue]:
        """How much the cues count that need no model."""
        ...

    @property
    def same_face(self) -> float:
        """Comparison score from which on two frames of one visit show one person."""
        ...


def of_models(ask: Callable[[], T]) -> T:
    """What the models answer.

    Raises:
        DeviceError: they fail; the type of the failure is enough for the technician, its text may quote pixels.
    """
    try:
        return ask()
    except (Refusal, DeviceError):
        raise
    except Exception as error:
        raise DeviceError("models", f"a model failed: {type(error).__name__}") from error
