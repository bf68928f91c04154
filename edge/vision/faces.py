"""The story of a probe: one face, followed over as many good frames as are wanted; then how alike it is to a reference.

Rules:

1. A frame counts when it shows exactly one whole face of the wanted quality (``quality.py``).
2. The frames of a probe follow one face: each box overlaps the one before, within a short time, and each template is
   like the ones before. A second face, a jump, a gap or another person begins anew: nobody is checked in one frame and
   compared in another.
3. The face that is compared is the face that was checked for attacks, from the same frames: the template is the mean of
   theirs, the attack score (where the models detect attacks) the median of theirs.
4. Outside, a probe is a number. After the visit nothing is left: pixels go with each frame, templates with ``forget``.
5. When time is over the reason given is the most telling one: several faces, if that was seen in two frames or more;
   else what was wrong with the best face; else that there was none.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from statistics import fmean, median

import numpy as np

from edge.biometric import template as templates
from edge.biometric.score import cosine, fused
from edge.biometric.values import Comparison, Hint, Picture, Probe, ProbeQuality, Reference, ReferenceKind, Template
from edge.errors import DeviceError, Reason, Refusal
from edge.vision.frames import Frame
from edge.vision.models import Box, Sessions, Vector, of_models
from edge.vision.pictures import picture
from edge.vision.quality import SURROUNDINGS, Fault, Sighting, judge
from edge.vision.reference import template

_GAP_S = 0.4  # longest time between two frames of one face
_OVERLAP = 0.3  # intersection over union of its boxes in them


class FaceReader:
    """Finds probes and compares them. One thread at a time."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._templates: dict[int, Vector] = {}
        self._numbers = count(int(time.monotonic() * 1000))

    def search(self, wanted: ProbeQuality) -> Search:
        """Begin to look for a probe."""
        return Search(self._sessions, wanted, self._keep)

    def compare(self, reference: Reference, number: int) -> Comparison:
        """Compare that probe with the reference.

        Raises:
            Refusal: reference-unusable.
            DeviceError: there is no such probe.
        """
        probe = self._templates.get(number)
        if probe is None:
            raise DeviceError("camera", "edge-vision does not know this probe; it was restarted or the visit was over")
        watch = Stopwatch()
        match reference:
            case Picture(data):
                vector, kind = template(picture(data), self._sessions)
                watch.lap("reference")
                score = cosine(probe, vector)
            case Template(data, model):
                self._same_model(model)
                watch.lap("reference")
                score, kind = templates.score(probe, data), ReferenceKind.TEMPLATE
        watch.lap("compare")
        return Comparison(number, score, self._sessions.embedder.name, kind, watch.laps)

    def forget(self) -> None:
        """Drop all templates of the visit."""
        for kept in self._templates.values():
            kept.fill(0)
        self._templates.clear()

    def _keep(self, vector: Vector) -> int:
        number = next(self._numbers)
        self._templates[number] = np.array(vector, np.float32)
        return number

    def _same_model(self, model: str) -> None:
        """Vectors of different models say nothing about each other.

        Raises:
            Refusal: reference-unusable.
        """
        if model != self._sessions.embedder.name:
            detail = f"template of {model[:40]!r}, this gate runs {self._sessions.embedder.name}"
            raise Refusal(Reason.REFERENCE_UNUSABLE, detail)


@dataclass(frozen=True, eq=False)
class Taken:
    """What one good frame gave: figures and a template, no pixels."""

    frame: int
    seen_at: float
    sighting: Sighting = field(repr=False)
    template: Vector = field(repr=False)
    bona_fide: float | None
    laps: dict[str, int]


class Search:
    """Looks at one frame after another until they give a probe."""

    def __init__(self, sessions: Sessions, wanted: ProbeQuality, keep: Callable[[Vector], int]) -> None:
        self._sessions = sessions
        self._wanted = wanted
        self._keep = keep
        self._frames = max(1, wanted.frames, 0 if sessions.attack is None else wanted.attack_frames)
        self._track: list[Taken] = []
        self._faults: list[Fault] = []
        self.hint: Hint | None = None

    def look(self, frame: Frame) -> Probe | None:
        """The probe, if this frame completes it."""
        watch = Stopwatch()
        faces = of_models(lambda: self._sessions.detector.detect(frame.bgr))
        watch.lap("detect")
        found = judge(frame, faces, self._wanted, 0.0 if self._sessions.attack is None else SURROUNDINGS)
        watch.lap("quality")
        if isinstance(found, Fault):
            self._missed(found)
            return None
        self.hint = None
        taken = self._take(frame, found, watch)
        if self._track and not self._goes_on(taken):
            self._track.clear()
        self._track.append(taken)
        return self._probe() if len(self._track) >= self._frames else None

    def refusal(self) -> Refusal:
        """Why there was no probe, now that time is over."""
        several = [fault for fault in self._faults if fault.reason is Reason.SEVERAL_FACES]
        if len(several) >= 2 or (several and len(several) == len(self._faults)):
            return Refusal(Reason.SEVERAL_FACES, several[-1].detail)
        others = [fault for fault in self._faults if fault.reason is not Reason.SEVERAL_FACES]
        if not others:
            came = "the face did not stay" if self._track else "no frame came"
            return Refusal(Reason.PROBE_QUALITY if self._track else Reason.NO_PROBE, came)
        best = max(others, key=lambda fault: fault.weight)
        return Refusal(best.reason, f"{best.detail}; {len(self._faults)} frames")

    def _missed(self, fault: Fault) -> None:
        self._faults.append(fault)
        self.hint = fault.hint
        if fault.reason is Reason.SEVERAL_FACES:
            self._track.clear()

    def _goes_on(self, taken: Taken) -> bool:
        """Whether this is the face of the frames before."""
        last = self._track[-1]
        if taken.seen_at - last.seen_at > _GAP_S or overlap(last.sighting.box, taken.sighting.box) < _OVERLAP:
            return False
        before = fused([earlier.template for earlier in self._track])
        return cosine(before, taken.template) >= self._sessions.same_face

    def _take(self, frame: Frame, found: Sighting, watch: Stopwatch) -> Taken:
        attack = self._sessions.attack
        bona_fide = None if attack is None else of_models(lambda: attack.bona_fide(frame.bgr, found.box))
        watch.lap("attack")
        vector = of_models(lambda: self._sessions.embedder.embed(frame.bgr, found.landmarks))
        watch.lap("embed")
        return Taken(frame.number, frame.seen_at, found, vector, bona_fide, watch.laps)

    def _probe(self) -> Probe:
        """The probe that the frames make together."""
        track, self._track = self._track, []
        scores = [taken.bona_fide for taken in track if taken.bona_fide is not None]
        return Probe(
            number=self._keep(fused([taken.template for taken in track])),
            frame=track[-1].frame,
            seen_at=track[-1].seen_at,
            eyes_px=median(taken.sighting.eyes_px for taken in track),
            sharpness=median(taken.sighting.sharpness for taken in track),
            brightness=median(taken.sighting.brightness for taken in track),
            bona_fide=median(scores) if scores else None,
            took_us={stage: round(fmean(taken.laps[stage] for taken in track)) for stage in track[0].laps},
        )


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    whole = a[2] * a[3] + b[2] * b[3] - shared
    return shared / whole if whole > 0 else 0.0


class Stopwatch:
    """Microseconds per stage."""

    def __init__(self) -> None:
        self.laps: dict[str, int] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """The stage that ends now."""
        now = time.perf_counter()
        self.laps[stage] = int((now - self._last) * 1e6)
        self._last = now
