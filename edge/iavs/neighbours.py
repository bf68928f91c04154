"""edge-vision and edge-gate as the services see them: an eye for pictures, a pen for the log, over Unix sockets.

Rules:

1. One question at a time on each connection, each with a deadline. Silence, a closed connection or another language is
   a ``DeviceError``; the next question connects anew.
2. What edge-vision says is checked before it is used: sizes, finite numbers, a template of whole numbers of floats.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from pathlib import Path

from edge import wire
from edge.biometric.values import ModelSet
from edge.errors import DeviceError, Reason, Refusal

_STILL_S = 10.0
_RECORD_S = 5.0
_WAITING = 16


class Neighbour:
    """Another process at the end of a socket."""

    def __init__(self, path: Path, device: str, process: str, answer_s: float, limit: int = wire.LIMIT) -> None:
        self._path = path
        self._device = device
        self._process = process
        self._answer_s = answer_s
        self._limit = limit
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._ends: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, question: wire.Message) -> wire.Message:
        """The answer, whatever it is.

        Raises:
            DeviceError: there is none, or the other process failed.
            Refusal: what was handed over is at fault.
        """
        if self._waiting >= _WAITING:
            raise DeviceError(self._device, f"{self._process} has too much to do")
        self._waiting += 1
        try:
            async with self._turn:
                answer = await self._answered(question)
        finally:
            self._waiting -= 1
        match answer:
            case wire.Refused(code, detail):
                raise Refusal(Reason.of(code), detail)
            case wire.Failed():
                raise wire.raised(answer)
        return answer

    async def _answered(self, question: wire.Message) -> wire.Message:
        try:
            async with asyncio.timeout(self._answer_s):
                if self._ends is None:
                    self._ends = await asyncio.open_unix_connection(self._path, limit=self._limit)
                reader, writer = self._ends
                await wire.send(writer, question, self._limit)
                return await wire.receive(reader, self._limit)
        except (TimeoutError, EOFError, OSError, wire.WireError) as error:
            self.close()
            raise DeviceError(self._device, f"{self._process} does not answer: {type(error).__name__}") from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the conversation."""
        if self._ends is not None:
            with contextlib.suppress(RuntimeError):
                self._ends[1].close()
        self._ends = None


class Eye:
    """Implements ``desk.Faces``."""

    def __init__(self, path: Path, answer_s: float = _STILL_S) -> None:
        self._vision = Neighbour(path, "vision", "edge-vision", answer_s, wire.STILL_LIMIT)

    async def still(self, data: bytes, work: wire.StillWork, form: str = "jpeg") -> wire.Still:
        """What the picture shows."""
        if len(data) > wire.STILL_LIMIT - 8192:
            raise Refusal(Reason.UNREADABLE, f"picture of {len(data)} bytes")
        answer = await self._vision.ask(wire.AskStill(data, work, form))
        if not isinstance(answer, wire.Still) or not _possible(answer):
            self._vision.close()
            raise DeviceError("models", "edge-vision gave what cannot be true")
        return answer

    async def models(self) -> ModelSet:
        """Which models are at work."""
        answer = await self._vision.ask(wire.AskModels())
        if not isinstance(answer, ModelSet):
            self._vision.close()
            raise DeviceError("models", "edge-vision gave something else than its models")
        return answer

    def close(self) -> None:
        """End the conversation."""
        self._vision.close()


class Pen:
    """Implements ``desk.Recorder``."""

    def __init__(self, path: Path, answer_s: float = _RECORD_S) -> None:
        self._gate = Neighbour(path, "journal", "edge-gate", answer_s)

    async def record(self, fields: dict[str, str], subject: bytes) -> None:
        """Return when the entry is on disk."""
        answer = await self._gate.ask(wire.Record(fields, subject))
        if not isinstance(answer, wire.Recorded):
            self._gate.close()
            raise DeviceError("journal", "edge-gate gave something else than a receipt")

    def close(self) -> None:
        """End the conversation."""
        self._gate.close()


def _possible(still: wire.Still) -> bool:
    figures = (still.eyes_px, still.sharpness, still.brightness)
    share = still.bona_fide is None or 0.0 <= still.bona_fide <= 1.0
    return share and all(map(math.isfinite, figures)) and 0 <= still.quality <= 100 and len(still.template) % 4 == 0
