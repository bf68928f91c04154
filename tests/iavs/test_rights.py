"""Who may read and search what, and what the log says of it."""

from __future__ import annotations

from typing import Any

import pytest

from edge.audit.entry import Kind
from edge.devices.follower import Follower
from edge.errors import DeviceError
from edge.iavs.catalogue import catalogue
from edge.iavs.desk import Caller

Live = Any  # of conftest.py
Story = Any
SUBJECT = {"subjectID": "a"}


class NoPen:
    """edge-gate is away."""

    async def record(self, fields: dict[str, str], subject: bytes) -> None:
        raise DeviceError("journal", "edge-gate does not answer")


async def furnished(gate: Any) -> None:
    await gate.ok("createSubject", **SUBJECT)
    await gate.ok("setBiometricData", bir=gate.bir(gate.face(1)), **SUBJECT)
    await gate.ok("setBiographicData", biographicData={"lastName": "X"}, **SUBJECT)
    await gate.ok("setDocumentData", documentDataList={"documentData": [{"documentCategory": "visa"}]}, **SUBJECT)


def written(gate: Any) -> list[dict[str, Any]]:
    log = Follower(gate.folder / "journal.db")
    found = [
        dict(each.fields) | {"subject": each.subject} for each in log.entries(0, 1000) if each.kind is Kind.GALLERY
    ]
    log.close()
    return found


def include(*kinds: str) -> dict[str, Any]:
    return {"option": [{"key": "include", "value": ",".join(kinds)}]}


def test_who_reads_a_picture_or_a_document_is_written_down(story: Story) -> None:
    async def told(gate: Any) -> None:
        await furnished(gate)
        before = len(written(gate))
        for service in ("listBiometricData", "listDocumentData", "retrieveBiographicData"):
            await gate.ok(service, **SUBJECT)
        assert len(written(gate)) == before
        await gate.ok("retrieveBiometricData", **SUBJECT)
        await gate.ok("retrieveDocumentData", **SUBJECT)
        await gate.ok("retrieveData", processingOptions={"option": []}, **SUBJECT)
        read = written(gate)[before:]
        assert [(each["service"], each["kind"], each["outcome"]) for each in read] == [
            ("retrieveBiometricData", "biometric", "read"),
            ("retrieveDocumentData", "document", "read"),
            ("retrieveData", "biometric", "read"),
            ("retrieveData", "document", "read"),
        ]
        assert {each["caller"] for each in read} == {"tester"}
        assert {each["subject"] for each in read} == {gate.desk.vault.pseudonym("a")}

    story(told)


def test_what_cannot_be_written_down_is_not_shown(story: Story) -> None:
    async def told(gate: Any) -> None:
        await furnished(gate)
        object.__setattr__(gate.desk, "recorder", NoPen())
        for service in ("retrieveBiometricData", "retrieveDocumentData"):
            answer = await gate(service, **SUBJECT)
            assert (answer.status_code, answer.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
        answer = await gate("retrieveData", processingOptions=include("biometric"), **SUBJECT)
        assert answer.status_code == 503
        assert (await gate.ok("listDocumentData", **SUBJECT))["documentDataList"]

    story(told)


def test_a_whole_task_is_no_way_round_the_right_for_a_kind(story: Story) -> None:
    async def told(gate: Any) -> None:
        await furnished(gate)
        door = gate.services.door._access
        door.caller = Caller("desk", frozenset({"iavs.subject.read", "iavs.subject.write"}))
        nothing = await gate.ok("retrieveData", processingOptions={"option": []}, **SUBJECT)
        assert nothing == {"returnData": {}}
        for kind in ("biometric", "biographic", "document"):
            answer = await gate("retrieveData", processingOptions=include(kind), **SUBJECT)
            assert (answer.status_code, answer.json()["code"]) == (403, "NOT_AUTHORISED")
        given = SUBJECT | {"biographicData": {"lastName": "Y"}}
        answer = await gate("update", processingOptions={"option": []}, inputData=given)
        assert (answer.status_code, answer.json()["detail"]) == (403, "needs iavs.biographic.write")
        door.caller = Caller("desk", frozenset({"iavs.subject.read", "iavs.biographic.read"}))
        found = await gate.ok("retrieveData", processingOptions={"option": []}, **SUBJECT)
        assert found == {"returnData": {"biographicData": {"lastName": "X"}}}

    story(told)


def test_to_enrol_is_no_way_to_find_out_who_somebody_is_or_to_write_the_rest(story: Story) -> None:
    async def told(gate: Any) -> None:
        face = gate.bir(gate.face(1))
        await gate.ok(
            "enrol", processingOptions={"option": []}, inputData=SUBJECT | {"galleryID": "staff", "bir": face}
        )
        door = gate.services.door._access
        door.caller = Caller("desk", frozenset({"iavs.enrol"}))
        again = {"galleryID": "staff", "bir": face}
        found = await gate.ok("enrol", processingOptions={"option": []}, inputData=again)
        assert found == {"returnData": {"outcome": "already-enrolled"}}
        for kind, said in (
            ("biographic", {"biographicData": {"lastName": "X"}}),
            ("document", {"documentDataList": {"documentData": [{"documentCategory": "visa"}]}}),
        ):
            given = {"bir": gate.bir(gate.face(2))} | said
            answer = await gate("enrol", processingOptions={"option": []}, inputData=given)
            assert (answer.status_code, answer.json()["detail"]) == (403, f"needs iavs.{kind}.write")
        made = await gate.ok("enrol", processingOptions={"option": []}, inputData={"bir": gate.bir(gate.face(2))})
        assert made["returnData"]["outcome"] == "enrolled"
        door.caller = Caller("desk", frozenset({"iavs.enrol", "iavs.identify"}))
        assert (await gate.ok("enrol", processingOptions={"option": []}, inputData=again))["subjectID"] == "a"

    story(told)


@pytest.mark.parametrize(
    ("scope", "may"),
    [
        ("iavs.verify", {"verifySubject", "getVerifyResults", "verify", "performFusion"}),
        ("iavs.identify", {"identifySubject", "identify", "getIdentifySubjectResults", "getIdentifyResults"}),
        ("iavs.biometric.read", {"retrieveBiometricData"}),
    ],
)
def test_to_compare_to_search_and_to_see_are_rights_of_their_own(live: Live, scope: str, may: set[str]) -> None:
    token = live.token("--key", "issuer.key", "--scope", scope)
    let_in = set()
    for service in catalogue().services.values():
        status, said = live.ask(service.method, service.path, None, token)
        if said["code"] != "NOT_AUTHORISED":
            let_in.add(service.name)
        else:
            assert status == 403
    assert let_in == may
