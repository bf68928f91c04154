from __future__ import annotations

import pytest

from edge.biometric.presentation import BONA_FIDE, Attempt, calibrated, findings, worst


def attempts(species: str, *scores: float | None) -> list[Attempt]:
    return [Attempt(species, score, "" if score is not None else "no-biometric-probe") for score in scores]


RUN = [
    *attempts(BONA_FIDE, 0.9, 0.8, 0.95, 0.4, None),
    *attempts("phone", 0.1, 0.2, None, None),
    *attempts("print-flat", 0.1, 0.6, 0.05, 0.2),
]


def test_errors_are_counted_per_species_and_the_greatest_is_told() -> None:
    found = {each.species: each for each in findings(RUN, 0.5)}
    assert (found[BONA_FIDE].errors.wrong, found[BONA_FIDE].errors.of) == (1, 4)
    assert (found["print-flat"].errors.wrong, found["print-flat"].errors.of) == (1, 4)
    assert found["phone"].errors.wrong == 0
    top = worst(list(found.values()))
    assert top is not None
    assert top.species == "print-flat"


def test_no_answer_is_neither_a_success_nor_a_failure() -> None:
    found = {each.species: each for each in findings(RUN, 0.5)}
    assert (found["phone"].unanswered.wrong, found["phone"].unanswered.of) == (2, 4)
    assert found["phone"].errors.of == 2
    assert worst(findings(attempts("mask", None), 0.5)) is None


def test_a_few_attempts_support_nothing_and_many_do() -> None:
    assert not findings(attempts("phone", *[0.1] * 20), 0.5)[0].supported
    assert findings(attempts("phone", *[0.1] * 150), 0.5)[0].supported
    assert findings(attempts("phone", *[0.9] * 20), 0.5)[0].supported  # that bad is plain to see


def test_the_threshold_stands_in_the_middle_of_what_does_as_well() -> None:
    run = [*attempts(BONA_FIDE, 0.8, 0.9), *attempts("phone", 0.2), *attempts("print-flat", 0.4)]
    assert calibrated(run, 0.0) == pytest.approx(0.6, abs=0.011)
    assert calibrated([*run, *attempts("mask", 0.85)], 0.0) == pytest.approx(0.88, abs=0.011)


def test_what_cannot_be_calibrated_says_so() -> None:
    with pytest.raises(ValueError, match="takes answered presentations"):
        calibrated(attempts("phone", 0.1), 0.02)
    with pytest.raises(ValueError, match="no threshold keeps"):
        calibrated([*attempts(BONA_FIDE, 1.0), *attempts("mask", 1.0)], 0.02)
