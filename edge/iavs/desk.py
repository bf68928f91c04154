"""What all services share: the gallery, the eye for pictures, the pen for the log, and the site's choices."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np

from edge.biometric.gallery import Floats
from edge.biometric.score import unit
from edge.biometric.values import ModelSet, ReferenceKind
from edge.errors import DeviceError, Reason, Refusal
from edge.iavs.bir import Reader, Sample
from edge.iavs.catalogue import Service
from edge.iavs.gallery import Gallery
from edge.iavs.refused import Refused
from edge.iavs.vault import Vault
from edge.iavs.view import View
from edge.wire import Still, StillWork

T = TypeVar("T")
_SHOWN = {Reason.UNREADABLE: "INVALID_BIR", Reason.UNSUPPORTED: "UNKNOWN_FORMAT"}


class Faces(Protocol):
    """Looks at pictures that were handed over; edge-vision does."""

    async def still(self, data: bytes, work: StillWork, form: str = "jpeg") -> Still:
        """What the picture shows.

        Raises:
            Refusal: the picture is at fault.
            DeviceError: ``models`` fail, or ``vision`` does not answer.
        """
        ...

    async def models(self) -> ModelSet:
        """Which models are at work.

        Raises:
            DeviceError: as ``still``.
        """
        ...


class Recorder(Protocol):
    """Writes entries into the gate's log; edge-gate does."""

    async def record(self, fields: dict[str, str], subject: bytes) -> None:
        """Return when the entry is on disk.

        Raises:
            DeviceError: it is not.
        """
        ...


@dataclass(frozen=True)
class Caller:
    """Who asks.

    Attributes:
        name: what the log says.
        scopes: his rights.
        role: client, break-glass or development.
        galleries: the only ones that he has them for; None: all.
    """

    name: str
    scopes: frozenset[str]
    role: str = "client"
    galleries: frozenset[str] | None = None


@dataclass(frozen=True)
class Options:
    """The site's choices."""

    encounters: bool
    fmr: float
    fpir: float
    keep_pictures: bool = True


@dataclass(frozen=True)
class Ask:
    """One request, its inputs checked.

    Attributes:
        service: which.
        inputs: as in the catalogue.
        caller: who asks.
        step: told what is being done, for whoever waits.
    """

    service: Service
    inputs: dict[str, Any] = field(repr=False)
    caller: Caller
    step: Callable[[str], None] = lambda _: None

    def get(self, name: str, otherwise: Any = None) -> Any:
        """An input, or what to take instead."""
        return self.inputs.get(name, otherwise)

    def may(self, right: str) -> bool:
        """Whether the caller has a right beside the one that the service asks for."""
        return right in self.caller.scopes


@dataclass(frozen=True)
class Seen:
    """A sample after edge-vision has looked at it."""

    sample: Sample
    still: Still = field(repr=False)

    @property
    def vector(self) -> Floats:
        """The template."""
        return np.frombuffer(self.still.template, "<f4").astype(np.float32)

    @property
    def kind(self) -> ReferenceKind:
        """Which thresholds hold."""
        return ReferenceKind.SMALL if self.still.small else ReferenceKind.FULL


@dataclass(frozen=True)
class Desk:
    """Shared by all services."""

    gallery: Gallery
    vault: Vault
    faces: Faces
    recorder: Recorder
    reader: Reader
    options: Options
    threshold: Callable[[str, ReferenceKind, float], float]
    version: str = "0"

    async def seen(self, sample: Sample) -> Seen:
        """A face sample, looked at: figures and template.

        Raises:
            Refused: INVALID_BIR, UNKNOWN_FORMAT, BIR_QUALITY_ERROR, CANNOT_PROCESS_DATA, SERVICE_UNAVAILABLE.
        """
        still = await self.look(sample.picture, StillWork.FACTS)
        vector = np.frombuffer(still.template, "<f4")
        if not np.isfinite(vector).all() or not vector.any():
            raise Refused("CANNOT_PROCESS_DATA", "edge-vision gave a template that is none")
        return Seen(sample, still)

    async def look(self, picture: bytes, work: StillWork, form: str = "jpeg") -> Still:
        """What edge-vision says about a picture; errors as ``seen``."""
        try:
            return await self.faces.still(picture, work, form)
        except Refusal as refusal:
            raise Refused(_SHOWN.get(refusal.reason, "BIR_QUALITY_ERROR"), refusal.detail) from refusal
        except DeviceError as error:
            code = "CANNOT_PROCESS_DATA" if error.device == "models" else "SERVICE_UNAVAILABLE"
            raise Refused(code, error.message) from error

    async def models(self) -> ModelSet | None:
        """Which models look at pictures; None while edge-vision does not answer."""
        try:
            return await self.faces.models()
        except DeviceError:
            return None

    async def read(self, ask: Ask, work: Callable[[View], T]) -> T:
        """What the gallery says, as far as the caller may know.

        Raises:
            Refused: what ``work`` raises, INTERNAL_DATABASE_ERROR.
        """
        return await self.gallery.read(work, ask.caller.galleries)

    async def change(self, ask: Ask, subject: str | None, work: Callable[[View], T], **fields: str) -> T:
        """Do the work in the gallery, with an entry in the log before it is true.

        ``subject`` may be None where the work makes one; then its result is the subject, or begins with it.

        Raises:
            Refused: what ``work`` raises, INTERNAL_DATABASE_ERROR, CANNOT_STORE_DATA.
        """

        async def record(done: T) -> None:
            about = subject or (done if isinstance(done, str) else "")
            try:
                await self._written(ask, about, fields)
            except DeviceError as error:
                raise Refused("CANNOT_STORE_DATA", f"no entry in the log: {error.message}") from error

        return await self.gallery.change(work, record, ask.caller.galleries)

    async def shown(self, ask: Ask, subject: str, kind: str) -> None:
        """Write down that somebody is about to read what was kept of a person as it was given: no entry, no answer.

        Raises:
            Refused: SERVICE_UNAVAILABLE.
        """
        try:
            await self._written(ask, subject, {"kind": kind, "outcome": "read"})
        except DeviceError as error:
            raise Refused("SERVICE_UNAVAILABLE", f"no entry in the log: {error.message}") from error

    async def _written(self, ask: Ask, about: str, fields: dict[str, str]) -> None:
        said = {"service": ask.service.name, "caller": plain(ask.caller.name), "role": ask.caller.role}
        said |= {name: plain(text) for name, text in fields.items()}
        await self.recorder.record(said, self.vault.pseudonym(about) if about else b"")

    def at(self, model: str, kind: ReferenceKind, fmr: float) -> float:
        """The threshold of a model at a false match rate.

        Raises:
            Refused: CANNOT_IDENTIFY; the models were not measured so far.
        """
        try:
            return self.threshold(model, kind, fmr)
        except ValueError as error:
            raise Refused("CANNOT_IDENTIFY", str(error)) from error

    def verifies(self, model: str, kind: ReferenceKind) -> float:
        """The threshold of one comparison.

        Raises:
            Refused: CANNOT_PROCESS_DATA; the models were not measured so far.
        """
        try:
            return self.threshold(model, kind, self.options.fmr)
        except ValueError as error:
            raise Refused("CANNOT_PROCESS_DATA", str(error)) from error


def similarity(a: Floats, b: Floats) -> float:
    """Comparison score of two vectors of one model.

    Raises:
        Refused: CANNOT_PROCESS_DATA; they are of two.
    """
    if a.shape != b.shape:
        raise Refused("CANNOT_PROCESS_DATA", "templates of two models")
    score = float(np.dot(unit(a), unit(b)))
    return max(-1.0, min(1.0, score)) if math.isfinite(score) else -1.0


def plain(text: str) -> str:
    """Text that may stand in the log."""
    return "".join(char if char.isascii() and (char.isalnum() or char in " ._:/+-") else "-" for char in text[:64])
