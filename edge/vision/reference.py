"""From the picture in a card to a template: find the face where it is, or know where it must be.

Rules:

1. A small picture is enlarged and given a border before the detector sees it: it was trained on faces with something
   around them. The border is grey; a mirrored one shows half faces that are found too.
2. Where a small square picture holds the face as our own cards do (``portrait.FRAMING``), the framing's points are more
   exact than those found in the few pixels, and are used. They are used too when nothing is found in such a picture.
3. A picture without a face, with several, or with one too small to tell people apart is a refusal, not a low score.

Measured with cards of 500 to 1,200 bytes of two people against other photos of them: the framing's points raised the
score of the standard set by 0.02 to 0.06; found points with a border of half the side beat a quarter by 0.01 to 0.03.
"""

from __future__ import annotations

import cv2
import numpy as np

from edge.biometric.alignment import eyes_px
from edge.biometric.values import ReferenceKind
from edge.errors import Reason, Refusal
from edge.vision.frames import Pixels
from edge.vision.models import Detector, Sessions, Vector, of_models
from edge.vision.portrait import FRAMING
from edge.vision.quality import nearest

LEAST_EYES_PX = 10  # below this, strangers were measured to score as high as the holder
SMALL_PX = 96  # below this a side, thresholds for small references hold
_ENLARGED_PX = 256  # smaller pictures are enlarged to this before the embedder aligns them
_LOOKED_AT_PX = 128  # and are looked at in this size, plus border: a quarter of the work, the same faces found
_FRAMED_PX = 128  # up to here a square picture may be framed as our own cards are
_NEAR = 0.08  # of the side: found points this near to the framing's are the framing's
_FLAT = 8.0  # standard deviation of the pixels below which a picture shows nothing


def template(image: Pixels, sessions: Sessions) -> tuple[Vector, ReferenceKind]:
    """The template of the one face in a reference, and which thresholds hold for it.

    Raises:
        Refusal: reference-unusable.
        DeviceError: the models fail.
    """
    kind = ReferenceKind.SMALL if min(image.shape[:2]) < SMALL_PX else ReferenceKind.FULL
    try:
        seen, landmarks = locate(image, sessions.detector)
        return of_models(lambda: sessions.embedder.embed(seen, landmarks)), kind
    except Refusal as refusal:
        raise Refusal(Reason.REFERENCE_UNUSABLE, refusal.detail) from refusal


def locate(image: Pixels, detector: Detector) -> tuple[Pixels, Vector]:
    """The picture to embed from, and the landmarks of the face in it.

    Raises:
        Refusal: reference-unusable.
    """
    if image.std() < _FLAT:
        raise Refusal(Reason.REFERENCE_UNUSABLE, "picture without contrast")
    height, width = image.shape[:2]
    framing = FRAMING * np.float32(height) if height == width and height <= _FRAMED_PX else None
    found = None if max(height, width) < _ENLARGED_PX else _one(image, detector)
    if found is None:
        found = _bordered(image, detector)
    if framing is not None and (found is None or np.abs(found - framing).max() <= _NEAR * height):
        found = framing
    if found is None:
        raise Refusal(Reason.REFERENCE_UNUSABLE, "no face in the picture")
    if eyes_px(found) < LEAST_EYES_PX:
        raise Refusal(Reason.REFERENCE_UNUSABLE, f"eyes {eyes_px(found):.0f} px apart, {LEAST_EYES_PX} needed")
    scale = max(1.0, _ENLARGED_PX / max(height, width))
    return _scaled(image, scale), found * np.float32(scale)


def _bordered(image: Pixels, detector: Detector) -> Vector | None:
    """The landmarks of the one face, found with a border around a picture of the detector's favourite size."""
    scale = _LOOKED_AT_PX / max(image.shape[:2])
    seen = _scaled(image, scale)
    border = _LOOKED_AT_PX // 2
    wide = cv2.copyMakeBorder(seen, border, border, border, border, cv2.BORDER_CONSTANT, value=(128, 128, 128))
    found = _one(np.asarray(wide, np.uint8), detector)
    return None if found is None else (found - np.float32(border)) / np.float32(scale)


def _scaled(image: Pixels, scale: float) -> Pixels:
    if scale == 1.0:
        return image
    how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=how), np.uint8)


def _one(image: Pixels, detector: Detector) -> Vector | None:
    """The landmarks of the one face.

    Raises:
        Refusal: there are several.
    """
    faces = of_models(lambda: detector.detect(image))
    if not faces:
        return None
    face, *others = nearest(faces)
    if others:
        raise Refusal(Reason.REFERENCE_UNUSABLE, "several faces in the picture")
    return face.landmarks
