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
from edge.errors import DeviceError
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
        shining = asyncio.ensure_future(self._shine(code))
        try:
            yield code
        finally:
            if shining.done():
                shining.result()  # it never ends by itself, so this says why it failed
            shining.cancel()
            self._switch(lit=False)

    def _switch(self, *, lit: bool) -> None:
        """A light that fails is a device of its own: the next person may come, and the lock is not in question."""
        assert self._light is not None  # nothing shines where none is fitted
        try:
            self._light.fill(lit=lit)
        except DeviceError as error:
            raise DeviceError("light", error.message) from error

    async def _shine(self, code: LightCode) -> None:
        slot = 0
        while True:
            self._switch(lit=code.lit[slot % len(code.lit)])
            slot += 1
            await asyncio.sleep(max(0.0, code.starts_at + slot * code.slot_s - self._clock.monotonic()))
