"""Presentations for the attack kit: recorded ones in a folder, or live ones before the camera.

1. A folder holds one folder a species (``bona-fide``, ``print-flat``, ...), in it one recording each: a film, a
   ``.npy`` of frames (n, h, w, 3), or a folder of pictures in order. A single picture is a presentation of one frame.
2. Each presentation is judged as the gate judges it (``faces.Search``), until a probe comes or the frames end.
3. Nothing of a presentation is kept but its score.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from edge.biometric.presentation import Attempt
from edge.biometric.values import ProbeQuality
from edge.errors import DeviceError, Refusal
from edge.vision.camera import Camera
from edge.vision.faces import FaceReader
from edge.vision.frames import BgrShot, Frame, Pixels
from edge.vision.models import Sessions

FPS = 30.0
LONGEST = 300
_PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
_FILMS = {".mp4", ".avi", ".mov", ".mkv", ".webm"}


def recordings(folder: Path) -> list[tuple[str, Path]]:
    """Every recording with its species.

    Raises:
        ValueError: there is none.
    """
    found = [
        (path.parent.name, path)
        for path in sorted(folder.glob("*/*"))
        if path.is_dir() or path.suffix.lower() in _PICTURES | _FILMS | {".npy"}
    ]
    if not found:
        raise ValueError(f"{folder}: no recordings; expected one folder a species, bona-fide among them")
    return found


def frames_of(path: Path) -> Iterator[Frame]:
    """The frames of one recording, at most ``LONGEST``.

    Raises:
        ValueError: it cannot be read.
    """
    for number, picture in enumerate(_pictures(path), start=1):
        if number > LONGEST:
            return
        yield Frame(number, number / FPS, BgrShot(picture))


def _pictures(path: Path) -> Iterator[Pixels]:
    if path.is_dir():
        for each in sorted(path.iterdir()):
            if each.suffix.lower() in _PICTURES:
                yield _picture(each)
    elif path.suffix == ".npy":
        clip = np.load(path, mmap_mode="r")
        if clip.ndim != 4 or clip.dtype != np.uint8 or clip.shape[3] != 3:
            raise ValueError(f"{path} is not uint8 (n, h, w, 3)")
        yield from (np.array(frame) for frame in clip)
    elif path.suffix.lower() in _FILMS:
        yield from _film(path)
    else:
        yield _picture(path)


def _film(path: Path) -> Iterator[Pixels]:
    film = cv2.VideoCapture(str(path))
    try:
        if not film.isOpened():
            raise ValueError(f"{path} is no film that can be read")
        while (read := film.read())[0]:
            yield np.asarray(read[1], np.uint8)
    finally:
        film.release()


def _picture(path: Path) -> Pixels:
    image = cv2.imread(str(path))
    if image is None:
        raise ValueError(f"{path} is no picture")
    return np.asarray(image, np.uint8)


def live(camera: Camera, seconds: float) -> Iterator[Frame]:
    """Fresh frames for so long.

    Raises:
        DeviceError: the camera fails.
    """
    until, number = time.monotonic() + seconds, 0
    while (now := time.monotonic()) < until:
        number += 1
        yield Frame(number, now, camera.read())


def attempt(sessions: Sessions, wanted: ProbeQuality, species: str, frames: Iterable[Frame]) -> Attempt:
    """One presentation, judged as at the gate.

    Raises:
        DeviceError: the models fail, or do not detect attacks.
    """
    if sessions.attack is None:
        raise DeviceError("models", f"the {sessions.models.name} set detects no attacks")
    faces = FaceReader(sessions)
    search = faces.search(wanted)
    try:
        for frame in frames:
            probe = search.look(frame)
            if probe is not None:
                return Attempt(species, probe.bona_fide)
        refusal = search.refusal()
    except Refusal as error:
        refusal = error
    finally:
        faces.forget()
    return Attempt(species, None, refusal.reason.code)
