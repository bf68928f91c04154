"""What happened to a code on its way, stage by stage, for the operator: bytes in, bytes out, microseconds.

The core is not allowed to know the time, so whoever wants microseconds brings a stopwatch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

Stopwatch = Callable[[], float]


class Stage(NamedTuple):
    """One step: how many bytes went in and came out, and how long it took."""

    name: str
    bytes_in: int
    bytes_out: int
    took_us: int


class Trace:
    """Collects the stages of one reading; keeps what was passed before a refusal."""

    __slots__ = ("_last", "_stopwatch", "stages")

    def __init__(self, stopwatch: Stopwatch | None = None) -> None:
        self.stages: list[Stage] = []
        self._stopwatch = stopwatch
        self._last = stopwatch() if stopwatch else 0.0

    def passed(self, name: str, bytes_in: int, bytes_out: int) -> None:
        """Note a stage that is over; without a stopwatch nobody is looking."""
        if self._stopwatch is None:
            return
        now = self._stopwatch()
        self.stages.append(Stage(name, bytes_in, bytes_out, round((now - self._last) * 1e6)))
        self._last = now
