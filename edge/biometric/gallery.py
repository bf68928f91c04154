"""Who of many is this? Exact search, open set: mostly it is nobody.

Rules:

1. One matrix per gallery and model; a template of another model is an error that says so.
2. Every subject is compared. At some thousands that is one multiplication of a matrix, and nothing is approximated.
3. The threshold is a false positive identification rate (FPIR): how often somebody who is not enrolled is taken for
   anybody who is. It grows with the gallery, so the threshold does: each of N comparisons must err less often,
   FMR = 1 - (1 - FPIR)^(1/N), and the manifest says from which score on. Where it cannot, there is none.
4. A subject with several templates counts once, with the best of them.

Source: ISO/IEC 19795-1, open-set identification; the relation takes comparisons as independent.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge.biometric.score import unit

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Candidate:
    """Somebody who is alike enough: best first, ``rank`` from 1."""

    subject: str = field(repr=False)
    score: float
    rank: int


def fmr_for(fpir: float, size: int) -> float:
    """The false match rate of one comparison at which a search among ``size`` subjects has this FPIR.

    Raises:
        ValueError: no rate between 0 and 1, or nobody enrolled.
    """
    if not 0 < fpir < 1 or size < 1:
        raise ValueError(f"no FPIR of {fpir} among {size}")
    return -math.expm1(math.log1p(-fpir) / size)


class Gallery:
    """The enrolled subjects' templates of one model."""

    def __init__(self, model: str, dimensions: int) -> None:
        self.model, self._dimensions = model, dimensions
        self._rows = np.empty((0, dimensions), np.float32)
        self._owners: list[str] = []

    def __len__(self) -> int:
        return len(set(self._owners))

    def enrol(self, subject: str, model: str, template: Floats) -> None:
        """Add one template of a subject.

        Raises:
            ValueError: it is another model's, or not of its size, or has no direction.
        """
        self._same(model, template)
        self._rows = np.vstack([self._rows, unit(template)])
        self._owners.append(subject)

    def remove(self, subject: str) -> int:
        """Forget a subject; returns how many templates that were."""
        stays = np.array([owner != subject for owner in self._owners], bool)
        gone = len(self._owners) - int(stays.sum())
        self._rows[~stays] = 0
        self._rows = np.ascontiguousarray(self._rows[stays]) if gone else self._rows
        self._owners = [owner for owner in self._owners if owner != subject]
        return gone

    def threshold(self, fpir: float, score_at: Callable[[float], float]) -> float:
        """The score from which on a candidate counts.

        Args:
            fpir: false positive identification rate of the whole search.
            score_at: the manifest's threshold of this model at a false match rate.

        Raises:
            ValueError: the manifest's data do not support the rate that this takes (``UnsupportedRate``).
        """
        return score_at(fmr_for(fpir, max(1, len(self))))

    def search(self, model: str, probe: Floats, threshold: float, most: int = 10) -> list[Candidate]:
        """The subjects from the threshold on, best first.

        Raises:
            ValueError: the probe is of another model.
        """
        self._same(model, probe)
        best: dict[str, float] = {}
        scores = np.clip(self._rows @ unit(probe), -1, 1)
        for row in np.flatnonzero(scores >= threshold):
            owner = self._owners[row]
            best[owner] = max(best.get(owner, -1.0), float(scores[row]))
        ordered = sorted(best.items(), key=lambda item: (-item[1], item[0]))[:most]
        return [Candidate(subject, score, rank) for rank, (subject, score) in enumerate(ordered, start=1)]

    def _same(self, model: str, template: Floats) -> None:
        if model != self.model:
            raise ValueError(f"a template of {model[:40]!r} in a gallery of {self.model}")
        if template.shape != (self._dimensions,):
            raise ValueError(f"a template of {template.size} dimensions in a gallery of {self._dimensions}")
