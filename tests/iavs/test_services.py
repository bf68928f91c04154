"""What the services do, told as stories."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from typing import Any

from edge.audit.entry import Kind
from edge.devices.follower import Follower
from edge.iavs.catalogue import catalogue
from edge.iavs.services import Services

Story = Any


def test_every_service_has_a_handler(story: Story) -> None:
    async def told(gate: Any) -> None:
        services: Services = gate.services
        expected = {s.name for s in catalogue().services.values() if not s.fetches}
        assert set(services.handlers) == expected

    story(told)


def test_a_person_is_enrolled_verified_identified_and_deleted(story: Story) -> None:
    async def told(gate: Any) -> None:
        subject = (await gate.ok("createSubject"))["subjectID"]
        await gate.ok("setBiometricData", subjectID=subject, bir=gate.bir(gate.face(1)))
        await gate.ok("addSubjectToGallery", galleryID="staff", subjectID=subject, identityClaim="badge-7")
        again = gate.bir(gate.face(1, light=0.9))
        mine = await gate.ok("verifySubject", inputBIR=again, identityClaim="badge-7", galleryID="staff")
        assert mine["match"] is True
        assert mine["score"]["value"] > 0.5
        other = await gate.ok(
            "verifySubject", inputBIR=gate.bir(gate.face(2)), identityClaim="badge-7", galleryID="staff"
        )
        assert other["match"] is False
        found = await gate.ok("identifySubject", galleryID="staff", bir=again, maxListSize=5)
        (candidate,) = found["candidateList"]["candidate"]
        assert candidate["identity"] == {"subjectID": subject, "identityClaim": "badge-7"}
        nobody = await gate.ok("identifySubject", galleryID="staff", bir=gate.bir(gate.face(5)), maxListSize=5)
        assert nobody["candidateList"]["candidate"] == []
        await gate.ok("deleteSubject", subjectID=subject)
        found = await gate.ok("identifySubject", galleryID="staff", bir=again, maxListSize=5)
        assert found["candidateList"]["candidate"] == []
        assert (await gate("verifySubject", inputBIR=again, identityClaim="badge-7")).status_code == 404

    story(told)


def test_every_change_is_an_entry_without_personal_data(story: Story) -> None:
    async def told(gate: Any) -> None:
        await gate.ok("createSubject", subjectID="Anna Muster")
        said = {"lastName": "Muster", "firstName": "Anna"}
        await gate.ok("setBiographicData", subjectID="Anna Muster", biographicData=said)
        await gate("setBiographicData", subjectID="nobody", biographicData=said)
        log = Follower(gate.folder / "journal.db")
        entries = [each for each in log.entries(0, 100) if each.kind is Kind.GALLERY]
        log.close()
        assert [each.fields["service"] for each in entries] == ["createSubject", "setBiographicData"]
        assert entries[0].subject == entries[1].subject == gate.desk.vault.pseudonym("Anna Muster")
        raw = b"".join(each.read_bytes() for each in gate.folder.glob("journal.db*"))
        assert b"Muster" not in raw

    story(told)


def test_enrolling_somebody_twice_tells_who_it_is(story: Story) -> None:
    async def told(gate: Any) -> None:
        given = {"bir": gate.bir(gate.face(3)), "galleryID": "staff", "biographicData": {"lastName": "M"}}
        first = await gate.ok("enrol", processingOptions={"option": []}, inputData=given)
        assert first["returnData"]["outcome"] == "enrolled"
        second = await gate.ok("enrol", processingOptions={"option": []}, inputData=given)
        assert second == {"subjectID": first["subjectID"], "returnData": {"outcome": "already-enrolled"}}
        read = await gate.ok("retrieveBiographicData", subjectID=first["subjectID"])
        assert read == {"biographicData": {"lastName": "M"}}
        raw = await gate.ok("retrieveBiometricData", subjectID=first["subjectID"])
        assert b64decode(raw["birList"]["bir"][0]["bir"]["json"]["bdb"]) == gate.face(3)
        verified = await gate.ok(
            "verify",
            processingOptions={"option": []},
            inputData={"bir": gate.bir(gate.face(3))},
            identityClaim=first["subjectID"],
        )
        assert verified["match"] is True
        assert verified["returnData"]["bonaFide"] == "not-checked"

    story(told)


def test_work_in_the_background_is_fetched_by_its_token(story: Story) -> None:
    async def told(gate: Any) -> None:
        options = {"option": [{"key": "async", "value": "true"}]}
        given = {"bir": gate.bir(gate.face(4)), "galleryID": "guests"}
        token = (await gate.ok("enrol", processingOptions=options, inputData=given))["token"]["tokenValue"]
        while (answer := await gate("getEnrolResults", token=token)).status_code == 202:
            assert answer.headers["Retry-After"] == "1"
            assert answer.json()["code"] == "RESULT_NOT_READY"
            await asyncio.sleep(0.02)
        assert answer.json()["subjectID"]
        assert (await gate("getVerifyResults", token=token)).json()["code"] == "INVALID_TOKEN"
        other = await gate.client.get("/getEnrolResults", params={"token": token}, headers={"x-tester": "other"})
        assert other.json()["code"] == "UNKNOWN_TOKEN"
        await gate.ok("deleteSubject", subjectID=answer.json()["subjectID"])
        assert (await gate("getEnrolResults", token=token)).json()["code"] == "UNKNOWN_TOKEN"

    story(told)


def test_encounters_keep_their_own(story: Story) -> None:
    async def told(gate: Any) -> None:
        await gate.ok("createSubject", subjectID="a")
        first = await gate.ok("setBiographicData", subjectID="a", biographicData={"lastName": "One"})
        second = await gate.ok("setBiographicData", subjectID="a", biographicData={"lastName": "Two"})
        assert first["encounterID"] != second["encounterID"]
        listed = await gate.ok("listBiographicData", subjectID="a")
        assert listed["encounterList"]["encounterID"] == [first["encounterID"], second["encounterID"]]
        assert (await gate.ok("retrieveBiographicData", subjectID="a"))["biographicData"] == {"lastName": "Two"}
        await gate.ok("deleteEncounter", subjectID="a", encounterID=second["encounterID"])
        assert (await gate.ok("retrieveBiographicData", subjectID="a"))["biographicData"] == {"lastName": "One"}
        assert (await gate("deleteBiographicData", subjectID="a")).json()["code"] == "INVALID_ENCOUNTER_ID"

    story(told, encounters=True)


def test_other_methods_are_told_which_are_allowed(story: Story) -> None:
    async def told(gate: Any) -> None:
        answer = await gate.client.get("/createSubject")
        assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
        assert answer.headers["Cache-Control"] == "no-store"
        assert (await gate.client.get("/openapi.json")).json()["paths"].keys() == {
            s.path for s in catalogue().services.values()
        }

    story(told)


def test_inputs_are_taken_from_query_body_and_parts(story: Story) -> None:
    async def told(gate: Any) -> None:
        import json

        sample = gate.bir(gate.face(6))
        plain = {"formatOwner": "257", "formatType": "11"}
        bracketed = {f"bir[{key}]": value for key, value in plain.items()}
        bracketed["bir[bir][binary]"] = sample["bir"]["json"]["bdb"]
        bracketed["bir[birInformation][bdbInfo][type][0]"] = "Face"
        ways = [
            await gate.client.get("/checkQuality", params={"bir": json.dumps(sample)}),
            await gate.client.get("/checkQuality", params=bracketed),
            await gate.client.post("/checkQuality", json={"bir": sample}),
            await gate.client.post("/checkQuality", files={"bir": (None, json.dumps(sample), "application/json")}),
        ]
        assert [each.status_code for each in ways] == [200] * 4, [each.text for each in ways]
        assert len({each.text for each in ways}) == 1

    story(told)


def test_a_change_that_cannot_be_written_down_is_not_made(story: Story) -> None:
    class Broken:
        async def record(self, fields: dict[str, str], subject: bytes) -> None:
            from edge.errors import DeviceError

            raise DeviceError("journal", "edge-gate does not answer")

    async def told(gate: Any) -> None:
        answer = await gate("createSubject", subjectID="a")
        assert (answer.status_code, answer.json()["code"]) == (500, "CANNOT_STORE_DATA")
        assert (await gate("listBiographicData", subjectID="a")).json()["code"] == "UNKNOWN_SUBJECT"

    story(told, recorder=Broken())


def test_fusion_adds_evidence(story: Story) -> None:
    def element(score: float) -> dict[str, Any]:
        result = {"score": {"value": score}}
        return {
            "biometricType": "Face",
            "algorithmOwner": "edge-gate",
            "algorithmType": "paint-1",
            "fusionResult": result,
        }

    async def told(gate: Any) -> None:
        async def fused(*scores: float) -> bool:
            elements = {"fusionIdentity": [{"fusionElement": [element(score) for score in scores]}]}
            return bool((await gate.ok("performFusion", fusionInput=elements))["match"])

        assert await fused(0.9, 0.9)
        assert not await fused(0.1, 0.1)
        assert await fused(0.4, 0.4) and not await fused(0.4, -0.5)

    story(told)


def test_pictures_are_transformed(story: Story) -> None:
    async def told(gate: Any) -> None:
        async def made(how: int, control: str = "") -> bytes:
            inputs: dict[str, Any] = {"inputBIR": gate.bir(gate.face(1)), "transformOperation": how}
            answer = await gate.ok(
                "transformBiometricData", **inputs, **({"transformControl": control} if control else {})
            )
            return b64decode(answer["outputBIR"]["bir"]["json"]["bdb"])

        assert len(await made(1)) == 8 * 4
        assert (await made(2)).startswith(b"\xff\xd8\xff")
        assert (await made(4, "png")).startswith(b"\x89PNG")
        assert (await made(3, "iso-19794-5")).startswith(b"FAC\x00030\x00")

    story(told)


def test_whole_tasks_update_retrieve_and_delete(story: Story) -> None:
    async def told(gate: Any) -> None:
        none: dict[str, Any] = {"option": []}
        given = {"bir": gate.bir(gate.face(2)), "galleryID": "staff", "subjectID": "a"}
        later = {"option": [{"key": "async"}]}
        begun = await gate.ok("enrol", processingOptions=later, inputData=given)
        token = begun["token"]["tokenValue"]
        while (await gate("getEnrolResults", token=token)).status_code == 202:  # noqa: ASYNC110 -- asked, as a caller does
            await asyncio.sleep(0.01)
        changed = {"subjectID": "a", "documentDataList": {"documentData": [{"documentCategory": "visa"}]}}
        done = await gate.ok("update", processingOptions=none, inputData=changed)
        assert done["returnData"] == {"updated": ["document"]}
        wanted = {"option": [{"key": "include", "value": "document, biometric"}]}
        found = (await gate.ok("retrieveData", processingOptions=wanted, subjectID="a"))["returnData"]
        assert found["documentDataList"]["documentData"] == [{"documentCategory": "visa"}]
        assert len(found["birList"]["bir"]) == 1
        seen = await gate.ok("identify", processingOptions=none, inputData=given, galleryID="staff", maxListSize=2)
        assert [each["identity"]["subjectID"] for each in seen["candidateList"]["candidate"]] == ["a"]
        gone = await gate.ok("delete", processingOptions=none, inputData={"subjectID": "a"})
        assert gone == {"subjectID": "a", "returnData": {"outcome": "erased"}}
        assert (await gate("getEnrolResults", token=token)).json()["code"] == "UNKNOWN_TOKEN"
        assert (await gate("listDocumentData", subjectID="a")).status_code == 404

    story(told)


def test_fingers_are_kept_and_not_compared(story: Story) -> None:
    async def told(gate: Any) -> None:
        finger = gate.bir(b"\xff\xa0 ridges \xff\xa1", "Finger", subtype=["Right", "Thumb"])
        await gate.ok("createSubject", subjectID="a")
        await gate.ok("setBiometricData", subjectID="a", bir=finger)
        await gate.ok("setBiometricData", subjectID="a", bir=gate.bir(gate.face(1)))
        listed = (await gate.ok("listBiometricData", subjectID="a"))["biometricDataList"]["biometricData"]
        assert {each["biometricType"] for each in listed} == {"Finger", "Face"}
        answer = await gate("verifySubject", inputBIR=finger, subjectID="a")
        assert answer.json()["code"] == "BIOMETRIC_TYPE_NOT_SUPPORTED"
        await gate.ok("deleteBiometricData", subjectID="a", biometricType=["Finger"])
        kept = (await gate.ok("retrieveBiometricData", subjectID="a"))["birList"]["bir"]
        assert [each["birInformation"]["bdbInfo"]["type"] for each in kept] == [["Face"]]
        cut = gate.bir(b"\xff\xa0 ridges", "Finger")
        assert (await gate("setBiometricData", subjectID="a", bir=cut)).json()["code"] == "INVALID_BIR"

    story(told)


def test_updated_samples_are_merged_or_replace(story: Story) -> None:
    async def told(gate: Any) -> None:
        await gate.ok("createSubject", subjectID="a")
        await gate.ok("setBiometricData", subjectID="a", bir=gate.bir(gate.face(1)))
        await gate.ok("updateBiometricData", subjectID="a", bir=gate.bir(gate.face(2)), merge=True)
        for who, match in ((1, True), (2, True), (3, False)):
            said = await gate.ok("verifySubject", inputBIR=gate.bir(gate.face(who)), subjectID="a")
            assert said["match"] is match
        await gate.ok("updateBiometricData", subjectID="a", bir=gate.bir(gate.face(3)))
        for who, match in ((1, False), (2, False), (3, True)):
            said = await gate.ok("verifySubject", inputBIR=gate.bir(gate.face(who)), subjectID="a")
            assert said["match"] is match

    story(told)
