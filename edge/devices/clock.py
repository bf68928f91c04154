"""Time as an interval, from the system clock, the stopwatch of the kernel and a floor kept on disk.

Rules (gate.md section 6):

1. The floor is the latest of: build, last kept floor, verified signed statements; plus the stopwatch since. It is kept
   on disk and never goes back.
2. With ``source = "system"`` the site vouches that the system clock is set from an authenticated source: then now is
   the system time give or take ``uncertainty_s``, unless that contradicts the floor.
3. With ``source = "floor"`` the system clock moves neither bound.
"""

from __future__ import annotations

import logging
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edge.settings import Clock as ClockSettings
from edge.trust.interval import ClockState, Interval

BUILT_AT = datetime(2026, 11, 22, tzinfo=UTC)
STEP_S = 2.0
_KEEP_S = 300.0
_log = logging.getLogger("edge.clock")


class SystemClock:
    """The clock of this machine, as far as it can be believed."""

    def __init__(self, settings: ClockSettings, kept: Path) -> None:
        self._settings = settings
        self._kept = kept
        self._floor = max(BUILT_AT, self._read())
        self._floor_at = time.monotonic()
        self._wall_offset = time.time() - self._floor_at
        self._kept_at = self._floor_at

    def monotonic(self) -> float:
        """Seconds since boot."""
        return time.monotonic()

    def now(self) -> Interval:
        """Between which moments now is."""
        floor = self._floor + timedelta(seconds=time.monotonic() - self._floor_at)
        if self._settings.source == "floor":
            return Interval(floor, None, ClockState.FLOOR)
        wall = datetime.now(UTC)
        give = timedelta(seconds=self._settings.uncertainty_s)
        if wall + give < floor:
            return Interval(floor, None, ClockState.FLOOR)
        return Interval(max(floor, wall - give), wall + give, ClockState.SYNCED)

    def raise_floor(self, moment: datetime) -> None:
        """A verified, signed statement was made at ``moment``: now cannot be earlier."""
        now = time.monotonic()
        if moment > self._floor + timedelta(seconds=now - self._floor_at):
            self._floor, self._floor_at = moment, now
            self.keep()

    def stepped(self) -> float:
        """Seconds that the system clock jumped against the stopwatch since the last call; 0.0 for less than two."""
        offset = time.time() - time.monotonic()
        step = offset - self._wall_offset
        if abs(step) < STEP_S:
            return 0.0
        self._wall_offset = offset
        return step

    def keep(self) -> None:
        """Put the floor on disk, so that a power cut does not take time back."""
        self._kept_at = time.monotonic()
        lower = self.now().lower
        new = self._kept.with_suffix(".new")
        try:
            with new.open("w", encoding="ascii") as file:
                file.write(f"{lower.timestamp():.0f}\n")
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._kept)
        except OSError as error:
            _log.error("clock floor not kept: %s", error.strerror)

    def keep_now_and_then(self) -> None:
        """Put the floor on disk every few minutes."""
        if time.monotonic() - self._kept_at > _KEEP_S:
            self.keep()

    def _read(self) -> datetime:
        try:
            return datetime.fromtimestamp(int(self._kept.read_text(encoding="ascii")), UTC)
        except FileNotFoundError:
            return BUILT_AT
        except (OSError, ValueError, OverflowError) as error:
            _log.error("clock floor unreadable, starting from the build: %s", type(error).__name__)
            return BUILT_AT
