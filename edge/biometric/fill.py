"""The fill light's code: when it is on and off while a face is looked for, and how a face answers it.

1. The code is drawn anew for each face, with as many bright slots as dark ones and no two halves, and shone over and
   over: a movement that begins or ends once is no answer.
2. A frame counts where the light did not change while it may have been exposed. How late a camera's frames come is not
   known, so some delays are tried and the one in which the face answers best is taken.
3. No answer, or an answer that cannot be told from noise, is said as such; so are too few frames, for whoever shone the
   light waited for enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from edge.biometric.liveness import NO_ANSWER, light
from edge.biometric.values import LightCode

SLOTS = 6
SLOT_S = 0.2
_DELAYS_S = (0.05, 0.15, 0.25, 0.35)
_EXPOSED_S = 0.05  # before and after a delay, in which the light may not change
_LEAST = 2  # frames of each kind
_CHANGES = 3  # of six slots


@dataclass(frozen=True)
class Level:
    """How bright one frame is.

    Attributes:
        at: seconds on the monotonic clock.
        face: mean luma of the face.
        around: mean luma beside it.
    """

    at: float
    face: float
    around: float


def drawn(starts_at: float, sample: Callable[[range, int], list[int]]) -> LightCode:
    """A code that begins then; ``sample`` draws its bright slots, and should be the system's random numbers'."""
    while True:
        bright = set(sample(range(SLOTS), SLOTS // 2))
        lit = tuple(slot in bright for slot in range(SLOTS))
        if sum(a != b for a, b in pairwise(lit)) >= _CHANGES:
            return LightCode(starts_at, SLOT_S, lit)


def answer(code: LightCode, levels: Sequence[Level]) -> float:
    """How the face answers the code, as ``liveness.light`` says it; ``NO_ANSWER`` when these frames say nothing."""
    found = [said for delay in _DELAYS_S if (said := _answer(code, levels, delay)) is not None]
    return max(found, default=NO_ANSWER)


def _answer(code: LightCode, levels: Sequence[Level], delay_s: float) -> float | None:
    """The answer of a camera whose frames come so late."""
    seen = [(lit, level) for level in levels if (lit := _steady(code, level.at - delay_s)) is not None]
    bright = sum(lit for lit, _ in seen)
    if min(bright, len(seen) - bright) < _LEAST:
        return None
    return light([lit for lit, _ in seen], [level.face for _, level in seen], [level.around for _, level in seen])


def _steady(code: LightCode, at: float) -> bool | None:
    """Whether the light was on about then; None when it changed."""
    early, late = code.lit_at(at - _EXPOSED_S), code.lit_at(at + _EXPOSED_S)
    return early if early == late else None
