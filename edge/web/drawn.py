"""QR codes for pages, which draw them themselves: no picture file, nothing that a policy would have to let in."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import segno


@lru_cache(maxsize=2)
def drawn(text: str) -> dict[str, Any]:
    """A QR code as the outline of its dark modules, in rows of runs; ``modules`` along each side."""
    rows = [bytes(row) for row in segno.make(text, error="l", micro=False, boost_error=False).matrix]
    return {"modules": len(rows), "path": "".join(_runs(row, y) for y, row in enumerate(rows))}


def _runs(row: bytes, y: int) -> str:
    path, x = [], 0
    while (x := row.find(1, x)) >= 0:
        end = row.find(0, x)
        end = len(row) if end < 0 else end
        path.append(f"M{x} {y}h{end - x}v1h-{end - x}z")
        x = end
    return "".join(path)
