"""How alike two templates are, and one template from several."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def unit(vector: Floats) -> Floats:
    """The vector scaled to length one.

    Raises:
        ValueError: it has no direction.
    """
    length = float(np.linalg.norm(vector))
    if not np.isfinite(length) or length == 0:
        raise ValueError("a template without direction")
    return (vector / length).astype(np.float32)


def cosine(a: Floats, b: Floats) -> float:
    """Comparison score of two vectors, -1 to 1.

    Raises:
        ValueError: they differ in length, so they are not of one model.
    """
    if a.shape != b.shape:
        raise ValueError(f"templates of {a.size} and {b.size} dimensions")
    return float(np.clip(np.dot(unit(a), unit(b)), -1.0, 1.0))


def fused(templates: Sequence[Floats]) -> Floats:
    """One template from several of one person: the direction of their mean.

    Frames of one visit are averaged before the comparison: the cheapest gain in accuracy there is.

    Raises:
        ValueError: there are none, or they cancel out.
    """
    if not templates:
        raise ValueError("no template to fuse")
    return unit(np.mean([unit(each) for each in templates], axis=0))
