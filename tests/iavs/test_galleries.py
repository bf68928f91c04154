"""A token for one gallery: who is in another is neither read, searched, changed nor deleted with it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge.iavs.catalogue import catalogue
from edge.iavs.desk import Caller

Live = Any  # of conftest.py
Story = Any
ALL = frozenset(catalogue().scopes())
NOTHING: dict[str, Any] = {"option": []}
GUESTS = Caller("visitors", ALL, galleries=frozenset({"guests"}))


async def people(gate: Any) -> None:
    for who, number, galleries in (("anna", 1, ["staff"]), ("ben", 2, ["staff", "guests"]), ("carla", 3, ["guests"])):
        await gate.ok("createSubject", subjectID=who)
        await gate.ok("setBiometricData", subjectID=who, bir=gate.bir(gate.face(number)))
        await gate.ok("setDocumentData", subjectID=who, documentDataList={"documentData": [{"documentCategory": "v"}]})
        for gallery in galleries:
            badge = f"{gallery} {who}"
            await gate.ok("addSubjectToGallery", galleryID=gallery, subjectID=who, identityClaim=badge)
    gate.services.door._access.caller = GUESTS


def test_who_is_in_another_gallery_is_nobody_s_business(story: Story) -> None:
    async def told(gate: Any) -> None:
        await people(gate)
        face, new = gate.bir(gate.face(1)), {"documentData": [{"documentCategory": "v"}]}
        for who in ("anna", "ben"):
            for service, inputs in (
                ("verifySubject", {"inputBIR": face}),
                ("checkQuality", {}),
                ("listBiometricData", {}),
                ("retrieveBiometricData", {}),
                ("retrieveDocumentData", {}),
                ("retrieveData", {"processingOptions": NOTHING}),
                ("setDocumentData", {"documentDataList": new}),
                ("updateDocumentData", {"documentDataList": new}),
                ("update", {"processingOptions": NOTHING, "inputData": {"subjectID": who, "documentDataList": new}}),
                ("deleteDocumentData", {}),
                ("deleteSubject", {}),
                ("delete", {"processingOptions": NOTHING, "inputData": {"subjectID": who}}),
                (
                    "delete",
                    {"processingOptions": NOTHING, "inputData": {"subjectID": who, "identityClaim": "guests ben"}},
                ),
                ("addSubjectToGallery", {"galleryID": "guests"}),
            ):
                answer = await gate(service, subjectID=who, **inputs)
                assert (answer.status_code, answer.json()["code"]) == (403, "NOT_AUTHORISED"), (who, service)
        for service, inputs in (
            ("identifySubject", {"maxListSize": 1, "bir": face}),
            ("identify", {"processingOptions": NOTHING, "maxListSize": 1, "inputData": {"bir": face}}),
            ("verifySubject", {"identityClaim": "staff anna", "inputBIR": face}),
            ("addSubjectToGallery", {"subjectID": "carla"}),
            ("deleteSubjectFromGallery", {"identityClaim": "staff anna"}),
            ("enrol", {"processingOptions": NOTHING, "inputData": {"galleryID": "staff", "bir": face}}),
        ):
            where = {} if service == "enrol" else {"galleryID": "staff"}
            answer = await gate(service, **where, **inputs)
            assert (answer.status_code, answer.json()["code"]) == (403, "NOT_AUTHORISED"), service
        answer = await gate("verifySubject", identityClaim="staff anna", inputBIR=face)
        assert answer.json()["code"] == "UNKNOWN_IDENTITY_CLAIM"
        members = await gate.gallery.read(lambda view: [len(view.memberships(who)) for who in ("anna", "ben", "carla")])
        assert members == [1, 2, 1]

    story(told)


def test_in_its_own_gallery_everything_is_as_ever(story: Story) -> None:
    async def told(gate: Any) -> None:
        await people(gate)
        face = gate.bir(gate.face(3))
        assert (await gate.ok("verifySubject", identityClaim="guests carla", inputBIR=face))["match"]
        assert (await gate.ok("verifySubject", subjectID="carla", galleryID="guests", inputBIR=face))["match"]
        found = await gate.ok("identifySubject", galleryID="guests", maxListSize=3, bir=gate.bir(gate.face(2)))
        assert [each["identity"]["subjectID"] for each in found["candidateList"]["candidate"]] == ["ben"]
        assert (await gate.ok("retrieveBiometricData", subjectID="carla"))["birList"]["bir"]
        given = {"subjectID": "dora", "galleryID": "guests", "bir": gate.bir(gate.face(4))}
        assert (await gate.ok("enrol", processingOptions=NOTHING, inputData=given))["subjectID"] == "dora"
        await gate.ok("deleteSubjectFromGallery", galleryID="guests", identityClaim="guests ben")
        await gate.ok("deleteSubject", subjectID="carla")

    story(told)


def test_a_token_says_its_galleries(live: Live) -> None:
    scopes = ("--key", "issuer.key", "--scope", "all")
    for token, said in (
        (live.token(*scopes), (404, "UNKNOWN_IDENTITY_CLAIM")),
        (live.token(*scopes, "--gallery", "guests", "--gallery", "staff"), (404, "UNKNOWN_IDENTITY_CLAIM")),
        (live.token(*scopes, "--gallery", "guests"), (403, "NOT_AUTHORISED")),
    ):
        query = "/deleteSubjectFromGallery?galleryID=staff&identityClaim=nobody-at-all"
        status, answer = live.ask("DELETE", query, None, token)
        assert (status, answer["code"]) == said


@pytest.mark.parametrize("galleries", ["staff", None, {"staff": 1}, ["staff", 7]])
def test_galleries_that_are_no_list_of_names_let_nobody_in(run: Any, galleries: Any) -> None:
    from edge.iavs.access import _galleries
    from edge.iavs.refused import Refused

    with pytest.raises(Refused, match="NOT_AUTHENTICATED"):
        _galleries({"galleries": galleries})
    assert _galleries({"galleries": []}) == frozenset()
    assert _galleries(json.loads('{"scope": "x"}')) is None
