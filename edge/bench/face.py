"""What one face costs: each stage of a probe frame, beside the packages that others use, in one run on one thread.

1. The frame is 1280 x 720 with one of the portraits; the code is the gate's own (``Search.look``), every model set that
   is in place takes part.
2. A peer takes part where it can be imported: dlib with face_recognition, and OpenCV's own YuNet and SFace where those
   files are here. Nothing is installed for it; a peer that is not here is named.
3. Wall time says what a person waits on this machine now; processor time, and the least of many, what it costs when
   others are busy too.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from edge.bench.figures import percentiles
from edge.biometric.manifest import Manifest, parse
from edge.biometric.values import ProbeQuality
from edge.settings import read_toml
from edge.vision.faces import FaceReader
from edge.vision.frames import BgrShot, Frame
from edge.vision.sessions import ModelSessions, complete

Image = NDArray[np.uint8]
FOLDER = Path(__file__).resolve().parents[2] / "models"
FRAMES, WARM_UP = 200, 10
PROBE_FRAME_MS = 25.0
FASTER_THAN_PEER = 8.0
_PEER_FRAMES = 20
_PORTRAIT = "obama2"
_SFACE = "face_recognition_sface_2021dec.onnx"


def measure(console: Console, folder: Path = FOLDER, frames: int = FRAMES) -> dict[str, Any]:
    """Stages and peers, milliseconds.

    Raises:
        DeviceError: a model file is not the manifest's.
        FileNotFoundError: there are no models and portraits yet.
    """
    cv2.setNumThreads(1)
    manifest = parse(read_toml(folder / "models.toml"))
    scenes = list(_scenes(_portrait(manifest, folder)))
    found: dict[str, Any] = {"sets": {}, "peers": {}, "targets": []}
    for name in manifest.sets:
        if complete(manifest, folder, name):
            with console.status(f"{name} set"):
                sessions = ModelSessions.open(manifest, folder, name, threads=1)
                found["sets"][name] = _ours(sessions, scenes, frames)
    with console.status("peers"):
        found["peers"]["face_recognition (dlib): detect + embed"] = _dlib(scenes)
        found["peers"]["OpenCV FaceDetectorYN (YuNet): detect"] = _yunet(scenes, manifest, folder)
        found["peers"]["OpenCV FaceRecognizerSF (SFace): embed"] = _sface(scenes, folder)
    _targets(found)
    return found


class _Looker:
    """Somebody's face, frame after frame, as ``edge-vision`` looks at it; a new search after each probe."""

    def __init__(self, sessions: ModelSessions) -> None:
        self._faces = FaceReader(sessions)
        self._search = self._faces.search(ProbeQuality())
        self.stages: dict[str, list[float]] = {}

    def look(self, frame: Frame) -> None:
        probe = self._search.look(frame)
        if probe is None:
            return
        for stage, microseconds in probe.took_us.items():
            self.stages.setdefault(stage, []).append(microseconds / 1000)
        self._faces.forget()
        self._search = self._faces.search(ProbeQuality())


def _ours(sessions: ModelSessions, scenes: list[Frame], frames: int) -> dict[str, Any]:
    """Whole frames one by one, and the stages as the gate reports them: means over the frames of a probe."""
    for _ in range(WARM_UP):
        _Looker(sessions).look(scenes[0])
    looker = _Looker(sessions)
    whole = _timed(looker.look, scenes, frames)

    def both(frame: Frame) -> None:
        sessions.embedder.embed(frame.bgr, sessions.detector.detect(frame.bgr)[0].landmarks)

    return {
        "probe frame": whole,
        "detect only": _timed(lambda frame: sessions.detector.detect(frame.bgr), scenes, frames),
        "detect + embed": _timed(both, scenes, frames),
        **{stage: percentiles(values) for stage, values in looker.stages.items()},
    }


def _dlib(scenes: list[Frame]) -> dict[str, Any] | str:
    """HOG detector, landmarks and the network in dlib's own runtime, as face_recognition's users run it."""
    try:
        package: Any = importlib.import_module("face_recognition")
    except (ImportError, SystemExit):
        return "not installed"

    def both(frame: Frame) -> None:
        seen = np.ascontiguousarray(frame.bgr[..., ::-1])
        package.face_encodings(seen, package.face_locations(seen))

    return _timed(both, scenes, _PEER_FRAMES)


def _yunet(scenes: list[Frame], manifest: Manifest, folder: Path) -> dict[str, Any] | str:
    """The same network in OpenCV's runtime, on the same 320 pixels."""
    path = folder / "standard" / manifest.models["yunet-n"].asset.file
    if not path.is_file():
        return "its model is not here"
    try:
        detector = cv2.FaceDetectorYN.create(str(path), "", (320, 192))
    except (AttributeError, cv2.error):
        return "this OpenCV cannot load it"

    def detect(frame: Frame) -> None:
        detector.detect(cv2.resize(frame.bgr, (320, 192), interpolation=cv2.INTER_AREA))

    return _timed(detect, scenes, 5 * _PEER_FRAMES)


def _sface(scenes: list[Frame], folder: Path) -> dict[str, Any] | str:
    """The recogniser that comes with OpenCV, where somebody has put its file here: aligned crop and vector."""
    path = folder / "standard" / _SFACE
    if not path.is_file():
        return f"its model is not here ({path.name})"
    try:
        recogniser = cv2.FaceRecognizerSF.create(str(path), "")
    except (AttributeError, cv2.error):
        return "this OpenCV cannot load it"
    crop = np.ascontiguousarray(scenes[0].bgr[200:312, 500:612])
    return _timed(lambda _: recogniser.feature(crop), scenes, 5 * _PEER_FRAMES)


def _timed(act: Callable[[Frame], object], scenes: list[Frame], frames: int) -> dict[str, Any]:
    """Wall time and processor time of ``act`` on one frame after another."""
    act(scenes[0])
    wall, cpu = [], []
    for number in range(frames):
        frame = scenes[number % len(scenes)]
        began, used = time.perf_counter(), time.process_time()
        act(frame)
        wall.append(1000 * (time.perf_counter() - began))
        cpu.append(1000 * (time.process_time() - used))
    return {**percentiles(wall), "least": round(min(wall), 3), "cpu_p50": percentiles(cpu)["p50"]}


def _targets(found: dict[str, Any]) -> None:
    standard = found["sets"].get("standard")
    if standard is not None:
        took = standard["probe frame"]["p50"]
        found["targets"].append(
            {
                "name": "probe frame p50, standard set",
                "unit": "ms",
                "most": PROBE_FRAME_MS,
                "found": took,
                "met": took <= PROBE_FRAME_MS,
            }
        )
    peer = found["peers"]["face_recognition (dlib): detect + embed"]
    if standard is not None and isinstance(peer, dict):
        most = round(peer["p50"] / FASTER_THAN_PEER, 2)
        took = standard["detect + embed"]["p50"]
        name = f"detect + embed p50, standard set: 1/{FASTER_THAN_PEER:g} of face_recognition"
        found["targets"].append({"name": name, "unit": "ms", "most": most, "found": took, "met": took <= most})


def _portrait(manifest: Manifest, folder: Path) -> Image:
    path = folder / "portraits" / manifest.portraits[_PORTRAIT].file
    image = cv2.imread(str(path))
    if image is None:
        raise FileNotFoundError(f"{path} is missing; run `edge models pull`")
    return image.astype(np.uint8, copy=False)


def _scenes(portrait: Image) -> Iterator[Frame]:
    """Somebody before a wall, 220 pixels of face, the noise of a sensor: a few frames that are not alike."""
    random = np.random.default_rng(1)
    wall = np.tile(np.linspace(90, 150, 720, dtype=np.float32)[:, None, None], (1, 1280, 3))
    scale = 0.8
    person = cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)[:700]
    height, width = person.shape[:2]
    for number in range(8):
        scene = wall.copy()
        left = 400 + 2 * number
        scene[720 - height :, left : left + width] = person
        noisy = np.clip(scene + random.normal(0, 1.5, scene.shape), 0, 255).astype(np.uint8)
        yield Frame(number + 1, number / 30, BgrShot(noisy))
