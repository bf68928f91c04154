"""OSIA's biometrics interface, as far as it asks what our services answer: verify, identify, galleries.

``POST /v1/verify`` compares two sets of samples, ``POST /v1/verify/{gallery}/{person}`` one with who is enrolled,
``POST /v1/identify/{gallery}`` searches, ``GET /v1/galleries`` lists. Persons are subjects.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote

from starlette.requests import Request

from edge.iavs.facade import Facade, body, sample
from edge.iavs.refused import Refused
from edge.iavs.subjects import Answer

_MOST = 10


class Osia(Facade):
    """OSIA's words."""

    prefix = "/v1/"

    async def answer(self, request: Request, path: str) -> tuple[int, Any]:
        """The façade's own part."""
        raw: bytes = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
        match [unquote(part) for part in raw.decode("latin-1").removeprefix(self.prefix).split("/")]:
            case ["galleries"]:
                return 200, await self._galleries(request)
            case ["verify"]:
                return 200, await self._verify(request, {})
            case ["verify", gallery, person]:
                return 200, await self._verify(request, {"galleryID": gallery, "subjectID": person})
            case ["identify", gallery]:
                return 200, await self._identify(request, gallery)
        return await super().answer(request, path)

    async def _galleries(self, request: Request) -> list[str]:
        caller = await self.admitted(request, "queryCapabilities")
        told = (await self.ask(caller, "queryCapabilities"))["capabilityList"]["capability"]
        return [each["capabilityValue"] for each in told if each["capabilityName"] == "Gallery"]

    async def _verify(self, request: Request, named: dict[str, str]) -> Answer:
        caller = await self.admitted(request, "verifySubject")
        said = await body(request)
        first, second = ("biometricData", None) if named else ("biometricData1", "biometricData2")
        inputs: dict[str, Any] = {**named, "inputBIR": _face(said, first)}
        if second is not None:
            inputs["referenceBIR"] = _face(said, second)
        found = await self.ask(caller, "verifySubject", **inputs)
        return {"decision": found["match"], "scores": [_score(found["score"])]}

    async def _identify(self, request: Request, gallery: str) -> list[Answer]:
        caller = await self.admitted(request, "identifySubject")
        face = _face(await body(request), "biometricData")
        found = await self.ask(caller, "identifySubject", galleryID=gallery, bir=face, maxListSize=_MOST)
        return [
            {
                "personId": each["identity"]["subjectID"],
                "rank": each["rank"],
                "score": each["scoreList"][0]["value"],
                "scores": [_score(each["scoreList"][0])],
            }
            for each in found["candidateList"]["candidate"]
        ]


def _face(said: Any, name: str) -> Answer:
    """The first face of a list of samples."""
    listed = said.get(name) if isinstance(said, dict) else None
    for each in listed if isinstance(listed, list) else ():
        if isinstance(each, dict) and str(each.get("biometricType", "FACE")).upper() == "FACE" and "image" in each:
            return sample(each["image"], {"type": ["Face"]})
    raise Refused("INVALID_BIR", f"{name}: no image of a face")


def _score(score: Answer) -> Answer:
    return {"score": score["value"], "biometricType": "FACE"}
