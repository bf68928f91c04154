"""Enrolled people as edge-vision knows them: sealed records in a folder that edge-web writes and nobody else.

Rules:

1. Nothing is remembered of a record for a card: it is read and opened when the card is there, so that whoever was
   deleted is unknown from that moment on, and nobody's template lies in memory who is not standing there.
2. A lane without cards has to hold everybody in memory. Before each search it looks whether the folder was touched, and
   takes over what came and what went; a change in the moment of looking is looked for again.
3. A gallery whose key or folder is missing, or with a record that does not open, is ``gallery-fault``: never nobody,
   never anybody.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from edge.biometric.enrolled import Place, Seals, opened
from edge.biometric.gallery import Matrix
from edge.biometric.values import Enrolled
from edge.errors import Reason, Refusal
from edge.vision.models import Vector

_TICK_S = 1.0
"""Two changes within a tick of the file system's clock look like one."""


class Galleries:
    """Reads what the galleries handed over."""

    def __init__(self, folder: Path, seals: Seals | None, clock: Callable[[], float] = time.time) -> None:
        """``seals`` None: the key is not here, and the galleries are locked."""
        self._folder = folder
        self._seals = seals
        self._clock = clock
        self._lanes: dict[tuple[str, str], _Lane] = {}

    def template(self, person: Enrolled, model: str) -> Vector:
        """The template of whom the gallery knows by this claim.

        Raises:
            Refusal: not-enrolled; reference-unusable for a template of other models only; gallery-fault.
        """
        place = self._unlocked().card(person.gallery, person.claim)
        folder = self._present(place)
        try:
            found = opened(place, record(folder / place.name.hex()))
        except FileNotFoundError as error:
            raise Refusal(Reason.NOT_ENROLLED) from error
        except (OSError, ValueError) as error:
            raise _fault(error) from error
        if model not in found:
            known = ", ".join(sorted(found)) or "a picture too small"
            raise Refusal(Reason.REFERENCE_UNUSABLE, f"enrolled with {known[:60]}, this gate runs {model}")
        return found[model]

    def lane(self, gallery: str, model: str) -> Matrix:
        """Everybody in a gallery that a lane may search, as it is now.

        Raises:
            Refusal: gallery-fault.
        """
        place = self._unlocked().lane(gallery)
        folder = self._present(place)
        lane = self._lanes.setdefault((gallery, model), _Lane(folder, place, model))
        try:
            return lane.current(self._clock())
        except FileNotFoundError:  # deleted while we looked
            return self._afresh(gallery, model)
        except (OSError, ValueError) as error:
            raise self._given_up(gallery, model, error) from error

    def _afresh(self, gallery: str, model: str) -> Matrix:
        place = self._unlocked().lane(gallery)
        self._lanes[gallery, model] = lane = _Lane(self._present(place), place, model)
        try:
            return lane.current(self._clock())
        except (OSError, ValueError) as error:
            raise self._given_up(gallery, model, error) from error

    def _given_up(self, gallery: str, model: str, error: Exception) -> Refusal:
        self._lanes.pop((gallery, model), None)
        return _fault(error)

    def _unlocked(self) -> Seals:
        if self._seals is None:
            raise Refusal(Reason.GALLERY_FAULT, "locked: this process has no gallery-key")
        return self._seals

    def _present(self, place: Place) -> Path:
        folder = self._folder / place.folder
        if not folder.is_dir():
            raise Refusal(Reason.GALLERY_FAULT, "missing: identity services hand this gallery to nobody")
        return folder


class _Lane:
    """One gallery in memory, for one model."""

    def __init__(self, folder: Path, place: Place, model: str) -> None:
        self._folder, self._place, self._model = folder, place, model
        self._matrix: Matrix | None = None
        self._known: dict[str, tuple[int, int]] = {}
        self._touched, self._looked_at = 0, 0.0

    def current(self, now: float) -> Matrix:
        """The matrix, after what changed since the last look.

        Raises:
            OSError: the folder cannot be read.
            ValueError: a record does not open.
        """
        touched = self._folder.stat().st_mtime_ns
        if touched != self._touched or self._looked_at - touched / 1e9 < _TICK_S:
            self._take_over()
            self._touched, self._looked_at = touched, now
        if self._matrix is None:
            raise Refusal(Reason.NOT_RECOGNISED, "nobody is enrolled with the models of this gate")
        return self._matrix

    def _take_over(self) -> None:
        there = {path.name: _version(path) for path in self._folder.iterdir() if not path.name.startswith(".")}
        for name in [name for name, version in self._known.items() if there.get(name) != version]:
            if self._matrix is not None:
                self._matrix.drop(name)
            del self._known[name]
        for name in [name for name in there if name not in self._known]:
            template = opened(self._place, record(self._folder / name), bytes.fromhex(name)).get(self._model)
            if template is not None:
                if self._matrix is None:
                    self._matrix = Matrix(template.size)
                self._matrix.put(name, "", template)
            self._known[name] = there[name]


def record(path: Path, read: Callable[[BinaryIO], bytes] = lambda file: file.read()) -> bytes:
    """A whole record. Taking back removes the name, then overwrites: what lost its name meanwhile is looked for again.

    Raises:
        OSError: there is none.
    """
    while True:
        with path.open("rb") as file:
            content = read(file)
            if os.fstat(file.fileno()).st_nlink:
                return content


def _version(path: Path) -> tuple[int, int]:
    """What is another whenever the record is: records are replaced whole, never written into."""
    told = path.stat()
    return told.st_ino, told.st_mtime_ns


def _fault(error: Exception) -> Refusal:
    return Refusal(Reason.GALLERY_FAULT, f"cannot be read: {type(error).__name__}")
