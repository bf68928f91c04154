from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.biometric.score import cosine, unit
from edge.biometric.template import bits_of, quantised, restored, score
from edge.errors import Reason, Refusal

SIZES = {(256, 1): 32, (256, 4): 130, (256, 8): 258, (128, 1): 16, (128, 4): 66, (128, 8): 130}


def vector(seed: int, dimensions: int = 256) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return unit(np.random.default_rng(seed).normal(size=dimensions).astype(np.float32))


@pytest.mark.parametrize(("dimensions", "bits"), SIZES)
def test_a_template_has_the_size_that_cards_are_planned_with(dimensions: int, bits: int) -> None:
    template = quantised(vector(1, dimensions), bits)
    assert len(template) == SIZES[dimensions, bits]
    assert bits_of(template, dimensions) == bits


@pytest.mark.parametrize(("bits", "least"), [(8, 0.9995), (4, 0.99), (1, 0.7)])
def test_the_face_is_still_in_it(bits: int, least: float) -> None:
    for seed in range(20):
        assert cosine(vector(seed), restored(quantised(vector(seed), bits), 256)) > least


@pytest.mark.parametrize("bits", [4, 8])
def test_one_value_is_off_by_half_a_step_at_most(bits: int) -> None:
    before = vector(3) * 16
    step = {4: 0.335, 8: 0.047}[bits]
    levels = restored(quantised(vector(3), bits), 256)
    after = levels * np.float32(np.dot(before, levels) / np.dot(levels, levels))
    inside = np.abs(before) < 2.4
    assert np.abs(before - after)[inside].max() < step * 0.55


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_writing_what_was_read_gives_the_same_bytes(bits: int) -> None:
    template = quantised(vector(5), bits)
    if bits == 1:
        assert quantised(restored(template, 256), 1) == template
    else:
        assert cosine(restored(quantised(restored(template, 256), bits), 256), restored(template, 256)) > 0.999


@given(st.binary(max_size=300))
def test_any_bytes_give_a_vector_or_a_refusal(content: bytes) -> None:
    try:
        found = restored(content, 256)
    except Refusal as refusal:
        assert refusal.reason is Reason.REFERENCE_UNUSABLE
    else:
        assert found.shape == (256,)
        assert np.linalg.norm(found) == pytest.approx(1, abs=1e-5)


def test_a_template_of_another_model_s_size_is_refused_and_not_misread() -> None:
    eight_of_128, four_of_256 = quantised(vector(1, 128), 8), quantised(vector(1), 4)
    assert len(eight_of_128) == len(four_of_256)
    with pytest.raises(Refusal):
        restored(eight_of_128, 256)
    with pytest.raises(Refusal):
        restored(four_of_256, 128)


@pytest.mark.parametrize(("bits", "size"), [(2, 256), (16, 256), (4, 100), (1, 4)])
def test_other_forms_are_not_written(bits: int, size: int) -> None:
    with pytest.raises(ValueError, match="no template of"):
        quantised(np.ones(size, np.float32), bits)


def test_signs_keep_the_false_match_rate_of_whole_vectors() -> None:
    """Impostors as LFW has them, drawn mostly from where they are dangerous and weighted accordingly."""
    rates, thresholds = [1e-2, 1e-3, 1e-4], [0.243, 0.344, 0.432]
    random = np.random.default_rng(11)
    drawn = 10_000
    z = random.normal(2.5, 1.5, drawn)
    weight = 1.5 * np.exp(-(z**2) / 2 + ((z - 2.5) / 1.5) ** 2 / 2)
    normal = [NormalDist().inv_cdf(1 - rate) for rate in rates]
    alike = np.interp(z, [-5, 0, *normal, 5.5], [-0.4, 0.0, *thresholds, 0.6])
    references = random.normal(size=(drawn, 256)).astype(np.float32)
    references /= np.linalg.norm(references, axis=1, keepdims=True)
    other = random.normal(size=(drawn, 256)).astype(np.float32)
    other -= (other * references).sum(1, keepdims=True) * references
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    probes = (alike[:, None] * references + np.sqrt(1 - alike[:, None] ** 2) * other).astype(np.float32)
    scores = np.array([score(a, quantised(b, 1)) for a, b in zip(probes, references, strict=True)])
    for rate, threshold in zip(rates, thresholds, strict=True):
        assert (weight * (scores >= threshold)).mean() < 1.1 * rate
    assert (weight * (scores >= thresholds[0])).mean() > 0.8 * rates[0]


def test_a_genuine_score_against_signs_is_near_the_whole_vector_s() -> None:
    for seed in range(20):
        reference = vector(seed)
        probe = unit(0.75 * reference + 0.66 * vector(seed + 100))
        assert abs(score(probe, quantised(reference, 1)) - cosine(probe, reference)) < 0.2
        assert score(probe, quantised(reference, 4)) == pytest.approx(cosine(probe, reference), abs=0.03)
