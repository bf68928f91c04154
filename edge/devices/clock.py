"""Time as an interval, from the system clock, the stopwatch of the kernel and a floor kept on disk.

Rules (gate.md section 6):

1. The floor is the latest of: build, last kept floor, verified signed statements; plus the stopwatch since. It is kept
   on disk and never goes back. So a statement from further ahead than any gate is switched off is not believed
   (``absurd``), whoever signed it, unless the system clock that the site vouches for has come as far, or it is this
   gate's own checkpoint: its time came through this rule.
2. With ``source = "system"`` the site vouches that the system clock is set from an authenticated source: then now is
   the system time give or take ``uncertainty_s`` (synced), unless that contradicts the floor, or is further ahead of it
   than any gate is switched off: then only the floor counts, and nobody is locked out by a clock set far ahead.
3. A system clock that jumps by more than an hour while the gate runs is not followed: the time known before goes on by
   the stopwatch (held), until the two agree again, a signed statement contradicts what is held, or the gate restarts.
4. With ``source = "floor"`` the system clock moves neither bound.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edge.devices import kept
from edge.settings import Clock as ClockSettings
from edge.trust.interval import ClockState, Interval

BUILT_AT = datetime(2026, 11, 22, tzinfo=UTC)
STEP_S = 2.0
_KEEP_S = 300.0
FOLLOWED = timedelta(hours=1)
AHEAD = timedelta(days=400)
_DRIFT = 1e-4
_CLOSE_S, _LOOKS = 0.1, 10
_log = logging.getLogger("edge.clock")


class SystemClock:
    """The clock of this machine, as far as it can be believed."""

    def __init__(
        self,
        settings: ClockSettings,
        kept: Path,
        *,
        wall: Callable[[], float] = time.time,
        stopwatch: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._kept = kept
        self._wall, self._stopwatch = wall, stopwatch
        self._floor = max(BUILT_AT, self._read())
        seen, self._floor_at = self._looked()
        self._wall_offset = seen - self._floor_at
        self._kept_at = self._floor_at
        self._synced: tuple[datetime, float] | None = None
        self._doubted = False

    def monotonic(self) -> float:
        """Seconds since boot."""
        return self._stopwatch()

    def now(self) -> Interval:
        """Between which moments now is."""
        seen, here = self._looked()
        floor = self._floor + timedelta(seconds=here - self._floor_at)
        if self._settings.source == "floor":
            return Interval(floor, None, ClockState.FLOOR)
        wall = self._believed(seen, floor)
        give = timedelta(seconds=self._settings.uncertainty_s)
        if self._synced is not None:
            moment, at = self._synced
            held, drift = moment + timedelta(seconds=here - at), give + timedelta(seconds=_DRIFT * (here - at))
            if held + drift < floor:
                self._synced = None  # a signed statement says otherwise
            elif wall is None or abs(wall - held) > FOLLOWED:
                return Interval(max(floor, held - drift), held + drift, ClockState.HELD)
        if wall is None:
            return Interval(floor, None, ClockState.FLOOR)
        self._synced = (wall, here)
        return Interval(max(floor, wall - give), wall + give, ClockState.SYNCED)

    def _looked(self) -> tuple[float, float]:
        """System time and stopwatch of one moment: looked at again where this process had to wait in between."""
        for _ in range(_LOOKS):
            before = self._stopwatch()
            seen, here = self._wall(), self._stopwatch()
            if here - before < _CLOSE_S:
                break
        return seen, here

    def _believed(self, seen: float, floor: datetime) -> datetime | None:
        """The system time, unless it is before the floor or absurdly far after it."""
        try:
            wall = datetime.fromtimestamp(seen, UTC)
        except (ValueError, OverflowError, OSError):
            return None
        give = timedelta(seconds=self._settings.uncertainty_s)
        return wall if floor <= wall + give and wall <= floor + AHEAD else None

    def raise_floor(self, moment: datetime, *, own: bool = False) -> None:
        """A verified, signed statement was made at ``moment``: now cannot be earlier, if that can be at all.

        Args:
            moment: when it was made.
            own: by this gate, which believed it then.
        """
        if not own and self.absurd(moment):
            if not self._doubted:
                _log.error("signed for %s, which is too far ahead to be believed", f"{moment:%Y-%m-%d}")
            self._doubted = True
            return
        now = self._stopwatch()
        if moment > self._floor + timedelta(seconds=now - self._floor_at):
            self._floor, self._floor_at, self._doubted = moment, now, False
            self.keep()

    def absurd(self, moment: datetime) -> bool:
        """Whether a moment is further after the floor than any gate is switched off: whoever signed it has it wrong.

        Unless the system clock that the site vouches for, which far ahead is not believed alone, says the same.
        """
        seen, here = self._looked()
        floor = self._floor + timedelta(seconds=here - self._floor_at)
        vouched = self._settings.source == "system" and moment.timestamp() <= seen + FOLLOWED.total_seconds()
        return moment - floor > AHEAD and not vouched

    def stepped(self) -> float:
        """Seconds that the system clock jumped against the stopwatch since the last call; 0.0 for less than two."""
        seen, here = self._looked()
        offset = seen - here
        step = offset - self._wall_offset
        if abs(step) < STEP_S:
            return 0.0
        self._wall_offset = offset
        return step

    def keep(self) -> None:
        """Put the floor on disk, so that a power cut takes no time back: what was signed, and the stopwatch since."""
        here = self._kept_at = self._stopwatch()
        floor = self._floor + timedelta(seconds=here - self._floor_at)
        try:
            kept.keep(self._kept, f"{floor.timestamp():.0f}\n")
        except OSError as error:
            _log.error("clock floor not kept: %s", error.strerror)

    def keep_now_and_then(self) -> None:
        """Put the floor on disk every few minutes."""
        if self._stopwatch() - self._kept_at > _KEEP_S:
            self.keep()

    def _read(self) -> datetime:
        try:
            return datetime.fromtimestamp(int(self._kept.read_text(encoding="ascii")), UTC)
        except FileNotFoundError:
            return BUILT_AT
        except (OSError, ValueError, OverflowError) as error:
            _log.error("clock floor unreadable, starting from the build: %s", type(error).__name__)
            return BUILT_AT
