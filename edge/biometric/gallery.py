"""Who of many is this? Exact search, open set: mostly it is nobody.

Rules:

1. One matrix holds templates of one gallery and one model. Rows that were given up are zero at once and are used again;
   a matrix that has grown leaves no copy behind.
2. Every row is looked at, so nobody is missed and every score counts. Nothing is approximated.
3. A candidate is a person, with the best score of all templates; below the threshold nobody is a candidate. Equal
   scores (to six digits) are told in the order of names, not of enrolment.
4. The threshold is a false positive identification rate (FPIR): how often somebody who is not enrolled is taken for
   anybody who is. It grows with the gallery, so the threshold does: each of N comparisons must err less often,
   FMR = 1 - (1 - FPIR)^(1/N), and the manifest says from which score on. Where it cannot, there is none.

Source: ISO/IEC 19795-1, open-set identification; the relation takes comparisons as independent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from edge.biometric.score import unit

Floats = NDArray[np.float32]
_FIRST = 64
_DIGITS = 6
"""Of a score; what follows depends on the row in which a template lies."""


@dataclass(frozen=True)
class Found:
    """Somebody above the threshold."""

    subject: str = field(repr=False)
    encounter: str = field(repr=False)
    score: float


def fmr_for(fpir: float, size: int) -> float:
    """The false match rate of one comparison at which a search among ``size`` templates has this FPIR.

    Raises:
        ValueError: no rate between 0 and 1, or nobody enrolled.
    """
    if not 0 < fpir < 1 or size < 1:
        raise ValueError(f"no FPIR of {fpir} among {size}")
    return -math.expm1(math.log1p(-fpir) / size)


class Matrix:
    """Templates of one gallery and one model."""

    def __init__(self, dimensions: int) -> None:
        self._rows = np.zeros((_FIRST, dimensions), np.float32)
        self._who: list[tuple[str, str] | None] = []
        self._free: list[int] = []
        self._of: dict[str, list[int]] = {}

    def __len__(self) -> int:
        """How many templates there are."""
        return len(self._who) - len(self._free)

    @property
    def subjects(self) -> int:
        """How many people there are."""
        return len(self._of)

    def put(self, subject: str, encounter: str, template: Floats) -> None:
        """Add a template.

        Raises:
            ValueError: it is not of this matrix's size, or has no direction.
        """
        self._same(template)
        template = unit(template)
        at = self._free.pop() if self._free else self._next()
        self._rows[at] = template
        self._who[at] = (subject, encounter)
        self._of.setdefault(subject, []).append(at)

    def drop(self, subject: str) -> None:
        """Forget a person."""
        for at in self._of.pop(subject, ()):
            self._rows[at] = 0.0
            self._who[at] = None
            self._free.append(at)

    def templates(self, subject: str) -> Floats:
        """All templates of a person, one a row."""
        return np.asarray(self._rows[self._of.get(subject, [])], np.float32)

    def search(self, probe: Floats, threshold: float, most: int) -> list[Found]:
        """The people from the threshold on, most alike first.

        Raises:
            ValueError: the probe is not of this matrix's size.
        """
        self._same(probe)
        scores = self._rows[: len(self._who)] @ unit(probe)
        said = np.round(scores, _DIGITS)
        above = np.flatnonzero(scores >= threshold)
        best: dict[str, Found] = {}
        for at, who in self._in_order(above[np.argsort(-said[above], kind="stable")], said):
            if len(best) >= most:
                break
            if who[0] not in best:
                best[who[0]] = Found(*who, min(1.0, max(-1.0, float(scores[at]))))
        return list(best.values())

    def _in_order(self, rows: NDArray[np.intp], said: Floats) -> Iterator[tuple[int, tuple[str, str]]]:
        """Rows in use, of falling scores; equal ones by name. Only as many are looked at as are asked for."""
        for _, equal in groupby(rows.tolist(), key=lambda at: float(said[at])):
            yield from sorted(
                ((at, who) for at in equal if (who := self._who[at]) is not None), key=lambda found: found[1]
            )

    def _same(self, template: Floats) -> None:
        if template.shape != (self._rows.shape[1],):
            raise ValueError(f"a template of {template.size} dimensions among such of {self._rows.shape[1]}")

    def _next(self) -> int:
        at = len(self._who)
        if at == len(self._rows):
            grown = np.zeros((2 * at, self._rows.shape[1]), np.float32)
            grown[:at] = self._rows
            self._rows.fill(0.0)
            self._rows = grown
        self._who.append(None)
        return at


class Index:
    """All matrices: by gallery, then by model."""

    def __init__(self) -> None:
        self._matrices: dict[tuple[str, str], Matrix] = {}

    def put(self, gallery: str, model: str, subject: str, encounter: str, template: Floats) -> None:
        """Add a template."""
        key = (gallery, model)
        if key not in self._matrices:
            self._matrices[key] = Matrix(template.size)
        self._matrices[key].put(subject, encounter, template)

    def drop(self, subject: str) -> None:
        """Forget a person everywhere."""
        for matrix in self._matrices.values():
            matrix.drop(subject)

    def of(self, gallery: str, model: str) -> Matrix | None:
        """The matrix of a gallery for a model."""
        return self._matrices.get((gallery, model))
