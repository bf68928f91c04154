"""Deleted is gone for good: from a log that somebody reads, from results that come later, from a second process."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.app import iavs
from edge.errors import DeviceError
from edge.iavs.gallery import Gallery
from edge.iavs.vault import Vault
from edge.settings import Settings

Story = Any
WHO = "anna-whom-nobody-may-find"
LATER: dict[str, Any] = {"option": [{"key": "async", "value": "true"}]}


async def enrolled(gate: Any) -> dict[str, Any]:
    face: dict[str, Any] = gate.bir(gate.face(1))
    await gate.ok("createSubject", subjectID=WHO)
    await gate.ok("setBiometricData", subjectID=WHO, bir=face)
    await gate.ok("addSubjectToGallery", galleryID="staff", subjectID=WHO, identityClaim="badge-7")
    return face


def left_on_disk(folder: Path) -> bool:
    return any(WHO.encode() in path.read_bytes() for path in folder.glob("gallery.db*"))


async def until(true: Callable[[], bool]) -> None:
    for _ in range(2000):
        if true():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError


async def fetched(gate: Any, service: str, begun: dict[str, Any]) -> Any:
    for _ in range(2000):
        answer = await gate.client.get(f"/{service}", params={"token": json.dumps(begun["token"])})
        if answer.status_code != 202:
            return answer
        await asyncio.sleep(0.01)
    raise TimeoutError


def test_what_was_deleted_while_somebody_reads_is_gone_when_that_ends(story: Story) -> None:
    async def told(gate: Any) -> None:
        await enrolled(gate)
        reader = sqlite3.connect(f"file:{gate.folder / 'gallery.db'}?mode=ro", uri=True)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM subjects").fetchall()
        await gate.ok("deleteSubject", subjectID=WHO)
        assert left_on_disk(gate.folder)
        reader.rollback()
        reader.close()
        await until(lambda: not left_on_disk(gate.folder))

    story(told, again_s=0.05)


def test_what_was_left_by_a_process_that_ended_is_gone_after_the_next_start(tmp_path: Path, make_office: Any) -> None:
    async def story() -> None:
        async with make_office(tmp_path) as gate:
            await enrolled(gate)
            reader = sqlite3.connect(f"file:{gate.folder / 'gallery.db'}?mode=ro", uri=True)
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM subjects").fetchall()
            await gate.ok("deleteSubject", subjectID=WHO)
        assert left_on_disk(tmp_path)
        second = Gallery(tmp_path / "gallery.db", Vault(bytes(range(32))), ("staff",), again_s=0.05)
        await second.open()
        assert left_on_disk(tmp_path)
        reader.rollback()
        reader.close()
        await until(lambda: not left_on_disk(tmp_path))
        await second.close()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("service", "named"),
    [
        ("deleteSubject", {"subjectID": WHO}),
        ("deleteSubjectFromGallery", {"galleryID": "staff", "subjectID": WHO}),
        ("deleteSubjectFromGallery", {"galleryID": "staff", "identityClaim": "badge-7"}),
    ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_no_result_names_who_is_gone(story: Story, service: str, named: dict[str, str], *, finished: bool) -> None:
    async def told(gate: Any) -> None:
        face = await enrolled(gate)
        searched, go_on = asyncio.Event(), asyncio.Event()
        search = gate.services.handlers["identify"]

        async def held(ask: Any) -> Any:
            answer = await search(ask)
            searched.set()
            await go_on.wait()
            return answer

        gate.services.handlers["identify"] = held
        begun = await gate.ok(
            "identify", processingOptions=LATER, galleryID="staff", maxListSize=2, inputData={"bir": face}
        )
        await searched.wait()
        if finished:
            go_on.set()
            assert WHO in (await fetched(gate, "getIdentifyResults", begun)).text
        await gate.ok(service, **named)
        go_on.set()
        answer = await fetched(gate, "getIdentifyResults", begun)
        assert answer.json()["code"] == "UNKNOWN_TOKEN"
        assert WHO not in answer.text

    story(told)


def test_the_result_of_deleting_itself_is_told(story: Story) -> None:
    async def told(gate: Any) -> None:
        await enrolled(gate)
        begun = await gate.ok("delete", processingOptions=LATER, inputData={"subjectID": WHO})
        answer = await fetched(gate, "getDeletionResults", begun)
        assert answer.json()["returnData"] == {"outcome": "erased"}

    story(told)


def test_a_result_of_an_encounter_that_is_gone_is_not_told(story: Story) -> None:
    async def told(gate: Any) -> None:
        await gate.ok("createSubject", subjectID=WHO)
        await gate.ok("createEncounter", subjectID=WHO, encounterID="e1")
        face = gate.bir(gate.face(1))
        await gate.ok("setBiometricData", subjectID=WHO, encounterID="e1", bir=face)
        await gate.ok("addSubjectToGallery", galleryID="staff", subjectID=WHO, encounterID="e1")
        given = {"galleryID": "staff", "maxListSize": 2, "inputData": {"bir": face}}
        begun = await gate.ok("identify", processingOptions=LATER, **given)
        assert WHO in (await fetched(gate, "getIdentifyResults", begun)).text
        await gate.ok("deleteEncounter", subjectID=WHO, encounterID="e1")
        assert (await fetched(gate, "getIdentifyResults", begun)).json()["code"] == "UNKNOWN_TOKEN"

    story(told, encounters=True)


def test_a_second_process_does_not_open_the_gallery(tmp_path: Path, site: Callable[[Path], Settings]) -> None:
    settings = site(tmp_path)

    async def story() -> None:
        first = Gallery(settings.paths.gallery, iavs.vault_of(settings), ("staff",))
        await first.open()
        with pytest.raises(DeviceError, match="another process has the gallery open"):
            await iavs.run(settings, insecure_loopback=True)
        await first.read(lambda view: view.subjects())
        await first.close()
        ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        running = asyncio.create_task(iavs.run(settings, insecure_loopback=True, ready=ready))
        await until(lambda: ready.done() or running.done())
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert ready.done()

    asyncio.run(story())
