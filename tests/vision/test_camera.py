from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from itertools import chain, repeat
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest

from edge import settings
from edge.errors import DeviceError
from edge.vision import camera as camera_module
from edge.vision.camera import Camera, CameraThread, OpenCvCamera, PiCamera, camera
from edge.vision.footage import FootageCamera
from edge.vision.frames import BgrShot, Frame, Shot, YuvShot

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def chosen(**changes: Any) -> settings.Camera:
    values: dict[str, Any] = {"kind": "opencv", "source": "0", "width": 64, "height": 48, "fps": 100.0, "frozen_s": 0.3}
    return settings.Camera(**values | changes)


def noise(seed: int) -> Shot:
    return BgrShot(np.random.default_rng(seed).integers(0, 255, (48, 64, 3), np.uint8))


class Scripted:
    """A camera that gives these shots, one each 5 ms, and then, once it is let, fails."""

    def __init__(self, shots: Iterator[Shot], failing: threading.Event | None = None) -> None:
        self.shots, self.failing = shots, failing
        self.closed = False
        self.given = 0

    def read(self) -> Shot:
        time.sleep(0.005)
        try:
            shot = next(self.shots)
        except StopIteration:
            if self.failing is not None:
                self.failing.wait(60)
            raise DeviceError("camera", "unplugged") from None
        self.given += 1
        return shot

    def close(self) -> None:
        self.closed = True


class Stopwatch:
    """Goes when it is told to: however long a busy machine takes, no camera is frozen for it."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@asynccontextmanager
async def watching(
    open_camera: Callable[[], Camera], frozen_s: float = 60.0, monotonic: Callable[[], float] = time.monotonic
) -> AsyncIterator[CameraThread]:
    thread = CameraThread(open_camera, frozen_s, monotonic)
    thread.start()
    try:
        yield thread
    finally:
        await asyncio.to_thread(thread.stop)


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 -- what a thread has done has no event
        await asyncio.sleep(0.005)


def endless() -> Iterator[Shot]:
    seed = 0
    while True:
        yield noise(seed)
        seed += 1


def test_frames_are_numbered_timed_and_only_go_forward(run: Run) -> None:
    async def story() -> None:
        began = time.monotonic()
        async with watching(lambda: Scripted(endless())) as thread:
            before = -1
            for _ in range(5):
                frame = await thread.newer_than(before)
                assert frame.number > before
                assert began < frame.seen_at <= time.monotonic()
                before, began = frame.number, frame.seen_at
            assert thread.condition() == ""

    run(story())


def test_numbers_go_forward_over_a_restart(run: Run) -> None:
    async def story() -> None:
        last = 0
        for _ in range(2):
            async with watching(lambda: Scripted(endless())) as thread:
                frame = await thread.newer_than(-1)
                assert frame.number > last
                last = frame.number

    run(story())


def test_a_camera_that_changes_its_format_goes_on(run: Run) -> None:
    wide = BgrShot(np.random.default_rng(9).integers(0, 255, (72, 128, 3), np.uint8))
    shots = chain([noise(0), wide, noise(1)], endless())

    async def story() -> None:
        async with watching(lambda: Scripted(shots)) as thread:
            first = await thread.newer_than(-1)
            assert (await thread.newer_than(first.number + 5)).y.shape == (48, 64)
            assert thread.condition() == ""

    run(story())


def test_repeated_frames_are_passed_over(run: Run) -> None:
    shots = chain.from_iterable(repeat(shot, 3) for shot in endless())

    async def story() -> None:
        async with watching(lambda: Scripted(shots)) as thread:
            first = await thread.newer_than(-1)
            seed = next(seed for seed in range(10_000) if np.array_equal(first.y, noise(seed).y))
            again = await thread.newer_than(first.number + 10)
            assert np.array_equal(again.y, noise(seed + again.number - first.number).y)  # one number to each picture

    run(story())


def test_a_slow_reader_gets_the_newest_frame_and_no_queue(run: Run) -> None:
    async def story() -> None:
        device = Scripted(endless())
        async with watching(lambda: device) as thread:
            first, given = await thread.newer_than(-1), device.given
            await until(lambda: device.given > given + 10)
            frame = await thread.newer_than(first.number)
            assert frame.number > first.number + 8

    run(story())


def test_old_pixels_are_gone_when_the_next_frame_is_there(run: Run) -> None:
    async def story() -> None:
        async with watching(lambda: Scripted(endless())) as thread:
            frame = await thread.newer_than(-1)
            number, pixels = frame.number, weakref.ref(frame.bgr)
            del frame
            await thread.newer_than(number + 1)
            gc.collect()
            assert pixels() is None

    run(story())


def test_a_frozen_camera_is_a_fault_and_no_frame_is_handed_out_twice(run: Run) -> None:
    async def story() -> None:
        opened: list[Scripted] = []
        stopwatch, shots = Stopwatch(), chain([noise(0)], repeat(noise(1)))

        def open_camera() -> Scripted:
            opened.append(Scripted(shots))
            return opened[-1]

        async with watching(open_camera, 2.0, stopwatch) as thread:
            frame = await thread.newer_than(await first_number(thread))
            stopwatch.now_s += 2.1
            with pytest.raises(DeviceError, match="frozen"):
                await thread.newer_than(frame.number)
            await until(lambda: len(opened) > 1 and opened[-1].given > 3)
            assert thread.newest is not None
            assert thread.newest.number == frame.number
            assert "frozen" in thread.condition()

    async def first_number(thread: CameraThread) -> int:
        return (await thread.newer_than(-1)).number

    run(story())


@pytest.mark.parametrize("level", [0, 255])
def test_a_black_or_white_picture_without_noise_is_a_fault(run: Run, level: int) -> None:
    async def story() -> None:
        flat = BgrShot(np.full((48, 64, 3), level, np.uint8))
        stopwatch = Stopwatch()
        async with watching(lambda: Scripted(repeat(flat)), 2.0, stopwatch) as thread:
            frame = await thread.newer_than(-1)
            stopwatch.now_s += 2.1
            with pytest.raises(DeviceError):
                await thread.newer_than(frame.number)

    run(story())


def test_a_camera_that_is_gone_fails_those_who_wait_and_comes_back_by_itself(run: Run) -> None:
    opened: list[Scripted] = []
    failing = threading.Event()

    def open_camera() -> Scripted:
        opened.append(Scripted(iter([noise(0), noise(1)]) if len(opened) < 2 else endless(), failing))
        return opened[-1]

    async def story() -> None:
        async with watching(open_camera) as thread:
            frame = await thread.newer_than(-1)
            failing.set()
            with pytest.raises(DeviceError, match="unplugged"):
                await thread.newer_than(frame.number + 1)
            await until(lambda: len(opened) > 2 and not thread.condition())
            again = await thread.newer_than(frame.number + 1)
            assert again.number > frame.number + 1
            assert opened[0].closed

    run(story())


def test_a_hung_camera_is_a_fault(run: Run) -> None:
    class Hung(Scripted):
        def read(self) -> Shot:
            if not self.given:
                self.given = 1
                return noise(0)
            comes_back.wait(60)
            raise DeviceError("camera", "late")

    comes_back = threading.Event()

    async def story() -> None:
        stopwatch = Stopwatch()
        async with watching(lambda: Hung(endless()), 2.0, stopwatch) as thread:
            frame = await thread.newer_than(-1)
            stopwatch.now_s += 2.1
            with pytest.raises(DeviceError, match="hung"):
                await thread.newer_than(frame.number)
            assert thread.stuck_s() == pytest.approx(2.1)
            comes_back.set()

    run(story())


def test_the_log_tells_once_that_the_camera_is_gone(
    run: Run, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camera_module, "WAITS_S", (0.01,))
    tries = [0]

    def fail() -> Scripted:
        tries[0] += 1
        raise DeviceError("camera", "cannot be opened")

    async def story() -> None:
        async with watching(fail):
            await until(lambda: tries[0] > 3)

    run(story())
    assert [record.getMessage() for record in caplog.records] == ["camera: cannot be opened"]


def test_a_recording_is_played_and_its_end_is_a_fault(tmp_path: Path) -> None:
    path = str(tmp_path / "film.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for seed in range(3):
        writer.write(noise(seed).colour())
    writer.release()
    device = camera(chosen(source=path))()
    for _ in range(3):
        assert device.read().y.shape == (48, 64)
    with pytest.raises(DeviceError):
        device.read()
    device.close()


def test_a_missing_device_names_itself(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DeviceError, match="cannot be opened"):
        OpenCvCamera(chosen(source="/dev/video99"))
    with pytest.raises(DeviceError, match="cannot be opened"):
        OpenCvCamera(chosen(source="no/such/film.mp4"))


class Request:
    def __init__(self, planes: Any) -> None:
        self.planes = planes
        self.released = False

    def make_array(self, name: str) -> Any:
        assert name == "main"
        return self.planes

    def release(self) -> None:
        self.released = True


class Picamera2:
    """What we use of the library, as its documentation describes it."""

    camera_controls: ClassVar = {"AeExposureMode": (0, 3, 0), "AfMode": (0, 2, 0)}

    def __init__(self, number: int) -> None:
        self.number = number
        self.running = False
        self.requests: list[Request] = []
        self.late = False

    def create_video_configuration(self, **wanted: Any) -> dict[str, Any]:
        assert wanted["main"]["format"] == "YUV420"
        return wanted

    def configure(self, configuration: dict[str, Any]) -> None:
        self.size = configuration["main"]["size"]

    def start(self) -> None:
        self.running = True

    def capture_request(self, wait: float) -> Request:
        if self.late:
            raise TimeoutError
        width, height = self.size
        self.requests.append(Request(np.full((height * 3 // 2, width + 64), 128, np.uint8)))
        return self.requests[-1]

    def stop(self) -> None:
        self.running = False

    def close(self) -> None:
        pass


def test_the_camera_module_gives_luma_as_a_view_and_its_buffer_back_at_once() -> None:
    device = PiCamera(chosen(kind="picamera2"), Picamera2)
    shot = device.read()
    assert shot.y.shape == (48, 64)
    assert isinstance(shot, YuvShot)
    assert shot.y.base is not None
    assert shot.colour().shape == (48, 64, 3)
    library: Any = device._device
    assert library.requests[0].released
    library.late = True
    with pytest.raises(DeviceError, match="TimeoutError"):
        device.read()
    device.close()
    assert not library.running


def test_colour_of_padded_planes_equals_colour_of_packed_ones() -> None:
    bgr = cv2.resize(np.random.default_rng(3).integers(0, 255, (6, 8, 3), np.uint8), (64, 48))
    packed = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420), np.uint8)
    # The padding of the chroma rows is half of the luma rows' padding, two chroma rows to a stride.
    stride = 96
    padded = np.zeros((72, stride), np.uint8)
    padded[:48, :64] = packed[:48]
    chroma = packed[48:].reshape(48, 32)
    padded[48:].reshape(48, stride // 2)[:, :32] = chroma
    assert np.array_equal(YuvShot(padded, 64, 48).colour(), YuvShot(packed, 64, 48).colour())


def test_without_the_library_the_camera_module_is_a_device_error() -> None:
    with pytest.raises(DeviceError, match="picamera2 is not installed: sudo scripts/install"):
        camera(chosen(kind="picamera2", source=""))()


def test_pixels_do_not_show_in_a_repr() -> None:
    frame = Frame(1, 0.0, noise(0))
    assert "array" not in repr(frame) + repr(frame.shot) + repr(YuvShot(np.zeros((72, 64), np.uint8), 64, 48))


def test_footage_is_a_camera_too(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((1, 48, 64, 3), np.uint8))
    (tmp_path / "playing").write_text("a.npy loop\n")
    assert isinstance(camera(chosen(kind="footage", source=str(tmp_path)))(), FootageCamera)
