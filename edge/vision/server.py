"""edge-vision answers edge-gate over a Unix socket: next code, models, probe, comparison, search, forget.

Rules:

1. One client at a time, one request at a time. A second client is turned away; a client that speaks out of turn, speaks
   something else, or goes away ends its connection, and everything of its visit is forgotten at once.
2. Nothing slow runs in the event loop: the camera has its thread, reading and models share one worker thread, frame by
   frame, so that a request can be dropped between two frames.
3. Every question is answered by its value, ``Refused`` or ``Failed``. What we did not expect ends the connection, is
   told by its type only (a message may quote what was shown), and the next client starts afresh.
4. While faces are looked for, and between requests while a code is held up, the reader keeps an eye on the code, so
   that it counts once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import cv2

from edge import settings, wire
from edge.biometric.values import Enrolled, Hint
from edge.errors import DeviceError, Refusal
from edge.ports import Code
from edge.vision.camera import Camera, CameraThread, camera
from edge.vision.enrolled import Galleries
from edge.vision.faces import FaceReader
from edge.vision.following import Search
from edge.vision.models import Sessions
from edge.vision.reader import CodeReader

log = logging.getLogger(__name__)
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_HUNG_S = 30.0  # longer than any camera library waits by itself
LONGEST_S = 60.0  # no question may keep us longer
_HINT_S = 0.5  # between two hints, and before the first
_LEAVING_S = 1.0  # how long a new client waits for the one before to be gone
_BETWEEN_S = 0.1  # how often the reader looks whether a held-up code is still there


class Vision:
    """The whole of edge-vision: camera thread, worker thread, and the conversation with edge-gate."""

    def __init__(
        self,
        chosen: settings.Camera,
        sessions: Sessions | DeviceError,
        open_camera: Callable[[], Camera] | None = None,
        galleries: Galleries | None = None,
    ) -> None:
        cv2.setNumThreads(1)
        self._camera = CameraThread(open_camera or camera(chosen), chosen.frozen_s)
        self._sessions = sessions
        self._faces = None if isinstance(sessions, DeviceError) else FaceReader(sessions, galleries)
        self._models_fault = sessions.message if isinstance(sessions, DeviceError) else ""
        self._reader = CodeReader()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="vision")
        self._client: asyncio.Task[None] | None = None
        self._read_number = 0
        self._worker_back_at = time.monotonic()

    def conditions(self) -> dict[str, str]:
        """What is wrong with each device, for the technician; empty when it is well."""
        return {"camera": self._camera.condition(), "models": self._models_fault}

    def alive(self) -> bool:
        """Whether both threads still come back: for the watchdog, as a hung driver dies with its process only."""
        return self._camera.stuck_s() < _HUNG_S and time.monotonic() - self._worker_back_at < _HUNG_S

    async def run(self, path: Path) -> None:
        """Watch and answer until cancelled."""
        self._camera.start()
        try:
            server = await asyncio.start_unix_server(self._meet, path, limit=wire.LIMIT)
            try:
                await asyncio.to_thread(path.chmod, 0o660)
                await self._keep_an_eye()
            finally:
                if self._client is not None:
                    self._client.cancel()
                server.close()
        finally:
            await asyncio.to_thread(path.unlink, missing_ok=True)
            self._worker.shutdown(wait=False, cancel_futures=True)
            await asyncio.to_thread(self._camera.stop)

    async def _keep_an_eye(self) -> None:
        """Rule 4, for as long as we run."""
        while True:
            await asyncio.sleep(_BETWEEN_S)
            newest = self._camera.newest
            await self._call(self._beat)
            if self._reader.holds and newest is not None and newest.number > self._read_number:
                self._read_number = newest.number
                await self._call(self._reader.watch, newest)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk with the gate until it goes."""
        if self._client is not None:  # who has just left may not be through the door yet
            await asyncio.wait({self._client}, timeout=_LEAVING_S)
        if self._client is not None:
            log.warning("second client turned away")
            writer.close()
            return
        self._client = asyncio.current_task()
        try:
            await self._talk(reader, writer)
        except (EOFError, ConnectionError, asyncio.CancelledError):
            pass  # gone, or we are asked to stop: nothing waits for this task
        except wire.WireError as error:
            log.warning("client speaks something else: %s", error)
        except Exception as error:  # noqa: BLE001 -- rule 3: the message may hold personal data, the type does not
            log.error("unexpected %s; connection ended", type(error).__name__)
        finally:
            self._client = None
            writer.close()
            with contextlib.suppress(RuntimeError, asyncio.CancelledError):  # we stop, and everything goes with us
                await self._call(self._forget_all)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            question = await wire.receive(reader)
            answering = asyncio.create_task(self._answer(question, writer))
            speaks = asyncio.create_task(reader.read(1))
            try:
                await asyncio.wait({answering, speaks}, return_when=asyncio.FIRST_COMPLETED)
                if not answering.done():
                    if speaks.result():
                        raise wire.WireError("a question before the answer")
                    raise EOFError
                await self._stop(speaks)
                await wire.send(writer, answering.result())
            finally:
                await self._stop(answering)
                await self._stop(speaks)

    @staticmethod
    async def _stop(task: asyncio.Task[T]) -> None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task

    async def _answer(self, question: wire.Message, writer: asyncio.StreamWriter) -> wire.Message:
        """Rule 3."""
        try:
            match question:
                case wire.AskCode(deadline_s):
                    return await self._code(deadline_s)
                case wire.AskModels():
                    return self._ready().models
                case wire.AskProbe():
                    return await self._probe(question, writer)
                case wire.AskComparison(reference, probe):
                    return await self._call(self._looking().compare, reference, probe)
                case wire.AskEnrolled(gallery, claim):
                    await self._call(self._looking().enrolled, Enrolled(gallery, claim))
                    return wire.Done()
                case wire.AskSearch(gallery, probe):
                    return await self._call(self._looking().identify, gallery, probe)
                case wire.Forget():
                    await self._call(self._forget)
                    return wire.Done()
        except Refusal as refusal:
            return wire.Refused(refusal.reason.code, refusal.detail)
        except DeviceError as error:
            return wire.Failed(error.device, error.message)
        raise wire.WireError(f"{type(question).__name__} is not a question")

    async def _code(self, deadline_s: float) -> Code | wire.Done:
        """The next code, or nothing to report."""
        now = asyncio.get_running_loop().time
        until = now() + _bounded(deadline_s)
        with contextlib.suppress(TimeoutError):
            while now() < until:
                async with asyncio.timeout_at(until):
                    frame = await self._camera.newer_than(self._read_number)
                self._read_number = frame.number
                code = await self._call(self._reader.code, frame)  # to its end: a code that was read counts once
                if code is not None:
                    return code
        return wire.Done()

    async def _probe(self, ask: wire.AskProbe, writer: asyncio.StreamWriter) -> wire.Message:
        """The probe; on the way there, what would help the person.

        Raises:
            Refusal: time is over.
        """
        search = self._looking().search(ask.wanted)
        after, hints, reference = ask.newer_than, _Hints(writer), ask.reference
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_bounded(ask.deadline_s)):
                while True:
                    frame = await self._camera.newer_than(after)
                    after = frame.number
                    probe = await self._call(search.look, frame)
                    if probe is not None:
                        return probe
                    if reference is not None:  # now, because there is time until the next frame
                        await self._call(self._looking().prepare, reference)
                        reference = None
                    await hints.tell(search)
                    if frame.number > self._read_number:
                        self._read_number = frame.number
                        await self._call(self._reader.watch, frame)
        raise search.refusal()

    async def _call(self, work: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Run this in the worker thread."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, work, *arguments)

    def _beat(self) -> None:
        self._worker_back_at = time.monotonic()

    def _ready(self) -> Sessions:
        if isinstance(self._sessions, DeviceError):
            raise self._sessions
        return self._sessions

    def _looking(self) -> FaceReader:
        if self._faces is None:
            raise DeviceError("models", self._models_fault)
        return self._faces

    def _forget(self) -> None:
        if self._faces is not None:
            self._faces.forget()

    def _forget_all(self) -> None:
        self._forget()
        self._reader.forget()


class _Hints:
    """Tells the gate what would help the person: changes only, and not faster than anybody can read."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._told: Hint | None = None
        self._next_at = time.monotonic() + _HINT_S

    async def tell(self, search: Search) -> None:
        now = time.monotonic()
        hint = search.hint or (self._told and Hint.LOOK)  # what was told holds no more
        if hint is None or hint is self._told or now < self._next_at:
            return
        self._told, self._next_at = hint, now + _HINT_S
        await wire.send(self._writer, wire.Hinted(hint))


def _bounded(deadline_s: float) -> float:
    """A deadline that a confused client cannot make endless."""
    if not 0 < deadline_s <= LONGEST_S:  # also not-a-number
        raise wire.WireError("deadline out of range")
    return deadline_s
