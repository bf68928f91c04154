"""What tells a person from a picture: each cue on composed scenes, and what it does to the errors.

1. Scenes are those of the demo: portraits before the gate as people, as prints and on phones, of several sizes, tilted.
   A turning head is a portrait on a relief of a head, seen from elsewhere; a turning print is the same without relief.
2. The people are five portraits and the attacks are ours: this ranks cues and catches a fall back. It is no claim after
   ISO/IEC 30107-3; that takes real attacks before the site's camera (``edge face attack-kit``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from edge.biometric.accuracy import Rate
from edge.biometric.liveness import Cue, fused, parallax
from edge.biometric.manifest import parse
from edge.demo import acting, people
from edge.demo.fakes import Fake, Medium
from edge.demo.footage import Stand, face_clip
from edge.settings import read_toml
from edge.vision.cues import border, moire
from edge.vision.sessions import ModelSessions

Image = NDArray[np.uint8]
FOLDER = Path(__file__).resolve().parents[2] / "models"
PLACES = ((84.0, 0.0), (84.0, -4.0), (112.0, 2.0), (134.0, -1.0))
"""Pixels between the eyes, degrees of tilt."""
TURNS = (0, 5, 10, 15, 20, 25, 30)
_EYES_PX, _AT = 118.0, (640.0, 300.0)


@dataclass(frozen=True)
class Judged:
    """One frame: what it shows, and what was found."""

    kind: str
    passive: float
    cues: Mapping[str, float]


def measure(console: Console, folder: Path = FOLDER, who: Sequence[str] = tuple(people.PORTRAITS)) -> dict[str, Any]:
    """Cues, errors with and without them, and what turning tells.

    Raises:
        DeviceError: a model file is missing or is not the manifest's.
        FileNotFoundError: there are no portraits yet.
    """
    cv2.setNumThreads(1)
    manifest = parse(read_toml(folder / "models.toml"))
    sessions = ModelSessions.open(manifest, folder, "standard", threads=1)
    with console.status("people, prints and phones"):
        judged = list(_judged(sessions, folder / "portraits", who))
    with console.status("heads and prints that turn"):
        turns = [_turning(sessions, folder / "portraits", name, flat) for name in who for flat in (False, True)]
    return {"cues": _ranges(judged), "errors": _errors(judged, manifest.cues), "turning": turns}


def _judged(sessions: ModelSessions, folder: Path, who: Sequence[str]) -> Iterator[Judged]:
    assert sessions.attack is not None
    for name in who:
        for eyes, lean in PLACES:
            shown: dict[str, Stand | Fake] = {
                "person": Stand(name, eyes_px=eyes, lean=lean),
                "print": Fake(name, Medium.PAPER, eyes_px=eyes, lean=lean),
                "phone": Fake(name, Medium.PHONE, eyes_px=eyes, lean=lean),
            }
            for kind, what in shown.items():
                for image in face_clip(folder, (what,), 3)[4:12:2]:
                    faces = sessions.detector.detect(image)
                    if faces:
                        luma = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
                        box = faces[0].box
                        found = {"moire": moire(luma, box), "border": border(luma, box)}
                        yield Judged(kind, sessions.attack.bona_fide(image, box), found)


def _ranges(judged: Sequence[Judged]) -> dict[str, Any]:
    """Each cue's least, median and greatest value, by what was shown."""
    found: dict[str, Any] = {}
    for kind in ("person", "print", "phone"):
        of_kind = [each for each in judged if each.kind == kind]
        for cue in ("moire", "border"):
            values = [each.cues[cue] for each in of_kind]
            found[f"{cue}, {kind}"] = [round(value, 2) for value in (min(values), median(values), max(values))]
    return found


def _errors(judged: Sequence[Judged], cues: Mapping[str, Cue]) -> dict[str, Any]:
    """Frames judged wrongly at 0.5, with 95 % intervals: attacks taken for people, people taken for attacks."""
    ways: dict[str, tuple[str, ...]] = {
        "networks": (),
        "networks, screen pattern": ("moire",),
        "networks, border": ("border",),
        "all": ("moire", "border"),
    }
    found: dict[str, Any] = {}
    for way, names in ways.items():
        used = {name: cues[name] for name in names if name in cues}
        found[way] = {}
        for kind in ("print", "phone", "person"):
            scores = [fused(each.passive, each.cues, used) for each in judged if each.kind == kind]
            wrong = sum((score >= 0.5) is (kind != "person") for score in scores)
            rate = Rate(wrong, len(scores))
            title = f"{'BPCER' if kind == 'person' else 'APCER'} {kind}"
            low, high = rate.interval
            found[way][title] = f"{100 * rate.rate:.1f} % ({100 * low:.1f} to {100 * high:.1f} % of {rate.of})"
    return found


def _turning(sessions: ModelSessions, folder: Path, name: str, flat: bool) -> dict[str, Any]:
    """How far the head turns for the pose network, and what the nose does."""
    assert sessions.motion is not None
    yaws, landmarks = [], []
    for degrees in TURNS:
        image = turned(folder, name, degrees, flat=flat)
        faces = sessions.detector.detect(image)
        if len(faces) == 1:
            yaws.append(sessions.motion.pose(image, faces[0].box)[0])
            landmarks.append(faces[0].landmarks)
    return {
        "shown": f"{name}, {'print' if flat else 'head'} turned by {TURNS[-1]} degrees",
        "yaw_degrees": round(max(yaws) - min(yaws), 1),
        "parallax": round(parallax(landmarks), 3),
    }


def turned(folder: Path, name: str, yaw: float, pitch: float = 0.0, *, flat: bool = False) -> Image:
    """A portrait on a relief of a head, or flat, turned and seen by the gate's camera: (720, 1280, 3), BGR."""
    portrait, picture = people.PORTRAITS[name], people.load(folder, name)
    (x, y), distance = portrait.between_eyes, portrait.eye_distance
    v, u = np.mgrid[0:180, 0:320].astype(np.float32) * 4 + 1.5
    angles = float(np.radians(yaw)), float(np.radians(pitch))
    field = acting.source((u - _AT[0]) / _EYES_PX, (v - _AT[1]) / _EYES_PX, acting.nose_of(name), angles, flat=flat)
    across, down = (cv2.resize(each, (1280, 720), interpolation=cv2.INTER_LINEAR) * distance for each in field)
    seen = cv2.remap(picture, across + x, down + y, cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE)
    noise = np.random.default_rng(round(10 * (yaw + 100 * pitch)) & 0xFFFF).normal(0, 1.5, seen.shape)
    return np.asarray(np.clip(seen + noise, 0, 255), np.uint8)
