"""edge-gate takes away what old entries say, by the site's policy; their hashes stay, and the log says so.

Rules:

1. Nothing goes before it is so many days old, by the earliest that now can be.
2. Nothing goes that no checkpoint covers, or, where entries are sent out, that the collector has not signed for.
3. A little at a time, so that nobody at the entrance waits for it.
4. What is kept about people beside the log goes sooner, day by day (``devices/bodies.py``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta

from edge.devices.bodies import SqliteBodies
from edge.devices.checkpoints import CheckpointReader
from edge.devices.follower import Follower
from edge.devices.journal import SqliteJournal
from edge.errors import DeviceError
from edge.ports import Clock
from edge.settings import Log

_FIRST_S, _EVERY_S, _BETWEEN_S = 60.0, 3600.0, 1.0
_log = logging.getLogger("edge.gate")


async def keep(
    days: float,
    journal: SqliteJournal,
    log: Follower,
    checkpoints: CheckpointReader,
    clock: Clock,
    elsewhere: Callable[[int], int],
) -> None:
    """Prune once an hour, until cancelled.

    Args:
        days: how long entries are kept; 0 for ever.
        journal: to be pruned.
        log: the same, to look at.
        checkpoints: which entries are sealed.
        clock: how old an entry is at least.
        elsewhere: how many entries of an epoch somebody else has.
    """
    if days <= 0:
        return
    await asyncio.sleep(_FIRST_S)
    while True:
        try:
            await prune(days, journal, log, checkpoints, clock, elsewhere)
        except DeviceError as error:
            _log.warning("old entries are still there: %s", error)
        await asyncio.sleep(_EVERY_S)


async def keep_bodies(log: Log, bodies: SqliteBodies, journal: SqliteJournal) -> None:
    """Take away what was kept about people long enough, no longer than entries; once an hour, until cancelled."""
    days = min(log.bodies_days, log.keep_days) if log.keep_days > 0 else log.bodies_days
    while True:
        try:
            await bodies.settle(journal)
            await bodies.expire(days, journal)
        except DeviceError as error:
            _log.warning("what was kept about people is still there: %s", error)
        await asyncio.sleep(_EVERY_S)


async def prune(
    days: float,
    journal: SqliteJournal,
    log: Follower,
    checkpoints: CheckpointReader,
    clock: Clock,
    elsewhere: Callable[[int], int],
) -> int:
    """Take away everything that may go now; how many entries of pruning were written.

    Raises:
        DeviceError: the log cannot be read or written.
    """
    epoch, last = log.epoch(), checkpoints.last()
    if last is None or last.head.epoch != epoch:
        return 0
    before_ms = int((clock.now().lower - timedelta(days=days)).timestamp() * 1000)
    below = min(older(log, before_ms), elsewhere(epoch))
    written = 0
    while await journal.prune(below, last.head.size) is not None:
        written += 1
        await asyncio.sleep(_BETWEEN_S)
    return written


def older(log: Follower, before_ms: int) -> int:
    """Index of the first entry that is not from before then; what was pruned is."""
    low, high = 0, log.size()
    while low < high:
        middle = (low + high) // 2
        found = log.entries(middle, 1)
        if not found or found[0].wall_ms < before_ms:
            low = middle + 1
        else:
            high = middle
    return low
