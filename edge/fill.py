"""The fill light while a face is looked for: shines its code, and is off at all other times.

Rules:

1. Where none is fitted nothing happens, and nobody looks for an answer.
2. Full on or off, never dimmed: a dimmed light flickers, and a camera that reads row after row sees stripes.
3. Each look has a code of its own, so that nobody can foresee it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from random import SystemRandom

from edge.biometric.fill import drawn
from edge.biometric.values import LightCode
from edge.ports import Clock, FillLight


class Fill:
    """Shines while it is asked to."""

    def __init__(self, light: FillLight | None, clock: Clock) -> None:
        """``light`` is None where none is fitted."""
        self._light = light
        self._clock = clock

    @contextlib.asynccontextmanager
    async def shining(self) -> AsyncIterator[LightCode | None]:
        """The code that shines inside.

        Raises:
            DeviceError: the light cannot be switched.
        """
        if self._light is None:
            yield None
            return
        code = drawn(self._clock.monotonic(), SystemRandom().sample)
        shining = asyncio.ensure_future(self._shine(self._light, code))
        try:
            yield code
        finally:
            if shining.done():
                shining.result()  # it never ends by itself, so this says why it failed
            shining.cancel()
            self._light.fill(lit=False)

    async def _shine(self, light: FillLight, code: LightCode) -> None:
        slot = 0
        while True:
            light.fill(lit=code.lit[slot % len(code.lit)])
            slot += 1
            await asyncio.sleep(max(0.0, code.starts_at + slot * code.slot_s - self._clock.monotonic()))
