"""What a comparison score is worth: measured false match rates, and nothing beyond them.

1. A threshold is asked for as a false match rate. Between two measured rates the score is interpolated along the
   logarithm of the rate.
2. Beyond the measured rates, or where fewer than 30 false matches stand behind a rate (ISO/IEC 19795-1, rule of 30),
   there is none.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass

from edge.biometric.values import ReferenceKind

FALSE_MATCHES_BEHIND_A_RATE = 30


class UnsupportedRate(ValueError):  # noqa: N818 -- says what it is; the house's errors are named for what happened
    """The data behind a model does not support the false match rate that is asked for."""


@dataclass(frozen=True)
class Thresholds:
    """What was measured with one kind of reference.

    Attributes:
        kind: what the probe was compared with.
        fmr: false match rates, falling.
        score: the threshold at each of them, rising.
        fnmr: false non-match rate at each of them.
        genuine: comparisons of one person behind the figures.
        impostor: comparisons of two people behind the figures.
        data: what they were measured on, in words.
    """

    kind: ReferenceKind
    fmr: tuple[float, ...]
    score: tuple[float, ...]
    fnmr: tuple[float, ...]
    genuine: int
    impostor: int
    data: str

    def at(self, fmr: float) -> float:
        """The score from which on two faces count as one person's.

        Raises:
            UnsupportedRate: nothing was measured there, or on too little.
        """
        if not self.fmr[-1] <= fmr <= self.fmr[0]:
            raise UnsupportedRate(f"measured for {self.fmr[0]:g} to {self.fmr[-1]:g} only, not for {fmr:g}")
        if self.impostor * fmr < FALSE_MATCHES_BEHIND_A_RATE:
            least = math.ceil(FALSE_MATCHES_BEHIND_A_RATE / fmr)
            raise UnsupportedRate(f"{fmr:g} takes {least} impostor comparisons, there are {self.impostor}")
        rising = [-rate for rate in self.fmr]
        above = bisect_left(rising, -fmr)
        if self.fmr[above] == fmr:
            return self.score[above]
        share = math.log(self.fmr[above - 1] / fmr) / math.log(self.fmr[above - 1] / self.fmr[above])
        return self.score[above - 1] + share * (self.score[above] - self.score[above - 1])
