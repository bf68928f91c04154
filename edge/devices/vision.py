"""edge-vision as the gate sees it: a reader and an eye for faces at the other end of a Unix socket.

Rules:

1. Every question has a deadline of our own, a little later than the one we tell. Silence, a closed connection or
   anything that is not an answer to this question is ``DeviceError("camera", ...)``; the next question connects anew.
2. One question at a time. Whoever is cancelled while waiting closes the connection, and edge-vision forgets.
3. What edge-vision says about frames is checked: numbers only go forward, a probe is newer than was asked for, nothing
   was seen in the future, and a comparison is about the probe that was asked about. So are the times of its stages,
   which go into the log: known words, numbers that can be. Else it is at fault, and nobody is let in.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from edge import wire
from edge.biometric.values import (
    LONGEST_US,
    STAGES,
    Comparison,
    Enrolled,
    Hint,
    Identification,
    ModelSet,
    Probe,
    ProbeQuality,
    Reference,
)
from edge.errors import DeviceError, Reason, Refusal
from edge.ports import Code

T = TypeVar("T")
_REASONS = {reason.code: reason for reason in Reason}

_GRACE_S = 1.5  # beyond the deadline that we tell
_ANSWER_S = 3.0  # for questions without a deadline
_CODE_S = 5.0  # how long one question for a code lasts before it is asked again
_CONNECT_S = 1.0


class VisionClient:
    """Implements ``ports.Reader`` and ``ports.Faces`` over the socket."""

    def __init__(
        self,
        path: Path,
        hinted: Callable[[Hint], None] | None = None,
        *,
        grace_s: float = _GRACE_S,
        answer_s: float = _ANSWER_S,
    ) -> None:
        """``hinted`` is told what would help the person while a probe is awaited."""
        self._path = path
        self._hinted = hinted
        self._grace_s = grace_s
        self._answer_s = answer_s
        self._turn = asyncio.Lock()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._frame = -1

    async def code(self) -> Code:
        """Wait until somebody shows a code."""
        while True:
            answer = await self._ask(wire.AskCode(_CODE_S), _CODE_S)
            if isinstance(answer, wire.Done):
                continue
            code = self._expect(answer, Code)
            self._forward(code.frame, self._frame, code.seen_at)
            self._timed({"read": code.took_us})
            self._frame = code.frame
            return code

    async def models(self) -> ModelSet:
        """Say which models are at work."""
        return self._expect(await self._ask(wire.AskModels(), self._answer_s), ModelSet)

    async def probe(
        self, wanted: ProbeQuality, newer_than: int, deadline_s: float, reference: Reference | None = None
    ) -> Probe:
        """Wait for exactly one whole face of the wanted quality in a frame after ``newer_than``."""
        answer = await self._ask(wire.AskProbe(wanted, newer_than, deadline_s, reference), deadline_s)
        probe = self._expect(answer, Probe)
        self._forward(probe.frame, newer_than, probe.seen_at)
        self._timed(probe.took_us)
        if (
            not wanted.eyes_px <= probe.eyes_px < math.inf
            or not _share(probe.bona_fide)
            or probe.tasks < len(wanted.tasks)
        ):
            raise self._lies("a probe that is not what was asked for")
        self._frame = max(self._frame, probe.frame)
        return probe

    async def compare(self, reference: Reference, probe: Probe) -> Comparison:
        """Compare that probe with the reference."""
        answer = await self._ask(wire.AskComparison(reference, probe.number), self._answer_s)
        comparison = self._expect(answer, Comparison)
        if comparison.probe != probe.number:
            raise self._lies("a comparison of another probe")
        self._timed(comparison.took_us)
        if not -1.0 <= comparison.score <= 1.0:  # also not-a-number
            raise self._lies("a score that is none")
        return comparison

    async def enrolled(self, reference: Enrolled) -> None:
        """Look whether the gallery has a face of this person that can be compared."""
        self._expect(await self._ask(wire.AskEnrolled(reference.gallery, reference.claim), self._answer_s), wire.Done)

    async def search(self, gallery: str, probe: Probe) -> Identification:
        """Compare that probe with everybody in the gallery."""
        answer = await self._ask(wire.AskSearch(gallery, probe.number), self._answer_s)
        found = self._expect(answer, Identification)
        if found.probe != probe.number:
            raise self._lies("a search for another probe")
        self._timed(found.took_us)
        if not -1.0 <= found.score <= 1.0 or found.among < 1 or len(found.candidate) != 16:
            raise self._lies("a search that cannot be")
        return found

    async def forget(self) -> None:
        """Drop all pixels and templates of this visit; closing the connection does the same, so this cannot fail."""
        if self._writer is None:
            return
        try:
            self._expect(await self._ask(wire.Forget(), self._answer_s), wire.Done)
        except (DeviceError, Refusal):
            self._hang_up()

    async def close(self) -> None:
        """End the conversation."""
        self._hang_up()

    async def _ask(self, question: wire.Message, deadline_s: float) -> wire.Message:
        """The answer, whatever it is.

        Raises:
            Refusal: the person has to act.
            DeviceError: edge-vision or one of its devices is at fault.
        """
        async with self._turn:
            try:
                async with asyncio.timeout(deadline_s + self._grace_s):
                    reader, writer = await self._connected()
                    await wire.send(writer, question)
                    answer = await self._answer(reader)
            except BaseException as error:
                self._hang_up()
                raise self._told(error) from error
        match answer:
            case wire.Refused(code, detail):
                raise Refusal(self._reason(code), detail)
            case wire.Failed():
                raise wire.raised(answer)
        return answer

    async def _answer(self, reader: asyncio.StreamReader) -> wire.Message:
        """The next message that is no hint; hints are passed on."""
        while isinstance(answer := await wire.receive(reader), wire.Hinted):
            if self._hinted is not None:
                self._hinted(answer.hint)
        return answer

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._reader is None or self._writer is None:
            async with asyncio.timeout(_CONNECT_S):
                self._reader, self._writer = await asyncio.open_unix_connection(self._path, limit=wire.LIMIT)
            self._frame = -1
        return self._reader, self._writer

    def _hang_up(self) -> None:
        if self._writer is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: so is the socket
                self._writer.close()
        self._reader = self._writer = None

    @staticmethod
    def _told(error: BaseException) -> BaseException:
        """Rule 1: what went wrong, for the technician."""
        match error:
            case TimeoutError():
                return DeviceError("camera", "edge-vision does not answer")
            case EOFError():
                return DeviceError("camera", "edge-vision does not answer: it ended the connection")
            case wire.WireError():
                return DeviceError("camera", "edge-vision does not answer in our language")
            case OSError():
                return DeviceError("camera", f"edge-vision does not answer: {error.strerror or type(error).__name__}")
        return error

    def _expect(self, answer: wire.Message, kind: type[T]) -> T:
        if not isinstance(answer, kind):
            raise self._lies(f"{type(answer).__name__} where {kind.__name__} was asked for")
        return answer

    def _timed(self, stages: Mapping[str, int]) -> None:
        """Times go into the log: known words and numbers that can be."""
        if not stages.keys() <= STAGES or not all(0 <= us < LONGEST_US for us in stages.values()):
            raise self._lies("times of stages that there are not")

    def _forward(self, frame: int, newer_than: int, seen_at: float) -> None:
        if frame <= newer_than:
            raise self._lies("a frame that goes backward")
        if not -60.0 <= seen_at - time.monotonic() <= 0.5:
            raise self._lies("a frame seen at an impossible time")

    def _reason(self, code: str) -> Reason:
        reason = _REASONS.get(code)
        if reason is None:
            raise self._lies("a refusal for a reason that is none of ours")
        return reason

    def _lies(self, what: str) -> DeviceError:
        """An answer that cannot be true: end the conversation."""
        self._hang_up()
        return DeviceError("camera", f"edge-vision gave {what}")


def _share(bona_fide: float | None) -> bool:
    return bona_fide is None or (math.isfinite(bona_fide) and 0.0 <= bona_fide <= 1.0)
