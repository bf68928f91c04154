"""When it is open, on the wall clock of the site, for a now that is an interval.

Rules:

1. A window is ``<days> <from>-<to>``: days ``mon``, ``mon-fri``, ``sat,sun``, ``daily`` or ``holiday``; times to
   ``24:00``. One that ends at or before it begins goes on past midnight and belongs to the day on which it began.
2. On a holiday only windows of the day ``holiday`` begin.
3. Now is somewhere between two minutes of the wall clock: open for sure, closed for sure, or neither. A minute is
   counted from 1970 on that wall clock, so that a replay needs no time zones.
4. An hour that a change of the clocks takes or gives twice makes the interval wider, never narrower.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import Enum
from functools import lru_cache
from typing import Final

from edge.trust.interval import Interval

DAY: Final = 24 * 60
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOLIDAY: Final = 7
_WINDOW: Final = re.compile(r"(\S+) (\d\d):(\d\d)-(\d\d):(\d\d)")
_EPOCH: Final = date(1970, 1, 1)
_SECOND: Final = timedelta(seconds=1)
_FAR: Final = 15
"""Days of an interval that are looked at one by one: two weeks hold every weekly change."""


class Standing(Enum):
    """Whether it is open."""

    OPEN = "open"
    CLOSED = "closed"
    UNSURE = "unsure"


@dataclass(frozen=True)
class Window:
    """On these days (0 Monday, 7 holiday), from one minute of the day to another."""

    days: frozenset[int]
    begins: int
    ends: int


@lru_cache(maxsize=256)
def window(text: str) -> Window:
    """One window as it is written.

    Raises:
        ValueError: it is none.
    """
    found = _WINDOW.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not like 'mon-fri 07:00-19:00'")
    hours = [int(number) for number in found.groups()[1:]]
    begins, ends = hours[0] * 60 + hours[1], hours[2] * 60 + hours[3]
    if not (begins < DAY and 0 < ends <= DAY and hours[1] < 60 and hours[3] < 60):
        raise ValueError(f"{text!r} names a time that no clock shows")
    return Window(_days(found[1], text), begins, ends if ends > begins else ends + DAY)


def _days(text: str, whole: str) -> frozenset[int]:
    if text == "holiday":
        return frozenset({_HOLIDAY})
    if text == "daily":
        return frozenset(range(7))
    days: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first not in _DAYS or (last or first) not in _DAYS:
            raise ValueError(f"{whole!r} names a day that is none of {', '.join(_DAYS)}, daily, holiday")
        begin, end = _DAYS.index(first), _DAYS.index(last or first)
        days |= {number % 7 for number in range(begin, (end if end >= begin else end + 7) + 1)}
    return frozenset(days)


@lru_cache(maxsize=256)
def holiday(text: str) -> tuple[int, int, int]:
    """Year (0: every year), month and day of a holiday as it is written.

    Raises:
        ValueError: it is none.
    """
    parts = [int(part) if part.isascii() and part.isdigit() else -1 for part in text.split("-")]
    year, month, day = parts if len(parts) == 3 else (0, *parts) if len(parts) == 2 else (0, 0, 0)
    date(year or 2000, month, day)
    return year, month, day


def wall_minutes(now: Interval, zone: tzinfo) -> tuple[int, int | None]:
    """The interval as minutes since 1970 on the wall clock of the site; None where there is no upper bound."""
    lower = _minutes(now.lower, zone)
    if now.upper is None:
        return lower, None
    around = [lower, _minutes(now.upper, zone), *(_minutes(each, zone) for each in _change(now.lower, now.upper, zone))]
    return min(around), max(around)


def _minutes(moment: datetime, zone: tzinfo) -> int:
    local = moment.astimezone(zone)
    return (local.date() - _EPOCH).days * DAY + local.hour * 60 + local.minute


def _change(first: datetime, last: datetime, zone: tzinfo) -> tuple[datetime, ...]:
    """The two moments around a change of the clocks between these, a second apart; none where there is none."""
    before, after = first.astimezone(UTC), last.astimezone(UTC)
    offset = before.astimezone(zone).utcoffset()
    if after.astimezone(zone).utcoffset() == offset:
        return ()
    while after - before > _SECOND:
        middle = before + (after - before) / 2
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return before, after


def standing(windows: Sequence[str], holidays: Sequence[str], first: int, last: int | None) -> Standing:
    """Whether any of the windows is open between two minutes of the wall clock, ``last`` None for no end."""
    told = [window(text) for text in windows]
    free = frozenset(holiday(text) for text in holidays)
    end = first + _FAR * DAY if last is None else last
    far = last is None or end - first > _FAR * DAY
    found = {_open(told, free, minute) for minute in _changes(told, first, min(end, first + _FAR * DAY))}
    if len(found) > 1 or (far and free):
        return Standing.UNSURE
    return Standing.OPEN if found.pop() else Standing.CLOSED


def _changes(windows: Iterable[Window], first: int, last: int) -> set[int]:
    """The first minute, and every later one at which something may open or close."""
    minutes = {first}
    for day in range(first // DAY - 1, last // DAY + 1):
        for each in windows:
            minutes |= {day * DAY + each.begins, day * DAY + each.ends}
        minutes.add(day * DAY)
    return {minute for minute in minutes if first <= minute <= last}


def _open(windows: Iterable[Window], holidays: frozenset[tuple[int, int, int]], minute: int) -> bool:
    day, now = divmod(minute, DAY)
    today, yesterday = _kind(day, holidays), _kind(day - 1, holidays)
    return any(
        (today in each.days and each.begins <= now < each.ends)
        or (yesterday in each.days and each.begins <= now + DAY < each.ends)
        for each in windows
    )


def _kind(day: int, holidays: frozenset[tuple[int, int, int]]) -> int:
    when = _EPOCH + timedelta(days=day)
    if {(when.year, when.month, when.day), (0, when.month, when.day)} & holidays:
        return _HOLIDAY
    return when.weekday()
