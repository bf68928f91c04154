"""One score from all that speaks for a person or for a picture of one.

Rules:

1. The networks' probability is the ground; each cue that needs no model shifts its log-odds: ``weight`` times what lies
   beyond ``neutral``, never more than ``limit``. So no cue decides alone, and what cannot be seen shifts nothing. One
   exception: no face before this camera leaves the fill light's code without any answer. What does is no person,
   however sure the networks are: they never saw this camera, and a film that is fed in passes them.
2. Without the networks there is no score: a missing detector is a reason against, whatever the cues say.
3. Weights, neutral values and limits stand in the manifest with the data behind them; a camera's own are measured with
   ``edge face calibrate``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
NO_ANSWER = -1.0
"""What ``light`` says of a face that the light does nothing to."""
_SURE = 1e-4  # a probability nearer to 0 or 1 than this is taken as this
NAMES = ("moire", "border", "parallax", "light")


@dataclass(frozen=True)
class Cue:
    """How much one cue counts.

    Attributes:
        neutral: value that speaks for nothing.
        weight: shift of the log-odds of a real person per unit beyond it; negative where more means a picture.
        limit: largest shift towards a picture.
        trust: largest shift towards a real person.
    """

    neutral: float
    weight: float
    limit: float
    trust: float


def fused(passive: float, found: Mapping[str, float], cues: Mapping[str, Cue]) -> float:
    """Probability of a real person from the networks' and from the cues that could be seen."""
    if "light" in cues and found.get("light") == NO_ANSWER:
        return 0.0
    shift = 0.0
    for name, value in found.items():
        if name in cues:
            cue = cues[name]
            shift += min(max(cue.weight * (value - cue.neutral), -cue.limit), cue.trust)
    if shift == 0:
        return passive
    sure = min(max(passive, _SURE), 1 - _SURE)
    return 1 / (1 + math.exp(-math.log(sure / (1 - sure)) - shift))


def parallax(tracks: Sequence[Floats]) -> float:
    """How far the tip of the nose leaves the plane of eyes and mouth corners: in eye distances, the largest of a visit.

    Seen from elsewhere, four points of a plane and a fifth in it move by one affine map; a nose stands a third of an
    eye distance before that plane and moves more: by 0.06 at 10 degrees, 0.11 at 20. Landmarks of a detector are
    uncertain by about 0.015.

    Args:
        tracks: landmarks (5, 2) of one face, frame after frame.
    """
    if len(tracks) < 2:
        return 0.0
    first = np.asarray(tracks[0], np.float64)
    plane = [0, 1, 3, 4]
    known = np.hstack([first, np.ones((5, 1))])
    left = []
    for points in tracks[1:]:
        now = np.asarray(points, np.float64)
        turn, *_ = np.linalg.lstsq(known[plane], now[plane], rcond=None)
        scale = math.sqrt(abs(np.linalg.det(turn[:2]))) * float(np.linalg.norm(first[1] - first[0]))
        left.append(float(np.linalg.norm(now[2] - known[2] @ turn)) / max(scale, 1e-6))
    return float(np.percentile(left, 95))


def light(lit: Sequence[bool], face: Sequence[float], around: Sequence[float]) -> float | None:
    """How much more the fill light brightens the face than what is beside it, as a factor; None when it says nothing.

    A face stands nearer to the light than the wall behind it, and light falls with the square of the distance; in a
    picture both are equally near (factor 1), on a screen both hardly change, and film that is fed in does not at all.

    Args:
        lit: the light's code, frame by frame.
        face: mean luma of the face in the same frames.
        around: mean luma beside it.
    """
    on = np.asarray(lit, bool)
    if on.all() or not on.any():
        return None
    gains = []
    for levels in (np.asarray(face, np.float64), np.asarray(around, np.float64)):
        dark = float(levels[~on].mean())
        gains.append((float(levels[on].mean()) - dark) / max(dark, 1.0))
    seen = np.asarray(face, np.float64)
    # of whichever frames vary more: somebody who moved while it was bright and stood still while it was dark, or a film
    # of that, has not answered
    spread = max(float(seen[on].std()), float(seen[~on].std())) / max(float(seen[~on].mean()), 1.0)
    if gains[0] <= max(0.01, 3 * spread):
        return NO_ANSWER
    return min(10.0, gains[0] / max(gains[1], 0.1 * gains[0]))
