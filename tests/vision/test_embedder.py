from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.biometric.manifest import Manifest
from edge.biometric.score import cosine
from edge.biometric.values import ReferenceKind
from edge.errors import Refusal
from edge.vision import reference
from edge.vision.pictures import picture
from edge.vision.portrait import fit_face
from edge.vision.sessions import ModelSessions

Portraits = dict[str, NDArray[np.uint8]]
SETS = pytest.mark.parametrize("which", ["default_set", "standard_set"])


def template(sessions: ModelSessions, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    return sessions.embedder.embed(image, sessions.detector.detect(image)[0].landmarks)


@SETS
def test_one_person_matches_and_two_do_not(
    which: str, portraits: Portraits, manifest: Manifest, request: pytest.FixtureRequest
) -> None:
    sessions: ModelSessions = request.getfixturevalue(which)
    threshold = manifest.threshold(sessions.embedder.name, ReferenceKind.FULL, 0.001)
    seen = {name: template(sessions, image) for name, image in portraits.items()}
    for a in seen:
        for b in seen:
            assert (cosine(seen[a], seen[b]) >= threshold) is (a.rstrip("23") == b.rstrip("23")), (a, b)


@SETS
def test_a_template_has_length_one_and_the_manifest_s_dimensions(
    which: str, portraits: Portraits, request: pytest.FixtureRequest
) -> None:
    sessions: ModelSessions = request.getfixturevalue(which)
    vector = template(sessions, portraits["obama"])
    assert vector.shape == (sessions.embedder.dimensions,)
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_the_default_template_is_the_same_for_a_face_and_its_mirror(
    default_set: ModelSessions, portraits: Portraits
) -> None:
    face = default_set.detector.detect(portraits["obama3"])[0]
    aligned = default_set.embedder.align(portraits["obama3"], face.landmarks)
    there = default_set.embedder.embed_aligned(aligned)
    back = default_set.embedder.embed_aligned(np.ascontiguousarray(aligned[:, ::-1]))
    assert cosine(there, back) == pytest.approx(1, abs=1e-5)


@SETS
def test_alignment_puts_the_eyes_where_the_model_expects_them(
    which: str, portraits: Portraits, manifest: Manifest, request: pytest.FixtureRequest
) -> None:
    sessions: ModelSessions = request.getfixturevalue(which)
    image = portraits["biden"]
    turned = cv2.rotate(image[:1600], cv2.ROTATE_90_CLOCKWISE)
    upright = sessions.detector.detect(image)[0].landmarks
    height = image[:1600].shape[0]
    landmarks = np.stack([height - 1 - upright[:, 1], upright[:, 0]], axis=1)
    a = sessions.embedder.align(image, upright)
    b = sessions.embedder.align(turned.astype(np.uint8, copy=False), landmarks)
    model = manifest.models[sessions.embedder.name]
    assert a.shape == (model.input.height, model.input.width, 3)
    assert np.abs(a.astype(int) - b.astype(int)).mean() < 4


@SETS
def test_landmarks_that_are_no_face_are_refused(which: str, request: pytest.FixtureRequest) -> None:
    sessions: ModelSessions = request.getfixturevalue(which)
    with pytest.raises(Refusal):
        sessions.embedder.embed(np.zeros((90, 90, 3), np.uint8), np.ones((5, 2), np.float32))


@pytest.mark.parametrize(("side", "budget"), [(40, 400), (48, 400), (64, 800)])
@SETS
def test_the_smallest_signed_photo_is_still_more_like_its_holder_than_like_anybody_else(
    which: str, side: int, budget: int, portraits: Portraits, request: pytest.FixtureRequest
) -> None:
    sessions: ModelSessions = request.getfixturevalue(which)
    landmarks = sessions.detector.detect(portraits["obama"])[0].landmarks
    card = picture(fit_face(portraits["obama"], landmarks, side, budget))
    assert card.shape == (side, side, 3)
    vector, kind = reference.template(card, sessions)
    assert kind is ReferenceKind.SMALL
    scores = {name: cosine(vector, template(sessions, image)) for name, image in portraits.items()}
    holder = min(scores[name] for name in ("obama2", "obama3"))
    assert holder > max(scores[name] for name in ("biden", "astronaut"))
