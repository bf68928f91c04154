from __future__ import annotations

from functools import partial
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.biometric.gallery import Index, Matrix, fmr_for
from edge.biometric.manifest import Manifest, parse
from edge.biometric.thresholds import UnsupportedRate
from edge.biometric.values import ReferenceKind
from edge.settings import read_toml

MODEL = "omz-face-reid-0095"
MANIFEST: Manifest = parse(read_toml(Path(__file__).resolve().parents[2] / "models" / "models.toml"))
SCORE_AT = partial(MANIFEST.threshold, MODEL, ReferenceKind.GALLERY)


def faces(count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, 256)).astype(np.float32)


def gallery(count: int) -> tuple[Matrix, NDArray[np.float32]]:
    enrolled, templates = Matrix(256), faces(count)
    for number, template in enumerate(templates):
        enrolled.put(f"person {number}", "", template)
    return enrolled, templates


def test_who_is_enrolled_is_found_and_who_is_not_is_nobody() -> None:
    enrolled, templates = gallery(300)
    threshold = SCORE_AT(fmr_for(0.01, len(enrolled)))
    seen = templates[123] + 0.5 * faces(1, seed=9)[0]
    (found,) = enrolled.search(seen, threshold, 10)
    assert found.subject == "person 123"
    assert enrolled.search(faces(1, seed=5)[0], threshold, 10) == []


def test_the_search_equals_comparing_one_by_one() -> None:
    enrolled, templates = gallery(40)
    probe = faces(1, seed=3)[0]
    found = enrolled.search(probe, -1.0, most=40)
    naive = sorted(
        (
            -float(sum(a * b for a, b in zip(t, probe, strict=True)) / np.linalg.norm(t) / np.linalg.norm(probe)),
            f"person {n}",
        )
        for n, t in enumerate(templates.astype(np.float64))
    )
    assert [each.subject for each in found] == [subject for _, subject in naive]
    assert [each.score for each in found] == pytest.approx([-score for score, _ in naive], abs=1e-5)


def test_a_subject_with_several_templates_is_one_candidate() -> None:
    enrolled, templates = gallery(3)
    enrolled.put("person 1", "", templates[1] * 2)
    assert (len(enrolled), enrolled.subjects) == (4, 3)
    assert [each.subject for each in enrolled.search(templates[1], 0.9, 10)] == ["person 1"]


def test_who_was_removed_is_not_found() -> None:
    enrolled, templates = gallery(3)
    enrolled.drop("person 1")
    enrolled.drop("person 1")
    assert enrolled.search(templates[1], 0.9, 10) == []
    assert [each.subject for each in enrolled.search(templates[2], 0.9, 10)] == ["person 2"]
    assert len(enrolled.templates("person 1")) == 0


def test_a_gallery_of_two_models_has_two_matrices() -> None:
    index = Index()
    index.put("staff", "a", "anna", "", faces(1)[0])
    index.put("staff", "b", "anna", "", faces(1)[0][:128])
    assert [len(matrix) for model in "ab" if (matrix := index.of("staff", model)) is not None] == [1, 1]
    index.drop("anna")
    assert [len(matrix) for model in "ab" if (matrix := index.of("staff", model)) is not None] == [0, 0]
    assert index.of("visitors", "a") is None


def test_the_threshold_rises_with_the_gallery() -> None:
    """0.45 among 200 and 0.50 among 1,000 were measured for FPIR 1 %."""
    thresholds = [SCORE_AT(fmr_for(0.01, size)) for size in (50, 200, 1000)]
    assert thresholds == sorted(thresholds)
    assert thresholds[1:] == pytest.approx([0.455, 0.507], abs=0.005)


def test_what_was_enrolled_is_held_against_the_figures_of_whole_pictures() -> None:
    assert SCORE_AT(0.001) == MANIFEST.threshold(MODEL, ReferenceKind.FULL, 0.001)


def test_a_rate_that_the_data_do_not_support_has_no_threshold() -> None:
    with pytest.raises(UnsupportedRate, match=r"measured for 0\.01 to 1e-05 only"):
        SCORE_AT(fmr_for(0.001, 200))


@pytest.mark.parametrize(("fpir", "size"), [(0.0, 10), (1.0, 10), (0.1, 0)])
def test_no_rate_is_made_up(fpir: float, size: int) -> None:
    with pytest.raises(ValueError, match="no FPIR"):
        fmr_for(fpir, size)


def test_a_template_of_another_size_is_an_error_that_says_so() -> None:
    enrolled, templates = gallery(1)
    for ask in (lambda: enrolled.put("x", "", templates[0][:128]), lambda: enrolled.search(templates[0][:128], 0.5, 1)):
        with pytest.raises(ValueError, match="128 dimensions among such of 256"):
            ask()
    with pytest.raises(ValueError, match="without direction"):
        enrolled.put("x", "", np.zeros(256, np.float32))


def test_independent_impostors_reach_the_asked_rate() -> None:
    """FPIR from FMR, counted: 2,000 strangers against 100 subjects whose scores are drawn at random."""
    random = np.random.default_rng(2)
    scores = random.uniform(size=(2000, 100))
    false = (scores >= 1 - fmr_for(0.05, 100)).any(axis=1).mean()
    assert false == pytest.approx(0.05, abs=0.015)


def test_who_comes_first_of_equals_does_not_depend_on_who_was_enrolled_first() -> None:
    template = np.array([0.3, 0.5, 0.7, 0.1, 0.2, 0.9, 0.4, 0.6], np.float32)
    for people in permutations(("anna", "ben", "carla", "dan")):
        for gone in range(4):
            matrix = Matrix(8)
            for who in ("x", "y", "z")[:gone]:
                matrix.put(who, "", template)
            matrix.put(people[0], "", template)
            for who in ("x", "y", "z")[:gone]:
                matrix.drop(who)
            for who in people[1:]:
                matrix.put(who, "", template)
            assert [found.subject for found in matrix.search(template, 0.5, 9)] == sorted(people)
            assert [found.subject for found in matrix.search(template, 0.5, 1)] == ["anna"]
