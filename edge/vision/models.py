"""The models as the story of a face needs them. ``sessions.py`` has the real ones, ``simulated.py`` their twin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

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
