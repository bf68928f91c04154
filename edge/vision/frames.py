"""What a camera gives: one picture, its number, and when it was handed over.

Rules:

1. ``y`` is at hand at once: codes, freshness and quality need nothing else. Colour is made when a face is wanted, once.
2. Numbers only go forward, also over a restart of the process within one boot (they start from the machine's clock).
3. Pixels are personal data: never in a ``repr``, never on disk.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


class Shot(Protocol):
    """One picture as the camera made it."""

    @property
    def y(self) -> Pixels:
        """Luma, (h, w)."""
        ...

    def colour(self) -> Pixels:
        """BGR, (h, w, 3), made now."""
        ...


@dataclass(frozen=True, eq=False)
class BgrShot:
    """A picture that came in colour, as OpenCV and footage give it."""

    bgr: Pixels = field(repr=False)

    @cached_property
    def y(self) -> Pixels:
        """Luma, (h, w)."""
        return np.asarray(cv2.cvtColor(self.bgr, cv2.COLOR_BGR2GRAY), np.uint8)

    def colour(self) -> Pixels:
        """The picture itself."""
        return self.bgr


@dataclass(frozen=True, eq=False)
class YuvShot:
    """A planar YUV 4:2:0 picture, as picamera2 gives it: (h * 3 / 2, stride), rows padded to the stride."""

    planes: Pixels = field(repr=False)
    width: int
    height: int

    @property
    def y(self) -> Pixels:
        """Luma, (h, w): a view, nothing is copied."""
        return self.planes[: self.height, : self.width]

    def colour(self) -> Pixels:
        """BGR, (h, w, 3); the padding is cut off afterwards."""
        bgr = cv2.cvtColor(self.planes, cv2.COLOR_YUV2BGR_I420)
        return np.ascontiguousarray(bgr[: self.height, : self.width], np.uint8)


@dataclass(frozen=True, eq=False)
class Frame:
    """One fresh picture.

    Attributes:
        number: sequence number, only ever forward.
        seen_at: when it was handed over, seconds on the monotonic clock of the machine.
        shot: the picture.
    """

    number: int
    seen_at: float
    shot: Shot = field(repr=False)

    @property
    def y(self) -> Pixels:
        """Luma, (h, w)."""
        return self.shot.y

    @cached_property
    def bgr(self) -> Pixels:
        """Colour, (h, w, 3), made on first use."""
        return self.shot.colour()
