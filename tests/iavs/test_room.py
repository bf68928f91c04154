"""The log is on the same disk: what is taken in leaves room for it."""

from __future__ import annotations

import logging
from collections import namedtuple
from typing import Any

import pytest

from edge.iavs.gallery import LEAST_ROOM, ROOM

Story = Any
Disk = namedtuple("Disk", ("total", "free"))
GIB = 1024**3


def test_nothing_is_taken_in_on_a_disk_that_is_nearly_full_and_all_can_be_deleted(
    story: Story, caplog: pytest.LogCaptureFixture
) -> None:
    disk = [Disk(10 * GIB, 5 * GIB)]

    async def told(gate: Any) -> None:
        await gate.ok("createSubject", subjectID="anna")
        await gate.ok("setBiometricData", subjectID="anna", bir=gate.bir(gate.face(1)))
        await gate.ok("addSubjectToGallery", galleryID="staff", subjectID="anna")
        disk[0] = Disk(10 * GIB, ROOM - 1)
        document = {"documentData": [{"documentCategory": "visa"}]}
        for service, inputs in (
            ("createSubject", {"subjectID": "ben"}),
            ("setBiometricData", {"subjectID": "anna", "bir": gate.bir(gate.face(1))}),
            ("setDocumentData", {"subjectID": "anna", "documentDataList": document}),
            ("updateBiometricData", {"subjectID": "anna", "bir": gate.bir(gate.face(1))}),
            ("addSubjectToGallery", {"galleryID": "guests", "subjectID": "anna"}),
            ("enrol", {"processingOptions": {"option": []}, "inputData": {"bir": gate.bir(gate.face(2))}}),
        ):
            answer = await gate(service, **inputs)
            assert (answer.status_code, answer.json()["code"]) == (500, "CANNOT_STORE_DATA"), service
        assert [each.message for each in caplog.records if "nearly full" in each.message] != []
        assert (await gate.ok("verifySubject", subjectID="anna", inputBIR=gate.bir(gate.face(1))))["match"]
        await gate.ok("deleteSubjectFromGallery", galleryID="staff", subjectID="anna")
        await gate.ok("deleteBiometricData", subjectID="anna")
        await gate.ok("deleteSubject", subjectID="anna")
        disk[0] = Disk(10 * GIB, ROOM)
        await gate.ok("createSubject", subjectID="ben")

    with caplog.at_level(logging.ERROR, "edge.iavs"):
        story(told, disk=lambda _: disk[0])
    assert len([each for each in caplog.records if "nearly full" in each.message]) == 1


@pytest.mark.parametrize(
    ("disk", "room"),
    [
        (Disk(GIB, GIB // 10), True),
        (Disk(GIB, GIB // 10 - 1), False),
        (Disk(24 * 1024**2, 23 * 1024**2), False),
        (Disk(200 * 1024**2, LEAST_ROOM), True),
        (Disk(200 * 1024**2, LEAST_ROOM - 1), False),
    ],
)
def test_small_and_large_disks_keep_what_the_log_needs(story: Story, disk: Disk, *, room: bool) -> None:
    async def told(gate: Any) -> None:
        assert (await gate("createSubject", subjectID="anna")).status_code == (200 if room else 500)

    story(told, disk=lambda _: disk)
