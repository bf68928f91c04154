"""MOSIP's biometric SDK service: init, check-quality, match, extract-template, convert-format, segment.

Rules:

1. A request is ``{"version", "request"}``, the request itself JSON in base64; blocks of bytes are lists of numbers or
   base64. The answer always has HTTP status 200 and says in ``errors`` what is wrong; who may not ask gets 401 or 403.
2. Faces only; other modalities are told as not supported.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request

from edge.iavs.asking import json_value
from edge.iavs.capabilities import CONVERT, CROP, EXTRACT
from edge.iavs.desk import Caller
from edge.iavs.facade import Facade, body, sample
from edge.iavs.refused import Refused
from edge.iavs.subjects import Answer

VERSION = "1.0"
_SERVICES = {
    "init": "queryCapabilities",
    "check-quality": "checkQuality",
    "match": "verifySubject",
    "extract-template": "transformBiometricData",
    "convert-format": "transformBiometricData",
    "segment": "transformBiometricData",
}
_TARGETS = {"IMAGE/JPEG": "jpeg", "IMAGE/PNG": "png", "IMAGE/JP2": "jp2", "ISO19794_5_2011": "iso-19794-5"}
_HTTP = {"NOT_AUTHENTICATED": 401, "NOT_AUTHORISED": 403, "PAYLOAD_TOO_LARGE": 413, "SERVICE_UNAVAILABLE": 503}
_PEOPLE = 64


class Mosip(Facade):
    """MOSIP's words."""

    prefix = "/biosdk-service/"

    async def answer(self, request: Request, path: str) -> tuple[int, Any]:
        """The façade's own part."""
        if path not in _SERVICES:
            return await super().answer(request, path)
        caller = await self.admitted(request, _SERVICES[path])
        outer = await body(request)
        said = _inner(outer)
        match path:
            case "init":
                made: Any = await self._init(caller)
            case "check-quality":
                made = await self._quality(caller, said)
            case "match":
                made = await self._match(caller, said)
            case "convert-format":
                form = _TARGETS.get(str(said.get("targetFormat", "")).upper())
                if form is None:
                    raise Refused("UNKNOWN_FORMAT", f"one of {', '.join(_TARGETS)}")
                made = await self._transformed(caller, said, CONVERT, form)
            case "extract-template":
                made = await self._transformed(caller, said, EXTRACT, "jpeg")
            case _:
                made = await self._transformed(caller, said, CROP, "jpeg")
        return 200, _wrapped({"statusCode": 200, "statusMessage": "OK", "response": made}, [])

    def refusal(self, refused: Refused) -> tuple[int, Any]:
        """Rule 1."""
        error = {"errorCode": refused.code, "message": refused.detail}
        return _HTTP.get(refused.code, 200), _wrapped(None, [error])

    async def _init(self, caller: Caller) -> Answer:
        told = (await self.ask(caller, "queryCapabilities"))["capabilityList"]["capability"]
        models = next(
            (each["capabilitySupportingValue"] for each in told if each["capabilityName"] == "MatchAlgorithm"), ""
        )
        supported = {name: ["FACE"] for name in ("MATCH", "QUALITY_CHECK", "EXTRACT", "SEGMENT", "CONVERT_FORMAT")}
        return {
            "apiVersion": VERSION,
            "sdkVersion": VERSION,
            "supportedModalities": ["FACE"],
            "supportedMethods": supported,
            "otherInfo": {"models": models},
            "productOwner": {"organization": "edge-gate", "type": "iavs"},
        }

    async def _quality(self, caller: Caller, said: Answer) -> Answer:
        found = await self.ask(caller, "checkQuality", bir=_face(said.get("sample")))
        return {"scores": {"FACE": {"score": int(found["qualityScore"]), "errors": []}}, "analyticsInfo": {}}

    async def _match(self, caller: Caller, said: Answer) -> list[Answer]:
        people = said.get("gallery")
        if not isinstance(people, list) or not 0 < len(people) <= _PEOPLE:
            raise Refused("INVALID_INPUT", f"1 to {_PEOPLE} people")
        probe, made = _face(said.get("sample")), []
        for at, person in enumerate(people):
            found = await self.ask(caller, "verifySubject", inputBIR=probe, referenceBIR=_face(person))
            decision: Answer = {"match": "MATCHED" if found["match"] else "NOT_MATCHED", "errors": []}
            decision["analyticsInfo"] = {"score": str(found["score"]["value"])}
            made.append({"galleryIndex": at, "decisions": {"FACE": decision}})
        return made

    async def _transformed(self, caller: Caller, said: Answer, how: int, form: str) -> Answer:
        found = await self.ask(
            caller,
            "transformBiometricData",
            inputBIR=_face(said.get("sample")),
            transformOperation=how,
            transformControl=form,
        )
        record = found["outputBIR"]["bir"]["json"]
        raw = b64decode(record["bdb"])
        return {"segments": [{"bdbInfo": record["bdbInfo"] | {"type": ["FACE"]}, "bdb": list(raw)}]}


def _inner(outer: Any) -> Answer:
    coded = outer.get("request") if isinstance(outer, dict) else None
    if not isinstance(coded, str) or not coded.isascii():
        raise Refused("INVALID_INPUT", "request")
    try:
        said = json_value(b64decode(coded + "=" * (-len(coded) % 4), altchars=b"-_"), "INVALID_INPUT")
    except binascii.Error as error:
        raise Refused("INVALID_INPUT", "request is base64") from error
    if not isinstance(said, dict):
        raise Refused("INVALID_INPUT", "request")
    return said


def _face(record: Any) -> Answer:
    """The face among the segments of a record."""
    segments = record.get("segments") if isinstance(record, dict) else None
    for each in segments if isinstance(segments, list) else ():
        info = each.get("bdbInfo") if isinstance(each, dict) else None
        types = info.get("type") if isinstance(info, dict) else None
        if isinstance(types, list) and types and str(types[0]).upper() == "FACE":
            return sample(_bytes(each.get("bdb")), {"type": ["Face"]})
    raise Refused("BIOMETRIC_TYPE_NOT_SUPPORTED", "no face among the segments")


def _bytes(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(type(each) is int and -128 <= each <= 255 for each in value):
        return b64encode(bytes(each & 0xFF for each in value)).decode()
    raise Refused("INVALID_BIR", "bdb")


def _wrapped(response: Any, errors: list[Answer]) -> Answer:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"version": VERSION, "responsetime": now, "response": response, "errors": errors}
