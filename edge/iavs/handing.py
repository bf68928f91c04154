"""Handing the gate what it needs of the gallery: sealed templates, one small file a person, and nothing else.

Rules:

1. Only galleries that the site names are handed over, each for its use: for cards without a face, or for a lane.
2. A change takes back what it may have changed before it is true, and hands over what is true afterwards: after a
   power cut in between somebody is unknown at the gate until these services run again, and nobody is known who is not.
3. A file is written whole, under another name first; taking back overwrites what was written.
4. No picture is handed over, nor a template of a small picture: its scores are worth less, and no threshold says how
   much less in a gallery.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from secrets import token_bytes, token_hex

from edge.biometric.enrolled import NONCE_LENGTH, Place, Seals, seal
from edge.biometric.gallery import Floats
from edge.biometric.score import fused

Templates = Mapping[str, Floats]
"""By model."""


class Handing:
    """The folder that edge-vision reads."""

    def __init__(self, folder: Path, seals: Seals, at_gate: tuple[str, ...], lanes: tuple[str, ...]) -> None:
        self._folder = folder
        self._seals = seals
        self._at_gate = at_gate
        self._lanes = lanes

    def places(self, gallery: str, subject: str, claim: str) -> Iterator[Place]:
        """Where this person's record belongs; only claims that a card can make have one (issuer, space, identifier)."""
        if gallery in self._at_gate and " " in claim:
            yield self._seals.card(gallery, claim)
        if gallery in self._lanes:
            yield self._seals.lane(gallery, subject)

    def hand_over(self, place: Place, templates: Templates) -> None:
        """Write this person's record.

        Raises:
            OSError: it is not on disk.
        """
        target = self._of(place)
        part = target.with_name(f".{token_hex(8)}")
        try:
            with part.open("xb") as file:
                file.write(seal(place, templates, token_bytes(NONCE_LENGTH)))
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        _durable(target.parent)

    def take_back(self, places: Iterable[Place]) -> None:
        """Have these people unknown at the gate.

        Raises:
            OSError: they may still be known.
        """
        for place in places:
            _erased(self._of(place))

    def begin(self) -> None:
        """Make the folders of the galleries that are handed over; others go, with all that is in them.

        Raises:
            OSError: that cannot be done.
        """
        self._folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        cards = [self._seals.card(gallery, "") for gallery in self._at_gate]
        wanted = {place.folder for place in (*cards, *(self._seals.lane(gallery) for gallery in self._lanes))}
        for name in wanted:
            (self._folder / name).mkdir(mode=0o750, exist_ok=True)
        for folder in [each for each in self._folder.iterdir() if each.is_dir() and each.name not in wanted]:
            for path in folder.iterdir():
                _erased(path)
            folder.rmdir()

    def missing(self, expected: Mapping[Place, str]) -> set[str]:
        """Of those who should be known, the people who are not; whoever else is known is taken back.

        Raises:
            OSError: the folder cannot be read or written.
        """
        known = {path for folder in self._folder.iterdir() for path in folder.iterdir()}
        paths = {self._of(place): who for place, who in expected.items()}
        for path in known - paths.keys():
            _erased(path)
        return {who for path, who in paths.items() if path not in known}

    def _of(self, place: Place) -> Path:
        return self._folder / place.folder / place.name.hex()


def merged(templates: Iterable[tuple[str, Floats]]) -> Templates:
    """One template of each model: what cancels out is none."""
    by_model: dict[str, list[Floats]] = {}
    for model, vector in templates:
        by_model.setdefault(model, []).append(vector)
    made: dict[str, Floats] = {}
    for model, vectors in by_model.items():
        with contextlib.suppress(ValueError):
            made[model] = fused(vectors)
    return made


def _erased(path: Path) -> None:
    """Gone under its name first, then overwritten: who reads meanwhile sees it whole or not at all."""
    try:
        with path.open("r+b") as file:
            path.unlink()
            _durable(path.parent)
            file.write(bytes(os.fstat(file.fileno()).st_size))
            file.flush()
            os.fsync(file.fileno())
    except FileNotFoundError:
        return


def _durable(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
