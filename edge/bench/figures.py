"""Figures of a measurement: percentiles, targets, memory and processor time of processes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

_TICKS = os.sysconf("SC_CLK_TCK")


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Median and 95th percentile, and how many values they are of."""
    if not values:
        return {"n": 0}
    p50, p95 = np.percentile(np.array(values, np.float64), (50, 95))
    return {"p50": round(float(p50), 3), "p95": round(float(p95), 3), "n": len(values)}


def most(name: str, unit: str, limit: float, found: float | None) -> dict[str, Any]:
    """A target that is met by no more than so much."""
    return {"name": name, "unit": unit, "most": limit, "found": found, "met": found is not None and found <= limit}


def least(name: str, unit: str, limit: float, found: float) -> dict[str, Any]:
    """A target that is met by no less than so much."""
    return {"name": name, "unit": unit, "least": limit, "found": found, "met": found >= limit}


def memory_kb(pid: int) -> dict[str, int]:
    """Resident memory of a process: ``rss`` counts shared pages in full, ``pss`` its share of them."""
    found = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        name, _, rest = line.partition(":")
        if name in ("Rss", "Pss"):
            found[name.lower()] = int(rest.split()[0])
    return found


def cpu_s(pid: int) -> float:
    """Processor time that a process has used, all its threads, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
