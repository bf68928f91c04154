"""What the quality of frames tells about scores, and what several frames of a visit are worth.

1. The data at hand are few: three photos of one person make six ordered pairs of reference (a 64x64 WebP of 800 bytes)
   and probe. Each probe is seen in many frames: turned, nodding, eyes closed, blurred, dim, noisy. So this compares
   ways of using frames with each other; it is no error rate of people.
2. A frame that shows no face that can be compared counts as no frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from edge.biometric.manifest import parse
from edge.biometric.score import cosine, fused
from edge.biometric.values import ReferenceKind
from edge.demo import acting, footage, people
from edge.demo.footage import Stand
from edge.settings import read_toml
from edge.vision.components import components
from edge.vision.models import Vector
from edge.vision.pictures import picture
from edge.vision.portrait import fit_face
from edge.vision.reference import template
from edge.vision.sessions import ModelSessions

FOLDER = Path(__file__).resolve().parents[2] / "models"
SAME = ("obama", "obama2", "obama3")
FRAMES, VISITS, OF = 60, 400, 5
_FMR = 0.0001
_WORTH = ("yaw", "pitch", "eyes_open", "mouth_closed", "sharp", "exposed")


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame: the face's template, and its components."""

    template: Vector = field(repr=False)
    components: dict[str, int]

    @property
    def worth(self) -> float:
        """The worst of what a person can mend."""
        return min(self.components.get(name, 100) for name in _WORTH)


def measure(console: Console, folder: Path = FOLDER, frames: int = FRAMES) -> dict[str, Any]:
    """Correlations of components with scores, and scores by the way frames are used.

    Raises:
        DeviceError: a model file is missing or is not the manifest's.
        FileNotFoundError: there are no portraits yet.
    """
    cv2.setNumThreads(1)
    manifest = parse(read_toml(folder / "models.toml"))
    sessions = ModelSessions.open(manifest, folder, "standard", threads=1)
    with console.status("frames of three photos"):
        seen = {name: list(_frames(sessions, folder / "portraits", name, frames)) for name in SAME}
        cards = {name: _card(sessions, folder / "portraits", name) for name in SAME}
    pairs = [(cards[reference], seen[probe]) for reference, probe in permutations(SAME, 2)]
    least = manifest.threshold(sessions.embedder.name, ReferenceKind.SMALL, _FMR)
    return {
        "comparisons": sum(len(shown) for _, shown in pairs),
        "threshold": least,
        "correlation": _correlations(pairs),
        "ways": _ways(pairs, least),
    }


def _frames(sessions: ModelSessions, folder: Path, name: str, count: int) -> Iterator[Frame]:
    random = np.random.default_rng(7)
    stand = Stand(name, eyes_px=92.0, at=(640.0, 300.0))
    whole = people.figure(folder, name, stand.eyes_px)
    shut = acting.eyes_shut(whole, name)
    for number in range(count):
        yaw, pitch = random.normal(0, (9, 6))
        figure = shut if random.random() < 0.15 else whole
        (image,) = footage.composed([(acting.turned_head(figure, name, yaw, pitch), stand)], number)
        image = _disturbed(image, random)
        faces = sessions.detector.detect(image)
        if len(faces) == 1:
            luma = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
            vector = sessions.embedder.embed(image, faces[0].landmarks)
            yield Frame(vector, components(image, luma, faces[0], sessions.motion))


def _disturbed(image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Blur, light and noise of a frame."""
    seen = cv2.GaussianBlur(image, (0, 0), float(random.uniform(0.3, 2.5))).astype(np.float32)
    seen = seen * random.uniform(0.35, 1.15) + random.normal(0, random.uniform(1, 7), seen.shape)
    return np.asarray(np.clip(seen, 0, 255), np.uint8)


def _card(sessions: ModelSessions, folder: Path, name: str) -> Vector:
    marks = np.array(people.PORTRAITS[name].landmarks, np.float32)
    return template(picture(fit_face(people.load(folder, name), marks, 64, 800)), sessions)[0]


def _correlations(pairs: Sequence[tuple[Vector, list[Frame]]]) -> dict[str, float]:
    """Rank correlation of each component with the score within a pair, mean over the pairs."""
    found = {}
    for name in pairs[0][1][0].components:
        each = []
        for card, shown in pairs:
            values = _ranks([frame.components[name] for frame in shown])
            scores = _ranks([cosine(card, frame.template) for frame in shown])
            if values.std() > 0:
                each.append(float(np.corrcoef(values, scores)[0, 1]))
        found[name] = round(float(np.mean(each)), 2) if each else 0.0
    return found


def _ranks(values: Sequence[float]) -> NDArray[np.float64]:
    """Ranks; equal values share theirs."""
    _, place, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[place], np.float64)


def _ways(pairs: Sequence[tuple[Vector, list[Frame]]], least: float) -> dict[str, Any]:
    """Scores of visits of ``OF`` frames, by how these are used."""
    random = np.random.default_rng(3)
    ways: dict[str, Callable[[list[Frame]], Vector]] = {
        "the first frame": lambda shown: shown[0].template,
        "the best frame by components": lambda shown: max(shown, key=lambda frame: frame.worth).template,
        "mean of all": lambda shown: fused([frame.template for frame in shown]),
        "mean of the better three": lambda shown: fused(
            [frame.template for frame in sorted(shown, key=lambda frame: -frame.worth)[:3]]
        ),
    }
    visits = [
        (card, [shown[index] for index in random.choice(len(shown), OF, replace=False)])
        for card, shown in pairs
        for _ in range(VISITS // len(pairs))
    ]
    found = {}
    for way, chosen in ways.items():
        scores = np.array([cosine(card, chosen(shown)) for card, shown in visits])
        found[way] = {
            "missed_percent": round(100 * float((scores < least).mean()), 2),
            "lowest_percent": round(float(np.percentile(scores, 1)), 3),
            "median": round(float(np.median(scores)), 3),
            "visits": len(scores),
        }
    return found
