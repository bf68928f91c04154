"""The story of a probe: one face, followed over as many good frames as are wanted.

Rules:

1. A frame counts when it shows exactly one whole face of the wanted quality (``quality.py``).
2. The frames of a probe follow one face: each box overlaps the one before, within a short time, and each template is
   like the ones before. A second face, a jump, a gap or another person begins anew: nobody is checked in one frame and
   compared in another.
3. The face that is compared is the face that was checked for attacks, from the same frames: the template is the mean of
   theirs, the attack score (where the models detect attacks) the median of theirs.
4. Where tasks are asked for (``biometric/challenge.py``), they come first: one good frame, the tasks, then the frames
   of the probe. The face is followed from box to box through all of it, and its template before the tasks is held
   against those after: who does the tasks is who is compared.
5. Without the models' attack score there is none; with it, cues without a model shift it (``biometric/liveness.py``).
6. Where a fill light shines a code, the frames of the probe last as long as that, and how the face answers it is one
   more cue.
7. When time is over the reason given is the most telling one: several faces, if that was seen in two frames or more;
   else what was wrong with the best face; else that there was none.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Final

from edge.biometric import liveness
from edge.biometric.alignment import eyes_px
from edge.biometric.challenge import Challenge, Pose
from edge.biometric.fill import Level, answer
from edge.biometric.score import cosine, fused
from edge.biometric.values import (
    Hint,
    Probe,
    ProbeQuality,
)
from edge.errors import DeviceError, Reason, Refusal
from edge.vision.cues import border, moire
from edge.vision.frames import Frame
from edge.vision.lit import level
from edge.vision.models import Box, Face, Sessions, Vector, of_models
from edge.vision.quality import SURROUNDINGS, Fault, Sighting, judge, nearest, whole

_GAP_S = 0.4  # longest time between two frames of one face
_OVERLAP = 0.3  # intersection over union of its boxes in them
_TURNED_DEG = 12.0  # from here on a flat face would show that it is flat
_LANDMARKS = 90  # frames whose landmarks are kept, for parallax


@dataclass(frozen=True, eq=False)
class Taken:
    """What one good frame gave: figures and a template, no pixels."""

    frame: int
    seen_at: float
    sighting: Sighting = field(repr=False)
    template: Vector = field(repr=False)
    bona_fide: float | None
    cues: dict[str, float]
    laps: dict[str, int]


@dataclass
class Followed:
    """One face, as far as it was followed.

    Attributes:
        challenge: what it was asked to do, and how far that is.
        before: its good frame before the tasks.
        track: its good frames for the probe.
        last: when and where it was seen last.
        landmarks: of the frames so far, for parallax.
        yaws: degrees, while it did the tasks.
        levels: of brightness, for the fill light's code.
    """

    challenge: Challenge
    before: Taken | None = None
    track: list[Taken] = field(default_factory=list)
    last: tuple[float, Box] | None = None
    landmarks: deque[Vector] = field(default_factory=lambda: deque(maxlen=_LANDMARKS))
    yaws: list[float] = field(default_factory=list)
    levels: list[Level] = field(default_factory=list)

    @property
    def busy(self) -> bool:
        """Whether it has something left to do."""
        return self.before is not None and self.challenge.task is not None

    def follow(self, at: float, box: Box) -> bool:
        """Whether a face in this box, at this time, is where this one was a moment ago; then it is there now."""
        if self.last is not None and (at - self.last[0] > _GAP_S or overlap(self.last[1], box) < _OVERLAP):
            return False
        self.last = at, box
        return True

    def alike(self, template: Vector, least: float) -> bool:
        """Whether this template is like those before; where there are none, it is."""
        earlier = [one.template for one in self.track]
        if self.before is not None:
            earlier.append(self.before.template)
        return not earlier or cosine(fused(earlier), template) >= least


class Search:
    """Looks at one frame after another until they give a probe."""

    def __init__(self, sessions: Sessions, wanted: ProbeQuality, keep: Callable[[Vector], int]) -> None:
        self._sessions: Final = sessions
        self._wanted: Final = wanted
        self._keep = keep
        self._frames: Final = max(1, wanted.frames, 0 if sessions.attack is None else wanted.attack_frames)
        self._light: Final = None if sessions.attack is None else wanted.light  # a cue shifts a score that is there
        self._same_face: Final = sessions.same_face
        if wanted.tasks and sessions.motion is None:
            raise DeviceError("models", f"model set {sessions.models.name} cannot see whether tasks are done")
        self._faults: list[Fault] = []
        self.hint: Hint | None = None
        self._face = Followed(Challenge(wanted.tasks))

    def look(self, frame: Frame) -> Probe | None:
        """The probe, if this frame completes it.

        Raises:
            Refusal: task-not-done.
        """
        watch = Stopwatch()
        faces = of_models(lambda: self._sessions.detector.detect(frame.bgr))
        watch.lap("detect")
        if self._face.busy:
            self._watch(frame, faces)
            return None
        found = judge(frame, faces, self._wanted, 0.0 if self._sessions.attack is None else SURROUNDINGS)
        watch.lap("quality")
        if isinstance(found, Fault):
            self._missed(found)
            if self._face.before is not None and len(faces) == 1:
                self._face.follow(frame.seen_at, faces[0].box)  # who did the tasks may take a moment to look back
            return None
        self.hint = None
        taken = self._take(frame, found, watch)
        lit = None if self._light is None else level(frame.seen_at, frame.y, found.box)
        if not (self._face.follow(frame.seen_at, found.box) and self._face.alike(taken.template, self._same_face)):
            self._begin_anew()
            self._face.follow(frame.seen_at, found.box)
        return self._kept(taken, lit)

    def _kept(self, taken: Taken, lit: Level | None) -> Probe | None:
        """One more good frame of this face: the one before the tasks, or one of the probe."""
        face = self._face
        face.landmarks.append(taken.sighting.landmarks)
        if self._wanted.tasks and face.before is None:
            face.before = taken
            self.hint = face.challenge.hint
            return None
        face.track.append(taken)
        if lit is not None:
            face.levels.append(lit)
        return self._probe() if len(face.track) >= self._frames and self._saw_the_light() else None

    def _saw_the_light(self) -> bool:
        """Whether the face was seen for as long as the light's code takes once, where there is one."""
        light, track = self._light, self._face.track
        return light is None or track[-1].seen_at - track[0].seen_at >= light.period_s

    def refusal(self) -> Refusal:
        """Why there was no probe, now that time is over."""
        several = [fault for fault in self._faults if fault.reason is Reason.SEVERAL_FACES]
        if len(several) >= 2 or (several and len(several) == len(self._faults)):
            return Refusal(Reason.SEVERAL_FACES, several[-1].detail)
        if self._face.busy and (task := self._face.challenge.task) is not None:
            return Refusal(Reason.TASK_NOT_DONE, f"{task.value}, after {self._face.challenge.done} done")
        others = [fault for fault in self._faults if fault.reason is not Reason.SEVERAL_FACES]
        if not others:
            seen = self._face.last is not None
            came = "the face did not stay" if seen else "no frame came"
            return Refusal(Reason.PROBE_QUALITY if seen else Reason.NO_PROBE, came)
        best = max(others, key=lambda fault: fault.weight)
        return Refusal(best.reason, f"{best.detail}; {len(self._faults)} frames")

    def _begin_anew(self) -> None:
        """Nobody was followed yet; what was asked for has to be done again."""
        self._face = Followed(Challenge(self._wanted.tasks))

    def _missed(self, fault: Fault) -> None:
        self._faults.append(fault)
        self.hint = fault.hint
        if fault.reason is Reason.SEVERAL_FACES:
            self._begin_anew()

    def _watch(self, frame: Frame, faces: Sequence[Face]) -> None:
        """One frame of the tasks.

        Raises:
            Refusal: task-not-done.
        """
        if not faces:
            return
        face, *others = nearest(faces)
        if others:
            self._missed(Fault(Reason.SEVERAL_FACES, Hint.ALONE, 0.0, f"{1 + len(others)} faces"))
        elif not self._face.follow(frame.seen_at, face.box):
            self._begin_anew()
        elif not whole(frame, face):
            self.hint = Hint.MIDDLE
        else:
            self._face.landmarks.append(face.landmarks)
            self._do(self._pose(frame, face))

    def _do(self, pose: Pose) -> None:
        """What the person does now.

        Raises:
            Refusal: task-not-done.
        """
        challenge = self._face.challenge
        self._face.yaws.append(pose.yaw)
        challenge.see(pose)
        self.hint = challenge.hint or Hint.LOOK
        if challenge.failed:
            raise Refusal(Reason.TASK_NOT_DONE, "turned the other way, twice")

    def _pose(self, frame: Frame, face: Face) -> Pose:
        motion = self._sessions.motion
        assert motion is not None  # asked for in the constructor
        yaw, pitch = of_models(lambda: motion.pose(frame.bgr, face.box))
        is_open = of_models(lambda: motion.eyes_open(frame.bgr, face.landmarks))
        return Pose(frame.seen_at, yaw, pitch, is_open, eyes_px(face.landmarks))

    def _take(self, frame: Frame, found: Sighting, watch: Stopwatch) -> Taken:
        attack = self._sessions.attack
        bona_fide = None if attack is None else of_models(lambda: attack.bona_fide(frame.bgr, found.box))
        watch.lap("attack")
        cues = {} if attack is None else {"moire": moire(frame.y, found.box), "border": border(frame.y, found.box)}
        watch.lap("cues")
        vector = of_models(lambda: self._sessions.embedder.embed(frame.bgr, found.landmarks))
        watch.lap("embed")
        return Taken(frame.number, frame.seen_at, found, vector, bona_fide, cues, watch.laps)

    def _probe(self) -> Probe:
        """The probe that the frames make together."""
        track, done = self._face.track, self._face.challenge.done
        bona_fide = self._bona_fide()
        self._begin_anew()
        return Probe(
            number=self._keep(fused([taken.template for taken in track])),
            frame=track[-1].frame,
            seen_at=track[-1].seen_at,
            eyes_px=median(taken.sighting.eyes_px for taken in track),
            sharpness=median(taken.sighting.sharpness for taken in track),
            brightness=median(taken.sighting.brightness for taken in track),
            bona_fide=bona_fide,
            took_us={stage: round(fmean(taken.laps[stage] for taken in track)) for stage in track[0].laps},
            tasks=done,
        )

    def _bona_fide(self) -> float | None:
        """Networks and cues of all frames as one score; None without networks."""
        track, yaws = self._face.track, self._face.yaws
        scores = [taken.bona_fide for taken in track if taken.bona_fide is not None]
        if not scores:
            return None
        found = {name: median(taken.cues[name] for taken in track) for name in track[0].cues}
        if yaws and max(yaws) - min(yaws) >= _TURNED_DEG:
            found["parallax"] = liveness.parallax(list(self._face.landmarks))
        if self._light is not None:
            found["light"] = answer(self._light, self._face.levels)
        return liveness.fused(median(scores), found, self._sessions.cues)


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
