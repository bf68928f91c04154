"""Nothing is claimed that is not so, and what is claimed works."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from edge.errors import DeviceError
from edge.iavs.bir import FACE
from edge.iavs.catalogue import catalogue
from edge.iavs.desk import Options
from edge.vision.simulated import PaintSessions

Story = Any
FIELDS = ("capabilityDescription", "capabilitySupportingValue", "capabilityAdditionalInfo")


class Doubts:
    """A detector of attacks that has seen better."""

    def bona_fide(self, image: Any, box: Any) -> float:
        return 0.25


class Away:
    """edge-vision is not there."""

    async def models(self) -> Any:
        raise DeviceError("vision", "edge-vision does not answer")


def watchful() -> Any:
    plain = PaintSessions()
    roles = {**plain.models.models, "attack-v2": ("doubts", bytes(32))}
    return replace(plain, attack=Doubts(), models=replace(plain.models, models=roles))  # type: ignore[arg-type]  # stands where AttackDetector stands


async def told(gate: Any) -> list[dict[str, str]]:
    said: list[dict[str, str]] = (await gate.ok("queryCapabilities"))["capabilityList"]["capability"]
    assert {each["capabilityName"] for each in said} <= set(catalogue().capabilities)
    return said


async def values(gate: Any, name: str, field: str = "capabilityValue") -> list[str]:
    return [each.get(field, "") for each in await told(gate) if each["capabilityName"] == name]


async def findings(gate: Any) -> dict[str, Any]:
    options: dict[str, Any] = {"option": []}
    sample = gate.bir(gate.face(1))
    found = await gate.ok("verify", processingOptions=options, inputData={"bir": sample}, referenceBIR=sample)
    return dict(found["returnData"])


def words(said: list[dict[str, str]]) -> str:
    return " ".join(each.get(field, "") for each in said for field in FIELDS)


def test_without_a_detector_no_attack_is_claimed_to_be_seen(story: Story) -> None:
    async def tell(gate: Any) -> None:
        assert "attack score" not in words(await told(gate))
        about = await values(gate, "AggregateReturnData", "capabilityDescription")
        assert about == ["no presentation attack detection"] * 2
        assert (await findings(gate))["bonaFide"] == "not-checked"

    story(tell)


def test_with_a_detector_its_figure_is_told_and_not_judged(story: Story) -> None:
    async def tell(gate: Any) -> None:
        (about,) = set(await values(gate, "AggregateReturnData", "capabilityDescription"))
        assert "told, not judged" in about
        assert (await findings(gate))["bonaFide"] == "0.2500"

    story(tell, sessions=watchful)


def test_without_models_nothing_is_claimed_of_them(story: Story) -> None:
    async def tell(gate: Any) -> None:
        object.__setattr__(gate.desk, "faces", Away())
        said = await told(gate)
        assert "attack score" not in words(said)
        face = next(each for each in said if each["capabilityValue"] == FACE)
        assert face["capabilitySupportingValue"] == "0"
        assert all("not known" in info for info in await values(gate, "Gallery", "capabilityAdditionalInfo"))

    story(tell)


def test_galleries_are_told_with_their_people_and_whether_they_can_be_searched(story: Story) -> None:
    async def tell(gate: Any) -> None:
        await gate.ok("createSubject", subjectID="a")
        await gate.ok("setBiometricData", subjectID="a", bir=gate.bir(gate.face(1)))
        await gate.ok("addSubjectToGallery", subjectID="a", galleryID="staff")
        assert await values(gate, "Gallery") == ["staff", "guests"]
        staff, guests = map(json.loads, await values(gate, "Gallery", "capabilityAdditionalInfo"))
        assert (staff, guests) == ({"subjects": 1, "identify": "yes"}, {"subjects": 0, "identify": "yes"})
        object.__setattr__(gate.desk, "options", Options(encounters=False, fmr=0.001, fpir=1e-9))
        staff = json.loads((await values(gate, "Gallery", "capabilityAdditionalInfo"))[0])
        assert staff["identify"].startswith("no: ")
        asked = {"galleryID": "staff", "bir": gate.bir(gate.face(1)), "maxListSize": 1}
        assert (await gate("identifySubject", **asked)).json()["code"] == "CANNOT_IDENTIFY"

    story(tell)


def element(score: float) -> dict[str, Any]:
    made = {"biometricType": "Face", "algorithmOwner": "edge-gate", "algorithmType": "paint-1"}
    return made | {"fusionResult": {"score": {"value": score}}}


def test_fusion_is_worth_what_is_told(story: Story) -> None:
    async def tell(gate: Any) -> None:
        (info,) = await values(gate, "MatchAlgorithm", "capabilityAdditionalInfo")
        points = [each.split(":") for each in info.rpartition("score:worth of paint-1 ")[2].split()]
        assert len(points) == 2
        for score, worth in points:
            given = {"fusionIdentity": [{"fusionElement": [element(float(score)), element(float(score))]}]}
            found = await gate.ok("performFusion", fusionInput=given)
            assert found["fusedScores"][0]["value"] == pytest.approx(2 * float(worth), abs=0.02)
            assert found["match"] == (2 * float(worth) >= 3)

    story(tell)


def test_without_measurements_scores_are_not_fused_and_not_said_to_be(story: Story) -> None:
    async def tell(gate: Any) -> None:
        (info,) = await values(gate, "MatchAlgorithm", "capabilityAdditionalInfo")
        assert "decisions only" in info
        given = {"fusionIdentity": [{"fusionElement": [element(0.3), element(0.3)]}]}
        assert (await gate("performFusion", fusionInput=given)).json()["code"] == "UNSUPPORTED_CAPABILITY"

    story(tell, calibrations={})


def test_every_form_option_and_class_that_is_told_works(story: Story) -> None:
    async def tell(gate: Any) -> None:
        sample, said = gate.bir(gate.face(1)), await told(gate)
        tried = 0
        for each in (each for each in said if each["capabilityName"] == "TransformOperation"):
            for form in each.get("capabilitySupportingValue", "jpeg").split("|"):
                how = {"transformOperation": int(each["capabilityValue"]), "transformControl": form}
                assert (await gate.ok("transformBiometricData", inputBIR=sample, **how))["outputBIR"]["bir"]
                tried += 1
        for name in await values(gate, "ClassificationAlgorithmType"):
            found = await gate.ok("classifyBiometricData", bir=sample, classificationAlgorithmType=name)
            assert found["classificationAlgorithmType"] == name
            tried += 1
        quality = next(each for each in said if each["capabilityName"] == "QualityAlgorithm")
        vendor, product = quality["capabilityValue"], quality["capabilitySupportingValue"]
        await gate.ok("checkQuality", bir=sample, algorithmVendor=vendor, algorithmVendorProductID=product)
        assert tried == 17

    story(tell)
