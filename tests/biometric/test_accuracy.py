from __future__ import annotations

import math
import tomllib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.biometric.accuracy import Rate, Scores, as_toml, at_fmr, at_threshold, curve, equal_error

score = st.integers(-9999, 9999).map(lambda n: n / 10_000 + 0.000_05)
drawn = st.lists(score, min_size=1, max_size=200)


def counted(genuine: list[float], impostor: list[float]) -> Scores:
    scores = Scores()
    scores.add(np.array(genuine + impostor, np.float32), np.array([True] * len(genuine) + [False] * len(impostor)))
    return scores


@given(drawn, drawn, st.floats(-0.99, 0.99).map(lambda x: round(x, 4)))
def test_rates_at_a_threshold_are_counted_as_defined(genuine: list[float], impostor: list[float], at: float) -> None:
    point = at_threshold(counted(genuine, impostor), at)
    assert point.fmr == Rate(sum(each >= at for each in impostor), len(impostor))
    assert point.fnmr == Rate(sum(each < at for each in genuine), len(genuine))


@given(drawn, drawn, st.sampled_from([0.5, 0.1, 0.01]))
def test_the_rate_found_is_never_above_the_rate_asked_for(
    genuine: list[float], impostor: list[float], asked: float
) -> None:
    scores = counted(genuine, impostor)
    point = at_fmr(scores, asked)
    assert point.fmr.rate <= asked
    below = at_threshold(scores, point.threshold - 0.0001)
    assert below.fmr.rate > asked or point.threshold == -1


@given(drawn, drawn)
def test_the_curve_goes_from_all_matching_to_none(genuine: list[float], impostor: list[float]) -> None:
    fmr, fnmr = curve(counted(genuine, impostor))
    assert fmr[0] == 1
    assert fnmr[0] == 0
    assert (np.diff(fmr) <= 0).all()
    assert (np.diff(fnmr) >= 0).all()


@pytest.mark.parametrize(("wrong", "of"), [(0, 100), (1, 100), (50, 100), (100, 100), (3, 3000)])
def test_the_interval_is_where_the_normal_test_does_not_reject(wrong: int, of: int) -> None:
    """Wilson's definition: the shares p for which the share found is within 1.96 standard errors of p."""
    low, high = Rate(wrong, of).interval
    for share in (low, high):
        if 0 < share < 1:
            assert abs(wrong / of - share) == pytest.approx(1.959964 * math.sqrt(share * (1 - share) / of), rel=1e-6)
    assert low <= wrong / of <= high


def test_three_thousand_trials_without_error_show_less_than_0_13_percent() -> None:
    assert Rate(0, 3000).interval[1] == pytest.approx(0.00128, abs=1e-5)


def test_nothing_tried_shows_nothing() -> None:
    assert math.isnan(Rate(0, 0).rate)
    assert Rate(0, 0).interval == (0.0, 1.0)


def test_two_normal_distributions_have_the_equal_error_rate_of_the_textbook() -> None:
    random = np.random.default_rng(4)
    scores = counted((random.normal(0.6, 0.1, 200_000)).tolist(), (random.normal(0.2, 0.1, 200_000)).tolist())
    point = equal_error(scores)
    assert point.threshold == pytest.approx(0.4, abs=0.003)
    assert point.fmr.rate == pytest.approx(0.02275, abs=0.001)


def test_merged_counts_are_the_counts_of_both() -> None:
    one, other = counted([0.5], [0.1]), counted([0.7], [0.2, 0.3])
    one.merge(other)
    assert int(one.genuine.sum()) == 2
    assert int(one.impostor.sum()) == 3


def test_only_supported_rates_are_offered_to_the_manifest() -> None:
    random = np.random.default_rng(6)
    scores = counted(random.normal(0.6, 0.1, 1000).tolist(), random.normal(0.1, 0.1, 40_000).tolist())
    points = [at_fmr(scores, rate) for rate in (0.01, 0.001, 0.0001)]
    assert [point.supported for point in points] == [True, True, False]
    table = tomllib.loads(as_toml("net", "full", points, "a test"))["models"]["net"]["thresholds"][0]
    assert table["fmr"] == [0.01, 0.001]
    assert table["score"][0] < table["score"][1]
    assert table["impostor"] == 40_000
    assert as_toml("net", "full", points[2:], "a test").startswith("# too few")
