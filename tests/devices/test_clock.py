"""The clock: what it may be believed, and that time never goes back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest

from edge.devices.clock import BUILT_AT, SystemClock
from edge.settings import Clock
from edge.trust.interval import ClockState


def clock(kept: Path, source: Literal["system", "floor"] = "floor") -> SystemClock:
    return SystemClock(Clock(source=source, uncertainty_s=5.0), kept)


def test_a_floor_is_a_lower_bound_and_nothing_more(tmp_path: Path) -> None:
    now = clock(tmp_path / "floor").now()
    assert now.state is ClockState.FLOOR
    assert now.upper is None
    assert now.lower >= BUILT_AT


def test_a_vouched_system_clock_is_an_interval_around_it(tmp_path: Path) -> None:
    now = clock(tmp_path / "floor", "system").now()
    assert now.state is ClockState.SYNCED
    assert now.upper is not None
    assert now.upper - now.lower == timedelta(seconds=10)
    assert now.lower < datetime.now(UTC) < now.upper


def test_the_floor_survives_a_power_cut(tmp_path: Path) -> None:
    signed = BUILT_AT + timedelta(days=300)
    clock(tmp_path / "floor").raise_floor(signed)
    assert clock(tmp_path / "floor").now().lower >= signed


def test_the_floor_never_goes_back(tmp_path: Path) -> None:
    here = clock(tmp_path / "floor")
    here.raise_floor(BUILT_AT + timedelta(days=300))
    here.raise_floor(BUILT_AT + timedelta(days=100))
    assert here.now().lower >= BUILT_AT + timedelta(days=300)


def test_a_system_clock_before_the_floor_is_not_believed(tmp_path: Path) -> None:
    here = clock(tmp_path / "floor", "system")
    here.raise_floor(datetime.now(UTC) + timedelta(days=1))
    now = here.now()
    assert now.state is ClockState.FLOOR
    assert now.upper is None


def test_an_unreadable_floor_starts_from_the_build(tmp_path: Path) -> None:
    (tmp_path / "floor").write_text("yesterday")
    assert clock(tmp_path / "floor").now().lower >= BUILT_AT


class Stalled:
    """System time and stopwatch of a machine that stands still right after somebody looked at the one or the other."""

    def __init__(self) -> None:
        self.now_s, self.ahead_s = 1000.0, 0.0
        self.stands_still_s: list[float] = []

    def wall(self) -> float:
        return self._looked() + datetime(2027, 1, 1, tzinfo=UTC).timestamp() + self.ahead_s

    def stopwatch(self) -> float:
        return self._looked()

    def _looked(self) -> float:
        seen, self.now_s = self.now_s, self.now_s + (self.stands_still_s.pop(0) if self.stands_still_s else 0.0)
        return seen


@pytest.mark.parametrize("stands_still_s", [[5.0], [0.0, 5.0], [0.0, 0.0, 5.0], [5.0, 5.0, 5.0, 5.0]])
def test_a_machine_that_stands_still_between_two_looks_has_no_clock_that_jumped(
    tmp_path: Path, stands_still_s: list[float]
) -> None:
    machine = Stalled()
    here = SystemClock(Clock("system", 5.0), tmp_path / "floor", wall=machine.wall, stopwatch=machine.stopwatch)
    here.now()
    machine.stands_still_s = stands_still_s
    assert here.stepped() == 0.0
    machine.stands_still_s = [*stands_still_s]
    here.now()
    machine.ahead_s = -86_400.0
    now = here.now()  # held by the stopwatch, since the moment that both were looked at
    assert now.state is ClockState.HELD
    assert now.upper is not None
    true = datetime(2027, 1, 1, tzinfo=UTC) + timedelta(seconds=machine.now_s)
    assert abs((now.upper + (now.lower - now.upper) / 2 - true).total_seconds()) < 1
    assert here.stepped() == -86_400.0


def test_the_stopwatch_goes_on(tmp_path: Path) -> None:
    here = clock(tmp_path / "floor")
    assert here.monotonic() <= here.monotonic()
    assert here.stepped() == 0.0
