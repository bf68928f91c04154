from __future__ import annotations

import numpy as np
import pytest

from edge.biometric.score import cosine, fused, unit


def test_a_template_is_like_itself_and_unlike_its_opposite() -> None:
    template = np.array([0.3, -0.2, 0.9], np.float32)
    assert cosine(template, template * 7) == pytest.approx(1)
    assert cosine(template, -template) == pytest.approx(-1)


def test_templates_of_two_models_are_not_compared() -> None:
    with pytest.raises(ValueError, match="templates of 2 and 3 dimensions"):
        cosine(np.ones(2, np.float32), np.ones(3, np.float32))


def test_fused_frames_are_nearer_to_the_person_than_one_frame() -> None:
    random = np.random.default_rng(1)
    person = unit(random.normal(size=128).astype(np.float32))
    frames = [unit(person + 0.1 * random.normal(size=128).astype(np.float32)) for _ in range(5)]
    assert cosine(fused(frames), person) > max(cosine(frame, person) for frame in frames)


def test_nothing_cannot_be_fused() -> None:
    with pytest.raises(ValueError, match="no template"):
        fused([])
    with pytest.raises(ValueError, match="without direction"):
        unit(np.zeros(4, np.float32))
