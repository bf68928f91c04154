"""Probes by number, and how alike one is to a reference.

Outside, a probe is a number: which frames make one is in ``following.py``. After the visit nothing is left: pixels go
with each frame, templates with ``forget``.
"""

from __future__ import annotations

import time
from itertools import count
from pathlib import Path

import numpy as np

from edge.biometric import template as templates
from edge.biometric.score import cosine
from edge.biometric.values import (
    Comparison,
    Enrolled,
    Identification,
    Picture,
    ProbeQuality,
    Reference,
    ReferenceKind,
    Template,
)
from edge.errors import DeviceError, Reason, Refusal
from edge.vision.enrolled import Galleries
from edge.vision.following import Search, Stopwatch
from edge.vision.models import Sessions, Vector
from edge.vision.pictures import picture
from edge.vision.reference import template


class FaceReader:
    """Finds probes and compares them. One thread at a time."""

    def __init__(self, sessions: Sessions, galleries: Galleries | None = None) -> None:
        self._sessions = sessions
        self._galleries = galleries or Galleries(Path(), None)
        self._templates: dict[int, Vector] = {}
        self._prepared: tuple[Picture, Vector, ReferenceKind] | None = None
        self._took: dict[str, int] = {}
        self._numbers = count(int(time.monotonic() * 1000))

    def search(self, wanted: ProbeQuality) -> Search:
        """Begin to look for a probe."""
        return Search(self._sessions, wanted, self._keep)

    def prepare(self, reference: Reference) -> None:
        """Look at what a probe will be compared with, while the face is waited for.

        Raises:
            Refusal: reference-unusable.
        """
        watch = Stopwatch()
        if isinstance(shown := self._chosen(reference), Picture):
            vector, kind = self._shown_in(shown)
            self._prepared = shown, np.array(vector, np.float32), kind
            watch.lap("prepare")
            self._took = watch.laps

    def compare(self, reference: Reference, number: int) -> Comparison:
        """Compare that probe with the reference.

        Raises:
            Refusal: reference-unusable; what ``enrolled`` raises.
            DeviceError: there is no such probe.
        """
        probe = self._probe_of(number)
        watch = Stopwatch()
        match reference := self._chosen(reference):
            case Picture():
                if self._prepared is None or self._prepared[0] != reference:
                    self.prepare(reference)
                assert self._prepared is not None  # a picture that cannot be prepared is refused
                _, vector, kind = self._prepared
                watch.lap("reference")
                score = cosine(probe, vector)
            case Template(data):
                self._same_model(reference)
                watch.lap("reference")
                score, kind = templates.score(probe, data), ReferenceKind.TEMPLATE
            case Enrolled():
                vector, kind = self.enrolled(reference), ReferenceKind.GALLERY
                watch.lap("reference")
                score = cosine(probe, vector)
        watch.lap("compare")
        return Comparison(number, score, self._sessions.embedder.name, kind, watch.laps | self._took)

    def enrolled(self, reference: Enrolled) -> Vector:
        """The template by which a gallery knows this person.

        Raises:
            Refusal: not-enrolled, reference-unusable, gallery-fault.
        """
        return self._galleries.template(reference, self._sessions.embedder.name)

    def identify(self, gallery: str, number: int) -> Identification:
        """Whom of a gallery that probe is most like.

        Raises:
            Refusal: not-recognised where nobody is enrolled, gallery-fault.
            DeviceError: there is no such probe.
        """
        probe = self._probe_of(number)
        watch = Stopwatch()
        matrix = self._galleries.lane(gallery, self._sessions.embedder.name)
        watch.lap("gallery")
        nearest = matrix.search(probe, -1.0, 1)
        watch.lap("search")
        if not nearest:
            raise Refusal(Reason.NOT_RECOGNISED, "nobody is enrolled")
        best, name = nearest[0], self._sessions.embedder.name
        return Identification(number, bytes.fromhex(best.subject), best.score, len(matrix), name, watch.laps)

    def _probe_of(self, number: int) -> Vector:
        probe = self._templates.get(number)
        if probe is None:
            raise DeviceError("camera", "edge-vision does not know this probe; it was restarted or the visit was over")
        return probe

    def forget(self) -> None:
        """Drop all templates of the visit."""
        if self._prepared is not None:
            self._prepared[1].fill(0)
        self._prepared, self._took = None, {}
        for kept in self._templates.values():
            kept.fill(0)
        self._templates.clear()

    def _keep(self, vector: Vector) -> int:
        number = next(self._numbers)
        self._templates[number] = np.array(vector, np.float32)
        return number

    def _shown_in(self, card: Picture) -> tuple[Vector, ReferenceKind]:
        """The template of the first picture in a card that can be used.

        Raises:
            Refusal: reference-unusable, as of the first.
        """
        against: Refusal | None = None
        for data in (card.data, *card.others):
            try:
                return template(picture(data), self._sessions)
            except Refusal as refusal:
                against = against or refusal
        assert against is not None
        raise against

    def _chosen(self, reference: Reference) -> Reference:
        """Of a card's templates the one of our model; the photo in a card that has none of it, where it has a photo."""
        if not isinstance(reference, Template) or self._ours(reference):
            return reference
        name = self._sessions.embedder.name
        ours = next((data for model, data in reference.others if model == name), None)
        if ours is not None:
            return Template(ours, name)
        return reference if reference.picture is None else reference.picture

    def _ours(self, template: Template) -> bool:
        return template.model == self._sessions.embedder.name

    def _same_model(self, template: Template) -> None:
        """Vectors of different models say nothing about each other.

        Raises:
            Refusal: reference-unusable.
        """
        if not self._ours(template):
            detail = f"template of {template.model[:40]!r}, this gate runs {self._sessions.embedder.name}"
            raise Refusal(Reason.REFERENCE_UNUSABLE, detail)
