"""When it is open: on the site's wall clock, for a now that is an interval."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.policy.hours import DAY, Standing, holiday, standing, wall_minutes, window
from edge.trust.interval import ClockState, Interval

WEEK = ["mon-fri 07:00-19:00", "sat 08:00-12:00"]
BERLIN, ADDIS = ZoneInfo("Europe/Berlin"), ZoneInfo("Africa/Addis_Ababa")


def minute(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return (moment.date() - date(1970, 1, 1)).days * DAY + moment.hour * 60 + moment.minute


@pytest.mark.parametrize(
    ("at", "found"),
    [
        ("2026-11-20 06:59", Standing.CLOSED),  # a Friday
        ("2026-11-20 07:00", Standing.OPEN),
        ("2026-11-20 18:59", Standing.OPEN),
        ("2026-11-20 19:00", Standing.CLOSED),
        ("2026-11-21 09:00", Standing.OPEN),
        ("2026-11-21 12:00", Standing.CLOSED),
        ("2026-11-22 09:00", Standing.CLOSED),
    ],
)
def test_a_week_is_open_when_it_says_so(at: str, found: Standing) -> None:
    assert standing(WEEK, (), minute(at), minute(at)) is found


def test_a_night_shift_belongs_to_the_day_on_which_it_began() -> None:
    night = ["fri 22:00-06:00"]
    assert standing(night, (), minute("2026-11-21 05:59"), minute("2026-11-21 05:59")) is Standing.OPEN
    assert standing(night, (), minute("2026-11-20 05:00"), minute("2026-11-20 05:00")) is Standing.CLOSED
    assert (
        standing(["sun-tue 22:00-06:00"], (), minute("2026-11-23 01:00"), minute("2026-11-23 01:00")) is Standing.OPEN
    )


def test_on_a_holiday_only_holiday_hours_begin() -> None:
    at = minute("2026-12-25 10:30")
    assert standing(WEEK, ("12-25",), at, at) is Standing.CLOSED
    assert standing([*WEEK, "holiday 10:00-12:00"], ("2026-12-25",), at, at) is Standing.OPEN
    assert standing(WEEK, ("2025-12-25",), at, at) is Standing.OPEN


def test_an_interval_across_an_edge_is_neither_open_nor_closed() -> None:
    assert standing(WEEK, (), minute("2026-11-20 18:50"), minute("2026-11-20 19:10")) is Standing.UNSURE
    assert standing(WEEK, (), minute("2026-11-20 08:00"), minute("2026-11-20 18:00")) is Standing.OPEN
    assert standing(WEEK, (), minute("2026-11-20 20:00"), minute("2026-11-21 07:00")) is Standing.CLOSED


def test_with_only_a_floor_nobody_knows_unless_it_is_always_open() -> None:
    assert standing(WEEK, (), minute("2026-11-20 10:00"), None) is Standing.UNSURE
    assert standing(["daily 00:00-24:00"], (), minute("2026-11-20 10:00"), None) is Standing.OPEN
    assert standing(["daily 00:00-24:00"], ("12-25",), minute("2026-11-20 10:00"), None) is Standing.UNSURE


def test_the_wall_clock_is_the_sites() -> None:
    now = Interval.exactly(datetime(2026, 11, 22, 21, 30, tzinfo=UTC))
    assert wall_minutes(now, ADDIS) == (minute("2026-11-23 00:30"), minute("2026-11-23 00:30"))
    floor = Interval(now.lower, None, ClockState.FLOOR)
    assert wall_minutes(floor, BERLIN) == (minute("2026-11-22 22:30"), None)


def test_an_hour_that_comes_twice_makes_the_interval_wider() -> None:
    """At the end of summer time two moments ten minutes apart read 02:55 and 02:05."""
    before = datetime(2026, 10, 25, 0, 55, tzinfo=UTC)
    now = Interval(before, before + timedelta(minutes=10), ClockState.HELD)
    assert wall_minutes(now, BERLIN) == (minute("2026-10-25 02:00"), minute("2026-10-25 02:59"))
    assert standing(["daily 02:10-02:57"], (), *wall_minutes(now, BERLIN)) is Standing.UNSURE
    assert standing(["daily 00:00-02:30"], (), *wall_minutes(now, BERLIN)) is Standing.UNSURE


@given(
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Addis_Ababa"]),
    change=st.sampled_from(["2026-03-08", "2026-03-29", "2026-04-04", "2026-10-03", "2026-10-25", "2026-11-01"]),
    first=st.integers(-600, 1800),
    span=st.integers(0, 1500),
)
def test_no_minute_that_the_wall_clock_shows_is_missing(zone: str, change: str, first: int, span: int) -> None:
    """The definition, written out: every minute between the two moments, on days on which clocks change somewhere."""
    begins = datetime.fromisoformat(change).replace(tzinfo=UTC) + timedelta(minutes=first)
    now = Interval(begins, begins + timedelta(minutes=span), ClockState.HELD)
    shown = [
        wall_minutes(Interval.exactly(begins + timedelta(minutes=each)), ZoneInfo(zone))[0] for each in range(span + 1)
    ]
    assert wall_minutes(now, ZoneInfo(zone)) == (min(shown), max(shown))


@pytest.mark.parametrize(
    "text",
    ["mon 7:00-19:00", "mon 07:00", "moon 07:00-08:00", "mon 24:00-25:00", "mon 07:60-08:00", "mon-funday 07:00-08:00"],
)
def test_a_window_that_no_clock_shows_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        window(text)


@pytest.mark.parametrize("text", ["25.12.", "13-01", "2026-02-30", "christmas", ""])
def test_a_holiday_that_no_calendar_has_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        holiday(text)


@given(first=st.integers(20_000 * DAY, 20_800 * DAY), span=st.integers(0, 3 * DAY), free=st.booleans())
def test_what_is_said_of_an_interval_is_said_of_each_of_its_minutes(first: int, span: int, free: bool) -> None:
    """The definition, written out: look at every minute."""
    holidays = ("01-01", "12-25", "2026-06-15") if free else ()
    windows = [*WEEK, "sun 22:00-03:00", "holiday 09:00-10:00"]
    each = {standing(windows, holidays, at, at) for at in range(first, first + span + 1, 7)} | {
        standing(windows, holidays, first + span, first + span)
    }
    found = standing(windows, holidays, first, first + span)
    if len(each) == 2:
        assert found is Standing.UNSURE
    elif found is not Standing.UNSURE:
        assert each == {found}
