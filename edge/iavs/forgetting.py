"""What was deleted leaves the memory of this process too.

Rules:

1. The allocator overwrites whatever is given back to it (the process is begun that way, ``edge/app/memory.py``). Here
   goes what would not be given back: rings of objects that wait for the collector, small arrays that numpy keeps.
2. It is done with the deletion, and again when requests that were under way have ended and connections are closed; the
   write-ahead log, which somebody else may be reading (a backup), is emptied as soon as nobody does.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable

import numpy as np

AGAIN_S = 10.0
_KEPT_BELOW = 1024  # bytes: numpy keeps up to seven arrays of each size for the next one
_KEPT = 8


def settle() -> None:
    """What is there now is there to stay: sweeping looks at what comes from now on, and takes milliseconds."""
    gc.collect()
    gc.freeze()


def sweep() -> None:
    """Give back what waits, and overwrite what is kept."""
    gc.collect()
    for size in range(1, _KEPT_BELOW):
        held = [np.zeros(size, np.uint8) for _ in range(_KEPT)]
        held.clear()


class Sweeper:
    """Sweeps once more, a while after the last deletion, and until the disk holds nothing of it either."""

    def __init__(self, emptied: Callable[[], Awaitable[bool]], again_s: float = AGAIN_S) -> None:
        """``emptied`` empties what is on disk, if nobody reads it meanwhile."""
        self._emptied = emptied
        self._again_s = again_s
        self._next: asyncio.Task[None] | None = None

    def later(self) -> None:
        """Something was deleted."""
        self.close()
        self._next = asyncio.create_task(self._sweep())

    def close(self) -> None:
        """No more."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    async def _sweep(self) -> None:
        done = False
        while not done:
            await asyncio.sleep(self._again_s)
            sweep()
            done = await self._emptied()
