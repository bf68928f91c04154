"""How many entries the collector has signed for: read from the position of edge-sync, which alone writes it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from edge.devices import readonly


def acknowledged(path: Path, origin: str, epoch: int) -> int:
    """Entries of this log that somebody else has; 0 where nothing is known."""
    if not path.exists():
        return 0
    try:
        with closing(readonly.connect(path)) as file:
            query = "SELECT acked FROM position WHERE origin = ? AND epoch = ?"
            found = file.execute(query, (origin, epoch)).fetchone()
    except (sqlite3.Error, OSError):
        return 0
    return 0 if found is None else int(found[0])
