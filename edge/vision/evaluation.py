"""How well a model set tells people apart: every picture as a probe, and as the reference in a card.

1. A picture without exactly one usable face is a failure to acquire: counted, told, in no comparison. In press pictures
   with people in the background, the face nearest to the middle is meant (``Job.middle``).
2. Pictures are read by one process a core; nothing but vectors comes back.
3. Where nothing else is asked, every picture is compared with every other.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.biometric.accuracy import Scores
from edge.biometric.manifest import Manifest
from edge.biometric.template import SIGNS, quantised, restored
from edge.errors import Refusal
from edge.vision.lineup import Card
from edge.vision.portrait import fit_face
from edge.vision.reference import template as template_of_picture
from edge.vision.sessions import ModelSessions

Floats = NDArray[np.float32]
Image = NDArray[np.uint8]
_BLOCK = 1024


@dataclass(frozen=True)
class Seen:
    """One picture: whose, and its vectors as a probe and as a reference; none when there is no usable face."""

    person: str
    path: Path
    probe: Floats | None = field(repr=False, default=None)
    reference: Floats | None = field(repr=False, default=None)


@dataclass(frozen=True)
class Job:
    """What the readers need to know."""

    manifest: Manifest
    folder: Path
    set_name: str
    card: Card
    middle: bool


def read_all(
    job: Job, pictures: Sequence[tuple[str, Path]], done: Callable[[], object], workers: int = 0
) -> list[Seen]:
    """Read every picture, on all cores; ``done`` is called after each."""
    context = multiprocessing.get_context("spawn")
    seen = []
    with context.Pool(workers or os.cpu_count(), _start, (job,)) as pool:
        for one in pool.imap(_read, pictures, chunksize=4):
            seen.append(one)
            done()
    return seen


_at_work: tuple[Job, ModelSessions] | None = None


def _start(job: Job) -> None:
    """One reader process begins: load the models once."""
    global _at_work  # a pool's process has no other place to keep what it loaded
    cv2.setNumThreads(1)
    _at_work = job, ModelSessions.open(job.manifest, job.folder, job.set_name, threads=1)


def _read(picture: tuple[str, Path]) -> Seen:
    assert _at_work is not None
    return read(*_at_work, *picture)


def read(job: Job, sessions: ModelSessions, person: str, path: Path) -> Seen:
    """One picture as probe and as reference."""
    image = cv2.imread(str(path))
    if image is None:
        return Seen(person, path)
    faces = sessions.detector.detect(image.astype(np.uint8, copy=False))
    if job.middle and faces:
        middle = np.array([image.shape[1] / 2, image.shape[0] / 2], np.float32)
        faces = [min(faces, key=lambda face: float(np.linalg.norm(face.landmarks.mean(axis=0) - middle)))]
    if len(faces) != 1:
        return Seen(person, path)
    try:
        probe = sessions.embedder.embed(image.astype(np.uint8, copy=False), faces[0].landmarks)
        reference = _reference(job.card, sessions, image.astype(np.uint8, copy=False), faces[0].landmarks, probe)
    except (Refusal, ValueError):
        return Seen(person, path)
    return Seen(person, path, probe, reference)


def _reference(card: Card, sessions: ModelSessions, image: Image, landmarks: Floats, probe: Floats) -> Floats:
    """The vector that a card made from this picture gives; a template of signs carries its factor as its length."""
    if card.bits:
        vector = restored(quantised(probe, card.bits), probe.size)
        return vector * np.float32(SIGNS) if card.bits == 1 else vector
    if card.side:
        written = np.frombuffer(fit_face(image, landmarks, card.side, card.budget), np.uint8)
        small = cv2.imdecode(written, cv2.IMREAD_COLOR)
        assert small is not None
        return template_of_picture(small.astype(np.uint8, copy=False), sessions)[0]
    return probe


def cross_scores(seen: Sequence[Seen], same_kind: bool) -> Scores:
    """Every usable picture against every other; each pair once when probe and reference are made alike."""
    good = [one for one in seen if one.probe is not None and one.reference is not None]
    names = {name: number for number, name in enumerate(sorted({one.person for one in good}))}
    people = np.array([names[one.person] for one in good])
    probes = np.stack([one.probe for one in good if one.probe is not None])
    references = np.stack([one.reference for one in good if one.reference is not None])
    counted = Scores()
    for start in range(0, len(good), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(good)))
        wanted = (
            np.arange(len(good))[None] > rows[:, None] if same_kind else np.arange(len(good))[None] != rows[:, None]
        )
        alike = people[rows][:, None] == people[None]
        scores = np.clip(probes[rows] @ references.T, -1, 1)
        counted.add(scores[wanted], alike[wanted])
    return counted


def pair_scores(seen: Sequence[Seen], pairs: Sequence[tuple[Path, Path, bool]]) -> tuple[Scores, int]:
    """The given pairs, and how many of them could not be compared."""
    by_path = {one.path: one for one in seen}
    counted, failed = Scores(), 0
    for first, second, genuine in pairs:
        a, b = by_path.get(first), by_path.get(second)
        if a is None or b is None or a.probe is None or b.reference is None:
            failed += 1
            continue
        counted.add(np.clip(a.probe @ b.reference, -1, 1).reshape(1), np.array([genuine]))
    return counted, failed


def by_group(seen: Sequence[Seen], groups: Mapping[str, str], same_kind: bool) -> Iterator[tuple[str, Scores]]:
    """Scores within each group: like against like, where false matches are most frequent."""
    for group in sorted(set(groups.values())):
        members = [one for one in seen if groups.get(one.person) == group]
        if sum(one.probe is not None for one in members) > 1:
            yield group, cross_scores(members, same_kind)
