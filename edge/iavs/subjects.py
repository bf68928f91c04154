"""Subjects, encounters, galleries, and what is said about people: make, list, retrieve, set, update, delete.

Rules of the two models:

1. Person-centric: one current record. There are no encounters; asking for one is UNKNOWN_ENCOUNTER.
2. Encounter-centric: every record belongs to an encounter. Without its ID, *list* tells the encounters that hold such
   data, *retrieve* takes the newest of them, *set* makes a new one; deleting, updating and joining a gallery need it.
3. *Set* replaces what was said of the same kind: the same biometric type, the same document category. *Update* changes
   it, in the subject's record and in all galleries, and needs something to be there.
4. Who reads samples or documents as they were given is written into the log first.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from edge.iavs.bir import FACE, Sample, wrapped
from edge.iavs.desk import Ask, Desk, Seen
from edge.iavs.naming import meant
from edge.iavs.refused import Refused
from edge.iavs.view import Item, View

Answer = dict[str, Any]
Handler = Callable[[Ask], Awaitable[Answer]]
BIOGRAPHIC, BIOMETRIC, DOCUMENT = "biographic", "biometric", "document"
RAW = (BIOMETRIC, DOCUMENT)


class Subjects:
    """The services that keep what is known about people."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def handlers(self) -> dict[str, Handler]:
        """Services by name."""
        made: dict[str, Handler] = {
            "addSubjectToGallery": self._join,
            "createEncounter": self._create_encounter,
            "createSubject": self._create_subject,
            "deleteEncounter": self._delete_encounter,
            "deleteSubject": self._delete_subject,
            "deleteSubjectFromGallery": self._leave,
            "setBiographicData": self._set_biographic,
            "setBiometricData": self._set_biometric,
            "setDocumentData": self._set_document,
            "updateBiographicData": self._update_biographic,
            "updateBiometricData": self._update_biometric,
            "updateDocumentData": self._update_document,
        }
        for kind, title in ((BIOGRAPHIC, "Biographic"), (BIOMETRIC, "Biometric"), (DOCUMENT, "Document")):
            made[f"delete{title}Data"] = _for(kind, self._delete)
            made[f"list{title}Data"] = _for(kind, self._list)
            made[f"retrieve{title}Data"] = _for(kind, self._retrieve)
        return made

    # subjects, encounters, galleries

    async def _create_subject(self, ask: Ask) -> Answer:
        return {"subjectID": await self._desk.change(ask, None, lambda view: view.make_subject(ask.get("subjectID")))}

    async def _delete_subject(self, ask: Ask) -> Answer:
        subject = ask.inputs["subjectID"]
        await self._desk.change(ask, subject, lambda view: view.drop_subject(view.subject(subject)))
        return {}

    async def _create_encounter(self, ask: Ask) -> Answer:
        if not self._desk.options.encounters:
            raise Refused("UNSUPPORTED_CAPABILITY", "this gate keeps one record a person")
        subject = ask.get("subjectID")
        if subject is None:
            raise Refused("INVALID_SUBJECT_ID", "whose encounter?")
        category = ask.get("encounterType", "Unspecified")

        def work(view: View) -> str:
            return view.make_encounter(view.subject(subject), ask.get("encounterID"), category)

        return {"encounterID": await self._desk.change(ask, subject, work)}

    async def _delete_encounter(self, ask: Ask) -> Answer:
        subject, encounter = ask.inputs["subjectID"], ask.inputs["encounterID"]

        def work(view: View) -> None:
            view.drop_encounter(view.subject(subject), view.encounter(subject, encounter))

        await self._desk.change(ask, subject, work)
        return {}

    async def _join(self, ask: Ask) -> Answer:
        subject, gallery = ask.inputs["subjectID"], ask.inputs["galleryID"]

        def work(view: View) -> None:
            view.gallery(gallery)
            encounter = self.within(ask, view, view.subject(subject))
            view.join(gallery, subject, encounter, ask.get("identityClaim", subject))

        await self._desk.change(ask, subject, work, gallery=gallery)
        return {}

    async def _leave(self, ask: Ask) -> Answer:
        gallery = ask.inputs["galleryID"]
        if ask.get("subjectID") is None and ask.get("identityClaim") is None:
            raise Refused("INVALID_INPUT", "subjectID or identityClaim")

        def work(view: View) -> str:
            subject, members = meant(ask, view)
            encounter = self.within(ask, view, subject) if self._desk.options.encounters else None
            if encounter is None and ask.get("encounterID") is not None:
                raise Refused("UNKNOWN_ENCOUNTER")
            if ask.get("identityClaim") and encounter not in (None, *(each.encounter for each in members)):
                raise Refused("INVALID_INPUT", "identityClaim and encounterID are of two memberships")
            view.leave(gallery, subject, encounter)
            return subject

        await self._desk.change(ask, None, work, gallery=gallery)
        return {}

    # what is said about people

    async def _list(self, kind: str, ask: Ask) -> Answer:
        def work(view: View) -> Answer:
            subject = view.subject(ask.inputs["subjectID"])
            encounter, category = ask.get("encounterID"), ask.get("encounterType")
            if encounter is not None and category is not None:
                raise Refused("INVALID_INPUT", "encounterID or encounterType")
            if self._desk.options.encounters and encounter is None:
                return {"encounterList": {"encounterID": view.encounters(subject, category, kind)}}
            within = self.within(ask, view, subject)
            return _described(kind, view.records(subject, kind, within), ask)

        return await self._desk.read(ask, work)

    async def _retrieve(self, kind: str, ask: Ask) -> Answer:
        def work(view: View) -> list[Item]:
            subject, gallery = view.subject(ask.inputs["subjectID"]), ask.get("galleryID")
            if ask.get("encounterID") is not None and ask.get("encounterType") is not None:
                raise Refused("INVALID_INPUT", "encounterID or encounterType")
            if gallery is not None:
                self.member(view, subject, gallery)
            encounter = self.newest(ask, view, subject, kind)
            return [] if encounter is None else preferred(view.records(subject, kind, encounter, gallery), gallery)

        items = await self._desk.read(ask, work)
        if items and kind in RAW:
            await self._desk.shown(ask, ask.inputs["subjectID"], kind)
        return told(kind, items, ask)

    async def _delete(self, kind: str, ask: Ask) -> Answer:
        subject, gallery = ask.inputs["subjectID"], ask.get("galleryID")
        labels = ask.get("biometricType") or (
            [ask.inputs["documentCategory"]] if "documentCategory" in ask.inputs else None
        )

        def work(view: View) -> None:
            view.subject(subject)
            if gallery is not None:
                self.member(view, subject, gallery)
            if not view.drop(subject, kind, self.within(ask, view, subject), gallery, labels):
                raise Refused("NONEXISTANT_DATA")

        await self._desk.change(ask, subject, work, kind=kind)
        return {}

    async def _set_biographic(self, ask: Ask) -> Answer:
        return await self._set(ask, [Item(BIOGRAPHIC, "", biographic(ask.inputs["biographicData"]))])

    async def _set_document(self, ask: Ask) -> Answer:
        return await self._set(ask, documents(ask.inputs["documentDataList"]))

    async def _set_biometric(self, ask: Ask) -> Answer:
        return await self._set(ask, [item for _, item in await self.samples(ask)])

    async def samples(self, ask: Ask) -> list[tuple[Seen | None, Item]]:
        """The samples of ``bir`` or ``birList``, looked at.

        Raises:
            Refused: INVALID_BIR and what ``Desk.seen`` raises.
        """
        birs = [ask.inputs["bir"]] if "bir" in ask.inputs else ask.get("birList", {}).get("bir", [])
        if not birs or ("bir" in ask.inputs and "birList" in ask.inputs):
            raise Refused("INVALID_BIR", "bir or birList")
        ask.step("reading samples")
        return [await self.sample(each) for bir in birs for each in self._desk.reader.all(bir)]

    async def sample(self, sample: Sample) -> tuple[Seen | None, Item]:
        """A sample as it is kept: a face with its template."""
        content: dict[str, Any] = {"record": sample.json()}
        if sample.type != FACE:
            return None, Item(BIOMETRIC, sample.type, content)
        seen = await self._desk.seen(sample)
        if not self._desk.options.keep_pictures:
            content = {"info": sample.info}
        return seen, Item(BIOMETRIC, FACE, content, (seen.still.model, seen.vector), small=seen.still.small)

    async def _set(self, ask: Ask, items: list[Item]) -> Answer:
        subject, gallery = ask.inputs["subjectID"], ask.get("galleryID")

        def work(view: View) -> str:
            view.subject(subject)
            if gallery is not None:
                self.member(view, subject, gallery)
            encounter = self.set_within(ask, view, subject)
            keep(view, subject, items, encounter, gallery or "")
            return encounter

        encounter = await self._desk.change(ask, subject, work, kind=items[0].kind if items else "document")
        return {"encounterID": encounter} if encounter else {}

    async def _update_biographic(self, ask: Ask) -> Answer:
        return await self._update(ask, [Item(BIOGRAPHIC, "", biographic(ask.inputs["biographicData"]))])

    async def _update_document(self, ask: Ask) -> Answer:
        return await self._update(ask, documents(ask.inputs["documentDataList"]))

    async def _update_biometric(self, ask: Ask) -> Answer:
        items = [item for _, item in await self.samples(ask)]
        if len(items) != 1:
            raise Refused("INVALID_BIR", "one sample")
        return await self._update(ask, items, merge=ask.get("merge", False))

    async def _update(self, ask: Ask, items: list[Item], *, merge: bool = False) -> Answer:
        subject = ask.inputs["subjectID"]

        def work(view: View) -> None:
            encounter = self.within(ask, view, view.subject(subject))
            for item in items:
                update(view, subject, item, encounter, merge=merge)

        await self._desk.change(ask, subject, work, kind=items[0].kind if items else DOCUMENT)
        return {}

    # rules of the two models

    def within(self, ask: Ask, view: View, subject: str) -> str:
        """The encounter that a request must name; "" in the person-centric model."""
        encounter = ask.get("encounterID")
        if not self._desk.options.encounters:
            if encounter is not None:
                raise Refused("UNKNOWN_ENCOUNTER", "this gate keeps one record a person")
            return ""
        if encounter is None:
            raise Refused("INVALID_ENCOUNTER_ID", "which encounter?")
        return view.encounter(subject, encounter)

    def set_within(self, ask: Ask, view: View, subject: str) -> str:
        """The encounter that is written to; a new one where none is named."""
        if self._desk.options.encounters and ask.get("encounterID") is None:
            return view.make_encounter(subject, None, "Enrolment")
        return self.within(ask, view, subject)

    def newest(self, ask: Ask, view: View, subject: str, kind: str) -> str | None:
        """The encounter that is read from; None where there is none with such data."""
        if not self._desk.options.encounters or ask.get("encounterID") is not None:
            return self.within(ask, view, subject)
        found = view.encounters(subject, ask.get("encounterType"), kind)
        return found[-1] if found else None

    @staticmethod
    def member(view: View, subject: str, gallery: str) -> None:
        """The subject must be in the gallery."""
        view.gallery(gallery)
        if not any(each.gallery == gallery for each in view.memberships(subject)):
            raise Refused("UNKNOWN_SUBJECT", "not in this gallery")


def keep(view: View, subject: str, items: list[Item], encounter: str, gallery: str) -> None:
    """Rule 3, set."""
    for kind, label in {(item.kind, item.label) for item in items}:
        view.drop(subject, kind, encounter, gallery, [label])
    for item in items:
        view.put(subject, replace(item, encounter=encounter, gallery=gallery))


def update(view: View, subject: str, item: Item, encounter: str, *, merge: bool = False) -> None:
    """Rule 3, update: absent fields stay as they were; ``merge`` keeps the samples that are there."""
    old = [each for each in view.records(subject, item.kind, encounter) if each.label == item.label]
    if not old:
        raise Refused("NONEXISTANT_DATA")
    for gallery in {each.gallery for each in old}:
        content = item.content
        if item.kind != BIOMETRIC:
            before = next(each for each in old if each.gallery == gallery).content
            content = before | item.content
        if not merge:
            view.drop(subject, item.kind, encounter, gallery, [item.label])
        view.put(subject, replace(item, content=content, encounter=encounter, gallery=gallery))


def biographic(said: dict[str, Any]) -> dict[str, Any]:
    """Biographic data that can be kept.

    Raises:
        Refused: UNKNOWN_BIOGRAPHIC_FORMAT for a set in a form that nobody here can read back.
    """
    chosen = said.get("biographicDataSet")
    if chosen is not None and chosen["type"].upper() not in ("ASCII", "XML", "JSON"):
        raise Refused("UNKNOWN_BIOGRAPHIC_FORMAT", "ASCII, XML or JSON")
    return said


def documents(said: dict[str, Any]) -> list[Item]:
    """Documents as records.

    Raises:
        Refused: INVALID_INPUT for an empty list.
    """
    found = said.get("documentData", [])
    if not found:
        raise Refused("INVALID_INPUT", "no document")
    return [Item(DOCUMENT, each["documentCategory"], each) for each in found]


def told(kind: str, items: list[Item], ask: Ask) -> Answer:
    """Records as the answer of *retrieve*."""
    match kind:
        case "biographic":
            return {"biographicData": items[-1].content if items else {}}
        case "biometric":
            wanted = ask.get("biometricType")
            records = [each.content["record"] for each in items if "record" in each.content]
            birs = [wrapped(_sample(each)) for each in records if not wanted or _type(each) in wanted]
            return {"birList": {"bir": birs}}
    category = ask.get("documentCategory")
    return {"documentDataList": {"documentData": [e.content for e in items if category is None or e.label == category]}}


def _described(kind: str, items: list[Item], ask: Ask) -> Answer:
    """Records as the answer of *list*: what there is, not what it says."""
    match kind:
        case "biographic":
            names = [
                {"name": name, "type": "string"}
                for each in items
                for name in ("lastName", "firstName")
                if name in each.content
            ]
            for each in items:
                listed = each.content.get("biographicDataItemList", {}).get("biographicDataItem", [])
                names += [{"name": item["name"], "type": item["type"]} for item in listed]
            return {"biographicDataElements": {"biographicDataItem": names}} if names else {}
        case "biometric":
            return {"biometricDataList": {"biometricData": _elements(items, ask.get("listFilter"))}}
    return {"documentDataList": {"documentData": [{"documentCategory": each.label} for each in items]}}


def _elements(items: list[Item], chosen: dict[str, Any] | None) -> list[Answer]:
    made: dict[tuple[str, ...], Answer] = {}
    for item in items:
        if chosen and chosen["biometricTypeFilters"] and item.label not in chosen["biometricTypeFilters"]:
            continue
        info = item.content.get("record", {}).get("bdbInfo") or item.content.get("info", {})
        subtype = (info.get("subtype") or [None])[0] if chosen is None or chosen["includeBiometricSubtype"] else None
        registered = info.get("format", {}).get("type", "")
        number = int(registered) if registered.isdigit() and registered.isascii() and int(registered[:6]) > 0 else 8
        key = (item.label, str(subtype), str(number))
        element = made.setdefault(
            key,
            {"biometricType": item.label, "biometricTypeCount": 0, "bdbFormatOwner": 257, "bdbFormatType": number},
        )
        element["biometricTypeCount"] += 1
        if subtype:
            element["biometricSubType"] = subtype
    return list(made.values())


def preferred(items: list[Item], gallery: str | None) -> list[Item]:
    """A gallery's own copy before the one that holds for all."""
    own = [each for each in items if gallery is not None and each.gallery == gallery]
    return own or items


def _sample(record: Answer) -> Sample:
    info = record["bdbInfo"]
    sb = b64decode(record.get("sb", ""))
    return Sample(_type(record), tuple(info.get("subtype", ())), b64decode(record["bdb"]), info, sb)


def _type(record: Answer) -> str:
    return str(record["bdbInfo"]["type"][0])


def _for(kind: str, serve: Callable[[str, Ask], Awaitable[Answer]]) -> Handler:
    async def handler(ask: Ask) -> Answer:
        return await serve(kind, ask)

    return handler
