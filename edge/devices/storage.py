"""Is this disk good enough for the log? For commissioning: cards differ a hundredfold, and each entry waits for it."""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from edge.audit.entry import Event, Kind
from edge.devices.journal import SqliteJournal
from edge.errors import DeviceError
from edge.trust.interval import Interval

LIMIT_MS = 250.0
_EVENT = Event(Kind.DENIED, {"reason": "no-match", "facts": {"score": 9123, "threshold": 9300}}, digests=(bytes(32),))


@dataclass(frozen=True)
class Storage:
    """How long a durable entry takes on this disk, milliseconds."""

    p50_ms: float
    p99_ms: float
    worst_ms: float
    entries_per_s: float

    @property
    def good(self) -> bool:
        """Whether a person at the gate would not notice it."""
        return self.p99_ms <= LIMIT_MS

    def __str__(self) -> str:
        """For the technician."""
        figures = f"{self.p50_ms:.1f} ms, 99 % within {self.p99_ms:.1f} ms, {self.entries_per_s:.0f} entries/s"
        return (
            figures
            if self.good
            else f"{figures}: too slow for the log, use another card or disk (99 % within {LIMIT_MS:.0f} ms)"
        )


class _Clock:
    """The system's; the entries are thrown away."""

    def now(self) -> Interval:
        return Interval.exactly(datetime.now(UTC))

    def raise_floor(self, moment: datetime) -> None:
        pass

    def monotonic(self) -> float:
        return time.monotonic()


def selftest(folder: Path, entries: int = 300) -> Storage:
    """Write so many entries as the gate writes them, in a log of their own in this folder, and throw it away.

    Raises:
        DeviceError: the folder cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="storage-test-", dir=folder) as place:
            return asyncio.run(_written(Path(place) / "journal.db", entries))
    except OSError as error:
        raise DeviceError("journal", f"{folder}: {error}") from error


async def _written(path: Path, entries: int) -> Storage:
    journal = SqliteJournal.open(path, "urn:gate:storage:test:none", "test", _Clock())
    try:
        began = time.perf_counter()
        took_ms = sorted([(await journal.append(_EVENT)).commit_us / 1000 for _ in range(entries)])
        seconds = time.perf_counter() - began
    finally:
        journal.close()
    return Storage(took_ms[entries // 2], took_ms[entries * 99 // 100], took_ms[-1], entries / seconds)
