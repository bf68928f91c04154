"""The camera thread: the newest fresh frame in one place, and why there is none.

Rules:

1. One thread owns the camera. There is no queue: who comes late gets the newest frame, older ones are gone.
2. A frame with the same pixels as the one before is not a new frame and is not handed out. A sensor always has noise.
3. No fresh frame for ``frozen_s``: frozen, covered, or hung. A read or open that fails: gone. Both are faults; whoever
   waits for a frame gets ``DeviceError`` at once, nobody gets an old picture.
4. A camera that failed is closed and opened again with a growing wait. The fault ends with the first fresh frame.
5. One line in the log when the camera goes, one when it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

import cv2
import numpy as np

from edge import settings
from edge.errors import DeviceError
from edge.vision.footage import FootageCamera
from edge.vision.frames import BgrShot, Frame, Shot, YuvShot

log = logging.getLogger(__name__)

OPENING_S = 5.0  # a sensor may take this long until its first frame
WAITS_S = (0.2, 0.5, 1.0, 2.0, 5.0)  # before each further try to open
_STEADY = 30  # fresh frames in a row, after which a camera counts as one that works
_LOOK_S = 0.1  # how often a waiting caller looks whether the camera has gone quiet


class Camera(Protocol):
    """An open camera. Touched by the camera thread only."""

    def read(self) -> Shot:
        """Wait for the next picture.

        Raises:
            DeviceError: there is none.
        """
        ...

    def close(self) -> None:
        """Give the device back."""
        ...


def camera(chosen: settings.Camera) -> Callable[[], Camera]:
    """How to open the camera that the configuration names."""
    match chosen.kind:
        case "picamera2":
            return lambda: PiCamera(chosen)
        case "opencv":
            return lambda: OpenCvCamera(chosen)
        case "footage":
            return lambda: FootageCamera(chosen.source, chosen.fps)


class OpenCvCamera:
    """A USB camera, an RTSP stream or a recording, through OpenCV."""

    def __init__(self, chosen: settings.Camera) -> None:
        timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 5000, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 2000]
        try:
            if chosen.source.isdigit():
                self._capture = cv2.VideoCapture(int(chosen.source), cv2.CAP_V4L2)
            elif chosen.source.startswith("/dev/"):
                self._capture = cv2.VideoCapture(chosen.source, cv2.CAP_V4L2)
            else:
                self._capture = cv2.VideoCapture(chosen.source, cv2.CAP_FFMPEG, timeouts)
        except cv2.error as error:
            raise DeviceError("camera", f"{chosen.source} cannot be opened") from error
        if not self._capture.isOpened():
            raise DeviceError("camera", f"{chosen.source} cannot be opened")
        self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, chosen.width)
        self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, chosen.height)
        self._capture.set(cv2.CAP_PROP_FPS, chosen.fps)
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)

    def read(self) -> Shot:
        """Wait for the next picture."""
        try:
            there, picture = self._capture.read()
        except cv2.error as error:
            raise DeviceError("camera", "reading a picture failed") from error
        if not there or picture.dtype != np.uint8 or len(picture.shape) not in (2, 3):
            raise DeviceError("camera", "no picture: unplugged, stream ended or in use by somebody else")
        if len(picture.shape) == 2:
            picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
        return BgrShot(np.asarray(picture, np.uint8))

    def close(self) -> None:
        """Give the device back."""
        self._capture.release()


class PiCamera:
    """The camera module of a Raspberry Pi. ``library`` is the class ``Picamera2``, imported here when not given."""

    def __init__(self, chosen: settings.Camera, library: Callable[[int], Any] | None = None) -> None:
        self._size = chosen.width, chosen.height
        try:
            self._device = (library or _picamera2())(int(chosen.source or 0))
            interval_us = int(1_000_000 / chosen.fps)
            controls: dict[str, Any] = {"FrameDurationLimits": (interval_us, interval_us)}
            if "AeExposureMode" in self._device.camera_controls:
                controls["AeExposureMode"] = 1  # short: a hand that moves blurs less
            if "AfMode" in self._device.camera_controls:
                controls["AfMode"] = 2  # continuous: from the card at 15 cm to the face at 60 cm
            configuration = self._device.create_video_configuration(
                main={"size": self._size, "format": "YUV420"}, buffer_count=4, controls=controls
            )
            self._device.configure(configuration)
            self._device.start()
        except ModuleNotFoundError as error:
            raise DeviceError("camera", f"{error.name} is not installed: sudo scripts/install on the Pi") from error
        except Exception as error:
            raise DeviceError("camera", f"camera module cannot be opened: {type(error).__name__}") from error

    def read(self) -> Shot:
        """Wait for the next picture; the camera's buffer is given back at once."""
        try:
            request = self._device.capture_request(wait=2.0)
            try:
                planes = np.array(request.make_array("main"), np.uint8)
            finally:
                request.release()
        except Exception as error:
            raise DeviceError("camera", f"no picture from the camera module: {type(error).__name__}") from error
        width, height = self._size
        if planes.ndim != 2 or planes.shape[0] < height * 3 // 2 or planes.shape[1] < width:
            raise DeviceError("camera", f"picture of shape {planes.shape} where {width}x{height} was asked for")
        return YuvShot(planes, width, height)

    def close(self) -> None:
        """Give the device back."""
        with contextlib.suppress(Exception):
            self._device.stop()
        with contextlib.suppress(Exception):
            self._device.close()


def _picamera2() -> Callable[[int], Any]:
    """The library of the Raspberry Pi, installed there only."""
    found: Callable[[int], Any] = importlib.import_module("picamera2").Picamera2
    return found


class CameraThread:
    """Owns the camera; holds the newest frame."""

    def __init__(
        self, open_camera: Callable[[], Camera], frozen_s: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Set up.

        Args:
            open_camera: called in the thread, again after each failure.
            frozen_s: how long there may be no fresh picture.
            monotonic: a stopwatch.
        """
        self._open = open_camera
        self._frozen_s = frozen_s
        self._monotonic = monotonic
        self._newest: Frame | None = None
        self._fault = ""
        self._started_at = self._back_at = self._monotonic()
        self._number = int(self._started_at * 1000)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._fresh = asyncio.Event()

    @property
    def newest(self) -> Frame | None:
        """The newest fresh frame, whatever its age."""
        return self._newest

    def start(self) -> None:
        """Begin to look; call it inside the event loop that will wait for frames."""
        self._loop = asyncio.get_running_loop()
        self._started_at = self._back_at = self._monotonic()
        self._thread.start()

    def stop(self, wait_s: float = 3.0) -> None:
        """Stop looking and give the camera back; a hung camera dies with the process."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(wait_s)
        self._newest = None

    def stuck_s(self) -> float:
        """Seconds since the thread last came back from the camera, with a picture or without."""
        return self._monotonic() - self._back_at

    def condition(self) -> str:
        """What is wrong, for the technician; empty when frames come."""
        if self._fault:
            return self._fault
        newest = self._newest
        quiet_s = self._monotonic() - (newest.seen_at if newest else self._started_at)
        if newest is None and quiet_s > max(self._frozen_s, OPENING_S):
            return f"no picture within {quiet_s:.0f} s of the start"
        if newest is not None and quiet_s > self._frozen_s:
            return f"no fresh picture for {self._frozen_s:g} s: frozen, covered or hung"
        return ""

    async def newer_than(self, number: int) -> Frame:
        """Wait for a fresh frame with a higher number.

        Raises:
            DeviceError: the camera is at fault.
        """
        while True:
            if fault := self.condition():
                raise DeviceError("camera", fault)
            newest = self._newest
            if newest is not None and newest.number > number:
                return newest
            fresh = self._fresh
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await fresh.wait()

    def _run(self) -> None:
        """Open, watch until it fails, close, wait, and so on."""
        failures = 0
        while not self._stop.is_set():
            before = self._number
            try:
                self._watch()
            except DeviceError as error:
                self._lost(error.message)
            self._back_at = self._monotonic()
            failures = 0 if self._number - before > _STEADY else failures + 1
            self._stop.wait(WAITS_S[min(failures, len(WAITS_S) - 1)])

    def _watch(self) -> None:
        """Hand out fresh frames until there are none."""
        device = self._open()
        try:
            last = self._monotonic()
            while not self._stop.is_set():
                shot = device.read()
                now = self._back_at = self._monotonic()
                if self._same(shot):
                    if now - last > self._frozen_s:
                        raise DeviceError("camera", f"the same picture for {self._frozen_s:g} s: frozen or covered")
                    continue
                last = now
                self._hand_out(shot, now)
        finally:
            device.close()

    def _same(self, shot: Shot) -> bool:
        """Whether these are the pixels of the frame before; a few rows settle it nearly always."""
        before = self._newest
        if before is None or before.y.shape != shot.y.shape:
            return False
        if not np.array_equal(before.y[::32], shot.y[::32]):
            return False
        return np.array_equal(before.y, shot.y)

    def _hand_out(self, shot: Shot, now: float) -> None:
        self._number += 1
        self._newest = Frame(self._number, now, shot)
        if self._fault:
            self._fault = ""
            log.info("camera: back")
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: we are on the way out
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        """Everybody who waits looks again. Runs in the event loop."""
        self._fresh.set()
        self._fresh = asyncio.Event()

    def _lost(self, fault: str) -> None:
        if not self._fault:
            log.warning("camera: %s", fault)
        self._fault = fault
