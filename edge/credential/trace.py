"""What happened to a code on its way, stage by stage, for the operator: bytes in, bytes out, microseconds.

The core is not allowed to know the time, so whoever wants microseconds brings a stopwatch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

Stopwatch = Callable[[], float]


class Stage(NamedTuple):
    """One step: how many bytes went in and came out, and how long it took (0 without a stopwatch)."""

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
        """Note a stage that is over."""
        took_us = 0
        if self._stopwatch:
            now = self._stopwatch()
            took_us, self._last = round((now - self._last) * 1e6), now
        self.stages.append(Stage(name, bytes_in, bytes_out, took_us))
