"""How the machine under the gate is: temperature and room on the disk. Read from Linux, at most once in ``LOOK_S``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LOOK_S = 10.0
THERMAL = Path("/sys/class/thermal")
FULL = 0.9
_SENSIBLE_C = (-40.0, 150.0)


@dataclass(frozen=True)
class Health:
    """What is known; None when this machine does not tell.

    Attributes:
        celsius: of the hottest sensor of the board.
        free_bytes: on the partition with the log.
        size_bytes: of that partition.
    """

    celsius: float | None = None
    free_bytes: int | None = None
    size_bytes: int | None = None

    @property
    def used(self) -> float | None:
        """Part of the partition that is taken."""
        if not self.size_bytes or self.free_bytes is None:
            return None
        return 1 - self.free_bytes / self.size_bytes


class Machine:
    """Looks now and then."""

    def __init__(self, state: Path, thermal: Path = THERMAL, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._state, self._thermal, self._monotonic = state, thermal, monotonic
        self._looked_s = -LOOK_S
        self._health = Health()

    def health(self) -> Health:
        """How it was at most ``LOOK_S`` ago."""
        now_s = self._monotonic()
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            self._health = Health(self._celsius(), *self._room())
        return self._health

    def _celsius(self) -> float | None:
        found = []
        for file in sorted(self._thermal.glob("thermal_zone*/temp"))[:16]:
            try:
                found.append(int(file.read_text(encoding="ascii")) / 1000)
            except (OSError, ValueError):
                continue
        sensible = [celsius for celsius in found if _SENSIBLE_C[0] < celsius < _SENSIBLE_C[1]]
        return max(sensible, default=None)

    def _room(self) -> tuple[int | None, int | None]:
        try:
            room = os.statvfs(self._state)
        except OSError:
            return None, None
        return room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize
