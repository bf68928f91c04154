"""The story of a probe: exactly one whole face, good enough, in a fresh frame; then how alike it is to a reference.

Rules:

1. Exactly one face. A second one counts when its eyes are at least half as far apart as those of the largest face: so
   the portrait printed on a card in the hand, and people far behind, do not count, and somebody beside or at the
   shoulder does. The face nearest to the camera is the one that is looked at, never the last one found.
2. Whole: its box and landmarks are inside the frame.
3. Good enough by the wanted quality: distance of the eyes, then sharpness and brightness of the face itself, not of
   the frame.
4. The face that is compared is the face that was checked, from the same frame. Outside, a probe is a number.
5. After the visit nothing is left: pixels go with the frame, templates with ``forget``.
6. When time is over the reason given is the most telling one: several faces, if that was seen in two frames or more;
   else what was wrong with the best face; else that there was none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.biometric.alignment import eyes_px
from edge.biometric.values import Comparison, ModelSet, Picture, Probe, ProbeQuality, Reference, ReferenceKind, Template
from edge.errors import DeviceError, Reason, Refusal
from edge.vision.frames import Frame, Pixels
from edge.vision.pictures import picture
from edge.vision.portrait import FRAMING, framed

Vector = NDArray[np.float32]
T = TypeVar("T")

_SECOND_FACE = 0.5  # of the largest face's eye distance
_JUDGED_PX = 112  # side of the view that sharpness and brightness are judged on
_REFERENCE_PX = 256  # small references are enlarged to this before the detector sees them
_ALIGNED_PX = 128  # up to here a square picture without a detectable face may be an aligned crop
_FLAT = 8.0  # standard deviation of luma below which there is no face in a picture


class Face(Protocol):
    """A face as a detector finds it; the box is x, y, width, height, all in pixels of the picture."""

    @property
    def box(self) -> tuple[float, float, float, float]: ...  # noqa: D102 -- described above
    @property
    def landmarks(self) -> Vector: ...  # noqa: D102 -- (5, 2), eyes, nose, mouth corners
    @property
    def score(self) -> float: ...  # noqa: D102 -- certainty


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

    def bona_fide(self, image: Pixels, box: tuple[float, float, float, float]) -> float:
        """Probability of a real person."""
        ...


class Sessions(Protocol):
    """The models at work."""

    @property
    def models(self) -> ModelSet: ...  # noqa: D102 -- their names and digests
    @property
    def detector(self) -> Detector: ...  # noqa: D102 -- see there
    @property
    def embedder(self) -> Embedder: ...  # noqa: D102 -- see there
    @property
    def attack(self) -> AttackDetector | None: ...  # noqa: D102 -- see there


@dataclass(frozen=True)
class Fault:
    """Why a frame gave no probe: the reason, how much it tells (higher tells more), and what was wrong."""

    reason: Reason
    weight: float
    detail: str


@dataclass(frozen=True, eq=False)
class Sighting:
    """The one face of one frame, found good enough."""

    frame: Frame
    box: tuple[float, float, float, float] = field(repr=False)
    landmarks: Vector = field(repr=False)
    eyes_px: float
    sharpness: float
    brightness: float


class FaceReader:
    """Finds probes and compares them. One thread at a time."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._templates: dict[int, Vector] = {}
        self._numbers = count(int(time.monotonic() * 1000))

    def search(self, wanted: ProbeQuality) -> Search:
        """Begin to look for a probe."""
        return Search(self._sessions, wanted, self._keep)

    def compare(self, reference: Reference, number: int) -> Comparison:
        """Compare that probe with the reference.

        Raises:
            Refusal: reference-unusable.
            DeviceError: there is no such probe.
        """
        probe = self._templates.get(number)
        if probe is None:
            raise DeviceError("camera", "edge-vision does not know this probe; it was restarted or the visit was over")
        watch = Stopwatch()
        vector, kind = self._reference(reference)
        watch.lap("reference")
        score = float(np.clip(np.dot(probe, vector), -1.0, 1.0))
        watch.lap("compare")
        return Comparison(number, score, self._sessions.embedder.name, kind, watch.laps)

    def forget(self) -> None:
        """Drop all templates of the visit."""
        for template in self._templates.values():
            template.fill(0)
        self._templates.clear()

    def _keep(self, template: Vector) -> int:
        number = next(self._numbers)
        self._templates[number] = np.array(template, np.float32)
        return number

    def _reference(self, reference: Reference) -> tuple[Vector, ReferenceKind]:
        match reference:
            case Picture(data):
                return self._of_picture(picture(data))
            case Template(_, model):
                raise Refusal(
                    Reason.REFERENCE_UNUSABLE,
                    f"template of {model[:40]}, this gate runs {self._sessions.embedder.name}",
                )

    def _of_picture(self, image: Pixels) -> tuple[Vector, ReferenceKind]:
        """The template of the face in a card's picture."""
        kind = ReferenceKind.SMALL if min(image.shape[:2]) < 96 else ReferenceKind.FULL
        enlarged, landmarks = locate(image, self._sessions.detector)
        try:
            return of_models(lambda: self._sessions.embedder.embed(enlarged, landmarks)), kind
        except Refusal as refusal:
            raise Refusal(Reason.REFERENCE_UNUSABLE, refusal.detail) from refusal


class Search:
    """Looks at one frame after another until one gives a probe."""

    def __init__(self, sessions: Sessions, wanted: ProbeQuality, keep: Callable[[Vector], int]) -> None:
        self._sessions = sessions
        self._wanted = wanted
        self._keep = keep
        self._faults: list[Fault] = []

    def look(self, frame: Frame) -> Probe | None:
        """The probe, if this frame gives one."""
        watch = Stopwatch()
        faces = of_models(lambda: self._sessions.detector.detect(frame.bgr))
        watch.lap("detect")
        found = judge(frame, faces, self._wanted)
        if isinstance(found, Fault):
            self._faults.append(found)
            return None
        watch.lap("quality")
        attack = self._sessions.attack
        bona_fide = None if attack is None else of_models(lambda: attack.bona_fide(frame.bgr, found.box))
        watch.lap("attack")
        template = of_models(lambda: self._sessions.embedder.embed(frame.bgr, found.landmarks))
        watch.lap("embed")
        number = self._keep(template)
        return Probe(
            number, frame.number, frame.seen_at, found.eyes_px, found.sharpness, found.brightness, bona_fide, watch.laps
        )

    def refusal(self) -> Refusal:
        """Why there was no probe, now that time is over."""
        several = [fault for fault in self._faults if fault.reason is Reason.SEVERAL_FACES]
        if len(several) >= 2 or (several and len(several) == len(self._faults)):
            return Refusal(Reason.SEVERAL_FACES, several[-1].detail)
        others = [fault for fault in self._faults if fault.reason is not Reason.SEVERAL_FACES]
        if not others:
            return Refusal(Reason.NO_PROBE, "no frame came")
        best = max(others, key=lambda fault: fault.weight)
        return Refusal(best.reason, f"{best.detail}; {len(self._faults)} frames")


def judge(frame: Frame, faces: Sequence[Face], wanted: ProbeQuality) -> Sighting | Fault:
    """The one face of a frame if it is good enough, or what is wrong."""
    if not faces:
        return Fault(Reason.NO_PROBE, 0.0, "no face")
    face = max(faces, key=lambda face: eyes_px(face.landmarks))
    distance = eyes_px(face.landmarks)
    near = [other for other in faces if eyes_px(other.landmarks) >= _SECOND_FACE * distance]
    if len(near) > 1:
        return Fault(Reason.SEVERAL_FACES, 0.0, f"{len(near)} faces")
    if distance < wanted.eyes_px:
        # A face much too small is somebody far away, not somebody who tries.
        reason = Reason.PROBE_QUALITY if distance >= wanted.eyes_px / 3 else Reason.NO_PROBE
        return Fault(reason, distance / wanted.eyes_px, f"eyes {distance:.0f} px apart, {wanted.eyes_px:.0f} wanted")
    if not whole(frame, face):
        return Fault(Reason.PROBE_QUALITY, 1.0, "face cut off by the border of the picture")
    view = framed(frame.y, face.landmarks, _JUDGED_PX)
    sharpness = float(cv2.Laplacian(view, cv2.CV_32F).var())
    brightness = float(view.mean())
    low, high = wanted.brightness
    if not low <= brightness <= high:
        return Fault(Reason.PROBE_QUALITY, 2.0, f"face {'too dark' if brightness < low else 'too bright'}")
    if sharpness < wanted.sharpness:
        return Fault(Reason.PROBE_QUALITY, 3.0, f"face not sharp: {sharpness:.0f}, {wanted.sharpness:.0f} wanted")
    return Sighting(frame, face.box, face.landmarks, distance, sharpness, brightness)


def whole(frame: Frame, face: Face) -> bool:
    """Whether all of the face is inside the frame: its landmarks, and nearly all of its box."""
    height, width = frame.y.shape
    x, y, w, h = face.box
    slack_x, slack_y = 0.05 * w, 0.05 * h  # boxes are not exact to the pixel
    inside = -slack_x <= x and -slack_y <= y and x + w <= width + slack_x and y + h <= height + slack_y
    points = np.asarray(face.landmarks)
    return inside and bool((points >= 0).all() and (points[:, 0] < width).all() and (points[:, 1] < height).all())


def locate(image: Pixels, detector: Detector) -> tuple[Pixels, Vector]:
    """Find the face in a reference: in the picture as it is, or enlarged and with a border when it is small.

    Returns:
        The picture to embed from, and the landmarks in it.

    Raises:
        Refusal: reference-unusable.
    """
    height, width = image.shape[:2]
    if image.std() < _FLAT:
        raise Refusal(Reason.REFERENCE_UNUSABLE, "picture without contrast")
    if max(height, width) < _REFERENCE_PX:
        scale = _REFERENCE_PX / max(height, width)
        image = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC), np.uint8)
    border = max(image.shape[:2]) // 4
    wide = np.asarray(cv2.copyMakeBorder(image, border, border, border, border, cv2.BORDER_REPLICATE), np.uint8)
    faces = of_models(lambda: detector.detect(wide))
    if faces:
        return wide, _only(faces).landmarks
    if height == width and height <= _ALIGNED_PX:
        return image, FRAMING * np.float32(image.shape[0])
    raise Refusal(Reason.REFERENCE_UNUSABLE, "no face in the picture")


def _only(faces: Sequence[Face]) -> Face:
    largest = max(faces, key=lambda face: eyes_px(face.landmarks))
    distance = eyes_px(largest.landmarks)
    if sum(eyes_px(face.landmarks) >= _SECOND_FACE * distance for face in faces) > 1:
        raise Refusal(Reason.REFERENCE_UNUSABLE, "several faces in the picture")
    return largest


def of_models(ask: Callable[[], T]) -> T:
    """What the models answer.

    Raises:
        DeviceError: they fail.
    """
    try:
        return ask()
    except (Refusal, DeviceError):
        raise
    except Exception as error:
        raise DeviceError("models", f"a model failed: {type(error).__name__}") from error


class Stopwatch:
    """Microseconds per stage."""

    def __init__(self) -> None:
        self.laps: dict[str, int] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """The stage that ends now."""
        now = time.perf_counter()
        self.laps[stage] = int((now - self._last) * 1e6)
        self._last = now
