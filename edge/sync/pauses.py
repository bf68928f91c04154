"""How long to wait before the next connection, so that many gates that lost one broker do not come back at once.

Rules:

1. The first connection comes after a random part of ``first_s``, and the pauses after it are no shorter: a power cut
   of a whole town, or a broker that starts again, brings no crowd.
2. With each attempt that brought nothing the pause, of which a random part is waited, doubles (full jitter), up to
   ``most_s``.
"""

from __future__ import annotations

import random
from collections.abc import Callable

Chance = Callable[[float, float], float]
"""A random number between two."""


class Pauses:
    """The pauses of one side; no clock, and its dice can be loaded."""

    def __init__(self, first_s: float, step_s: float, most_s: float, chance: Chance = random.uniform) -> None:
        self._first_s, self._step_s, self._most_s = first_s, step_s, most_s
        self._chance = chance
        self._failures = 0

    def first(self) -> float:
        """Seconds until the very first attempt."""
        return self._chance(0.0, self._first_s)

    def after(self, *, stood: bool) -> float:
        """Seconds until the next attempt, after one that led to something, or to nothing."""
        self._failures = 0 if stood else self._failures + 1
        grown = min(self._most_s, self._step_s * 2.0 ** min(self._failures, 20))
        return self._chance(0.0, max(self._first_s, grown))
