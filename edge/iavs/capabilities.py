"""What this gate can do, told as it is at this moment.

Rules:

1. What depends on models is told of those that edge-vision has loaded; while it does not answer, nothing is claimed.
2. Detection of presentation attacks is told only where a detector is loaded, and that its figure is told, not judged.
3. Fusion says its rule and what each score is worth. A gallery says whether it can be searched at the stated rate.
"""

from __future__ import annotations

import json

from edge.biometric.values import ModelSet, ReferenceKind
from edge.iavs.bir import FACE, OWNER, XML_PATRON
from edge.iavs.desk import Desk, Options
from edge.iavs.fusion import OWNER as VENDOR
from edge.iavs.fusion import Calibration
from edge.iavs.refused import Refused
from edge.iavs.subjects import Answer
from edge.iavs.view import View

QUALITY = "still-quality-1"
EXTRACT, CROP, CONVERT, ALIGN = 1, 2, 3, 4
CLASSES = ("pose", "reference-size")
_PICTURES = "jpeg|png|webp|jp2"
_SILENT = "edge-vision has no models or does not answer: not known"
_QUALITY = "1; 0..100, the worst of size, sharpness, light; half of it where the face is turned"
_READ = "XML; JSON; data blocks. Faces: pictures, ISO/IEC 19794-5:2005 and :2011, 39794-5 read; 19794-5:2011 written"
_KEPT = ("Finger", "Iris", "Voice", "Palm", "Vein", "SignatureSign")
_OPTIONAL = ("subjectID", "galleryID", "identityClaim", "birList", "biographicData", "documentDataList")


async def capabilities(desk: Desk, calibrations: dict[str, Calibration]) -> list[Answer]:
    """All of them, the galleries last."""
    models = await desk.models()
    told = _tasks(desk.options, models) + _samples(models) + _scores(desk.options, calibrations, models)
    return told + await _galleries(desk, models)


def _tasks(options: Options, models: ModelSet | None) -> list[Answer]:
    found = "quality, attack score" if models is not None and models.detects_attacks else "quality"
    kept = "keep" if options.keep_pictures else "keep the template without the picture"
    tasks = {
        "delete": "erases a subject or an encounter everywhere",
        "enrol": f"quality, then in one change: search for duplicates, create, {kept}, add to gallery",
        "identify": f"{found}, exact search",
        "retrieveData": "biographic, biometric, document data, as far as the caller may",
        "update": "sets what is given",
        "verify": f"{found}, one comparison",
    }
    return [
        *(_capability("AggregateServiceDescription", name, about) for name, about in tasks.items()),
        _capability("AggregateInputDataRequired", "bir", "of enrol, identify, verify"),
        *(_capability("AggregateInputDataOptional", name) for name in _OPTIONAL),
        _capability("AggregateProcessingOption", "async", "true: the answer is a token", supporting="true|false"),
        _capability("AggregateProcessingOption", "duplicates", "of enrol", supporting="check|allow"),
        _capability(
            "AggregateProcessingOption", "include", "of retrieveData", supporting="biographic,biometric,document"
        ),
        *(_capability("AggregateReturnData", name, attacks(models)) for name in ("identify", "verify")),
        _capability("BiographicDataSet", "any", supporting="any", info="ASCII, XML or JSON, kept as it is"),
        _capability("IdentityModel", "encounter" if options.encounters else "person"),
    ]


def attacks(models: ModelSet | None) -> str:
    """What is said about presentation attacks."""
    if models is None:
        return f"presentation attack detection: {_SILENT}"
    if not models.detects_attacks:
        return "no presentation attack detection"
    return "bonaFide: presentation attack score of one picture, passive; told, not judged"


def _samples(models: ModelSet | None) -> list[Answer]:
    compared = ("3", "compared") if models is not None else ("0", f"kept; comparing: {_SILENT}")
    convert = f"{_PICTURES}|iso-19794-5|iso-19794-5-jp2"
    return [
        _capability("CBEFFPatronFormat", str(OWNER), supporting=str(XML_PATRON), info=_READ),
        *(_capability("ClassificationAlgorithmType", name) for name in CLASSES),
        _capability("QualityAlgorithm", VENDOR, supporting=QUALITY, info=_QUALITY),
        _capability("SupportedBiometric", FACE, supporting=compared[0], info=compared[1]),
        *(_capability("SupportedBiometric", name, supporting="0", info="kept, not compared") for name in _KEPT),
        _capability("TransformOperation", str(EXTRACT), "extract template", code=str(EXTRACT)),
        _capability("TransformOperation", str(CROP), "crop", supporting=_PICTURES, code=str(CROP)),
        _capability("TransformOperation", str(CONVERT), "convert", supporting=convert, code=str(CONVERT)),
        _capability("TransformOperation", str(ALIGN), "align", supporting=_PICTURES, code=str(ALIGN)),
    ]


def _scores(options: Options, calibrations: dict[str, Calibration], models: ModelSet | None) -> list[Answer]:
    fused = "fusion: decisions only, all must agree; no algorithm was measured here"
    if calibrations:
        worth = "; ".join(f"{name} {calibration.said()}" for name, calibration in calibrations.items())
        rule = "log10((1 - FNMR) / FMR) as measured, summed, against one comparison at the stated FMR; decisions: all"
        fused = f"fusion: {rule}; score:worth of {worth}"
    rates = f"match at FMR {options.fmr:g}; candidates at FPIR {options.fpir:g} of the whole gallery, exact search"
    return [
        _capability("MatchAlgorithm", VENDOR, supporting=embedder(models), info=fused),
        _capability("MatchScore", "-1..1", "cosine of templates of one model", info=rates),
    ]


def embedder(models: ModelSet | None) -> str:
    """The model that makes templates."""
    return "" if models is None else models.models.get("embedder", ("", b""))[0]


async def _galleries(desk: Desk, models: ModelSet | None) -> list[Answer]:
    def work(view: View) -> dict[str, int]:
        return {gallery: view.count(gallery) for gallery in desk.gallery.galleries}

    counts = await desk.gallery.read(work)
    told = []
    for gallery, subjects in counts.items():
        said = {"subjects": subjects, "identify": await _searched(desk, gallery, embedder(models))}
        told.append(_capability("Gallery", gallery, info=json.dumps(said)))
    return told


async def _searched(desk: Desk, gallery: str, model: str) -> str:
    """Whether a gallery can be searched at the site's rate."""
    if not model:
        return _SILENT
    matrix = await desk.gallery.look(lambda index: index.of(gallery, model))
    try:
        desk.at(model, ReferenceKind.FULL, desk.options.fpir / max(1, len(matrix) if matrix is not None else 0))
    except Refused as refused:
        return f"no: {refused.detail}"
    return "yes"


def _capability(
    name: str, value: str, about: str = "", *, supporting: str = "", info: str = "", code: str = ""
) -> Answer:
    said = {
        "capabilityName": name,
        "capabilityID": code,
        "capabilityDescription": about,
        "capabilityValue": value,
        "capabilitySupportingValue": supporting,
        "capabilityAdditionalInfo": info,
    }
    return {key: text for key, text in said.items() if text}
