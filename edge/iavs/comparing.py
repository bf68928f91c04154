"""Quality, classes, transformations, one to one, one to many, fusion.

Rules:

1. A face is compared with faces of the same model only.
2. Below the threshold nobody is a candidate; the threshold of a search is the one at which a stranger is taken for
   anybody in the gallery as often as the site allows (``biometric/gallery.py``).
3. A non-match is an answer, not an error.
"""

from __future__ import annotations

from typing import Any

from edge.biometric.gallery import Found, Index, fmr_for
from edge.biometric.values import ReferenceKind
from edge.iavs.bir import FACE, Sample, face, wrapped
from edge.iavs.capabilities import CLASSES, CROP, QUALITY, capabilities
from edge.iavs.desk import Ask, Desk, Seen, similarity
from edge.iavs.facerecord import Broken, write
from edge.iavs.fusion import OWNER as VENDOR
from edge.iavs.fusion import Calibration, fuse
from edge.iavs.naming import meant
from edge.iavs.refused import Refused
from edge.iavs.subjects import Answer, Handler, told
from edge.iavs.view import View
from edge.wire import StillWork

_TEMPLATE_FORMAT = "edge-gate-float32"
MOST = 1000
LISTED = 64


class Comparing:
    """The services that look at samples."""

    def __init__(self, desk: Desk, calibrations: dict[str, Calibration]) -> None:
        self._desk = desk
        self._calibrations = calibrations

    def handlers(self) -> dict[str, Handler]:
        """Services by name."""
        return {
            "checkQuality": self._quality,
            "classifyBiometricData": self._classify,
            "transformBiometricData": self._transform,
            "verifySubject": self._verify,
            "identifySubject": self._identify,
            "performFusion": self._fuse,
            "queryCapabilities": self._query,
        }

    async def _quality(self, ask: Ask) -> Answer:
        if ("bir" in ask.inputs) == ("subjectID" in ask.inputs):
            raise Refused("INVALID_INPUT", "bir or subjectID")
        vendor, product = ask.get("algorithmVendor"), ask.get("algorithmVendorProductID")
        if (vendor is None) != (product is None) or (vendor is not None and (vendor, product) != (VENDOR, QUALITY)):
            raise Refused("INVALID_INPUT", f"this gate measures with {VENDOR} {QUALITY}")
        sample = self._desk.reader.one(ask.inputs["bir"]) if "bir" in ask.inputs else await self._stored(ask)
        seen = await self._desk.seen(sample)
        return {
            "qualityScore": str(seen.still.quality),
            "algorithmVersion": "1",
            "algorithmVendor": VENDOR,
            "algorithmVendorProductID": QUALITY,
        }

    async def _stored(self, ask: Ask) -> Sample:
        """The newest picture of a subject's face."""

        def work(view: View) -> list[Any]:
            return view.records(view.subject(ask.inputs["subjectID"]), "biometric")

        items = [each for each in await self._desk.read(ask, work) if each.label == FACE and "record" in each.content]
        if not items:
            raise Refused("CANNOT_CHECK_QUALITY", "no picture of this subject is kept")
        bir = told("biometric", items[-1:], ask)["birList"]["bir"][0]
        return self._desk.reader.one(bir)

    async def _classify(self, ask: Ask) -> Answer:
        chosen = ask.get("classificationAlgorithmType", CLASSES[0])
        if chosen not in CLASSES:
            raise Refused("INVALID_INPUT", f"one of {', '.join(CLASSES)}")
        still = (await self._desk.seen(self._desk.reader.one(ask.inputs["bir"]))).still
        said = ("turned" if still.turned else "frontal") if chosen == "pose" else ("small" if still.small else "full")
        return {"classification": said, "classificationAlgorithmType": chosen}

    async def _transform(self, ask: Ask) -> Answer:
        sample, how = self._desk.reader.one(ask.inputs["inputBIR"]), ask.inputs["transformOperation"]
        form = ask.get("transformControl") or "jpeg"
        match how:
            case 1:
                seen = await self._desk.seen(sample)
                info = {
                    **face(b"").info,
                    "format": {"organization": VENDOR, "type": _TEMPLATE_FORMAT},
                    "level": "Processed",
                    "featureExtractionAlgorithm": {"organization": VENDOR, "type": seen.still.model},
                }
                return {"outputBIR": wrapped(Sample(FACE, (), seen.still.template, info))}
            case 2 | 4:
                work = StillWork.CROP if how == CROP else StillWork.ALIGN
                made = face((await self._desk.look(sample.picture, work, _form(form))).picture)
            case 3:
                made = await self._converted(sample, form)
            case _:
                raise Refused("UNSUPPORTED_CAPABILITY", "operations are told by queryCapabilities")
        return {"outputBIR": wrapped(made)}

    async def _converted(self, sample: Sample, form: str) -> Sample:
        """Another format of the picture, or of the data block (ISO/IEC 19794-5)."""
        if form not in ("iso-19794-5", "iso-19794-5-jp2"):
            return face((await self._desk.look(sample.picture, StillWork.CONVERT, _form(form))).picture)
        inside = "jp2" if form.endswith("jp2") else "jpeg"
        still = await self._desk.look(sample.picture, StillWork.CONVERT, inside)
        try:
            return face(write(still.picture))
        except Broken as error:
            raise Refused("CANNOT_PROCESS_DATA", str(error)) from error

    async def _verify(self, ask: Ask) -> Answer:
        outcome = await self.verified(ask, ask.inputs["inputBIR"])
        return {"match": outcome["match"], "score": outcome["score"]}

    async def verified(self, ask: Ask, bir: Answer) -> Answer:
        """One to one: against a claim, a subject or a reference; with what was found on the way."""
        reference, claim, subject = (ask.get(name) for name in ("referenceBIR", "identityClaim", "subjectID"))
        if reference is None and claim is None and subject is None:
            raise Refused("CANNOT_VERIFY", "identityClaim, subjectID or referenceBIR")
        if reference is not None and (claim is not None or subject is not None):
            raise Refused("INVALID_INPUT", "referenceBIR, or somebody who is enrolled")
        if ask.get("galleryID") is not None:
            await self._desk.read(ask, lambda view: view.gallery(ask.inputs["galleryID"]))
        ask.step("reading the sample")
        sample = self._desk.reader.one(bir)
        if reference is not None:
            other = self._desk.reader.one(reference)
            probe = await self._desk.seen(sample)
            against = await self._desk.seen(other)
            score, kind = similarity(probe.vector, against.vector), _smaller(probe, against)
        else:
            await self._desk.read(ask, lambda view: meant(ask, view))
            probe = await self._desk.seen(sample)
            score, kind = await self._best(ask, probe), probe.kind
        threshold = self._desk.verifies(probe.still.model, kind)
        return {
            "match": score >= threshold,
            "score": {"value": round(score, 6), "biometricType": FACE},
            "threshold": threshold,
            "seen": probe,
        }

    async def _best(self, ask: Ask, probe: Seen) -> float:
        """The best score against the templates of the one who is claimed; in a gallery, of those that it searches."""
        anywhere = ask.get("galleryID") is None and ask.get("identityClaim") is None

        def work(view: View) -> list[float]:
            subject, members = meant(ask, view)
            return [
                similarity(probe.vector, vector)
                for encounter, of, model, vector in view.templates(subject)
                if model == probe.still.model
                and (anywhere or any(of in ("", each.gallery) and encounter == each.encounter for each in members))
            ]

        scores = await self._desk.read(ask, work)
        if not scores:
            raise Refused("CANNOT_VERIFY", "no face of this person is kept for the models at work")
        return max(scores)

    async def _identify(self, ask: Ask) -> Answer:
        if ("galleryID" in ask.inputs) == ("gallery" in ask.inputs):
            raise Refused("INVALID_INPUT", "galleryID or gallery")
        return {"candidateList": (await self.identified(ask, ask.inputs["bir"]))["candidateList"]}

    async def identified(self, ask: Ask, bir: Answer) -> Answer:
        """One to many: candidates above the threshold, and what was found on the way."""
        most, gallery = min(ask.inputs["maxListSize"], MOST), ask.get("galleryID")
        if gallery is not None:
            await self._desk.read(ask, lambda view: view.gallery(gallery))
        ask.step("reading the sample")
        probe = await self._desk.seen(self._desk.reader.one(bir))
        ask.step("searching")
        if gallery is None:
            found, threshold = await self._among(ask, probe, most)
            listed = [({"identityClaim": each.subject}, each.score) for each in found]
        else:
            found, threshold = await self._within(gallery, probe, most)
            claims = await self._desk.read(ask, lambda view: [view.claim_of(gallery, each.subject) for each in found])
            listed = [_identity(each, claim) for each, claim in zip(found, claims, strict=True)]
        candidates = [
            {
                "scoreList": [{"value": round(score, 6), "biometricType": FACE}],
                "identity": identity,
                "rank": rank,
            }
            for rank, (identity, score) in enumerate(listed, 1)
        ]
        return {"candidateList": {"candidate": candidates}, "threshold": threshold, "seen": probe}

    async def _within(self, gallery: str, probe: Seen, most: int) -> tuple[list[Found], float]:
        return await self._desk.gallery.look(lambda index: self.candidates(index, gallery, probe, most))

    def candidates(self, index: Index, gallery: str, probe: Seen, most: int) -> tuple[list[Found], float]:
        """The people of a gallery above the threshold, and the threshold; in the gallery's thread.

        Raises:
            Refused: CANNOT_IDENTIFY; the models were not measured that far.
        """
        matrix = index.of(gallery, probe.still.model)
        if matrix is None or not len(matrix):
            return [], 1.0
        threshold = self._desk.at(probe.still.model, probe.kind, self._desk.options.fpir / len(matrix))
        return matrix.search(probe.vector, threshold, most), threshold

    async def _among(self, ask: Ask, probe: Seen, most: int) -> tuple[list[Found], float]:
        """Samples that came with the request; they are called by their place."""
        birs = ask.inputs["gallery"].get("bir", [])
        if not birs:
            raise Refused("INVALID_INPUT", "no sample to search")
        if len(birs) > LISTED:
            raise Refused("UNSUPPORTED_CAPABILITY", f"at most {LISTED} samples with a request")
        others = [await self._desk.seen(self._desk.reader.one(bir)) for bir in birs]
        threshold = self._desk.at(probe.still.model, probe.kind, fmr_for(self._desk.options.fpir, len(others)))
        scored = [Found(str(at), "", similarity(probe.vector, each.vector)) for at, each in enumerate(others)]
        return sorted((each for each in scored if each.score >= threshold), key=lambda e: -e.score)[:most], threshold

    async def _fuse(self, ask: Ask) -> Answer:
        identities = ask.inputs["fusionInput"].get("fusionIdentity", [])
        match, worth = fuse(identities, self._calibrations, self._desk.options.fmr)
        return {"match": match, "fusedScores": [{"value": each} for each in worth]}

    async def _query(self, ask: Ask) -> Answer:
        return {"capabilityList": {"capability": await capabilities(self._desk, self._calibrations)}}


def _identity(found: Found, claim: str) -> tuple[Answer, float]:
    identity = {"subjectID": found.subject, "identityClaim": claim}
    return identity | ({"encounterID": found.encounter} if found.encounter else {}), found.score


def _smaller(a: Seen, b: Seen) -> ReferenceKind:
    return ReferenceKind.SMALL if ReferenceKind.SMALL in (a.kind, b.kind) else ReferenceKind.FULL


def _form(form: str) -> str:
    if form not in ("jpeg", "png", "webp", "jp2"):
        raise Refused("INVALID_INPUT", "jpeg, png, webp or jp2")
    return form
