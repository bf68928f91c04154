"""Is there exactly one whole face in this frame, good enough to be compared? Our own measures; none is called OFIQ.

Rules:

1. Exactly one face. A second one counts when its eyes are at least half as far apart as those of the largest face: so
   the portrait printed on a card in the hand, and people far behind, do not count, and somebody beside or at the
   shoulder does. The face nearest to the camera is the one that is looked at, never the last one found.
2. Whole: its landmarks, and nearly all of its box, are inside the frame.
3. Near enough; where attacks are detected, not so near that the surroundings are missing that the detectors live on.
4. Facing the camera, roughly: a face in profile aligns into something that is not that face.
5. Neither dark nor bright nor blurred: judged on the face itself, not on the frame. Edges are as strong as the light on
   them: a dark face is as sharp as a fair one under the same lens, so it is judged as in the same light.
6. Uncovered: where the mouth is, and where the eyes are, something is to be seen. A mask or dark glasses are plain
   there; a beard and clear glasses are not.

The first thing that is wrong is told, in the order in which a person can mend it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from edge.biometric.alignment import eyes_px
from edge.biometric.values import Hint, ProbeQuality
from edge.errors import Reason, Refusal
from edge.vision.frames import Frame, Pixels
from edge.vision.models import Box, Face, Vector
from edge.vision.portrait import FRAMING, framed

SECOND_FACE = 0.5  # of the largest face's eye distance
SURROUNDINGS = 1.6  # face boxes; below that attack detection was measured to fail
TURNED = 0.33  # nose beside the middle of the eyes, in eye distances: about 30 degrees
NODDED = (0.25, 0.80)  # nose between eyes and mouth, as a share; 0.5 looks straight ahead
TILTED = 0.6  # sine of the angle of the eyes
COVERED = 0.05  # scatter of the luma where mouth or eyes are, of the face's mean; bare faces 0.13 and more, masks 0.01
_LIT = 128.0  # mean luma below which edges are weaker for want of light alone
_JUDGED_PX = 112  # side of the view that sharpness and brightness are judged on


@dataclass(frozen=True)
class Fault:
    """Why a frame gave no probe.

    Attributes:
        reason: for the log.
        hint: for the person.
        weight: how near the face was to being good enough; the best try is the one to tell about.
        detail: for the operator.
    """

    reason: Reason
    hint: Hint
    weight: float
    detail: str


@dataclass(frozen=True, eq=False)
class Sighting:
    """The one face of one frame, found good enough; figures as in ``Probe``."""

    box: Box = field(repr=False)
    landmarks: Vector = field(repr=False)
    eyes_px: float
    sharpness: float
    brightness: float


def judge(frame: Frame, faces: Sequence[Face], wanted: ProbeQuality, surroundings: float = 0.0) -> Sighting | Fault:
    """The one face of a frame if it is good enough, or what is wrong.

    Args:
        frame: in which the faces were found.
        faces: all of them.
        wanted: what is good enough.
        surroundings: face boxes that must fit into the frame around the face.
    """
    if not faces:
        return Fault(Reason.NO_PROBE, Hint.LOOK, 0.0, "no face")
    face, *others = nearest(faces)
    if others:
        return Fault(Reason.SEVERAL_FACES, Hint.ALONE, 0.0, f"{1 + len(others)} faces")
    return _placed(frame, face, wanted, surroundings) or _seen(frame, face, wanted)


def nearest(faces: Sequence[Face]) -> list[Face]:
    """The face nearest to the camera, and after it those that count beside it."""
    ordered = sorted(faces, key=lambda face: -eyes_px(face.landmarks))
    least = SECOND_FACE * eyes_px(ordered[0].landmarks)
    return [face for face in ordered if eyes_px(face.landmarks) >= least]


def _placed(frame: Frame, face: Face, wanted: ProbeQuality, surroundings: float) -> Fault | None:
    """What is wrong with where the face is and where it looks."""
    distance = eyes_px(face.landmarks)
    if distance < wanted.eyes_px:
        # A face much too small is somebody far away, not somebody who tries.
        reason = Reason.PROBE_QUALITY if distance >= wanted.eyes_px / 3 else Reason.NO_PROBE
        detail = f"eyes {distance:.0f} px apart, {wanted.eyes_px:.0f} wanted"
        return Fault(reason, Hint.CLOSER, distance / wanted.eyes_px, detail)
    if not whole(frame, face):
        return Fault(Reason.PROBE_QUALITY, Hint.MIDDLE, 1.0, "face cut off by the border of the picture")
    height, width = frame.y.shape
    if min(width / face.box[2], height / face.box[3]) < surroundings:
        return Fault(Reason.PROBE_QUALITY, Hint.BACK, 1.5, "too near: attack detection needs more around the face")
    if turned(face.landmarks):
        return Fault(Reason.PROBE_QUALITY, Hint.LOOK, 2.0, "face turned away")
    return None


def _seen(frame: Frame, face: Face, wanted: ProbeQuality) -> Sighting | Fault:
    """What is wrong with how the face is seen."""
    try:
        view = framed(frame.y, face.landmarks, _JUDGED_PX)
    except Refusal as refusal:
        return Fault(refusal.reason, Hint.LOOK, 2.0, refusal.detail)
    brightness = float(view.mean())
    dark, bright = wanted.brightness
    if brightness < dark:
        return Fault(Reason.PROBE_QUALITY, Hint.DARK, 3.0, f"face too dark: {brightness:.0f}, {dark:.0f} wanted")
    if brightness > bright:
        return Fault(Reason.PROBE_QUALITY, Hint.BRIGHT, 3.0, f"face too bright: {brightness:.0f}, {bright:.0f} wanted")
    if what := covered(view):
        return Fault(Reason.PROBE_QUALITY, Hint.UNCOVER, 3.5, f"{what} covered")
    sharpness = sharpness_of(view)
    if sharpness < wanted.sharpness:
        detail = f"face not sharp: {sharpness:.0f}, {wanted.sharpness:.0f} wanted"
        return Fault(Reason.PROBE_QUALITY, Hint.STILL, 4.0, detail)
    return Sighting(face.box, face.landmarks, eyes_px(face.landmarks), sharpness, brightness)


def sharpness_of(view: Pixels) -> float:
    """Variance of the Laplacian of an upright face, as it would be in good light: edges grow with the luma itself.

    For a limit only. Noise of a dim picture counts for more in it, so it is no measure of which of two is better.
    """
    lit = min(1.0, max(1.0, float(view.mean())) / _LIT)
    return float(cv2.Laplacian(view, cv2.CV_32F).var()) / lit**2


def covered(view: Pixels) -> str:
    """What of an upright face is covered: mouth, eyes, or nothing."""
    side, mean = view.shape[0], max(1.0, float(view.mean()))
    right, left, _, *corners = FRAMING * side

    def plain(at: Vector, half_width: float, half_height: float) -> bool:
        (x, y), w, h = at, half_width * side, half_height * side
        seen = view[max(0, int(y - h)) : int(y + h), max(0, int(x - w)) : int(x + w)]
        return float(seen.std()) < COVERED * mean

    if plain(np.mean(corners, axis=0), 0.125, 0.055):
        return "mouth"
    return "eyes" if plain(right, 0.07, 0.045) and plain(left, 0.07, 0.045) else ""


def whole(frame: Frame, face: Face) -> bool:
    """Whether all of the face is inside the frame."""
    height, width = frame.y.shape
    x, y, w, h = face.box
    slack_x, slack_y = 0.05 * w, 0.05 * h  # boxes are not exact to the pixel
    inside = -slack_x <= x and -slack_y <= y and x + w <= width + slack_x and y + h <= height + slack_y
    points = np.asarray(face.landmarks)
    return inside and bool((points >= 0).all() and (points[:, 0] < width).all() and (points[:, 1] < height).all())


def turned(landmarks: Vector) -> bool:
    """Whether the face looks clearly elsewhere, judged by where the nose is among eyes and mouth."""
    right, left, nose, *mouth = np.asarray(landmarks, np.float64)
    across = left - right
    distance = float(np.hypot(*across))
    if distance == 0:
        return True
    along = across / distance
    down = np.array([-along[1], along[0]])
    middle = (right + left) / 2
    depth = float((np.mean(mouth, axis=0) - middle) @ down)
    if depth <= 0 or abs(along[1]) > TILTED or along[0] < 0:
        return True
    beside, share = abs(float((nose - middle) @ along)) / distance, float((nose - middle) @ down) / depth
    return beside > TURNED or not NODDED[0] <= share <= NODDED[1]
