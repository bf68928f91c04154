"""Several scores or decisions about one identity as one.

Rules:

1. A score of an algorithm is worth its likelihood ratio: how much likelier it is for one person than for two. It is
   read from the measured error rates, log10((1 - FNMR) / FMR) at each threshold, straight lines between and beyond.
2. Ratios of independent algorithms multiply: their logarithms are added. The identity matches when the sum reaches
   what a single comparison at the site's false match rate is worth.
3. Decisions: all must be for it. Scores and decisions of one identity: both must hold.
4. An algorithm that was not measured here is an error, never a guess.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from edge.biometric.thresholds import Thresholds
from edge.iavs.refused import Refused

OWNER = "edge-gate"
_YES = {"match", "true", "yes", "accept"}
_NO = {"non-match", "nonmatch", "no-match", "false", "no", "reject"}


@dataclass(frozen=True)
class Calibration:
    """What a score of one algorithm is worth: rising scores, and log10 likelihood ratios."""

    scores: tuple[float, ...]
    worth: tuple[float, ...]

    @classmethod
    def of(cls, measured: Thresholds) -> Calibration:
        """From measured error rates."""
        rates = zip(measured.fmr, measured.fnmr, strict=True)
        return cls(measured.score, tuple(math.log10(max(1e-6, 1 - fnmr) / fmr) for fmr, fnmr in rates))

    def at(self, score: float) -> float:
        """What this score is worth."""
        points = list(zip(self.scores, self.worth, strict=True))
        lines = list(pairwise(points))
        (x0, y0), (x1, y1) = next((line for line in lines if score <= line[1][0]), lines[-1])
        return max(-12.0, min(12.0, y0 + (score - x0) * (y1 - y0) / (x1 - x0)))

    def said(self) -> str:
        """For the capabilities."""
        return " ".join(f"{score:g}:{worth:.2f}" for score, worth in zip(self.scores, self.worth, strict=True))


def fuse(identities: list[dict[str, Any]], known: dict[str, Calibration], fmr: float) -> tuple[bool, list[float]]:
    """Whether every identity matches, and what the evidence for each is worth.

    Raises:
        Refused: INVALID_INPUT, NONEXISTANT_DATA, UNSUPPORTED_CAPABILITY.
    """
    if not identities:
        raise Refused("NONEXISTANT_DATA", "nothing to fuse")
    found = [_one(each.get("fusionElement", []), known, -math.log10(fmr)) for each in identities]
    return all(match for match, _ in found), [worth for _, worth in found]


def _one(elements: list[dict[str, Any]], known: dict[str, Calibration], needed: float) -> tuple[bool, float]:
    if len(elements) < 2:
        raise Refused("INVALID_INPUT", "two elements or more for each identity")
    worth, scored, agreed = 0.0, False, True
    for element in elements:
        result = element["fusionResult"]
        if "score" in result:
            worth += _calibrated(element, known).at(result["score"]["value"])
            scored = True
        else:
            agreed &= _decision(str(result.get("decision", "")))
    return agreed and (not scored or worth >= needed), round(worth, 4)


def _calibrated(element: dict[str, Any], known: dict[str, Calibration]) -> Calibration:
    calibration = known.get(element["algorithmType"]) if element["algorithmOwner"] == OWNER else None
    if not known:
        raise Refused("UNSUPPORTED_CAPABILITY", "no algorithm was measured here; decisions can be fused")
    if calibration is None:
        raise Refused("INVALID_INPUT", "an algorithm that was not measured here")
    return calibration


def _decision(word: str) -> bool:
    folded = word.strip().lower()
    if folded not in _YES | _NO:
        raise Refused("INVALID_INPUT", "a decision is match or non-match")
    return folded in _YES
