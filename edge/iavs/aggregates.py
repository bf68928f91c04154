"""Whole tasks in one request: enrol, verify, identify, update, delete, retrieve. Their steps are advertised.

Rules:

1. What they accept beside their parameters is in ``inputData``, under the names of the primitives' inputs.
2. Enrolling searches the gallery first, within the change that makes the person: nobody is made twice, however many
   ask at once. Who it is that is in it already is told to callers who may identify.
3. What is read or changed of each kind needs the right for that kind, as with the primitives; the samples of who is
   enrolled come with the right to enrol.
4. Verify and identify tell the presentation attack score of the picture beside their result.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from edge.iavs.catalogue import Catalogue, Field
from edge.iavs.comparing import Comparing
from edge.iavs.desk import Ask, Desk, Seen
from edge.iavs.naming import meant
from edge.iavs.refused import Refused
from edge.iavs.shapes import Misshapen, shaped
from edge.iavs.subjects import (
    BIOGRAPHIC,
    BIOMETRIC,
    DOCUMENT,
    RAW,
    Answer,
    Handler,
    Subjects,
    biographic,
    documents,
    keep,
    preferred,
    told,
)
from edge.iavs.view import Item, View

_INPUTS = {
    "subjectID": "id",
    "encounterID": "id",
    "galleryID": "id",
    "identityClaim": "id",
    "bir": "CBEFF_BIR_Type",
    "birList": "CBEFF_BIR_ListType",
    "biographicData": "BiographicDataType",
    "documentDataList": "DocumentDataListType",
}
_KINDS = (BIOGRAPHIC, BIOMETRIC, DOCUMENT)
_OPTIONS = {
    "delete": {"async"},
    "enrol": {"async", "duplicates"},
    "identify": {"async"},
    "retrieveData": {"include"},
    "update": {"async"},
    "verify": {"async"},
}
_WORDS = {"async": {"true", "false"}, "duplicates": {"check", "allow"}}
_BAD = {
    "subjectID": "INVALID_SUBJECT_ID",
    "encounterID": "INVALID_ENCOUNTER_ID",
    "bir": "INVALID_BIR",
    "birList": "INVALID_BIR",
}


class _Known(Exception):  # noqa: N818 -- says who it is
    """Somebody in the gallery already; nothing is changed."""

    def __init__(self, subject: str) -> None:
        super().__init__()
        self.subject = subject


class Aggregates:
    """The aggregate services."""

    def __init__(self, desk: Desk, catalogue: Catalogue, subjects: Subjects, comparing: Comparing) -> None:
        self._desk = desk
        self._catalogue = catalogue
        self._subjects = subjects
        self._comparing = comparing

    def handlers(self) -> dict[str, Handler]:
        """Services by name."""
        return {
            "delete": self._delete,
            "enrol": self._enrol,
            "identify": self._identify,
            "retrieveData": self._retrieve,
            "update": self._update,
            "verify": self._verify,
        }

    def prepare(self, ask: Ask) -> tuple[Ask, dict[str, str]]:
        """The request with what ``inputData`` says beside its parameters, and its options.

        Raises:
            Refused: INVALID_PROCESSING_OPTION, or the code for the input that is wrong.
        """
        chosen = options(ask)
        inputs = dict(ask.inputs)
        known = {name.lower(): name for name in _INPUTS}
        for key, value in ask.get("inputData", {}).items():
            name = known.get(key.lower())
            if name is None:
                continue
            try:
                made = shaped(self._catalogue, Field(name, _INPUTS[name]), value)
            except Misshapen as error:
                code = (
                    "BIOMETRIC_TYPE_NOT_SUPPORTED" if "bdbInfo.type" in str(error) else _BAD.get(name, "INVALID_INPUT")
                )
                raise Refused(code, f"wrong at inputData.{error}") from error
            if inputs.setdefault(name, made) != made:
                raise Refused("INVALID_INPUT", f"{name} is given twice, and not the same")
        return replace(ask, inputs=inputs), chosen

    async def _enrol(self, ask: Ask) -> Answer:
        ask, chosen = self.prepare(ask)
        if "bir" not in ask.inputs and "birList" not in ask.inputs:
            raise Refused("INVALID_BIR", "inputData needs bir or birList")
        items = await self._given(ask)
        _may_write(ask, [item for _, item in items if item.kind != BIOMETRIC])
        gallery = ask.get("galleryID")
        if gallery is not None and gallery not in self._desk.gallery.galleries:
            raise Refused("INVALID_INPUT", "no such gallery")
        ask.step("keeping")
        if self._desk.options.encounters and "encounterID" not in ask.inputs:
            raise Refused("INVALID_ENCOUNTER_ID", "which encounter?")

        check = gallery is not None and chosen.get("duplicates", "check") == "check"
        probes = [seen for seen, _ in items if seen is not None]

        def work(view: View) -> str:
            if gallery is not None:
                view.gallery(gallery)
            if check:
                self._nobody_yet(str(gallery), probes)
            subject = view.make_subject(ask.get("subjectID"))
            encounter = ""
            if self._desk.options.encounters:
                encounter = view.make_encounter(subject, ask.inputs["encounterID"], "Enrolment")
            elif "encounterID" in ask.inputs:
                raise Refused("UNKNOWN_ENCOUNTER", "this gate keeps one record a person")
            keep(view, subject, [item for _, item in items], encounter, "")
            if gallery is not None:
                view.join(gallery, subject, encounter, ask.get("identityClaim", subject))
            return subject

        try:
            subject = await self._desk.change(ask, None, work, **({"gallery": gallery} if gallery else {}))
        except _Known as known:
            who = {"subjectID": known.subject} if ask.may("iavs.identify") else {}
            return who | {"returnData": {"outcome": "already-enrolled"}}
        qualities = [seen.still.quality for seen in probes]
        made: Answer = {"subjectID": subject, "returnData": {"outcome": "enrolled", "quality": qualities}}
        return made | ({"encounterID": ask.inputs["encounterID"]} if self._desk.options.encounters else {})

    def _nobody_yet(self, gallery: str, probes: list[Seen]) -> None:
        """Rule 2, within the change that would make the person."""
        for probe in probes:
            found, _ = self._comparing.candidates(self._desk.gallery.index, gallery, probe, 1)
            if found:
                raise _Known(found[0].subject)

    async def _given(self, ask: Ask) -> list[tuple[Seen | None, Item]]:
        """All records that the request brings."""
        found: list[tuple[Seen | None, Item]] = []
        if "bir" in ask.inputs or "birList" in ask.inputs:
            found += await self._subjects.samples(ask)
        if "biographicData" in ask.inputs:
            found.append((None, Item(BIOGRAPHIC, "", biographic(ask.inputs["biographicData"]))))
        if "documentDataList" in ask.inputs:
            found += [(None, item) for item in documents(ask.inputs["documentDataList"])]
        return found

    async def _update(self, ask: Ask) -> Answer:
        ask, _ = self.prepare(ask)
        subject = _named(ask)
        items = await self._given(ask)
        if not items:
            raise Refused("INVALID_INPUT", "nothing to update")
        _may_write(ask, [item for _, item in items])
        ask.step("keeping")

        gallery = ask.get("galleryID")

        def work(view: View) -> None:
            meant(ask, view)
            encounter = self._subjects.set_within(ask, view, subject)
            keep(view, subject, [item for _, item in items], encounter, gallery or "")

        await self._desk.change(ask, subject, work, **({"gallery": gallery} if gallery else {}))
        return {"returnData": {"updated": sorted({item.kind for _, item in items})}}

    async def _delete(self, ask: Ask) -> Answer:
        ask, _ = self.prepare(ask)
        subject = _named(ask)
        if ask.get("galleryID") is not None:
            raise Refused(
                "INVALID_INPUT", "a subject is erased everywhere; deleteSubjectFromGallery is for one gallery"
            )
        ask.step("erasing")

        def work(view: View) -> str:
            meant(ask, view)
            if not self._desk.options.encounters and "encounterID" not in ask.inputs:
                view.drop_subject(subject)
                return ""
            encounter = self._subjects.within(ask, view, subject)
            view.drop_encounter(subject, encounter)
            return encounter

        encounter = await self._desk.change(ask, subject, work)
        return {"subjectID": subject, "returnData": {"outcome": "erased"}} | (
            {"encounterID": encounter} if encounter else {}
        )

    async def _retrieve(self, ask: Ask) -> Answer:
        ask, chosen = self.prepare(ask)
        subject = _named(ask)
        wanted = _entitled(ask, chosen)

        def work(view: View) -> dict[str, list[Item]]:
            meant(ask, view)
            encounter, gallery = self._subjects.within(ask, view, subject), ask.get("galleryID")
            return {kind: preferred(view.records(subject, kind, encounter, gallery), gallery) for kind in wanted}

        found = await self._desk.read(ask, work)
        made: Answer = {}
        for kind, items in found.items():
            if items and kind in RAW:
                await self._desk.shown(ask, subject, kind)
            made |= told(kind, items, ask)
        return {"returnData": made}

    async def _verify(self, ask: Ask) -> Answer:
        ask, _ = self.prepare(ask)
        found = await self._comparing.verified(ask, _probe(ask))
        return {"match": found["match"], "score": found["score"], "returnData": _findings(found)}

    async def _identify(self, ask: Ask) -> Answer:
        ask, _ = self.prepare(ask)
        if ask.get("galleryID") is None:
            if len(self._desk.gallery.galleries) != 1:
                raise Refused("UNKNOWN_GALLERY", "which gallery?")
            ask = replace(ask, inputs=ask.inputs | {"galleryID": self._desk.gallery.galleries[0]})
        found = await self._comparing.identified(ask, _probe(ask))
        return {"candidateList": found["candidateList"], "returnData": _findings(found)}


def options(ask: Ask) -> dict[str, str]:
    """The processing options, each known and with a value that it can have.

    Raises:
        Refused: INVALID_PROCESSING_OPTION.
    """
    chosen: dict[str, str] = {}
    for option in ask.get("processingOptions", {}).get("option", []):
        key, value = option["key"], option.get("value", "true")
        if key not in _OPTIONS.get(ask.service.name, set()) or value not in _WORDS.get(key, {value}):
            raise Refused("INVALID_PROCESSING_OPTION", "options are told by queryCapabilities")
        if key == "include" and not {part.strip() for part in value.split(",")} <= {BIOGRAPHIC, BIOMETRIC, DOCUMENT}:
            raise Refused("INVALID_PROCESSING_OPTION", f"{BIOGRAPHIC}, {BIOMETRIC}, {DOCUMENT}")
        chosen[key] = value
    return chosen


def _entitled(ask: Ask, chosen: dict[str, str]) -> list[str]:
    """What to read: what is asked for, else all that the caller may read.

    Raises:
        Refused: NOT_AUTHORISED for what he may not.
    """
    if "include" not in chosen:
        return [kind for kind in _KINDS if ask.may(f"iavs.{kind}.read")]
    wanted = [part.strip() for part in chosen["include"].split(",")]
    for kind in wanted:
        _right(ask, f"iavs.{kind}.read")
    return wanted


def _right(ask: Ask, right: str) -> None:
    if not ask.may(right):
        raise Refused("NOT_AUTHORISED", f"needs {right}")


def _may_write(ask: Ask, items: list[Item]) -> None:
    for kind in sorted({item.kind for item in items}):
        _right(ask, f"iavs.{kind}.write")


def _probe(ask: Ask) -> Any:
    found = ask.inputs.get("bir") or (ask.get("birList", {}).get("bir") or [None])[0]
    if found is None:
        raise Refused("INVALID_BIR", "inputData needs bir")
    return found


def _named(ask: Ask) -> str:
    if "subjectID" not in ask.inputs:
        raise Refused("INVALID_SUBJECT_ID", "which subject?")
    return str(ask.inputs["subjectID"])


def _findings(found: Answer) -> Answer:
    """What was found on the way."""
    still = found["seen"].still
    attack = "not-checked" if still.bona_fide is None else f"{still.bona_fide:.4f}"
    return {
        "quality": still.quality,
        "threshold": round(found["threshold"], 6),
        "bonaFide": attack,
        "model": still.model,
    }
