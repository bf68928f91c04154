"""Pictures that somebody handed over: edge-web asks here, on a socket of its own, so that the gate never waits for it.

Rules:

1. No camera. A picture comes in, figures, a template or another picture go out, and nothing stays.
2. One worker thread of its own, with the lowest claim on the processor, and models of its own that use this thread
   only: a frame at the gate does not queue behind a picture from an office.
3. Every question is answered by its value, ``Refused`` or ``Failed``; what we did not expect ends the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge import wire
from edge.biometric.alignment import eyes_px
from edge.biometric.values import ModelSet
from edge.errors import DeviceError, Reason, Refusal
from edge.vision import facerecord
from edge.vision.frames import Pixels
from edge.vision.models import Sessions, Vector, of_models
from edge.vision.pictures import picture
from edge.vision.portrait import framed
from edge.vision.quality import nearest, turned
from edge.vision.reference import SMALL_PX, locate

log = logging.getLogger(__name__)
_CLIENTS = 8
_NICE = 15
_LIMIT = wire.STILL_LIMIT - 4096
_JUDGED_PX = 112
_CROPPED = 2.5  # eye distances around the middle of the face, to each side
_FORMS = {
    "jpeg": (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 92]),
    "png": (".png", [cv2.IMWRITE_PNG_COMPRESSION, 6]),
    "webp": (".webp", [cv2.IMWRITE_WEBP_QUALITY, 90]),
    "jp2": (".jp2", [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 100]),
}


class Stills:
    """Looks at pictures, one at a time."""

    def __init__(self, open_models: Callable[[], Sessions]) -> None:
        self._open_models = open_models
        self._sessions: Sessions | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="stills", initializer=_step_back)
        self._talks: set[asyncio.Task[None]] = set()

    async def run(self, path: Path) -> None:
        """Answer until cancelled."""
        await asyncio.to_thread(path.unlink, missing_ok=True)
        server = await asyncio.start_unix_server(self._meet, path, limit=wire.STILL_LIMIT)
        try:
            await asyncio.to_thread(path.chmod, 0o660)
            await asyncio.Event().wait()
        finally:
            server.close()
            for talk in self._talks:
                talk.cancel()
            await asyncio.to_thread(path.unlink, missing_ok=True)
            self._worker.shutdown(wait=False, cancel_futures=True)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._talks) >= _CLIENTS:
            writer.close()
            return
        self._talks.add(task)
        try:
            while True:
                question = await wire.receive(reader, wire.STILL_LIMIT)
                await wire.send(writer, await self._answer(question), wire.STILL_LIMIT)
        except (EOFError, ConnectionError, asyncio.CancelledError):
            pass
        except wire.WireError as error:
            log.warning("client speaks something else: %s", error)
        except Exception as error:  # noqa: BLE001 -- rule 3: the message may hold personal data, the type does not
            log.error("unexpected %s; connection ended", type(error).__name__)
        finally:
            self._talks.discard(task)
            writer.close()

    async def _answer(self, question: wire.Message) -> wire.Message:
        if not isinstance(question, wire.AskStill | wire.AskModels):
            raise wire.WireError(f"{type(question).__name__} is not a question")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._worker, self._look, question)
        except Refusal as refusal:
            return wire.Refused(refusal.reason.code, refusal.detail)
        except DeviceError as error:
            return wire.Failed(error.device, error.message)

    def _look(self, question: wire.AskStill | wire.AskModels) -> wire.Still | ModelSet:
        if self._sessions is None:
            self._sessions = self._open_models()
        return self._sessions.models if isinstance(question, wire.AskModels) else look(question, self._sessions)


def look(question: wire.AskStill, sessions: Sessions) -> wire.Still:
    """What the picture shows, and the picture that is asked for.

    Raises:
        Refusal: ``unreadable`` for bytes that are no picture, ``no-biometric-probe`` or ``several-faces`` for what it
            shows.
        DeviceError: the models fail.
    """
    began = time.perf_counter()
    if question.form not in _FORMS:
        raise Refusal(Reason.UNSUPPORTED, "picture format that is not written here")
    image = _picture(question.data)
    if question.work is wire.StillWork.CONVERT:
        found = _plain(image, _written(image, question.form))
    else:
        found = _face(image, sessions, question)
    return wire.Still(**found, took_us=int((time.perf_counter() - began) * 1e6))


def _picture(data: bytes) -> Pixels:
    try:
        if data[:4] == facerecord.MAGIC:
            data = facerecord.image(data)
        return picture(data, _LIMIT)
    except Refusal as refusal:
        raise Refusal(Reason.UNREADABLE, refusal.detail) from refusal


def _plain(image: Pixels, written: bytes) -> dict[str, Any]:
    height, width = image.shape[:2]
    return {
        "width": width,
        "height": height,
        "eyes_px": 0.0,
        "sharpness": 0.0,
        "brightness": 0.0,
        "quality": 0,
        "turned": False,
        "small": min(width, height) < SMALL_PX,
        "bona_fide": None,
        "model": "",
        "template": b"",
        "picture": written,
    }


def _face(image: Pixels, sessions: Sessions, question: wire.AskStill) -> dict[str, Any]:
    seen, landmarks = _located(image, sessions)
    scale = seen.shape[1] / image.shape[1]
    distance = eyes_px(landmarks) / scale
    view = framed(np.asarray(cv2.cvtColor(seen, cv2.COLOR_BGR2GRAY), np.uint8), landmarks, _JUDGED_PX)
    sharpness, brightness = float(cv2.Laplacian(view, cv2.CV_32F).var()), float(view.mean())
    aside = turned(landmarks)
    figures: dict[str, Any] = {
        "eyes_px": distance,
        "sharpness": sharpness,
        "brightness": brightness,
        "quality": quality(distance, sharpness, brightness, aside),
        "turned": aside,
    }
    made = b""
    match question.work:
        case wire.StillWork.FACTS:
            vector = of_models(lambda: sessions.embedder.embed(seen, landmarks))
            figures |= {"model": sessions.embedder.name, "template": np.asarray(vector, "<f4").tobytes()}
            figures["bona_fide"] = _bona_fide(image, sessions)
        case wire.StillWork.ALIGN:
            made = _written(framed(seen, landmarks, 256), question.form)
        case wire.StillWork.CROP:
            made = _written(_cropped(image, landmarks / np.float32(scale)), question.form)
    return _plain(image, made) | figures


def _located(image: Pixels, sessions: Sessions) -> tuple[Pixels, Vector]:
    try:
        return locate(image, sessions.detector)
    except Refusal as refusal:
        several = "several" in refusal.detail
        raise Refusal(Reason.SEVERAL_FACES if several else Reason.NO_PROBE, refusal.detail) from refusal


def _bona_fide(image: Pixels, sessions: Sessions) -> float | None:
    attack = sessions.attack
    if attack is None:
        return None
    faces = of_models(lambda: sessions.detector.detect(image))
    if not faces:
        return None
    face = nearest(faces)[0]
    return of_models(lambda: attack.bona_fide(image, face.box))


def quality(distance: float, sharpness: float, brightness: float, aside: bool) -> int:
    """0 to 100: the worst of size (90 pixels between the eyes: 100), sharpness (200) and light; half if turned."""
    size, sharp = distance / 90.0, sharpness / 200.0
    light = min(brightness / 80.0, (255.0 - brightness) / 60.0)
    worst = min(1.0, size, sharp, light) * (0.5 if aside else 1.0)
    return round(100 * max(0.0, worst))


def _cropped(image: Pixels, landmarks: Vector) -> Pixels:
    """The face with its surroundings; cut off where the picture ends."""
    x, y = (float(v) for v in landmarks.mean(axis=0))
    reach = _CROPPED * eyes_px(landmarks)
    height, width = image.shape[:2]
    left, top = max(0, round(x - reach)), max(0, round(y - reach))
    right, bottom = min(width, round(x + reach)), min(height, round(y + reach))
    return np.ascontiguousarray(image[top:bottom, left:right])


def _written(image: Pixels, form: str) -> bytes:
    suffix, how = _FORMS[form]
    try:
        done, encoded = cv2.imencode(suffix, image, how)
    except cv2.error as error:
        raise DeviceError("models", f"a picture cannot be written as {form}") from error
    if not done or encoded.nbytes > _LIMIT:
        raise Refusal(Reason.UNSUPPORTED, f"picture that cannot be written as {form}")
    return encoded.tobytes()


def _step_back() -> None:
    """Give way to the gate. A sandbox may forbid it; then the scheduler treats both alike."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
