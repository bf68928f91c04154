"""What scores say about a model: false match and non-match rates, thresholds, confidence (ISO/IEC 19795-1).

1. A comparison is genuine (one person) or impostor (two). A score from the threshold on is a match.
2. Impostor scores come by the million, so they are counted into bins of 0.0001; a threshold is the upper edge of a bin,
   so that the rate found is never above the rate asked for.
3. An interval is Wilson's, at 95 %. It takes comparisons as independent, which cross pairs of few people are not: with
   people few, it is too narrow.
4. A rate is supported when 30 false matches would be behind it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge.biometric.thresholds import FALSE_MATCHES_BEHIND_A_RATE

Floats = NDArray[np.float32]
Counts = NDArray[np.int64]
BINS = 20_000
"""From -1 to 1."""
_Z95 = 1.959964


@dataclass(frozen=True)
class Rate:
    """How often something went wrong, with its 95 % interval."""

    wrong: int
    of: int

    @property
    def rate(self) -> float:
        """The share that went wrong; not a number when nothing was tried."""
        return self.wrong / self.of if self.of else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Between which shares the true one is, at 95 % (Wilson)."""
        if not self.of:
            return 0.0, 1.0
        share, spread = self.rate, _Z95 * _Z95 / self.of
        middle = (share + spread / 2) / (1 + spread)
        half = math.sqrt(spread * (share * (1 - share) + spread / 4)) / (1 + spread)
        return max(0.0, middle - half), min(1.0, middle + half)


@dataclass
class Scores:
    """Scores of many comparisons, counted by bin."""

    genuine: Counts = field(default_factory=lambda: np.zeros(BINS, np.int64))
    impostor: Counts = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def add(self, scores: Floats, genuine: NDArray[np.bool_]) -> None:
        """Count scores of the same shape as ``genuine``."""
        binned = np.clip(((scores + 1) * (BINS / 2)).astype(np.int64), 0, BINS - 1)
        self.genuine += np.bincount(binned[genuine], minlength=BINS)
        self.impostor += np.bincount(binned[~genuine], minlength=BINS)

    def merge(self, other: Scores) -> None:
        """Count another's scores too."""
        self.genuine += other.genuine
        self.impostor += other.impostor


@dataclass(frozen=True)
class Point:
    """One threshold and what it means on these scores."""

    asked: float
    threshold: float
    fmr: Rate
    fnmr: Rate

    @property
    def supported(self) -> bool:
        """Whether enough impostor comparisons are behind the rate that was asked for."""
        return self.asked * self.fmr.of >= FALSE_MATCHES_BEHIND_A_RATE


def at_threshold(scores: Scores, threshold: float, asked: float = math.nan) -> Point:
    """Both rates at one threshold."""
    edge = min(BINS, max(0, math.ceil((threshold + 1) * (BINS / 2) - 1e-6)))
    false_matches = int(scores.impostor[edge:].sum())
    misses = int(scores.genuine[:edge].sum())
    fmr, fnmr = Rate(false_matches, int(scores.impostor.sum())), Rate(misses, int(scores.genuine.sum()))
    return Point(asked, threshold, fmr, fnmr)


def at_fmr(scores: Scores, asked: float) -> Point:
    """The lowest threshold with no more false matches than asked for."""
    from_here_on = np.cumsum(scores.impostor[::-1])[::-1]
    few_enough = np.flatnonzero(from_here_on <= asked * scores.impostor.sum())
    edge = int(few_enough[0]) if few_enough.size else BINS
    return at_threshold(scores, edge / (BINS / 2) - 1, asked)


def equal_error(scores: Scores) -> Point:
    """Where both rates are nearest to each other."""
    fmr, fnmr = curve(scores)
    edge = int(np.argmin(np.abs(fmr - fnmr)))
    return at_threshold(scores, edge / (BINS / 2) - 1)


def curve(scores: Scores) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """FMR and FNMR at every bin's lower edge, by rising threshold."""
    impostor, genuine = max(1, int(scores.impostor.sum())), max(1, int(scores.genuine.sum()))
    fmr = np.cumsum(scores.impostor[::-1])[::-1] / impostor
    fnmr = (np.cumsum(scores.genuine) - scores.genuine) / genuine
    return fmr, fnmr


def as_toml(model: str, kind: str, points: Sequence[Point], words: str) -> str:
    """The supported points as a table for models.toml."""
    good = [point for point in points if point.supported]
    if not good:
        return "# too few impostor comparisons for any of these rates"
    rows = {
        "fmr": [f"{point.asked:g}" for point in good],
        "score": [f"{point.threshold:.4f}" for point in good],
        "fnmr": [f"{point.fnmr.rate:.4f}" for point in good],
    }
    lines = [f"[[models.{model}.thresholds]]", f'kind = "{kind}"']
    lines += [f"{key} = [{', '.join(values)}]" for key, values in rows.items()]
    lines += [f"genuine = {good[0].fnmr.of}", f"impostor = {good[0].fmr.of}", f'data = "{words}"']
    return "\n".join(lines)
