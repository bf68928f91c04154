"""Two names in one request: of one person, or nothing is done."""

from __future__ import annotations

from typing import Any

import httpx

Story = Any
NOTHING: dict[str, Any] = {"option": []}


async def two_people(gate: Any) -> None:
    for who, number in (("anna", 1), ("mallory", 2)):
        await gate.ok("createSubject", subjectID=who)
        await gate.ok("setBiometricData", subjectID=who, bir=gate.bir(gate.face(number)))
        await gate.ok("addSubjectToGallery", galleryID="staff", subjectID=who, identityClaim=f"badge-{who}")


def refused(answer: httpx.Response) -> bool:
    return (answer.status_code, answer.json()["code"]) == (400, "INVALID_INPUT")


def test_nobody_is_verified_under_the_name_of_another(story: Story) -> None:
    async def told(gate: Any) -> None:
        await two_people(gate)
        face = gate.bir(gate.face(2))
        both = {"galleryID": "staff", "subjectID": "anna", "identityClaim": "badge-mallory"}
        assert refused(await gate("verifySubject", **both, inputBIR=face))
        assert refused(await gate("verify", processingOptions=NOTHING, inputData=both | {"bir": face}))
        for name in ({"subjectID": "anna"}, {"identityClaim": "badge-anna"}):
            assert refused(await gate("verifySubject", galleryID="staff", **name, referenceBIR=face, inputBIR=face))
        agreeing = both | {"subjectID": "mallory"}
        assert (await gate.ok("verifySubject", **agreeing, inputBIR=face))["match"]

    story(told)


def test_nobody_leaves_a_gallery_in_place_of_another(story: Story) -> None:
    async def told(gate: Any) -> None:
        await two_people(gate)
        names = {"galleryID": "staff", "subjectID": "anna", "identityClaim": "badge-mallory"}
        assert refused(await gate("deleteSubjectFromGallery", **names))
        members = await gate.gallery.read(lambda view: [view.memberships(who) for who in ("anna", "mallory")])
        assert all(members)
        await gate.ok("deleteSubjectFromGallery", **names | {"subjectID": "mallory"})
        assert not await gate.gallery.read(lambda view: view.memberships("mallory"))

    story(told)


def test_whole_tasks_take_no_two_people_for_one(story: Story) -> None:
    async def told(gate: Any) -> None:
        await two_people(gate)
        both = {"subjectID": "anna", "identityClaim": "badge-mallory"}
        given = both | {"biographicData": {"lastName": "Y"}}
        assert refused(await gate("update", processingOptions=NOTHING, inputData=given))
        assert refused(await gate("delete", processingOptions=NOTHING, inputData=both))
        twice = {"subjectID": "anna", "SubjectID": "mallory"}
        assert refused(await gate("delete", processingOptions=NOTHING, inputData=twice))
        one = {"subjectID": "anna", "galleryID": "staff"}
        assert refused(await gate("delete", processingOptions=NOTHING, inputData=one))
        assert await gate.gallery.read(lambda view: view.subject("anna"))

    story(told)


def test_an_update_for_one_gallery_changes_no_other(story: Story) -> None:
    async def told(gate: Any) -> None:
        await two_people(gate)
        new = {"subjectID": "anna", "bir": gate.bir(gate.face(5))}
        answer = await gate("update", processingOptions=NOTHING, inputData=new | {"galleryID": "guests"})
        assert answer.json()["code"] == "UNKNOWN_SUBJECT"
        await gate.ok("addSubjectToGallery", galleryID="guests", subjectID="anna")
        await gate.ok("update", processingOptions=NOTHING, inputData=new | {"galleryID": "guests"})
        for gallery, face, match in (("staff", 1, True), ("staff", 5, False), ("guests", 5, True)):
            said = await gate.ok(
                "verifySubject", galleryID=gallery, subjectID="anna", inputBIR=gate.bir(gate.face(face))
            )
            assert said["match"] is match, (gallery, face)

    story(told)


def test_in_a_gallery_only_the_encounter_that_joined_it_is_verified(story: Story) -> None:
    async def told(gate: Any) -> None:
        await gate.ok("createSubject", subjectID="anna")
        for encounter, number in (("e1", 1), ("e2", 2), ("e3", 3)):
            await gate.ok("createEncounter", subjectID="anna", encounterID=encounter)
            await gate.ok("setBiometricData", subjectID="anna", encounterID=encounter, bir=gate.bir(gate.face(number)))
        for encounter in ("e1", "e3"):
            joined = {"galleryID": "staff", "subjectID": "anna", "identityClaim": f"badge-{encounter}"}
            await gate.ok("addSubjectToGallery", encounterID=encounter, **joined)
        for name, matching in (
            ({"galleryID": "staff", "identityClaim": "badge-e1"}, [1]),
            ({"identityClaim": "badge-e3"}, [3]),
            ({"galleryID": "staff", "subjectID": "anna"}, [1, 3]),
            ({"subjectID": "anna"}, [1, 2, 3]),
        ):
            found = [
                number
                for number in (1, 2, 3)
                if (await gate.ok("verifySubject", **name, inputBIR=gate.bir(gate.face(number))))["match"]
            ]
            assert found == matching, name
        leaving = {"galleryID": "staff", "identityClaim": "badge-e1"}
        assert refused(await gate("deleteSubjectFromGallery", **leaving, encounterID="e3"))
        await gate.ok("deleteSubjectFromGallery", **leaving, encounterID="e1")

    story(told, encounters=True)
