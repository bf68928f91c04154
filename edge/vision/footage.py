"""A camera that plays recorded scenes: the twin of the real ones, for the demo and the tests.

A stage is a directory with footage files ``<name>.npy``, uint8 (n, h, w, 3) in BGR, and one line of text, ``playing``:

- ``<name>.npy loop``: from the start again after the last frame;
- ``<name>.npy once``: stays on the last frame, with fresh sensor noise;
- ``<name>.npy freeze``: stays on the first frame, exactly;
- ``gone``: the camera is unplugged.

Where ``light`` says ``1``, the fill light shines: each picture is brighter by what ``<name>.light.npy`` says of each
pixel, uint8 (h, w) in percent; footage without such a file does not answer the light.

``playing`` is replaced atomically and looked at before each frame; a changed line starts at frame 0.
"""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np

from edge.errors import DeviceError
from edge.vision.frames import BgrShot, Pixels, Shot

_LIMIT_BYTES = 64 * 1024 * 1024  # of one frame
_NOISE_SPARE = 32  # the noise is wider than the picture by this, so that it can be laid on at many places


class FootageCamera:
    """Plays what the stage's ``playing`` says, at ``fps`` frames a second."""

    def __init__(self, stage: str, fps: float) -> None:
        self._stage = Path(stage)
        self._interval_s = 1.0 / fps
        self._due = time.monotonic()
        self._line: str | None = None
        self._footage = _Footage.absent()
        self._at = 0
        self._rng = np.random.default_rng()
        self._noise: tuple[Pixels, Pixels] | None = None
        self._look()

    def read(self) -> Shot:
        """Wait until the next frame is due and give it."""
        self._pace()
        self._look()
        how = (self._line or "").split()[1]
        last = self._footage.count - 1
        picture = self._footage.frame(0 if how == "freeze" else min(self._at, last))
        if how != "freeze" and self._footage.lit is not None and self._light():
            picture = np.asarray(cv2.add(picture, cv2.multiply(picture, self._footage.lit, scale=0.01)), np.uint8)
        if (how == "once" and self._at > last) or (how == "loop" and last == 0):
            picture = self._grain(picture)
        self._at = 0 if how == "loop" and self._at >= last else self._at + 1
        return BgrShot(picture)

    def close(self) -> None:
        """Nothing is held open."""

    def _pace(self) -> None:
        """Sleep until the next frame is due; a late reader loses frames, as with a real camera."""
        now = time.monotonic()
        self._due = max(self._due + self._interval_s, now)
        time.sleep(self._due - now)

    def _look(self) -> None:
        """Follow the stage."""
        try:
            line = (self._stage / "playing").read_text(encoding="utf-8").strip()
        except OSError as error:
            raise DeviceError("camera", "no footage on the stage") from error
        if line == self._line:
            return
        self._line = None
        match line.split():
            case ["gone"]:
                raise DeviceError("camera", "unplugged")
            case [name, "loop" | "once" | "freeze"] if Path(name).name == name:
                self._footage = _Footage.open(self._stage / name)
            case _:
                raise DeviceError("camera", "the stage says something that is no footage")
        self._line, self._at = line, 0

    def _light(self) -> bool:
        """Whether the fill light shines."""
        try:
            return (self._stage / "light").read_text(encoding="ascii").startswith("1")
        except OSError:
            return False

    def _grain(self, picture: Pixels) -> Pixels:
        """The picture with fresh sensor noise: a larger sheet of it, laid on somewhere else each time."""
        height, width = picture.shape[:2]
        if self._noise is None or self._noise[0].shape[:2] != (height + _NOISE_SPARE, width + _NOISE_SPARE):
            sheet = self._rng.normal(0.0, 2.0, (height + _NOISE_SPARE, width + _NOISE_SPARE, 3))
            self._noise = np.clip(sheet, 0, 20).astype(np.uint8), np.clip(-sheet, 0, 20).astype(np.uint8)
        top, left = (int(v) for v in self._rng.integers(0, _NOISE_SPARE, 2))
        brighter, darker = (sheet[top : top + height, left : left + width] for sheet in self._noise)
        return np.asarray(cv2.subtract(cv2.add(picture, brighter), darker), np.uint8)


class _Footage:
    """One file, read frame by frame so that it is not held in memory."""

    def __init__(
        self, path: Path, offset: int, count: int, shape: tuple[int, int, int], lit: Pixels | None = None
    ) -> None:
        self._path, self._offset, self.count, self._shape = path, offset, count, shape
        self.lit = lit  # how much the fill light adds to each pixel, percent
        self._size = shape[0] * shape[1] * shape[2]

    @classmethod
    def absent(cls) -> _Footage:
        return cls(Path(), 0, 0, (0, 0, 3))

    @classmethod
    def open(cls, path: Path) -> _Footage:
        try:
            header = np.load(path, mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise DeviceError("camera", f"footage {path.name} cannot be read") from error
        shape = header.shape
        if (
            header.dtype != np.uint8
            or len(shape) != 4
            or shape[3] != 3
            or shape[0] < 1
            or not header.flags.c_contiguous
        ):
            raise DeviceError("camera", f"footage {path.name} is not uint8 (n, h, w, 3)")
        if not 0 < shape[1] * shape[2] * 3 <= _LIMIT_BYTES:
            raise DeviceError("camera", f"footage {path.name} has frames of {shape[2]}x{shape[1]}")
        size = (int(shape[1]), int(shape[2]), 3)
        return cls(path, int(header.offset), int(shape[0]), size, _lit(path, size[:2]))

    def frame(self, index: int) -> Pixels:
        try:
            pixels = np.fromfile(self._path, np.uint8, self._size, offset=self._offset + index * self._size)
        except OSError as error:
            raise DeviceError("camera", f"footage {self._path.name} cannot be read") from error
        if pixels.size != self._size:
            raise DeviceError("camera", f"footage {self._path.name} ends early")
        return pixels.reshape(self._shape)


def _lit(path: Path, size: tuple[int, int]) -> Pixels | None:
    """How this footage answers the fill light, for each colour of each pixel; None when it does not."""
    beside = path.with_suffix(".light.npy")
    if not beside.exists():
        return None
    try:
        percent = np.load(beside)
    except (OSError, ValueError, EOFError) as error:
        raise DeviceError("camera", f"footage {beside.name} cannot be read") from error
    if percent.shape != size or percent.dtype != np.uint8:
        raise DeviceError("camera", f"footage {beside.name} is not uint8 {size}")
    return np.asarray(cv2.merge([percent] * 3), np.uint8)
