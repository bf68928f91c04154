"""Somebody plays with the clock: back ten years, forward ten years, an older card; what the gate then believes."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

from edge.decision import Facts, Policy, admit
from edge.devices.clock import BUILT_AT, SystemClock
from edge.errors import Reason
from edge.settings import Clock, profile
from edge.trust.interval import ClockState, Validity

ROOT = Path(__file__).parents[2]
YEARS = timedelta(days=3652)
DAY = timedelta(days=1)
TODAY = BUILT_AT + 100 * DAY
SKEW = timedelta(seconds=60)


class Machine:
    """A machine whose clock anybody may set, and whose stopwatch starts anew with every boot."""

    def __init__(self, folder: Path, source: Literal["system", "floor"], at: datetime = TODAY) -> None:
        self.folder, self.source = folder, source
        self.wall, self.stopwatch = at, 0.0
        self.clock = self.boot()

    def boot(self, wall: datetime | None = None) -> SystemClock:
        self.wall, self.stopwatch = wall or self.wall, 0.0
        self.clock = SystemClock(
            Clock(self.source, 5.0),
            self.folder / "floor",
            wall=lambda: self.wall.timestamp(),
            stopwatch=lambda: self.stopwatch,
        )
        return self.clock

    def passes(self, time: timedelta) -> None:
        self.wall += time
        self.stopwatch += time.total_seconds()
        self.clock.now()
        self.clock.keep_now_and_then()

    def about(self, expires: datetime) -> Validity:
        return self.clock.now().within(None, expires, SKEW)


def decided(name: str, validity: Validity) -> Reason | None:
    policy = profile(name, Policy, ROOT / "config" / "edge.toml")
    facts: dict[str, Any] = {"bona_fide": 9000, "score": 9500, "threshold": 9000, "reference": True}
    return admit(policy, Facts(trust_age_s=60, unsealed=0, unsealed_s=0, validity=validity.value, **facts))


@pytest.fixture
def vouched(tmp_path: Path) -> Machine:
    return Machine(tmp_path, "system")


@pytest.fixture
def floored(tmp_path: Path) -> Machine:
    made = Machine(tmp_path, "floor")
    made.clock.raise_floor(TODAY)
    return made


@pytest.mark.parametrize("source", ["system", "floor"])
def test_b01_a_clock_set_back_ten_years_revives_no_expired_card(tmp_path: Path, source: Any) -> None:
    machine = Machine(tmp_path, source)
    machine.clock.raise_floor(TODAY)
    machine.passes(timedelta(minutes=10))
    machine.boot(TODAY - YEARS)
    assert machine.clock.now().state is ClockState.FLOOR
    assert machine.about(TODAY - DAY) is Validity.EXPIRED
    for name in ("turnstile", "benefit", "egate"):
        assert decided(name, machine.about(TODAY - DAY)) is Reason.EXPIRED


def test_b01_a_card_that_is_good_for_longer_is_for_the_profile_to_decide(vouched: Machine) -> None:
    vouched.clock.raise_floor(TODAY)
    vouched.boot(TODAY - YEARS)
    assert vouched.about(TODAY + DAY) is Validity.UNSURE
    assert decided("turnstile", Validity.UNSURE) is None
    assert decided("egate", Validity.UNSURE) is Reason.TIME_UNSURE


def test_b01_set_back_while_it_runs_the_time_goes_on(vouched: Machine) -> None:
    vouched.passes(timedelta(minutes=1))
    vouched.wall -= YEARS
    now = vouched.clock.now()
    assert now.state is ClockState.HELD
    assert now.lower > TODAY
    assert vouched.about(TODAY - DAY) is Validity.EXPIRED
    vouched.passes(timedelta(hours=3))
    assert vouched.about(TODAY + timedelta(hours=2)) is Validity.EXPIRED
    assert vouched.about(TODAY + timedelta(hours=4)) is Validity.VALID
    assert vouched.clock.stepped() == pytest.approx(-YEARS.total_seconds())


def test_b02_a_clock_set_ahead_ten_years_locks_nobody_out(vouched: Machine) -> None:
    vouched.clock.raise_floor(TODAY)
    vouched.boot(TODAY + YEARS)
    assert vouched.clock.now().state is ClockState.FLOOR
    assert vouched.about(TODAY + DAY) is Validity.UNSURE
    vouched.clock.keep()
    vouched.boot(TODAY + timedelta(hours=1))
    assert vouched.clock.now().state is ClockState.SYNCED
    assert vouched.about(TODAY + DAY) is Validity.VALID


def test_b02_set_ahead_while_it_runs_the_time_goes_on(vouched: Machine) -> None:
    vouched.passes(timedelta(minutes=1))
    vouched.wall += YEARS
    assert vouched.clock.now().state is ClockState.HELD
    assert vouched.about(TODAY + DAY) is Validity.VALID
    assert vouched.about(TODAY - DAY) is Validity.EXPIRED
    vouched.clock.keep()
    vouched.wall -= YEARS
    assert vouched.clock.now().state is ClockState.SYNCED


def test_a_small_correction_is_followed(vouched: Machine) -> None:
    vouched.passes(timedelta(minutes=1))
    vouched.wall += timedelta(minutes=20)
    now = vouched.clock.now()
    assert now.state is ClockState.SYNCED
    assert now.lower > TODAY + timedelta(minutes=20)


def test_a_signed_statement_ends_what_was_held_wrongly(vouched: Machine) -> None:
    vouched.passes(timedelta(minutes=1))
    vouched.wall += timedelta(days=30)  # it was a month behind, and was put right
    assert vouched.clock.now().state is ClockState.HELD
    vouched.clock.raise_floor(vouched.wall - timedelta(hours=1))
    assert vouched.clock.now().state is ClockState.SYNCED
    assert vouched.clock.now().lower >= vouched.wall - timedelta(seconds=5)


@pytest.mark.parametrize("source", ["system", "floor"])
def test_what_a_wrongly_set_machine_signed_ends_no_card(tmp_path: Path, source: Any) -> None:
    machine = Machine(tmp_path, source)
    machine.clock.raise_floor(TODAY)
    for years in (2, 10, 74):
        machine.clock.raise_floor(TODAY + 366 * years * DAY)
        machine.passes(timedelta(minutes=1))
        assert machine.about(TODAY + DAY) is not Validity.EXPIRED
        machine.boot()
        assert machine.about(TODAY + DAY) is not Validity.EXPIRED
    machine.clock.raise_floor(TODAY + 50 * DAY)
    assert machine.clock.now().lower >= TODAY + 50 * DAY


def test_a_gate_from_the_storeroom_takes_the_time_where_the_vouched_clock_agrees(vouched: Machine) -> None:
    vouched.clock.keep()
    late = TODAY + 900 * DAY
    vouched.boot(late)
    assert vouched.clock.now().state is ClockState.FLOOR  # set ahead, for all it can tell
    vouched.clock.raise_floor(late - DAY)
    assert vouched.clock.now().state is ClockState.SYNCED
    assert vouched.clock.now().lower >= late - timedelta(seconds=5)


def test_a_copied_card_knows_the_floor_of_its_copy_and_no_less(floored: Machine, tmp_path: Path) -> None:
    shutil.copy(tmp_path / "floor", tmp_path / "copy")
    floored.clock.raise_floor(TODAY + 50 * DAY)
    assert floored.about(TODAY + 40 * DAY) is Validity.EXPIRED
    shutil.copy(tmp_path / "copy", tmp_path / "floor")
    floored.boot()
    assert floored.about(TODAY - DAY) is Validity.EXPIRED
    assert floored.about(TODAY + 40 * DAY) is Validity.UNSURE  # never "valid": with only a floor the profile decides
    assert decided("egate", Validity.UNSURE) is Reason.TIME_UNSURE
    floored.clock.raise_floor(TODAY + 50 * DAY)  # the first signed statement puts it right
    assert floored.about(TODAY + 40 * DAY) is Validity.EXPIRED


def test_with_only_a_floor_nobody_is_too_early(floored: Machine) -> None:
    now = floored.clock.now()
    assert now.within(TODAY + 5 * DAY, TODAY + 9 * DAY, SKEW) is Validity.UNSURE


def test_power_cuts_cost_minutes_and_never_take_time_back(floored: Machine) -> None:
    for _ in range(40):
        before = floored.clock.now().lower
        for _ in range(12):
            floored.passes(timedelta(minutes=1))
        floored.boot(datetime(1970, 1, 1, tzinfo=UTC))
        assert floored.clock.now().lower >= before + timedelta(minutes=6)
