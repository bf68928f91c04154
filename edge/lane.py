"""A lane without cards: who comes there, and when it looks again.

Rules:

1. A visit begins with a face in position. Who passes by, or never comes into position, has asked for nothing: no visit,
   no entry. Who was asked to do something and did not is one.
2. One search a person: who was refused is looked at again after stepping away, or after ``_STAYS_S``.
3. Pixels and templates of whoever was no visit are forgotten at once.
4. Without a score that was measured for a gallery of this size nobody is recognised.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace

from edge.biometric.values import Probe, ProbeQuality
from edge.errors import DeviceError, Reason, Refusal
from edge.ports import Faces
from edge.trust.interval import Interval

_AGAIN_S = 0.2
_GONE_S = 0.6  # so long without a face, and a person has stepped away
_STAYS_S = 10.0


class Lane:
    """What such a lane needs beside the gate's own."""

    def __init__(self, threshold: Callable[[str, int], float], pseudonym: Callable[[bytes, Interval], bytes]) -> None:
        """Set up.

        Args:
            threshold: score to reach for a model among so many people, at the policy's rates.
            pseudonym: what the log calls somebody whom the gallery calls so.
        """
        self._threshold = threshold
        self.pseudonym = pseudonym
        self._seen = -1  # the newest frame of whom it has looked at

    async def face(self, faces: Faces, wanted: Callable[[], ProbeQuality], capture_s: float) -> Probe | Refusal:
        """The next face in position; or what became of somebody who was asked to do something.

        Raises:
            DeviceError: camera or models fail.
        """
        while True:
            try:
                probe = await faces.probe(wanted(), self._seen, capture_s)
            except Refusal as refusal:
                await _forget(faces)
                if refusal.reason is Reason.TASK_NOT_DONE:
                    return refusal
                await asyncio.sleep(_AGAIN_S)
            except DeviceError:
                self._seen = -1  # another camera, another count
                raise
            else:
                self._seen = probe.frame
                return probe

    async def gone(self, faces: Faces, wanted: ProbeQuality) -> None:
        """Wait until nobody stands there any more; not for ever."""
        with contextlib.suppress(TimeoutError, DeviceError):
            async with asyncio.timeout(_STAYS_S):
                while not await self._nobody(faces, replace(wanted, tasks=())):  # noqa: ASYNC110 -- leaving is no event
                    await asyncio.sleep(_AGAIN_S)

    async def _nobody(self, faces: Faces, wanted: ProbeQuality) -> bool:
        try:
            self._seen = (await faces.probe(wanted, self._seen, _GONE_S)).frame
        except Refusal as refusal:
            return refusal.reason is Reason.NO_PROBE
        finally:
            await _forget(faces)
        return False

    def threshold(self, model: str, among: int) -> float:
        """The score that names somebody among so many.

        Raises:
            Refusal: not-measured.
        """
        try:
            return self._threshold(model, among)
        except (KeyError, ValueError) as error:
            raise Refusal(Reason.NOT_MEASURED, str(error)) from error


async def _forget(faces: Faces) -> None:
    with contextlib.suppress(DeviceError):
        await faces.forget()
