"""Now is an interval."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from edge.trust.interval import ClockState, Interval, Validity

T = datetime(2026, 6, 1, tzinfo=UTC)
H = timedelta(hours=1)
SKEW = timedelta(seconds=60)


@pytest.mark.parametrize(
    ("lower", "upper", "not_before", "expires", "validity"),
    [
        (T, T, T - H, T + H, Validity.VALID),
        (T, T, None, None, Validity.VALID),
        (T, T, None, T - H, Validity.EXPIRED),
        (T, T, None, T - SKEW, Validity.EXPIRED),
        (T, T, None, T - SKEW / 2, Validity.VALID),
        (T, T, T + H, None, Validity.NOT_YET),
        (T, T, T + SKEW, None, Validity.VALID),
        (T, None, T + H, None, Validity.VALID),
        (T, None, None, T + H, Validity.UNSURE),
        (T, T + 2 * H, None, T + H, Validity.UNSURE),
        (T, None, None, T - H, Validity.EXPIRED),
    ],
)
def test_where_now_stands(
    lower: datetime, upper: datetime | None, not_before: datetime | None, expires: datetime | None, validity: Validity
) -> None:
    now = Interval(lower, upper, ClockState.SYNCED if upper else ClockState.FLOOR)
    assert now.within(not_before, expires, SKEW) is validity


def test_a_date_without_an_end_is_a_date() -> None:
    endless, beginless = datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)
    assert Interval.exactly(T).within(beginless, endless, SKEW) is Validity.VALID
    assert Interval(T, None, ClockState.FLOOR).within(beginless, endless, SKEW) is Validity.UNSURE
    assert Interval.exactly(T).within(endless, None, SKEW) is Validity.NOT_YET
    assert Interval.exactly(T).within(None, beginless, SKEW) is Validity.EXPIRED
