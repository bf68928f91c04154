"""MOSIP's and OSIA's words ask the same core and get the same decision."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Any

Story = Any


def osia(picture: bytes) -> list[dict[str, str]]:
    return [{"biometricType": "FACE", "image": b64encode(picture).decode()}]


def segment(picture: bytes) -> dict[str, Any]:
    return {"segments": [{"bdbInfo": {"type": ["FACE"]}, "bdb": [b - 256 if b > 127 else b for b in picture]}]}


async def mosip(gate: Any, what: str, **said: Any) -> dict[str, Any]:
    request = b64encode(json.dumps(said).encode()).decode()
    answer = await gate.client.post(f"/biosdk-service/{what}", json={"version": "1.0", "request": request})
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    made: dict[str, Any] = answer.json()
    return made


def test_all_three_say_the_same(story: Story) -> None:
    async def told(gate: Any) -> None:
        for who, other in ((1, 1), (1, 2)):
            a, b = gate.face(who), gate.face(other, light=0.9)
            ours = (await gate.ok("verifySubject", inputBIR=gate.bir(a), referenceBIR=gate.bir(b)))["match"]
            theirs = await gate.client.post("/v1/verify", json={"biometricData1": osia(a), "biometricData2": osia(b)})
            assert theirs.json()["decision"] is ours
            found = await mosip(gate, "match", sample=segment(a), gallery=[segment(b)])
            decision = found["response"]["response"][0]["decisions"]["FACE"]["match"]
            assert decision == ("MATCHED" if ours else "NOT_MATCHED")

    story(told)


def test_osia_identifies(story: Story) -> None:
    async def told(gate: Any) -> None:
        given = {"bir": gate.bir(gate.face(3)), "galleryID": "staff"}
        made = await gate.ok("enrol", processingOptions={"option": []}, inputData=given)
        assert (await gate.client.get("/v1/galleries")).json() == ["staff", "guests"]
        found = await gate.client.post("/v1/identify/staff", json={"biometricData": osia(gate.face(3))})
        assert [each["personId"] for each in found.json()] == [made["subjectID"]]
        path = f"/v1/verify/staff/{made['subjectID']}"
        assert (await gate.client.post(path, json={"biometricData": osia(gate.face(3))})).json()["decision"] is True
        nobody = await gate.client.post("/v1/identify/none", json={"biometricData": osia(gate.face(3))})
        assert nobody.status_code == 404
        assert (await gate.client.post("/v1/persons", json={})).status_code == 501

    story(told)


def test_mosip_asks_for_quality_templates_and_formats(story: Story) -> None:
    async def told(gate: Any) -> None:
        info = (await mosip(gate, "init", initParams={}))["response"]["response"]
        assert info["supportedModalities"] == ["FACE"]
        sample = segment(gate.face(4))
        quality = (await mosip(gate, "check-quality", sample=sample))["response"]["response"]
        assert 0 <= quality["scores"]["FACE"]["score"] <= 100
        template = (await mosip(gate, "extract-template", sample=sample))["response"]["response"]["segments"][0]
        assert len(template["bdb"]) == 32
        whole = await mosip(gate, "convert-format", sample=sample, targetFormat="ISO19794_5_2011")
        assert bytes(whole["response"]["response"]["segments"][0]["bdb"][:8]) == b"FAC\x00030\x00"
        face = (await mosip(gate, "segment", sample=sample))["response"]["response"]["segments"][0]["bdb"]
        assert bytes(face[:3]) == b"\xff\xd8\xff"

    story(told)


def test_odd_requests_are_told_in_errors(story: Story) -> None:
    async def told(gate: Any) -> None:
        for said in (
            {},
            {"sample": {"segments": [{"bdbInfo": {"type": ["FINGER"]}}]}},
            {"sample": {"segments": [None]}},
        ):
            answer = await mosip(gate, "check-quality", **said)
            assert answer["errors"][0]["errorCode"] == "BIOMETRIC_TYPE_NOT_SUPPORTED"
        for body in (b"", b"{", b"[]", b'{"request": 7}', b'{"request": "%%%"}', b'{"request": "W10="}'):
            raw = await gate.client.post("/biosdk-service/match", content=body)
            assert raw.json()["errors"][0]["errorCode"] == "INVALID_INPUT"
        for body in (b"", b"{", b"[]", b'{"biometricData1": [7]}'):
            assert (await gate.client.post("/v1/verify", content=body)).status_code == 400
        assert b64decode("") == b""

    story(told)
