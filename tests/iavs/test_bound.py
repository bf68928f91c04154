"""Who can write the card, but has no key, gives nobody's face, claim or gallery to another; old galleries are read."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from edge.iavs.gallery import Gallery
from edge.iavs.older import VERSION, renew
from edge.iavs.vault import Vault

Story = Any
KEY = bytes(range(32))
BEFORE = Path(__file__).parents[1] / "vectors" / "iavs" / "gallery-before.sql"


def write(folder: Path, *statements: str) -> None:
    file = sqlite3.connect(folder / "gallery.db")
    for statement in statements:
        file.execute(statement)
    file.commit()
    file.close()


def opens(folder: Path) -> None:
    async def story() -> None:
        gallery = Gallery(folder / "gallery.db", Vault(KEY), ("staff", "guests"))
        await gallery.open()
        await gallery.close()

    asyncio.run(story())


async def two_people(gate: Any) -> None:
    for who, number, gallery in (("anna", 1, "staff"), ("mallory", 2, "guests")):
        await gate.ok("createSubject", subjectID=who)
        await gate.ok("setBiometricData", subjectID=who, bir=gate.bir(gate.face(number)))
        await gate.ok("setBiographicData", subjectID=who, biographicData={"lastName": who})
        await gate.ok("addSubjectToGallery", galleryID=gallery, subjectID=who, identityClaim=f"badge-{who}")


SWAPS = {
    "whose record": "UPDATE records SET subject = CASE subject WHEN 'anna' THEN 'mallory' ELSE 'anna' END",
    "whose template": "UPDATE templates SET record = record || 'x'; UPDATE templates SET record = (SELECT id FROM"
    " records WHERE kind = 'biometric' AND id || 'x' <> templates.record)",
    "small": "UPDATE templates SET small = 1 - small",
    "gallery of a record": "UPDATE records SET gallery = 'staff'",
    "encounter": "UPDATE records SET encounter = 'e'; UPDATE members SET encounter = 'e'",
    "who is a member": "UPDATE members SET subject = CASE subject WHEN 'anna' THEN 'mallory' ELSE 'anna' END",
    "claim": "UPDATE members SET claim = 'badge-anna' WHERE subject = 'mallory'",
    "gallery of a member": "UPDATE members SET gallery = 'staff' WHERE subject = 'mallory'",
    "without marks": "UPDATE members SET mark = x''",
    "as if of before": "UPDATE members SET gallery = 'staff', mark = x''; PRAGMA user_version = 0",
    "as if half renewed": "UPDATE members SET gallery = 'staff'; PRAGMA user_version = 1",
}


@pytest.mark.parametrize("swap", SWAPS.values(), ids=list(SWAPS))
def test_what_was_changed_without_the_key_is_not_read(story: Story, tmp_path: Path, swap: str) -> None:
    async def told(gate: Any) -> None:
        await two_people(gate)
        write(gate.folder, "PRAGMA foreign_keys = OFF", *swap.split("; "))
        for name in ({"galleryID": "staff", "identityClaim": "badge-anna"}, {"subjectID": "anna"}):
            answer = await gate("verifySubject", **name, inputBIR=gate.bir(gate.face(2)))
            assert answer.json().get("match") is not True, (swap, answer.text)

    story(told)
    with pytest.raises(ValueError, match=r"this key does not open|not made under this key|without its key"):
        opens(tmp_path)


def test_what_is_said_about_one_person_is_not_told_of_another(story: Story) -> None:
    async def told(gate: Any) -> None:
        await two_people(gate)
        write(gate.folder, SWAPS["whose record"])
        answer = await gate("retrieveBiographicData", subjectID="anna")
        assert answer.status_code == 500
        assert "mallory" not in answer.text

    story(told)


def before(folder: Path) -> None:
    file = sqlite3.connect(folder / "gallery.db")
    file.executescript(BEFORE.read_text(encoding="utf-8"))
    file.close()


async def as_it_was(gate: Any) -> None:
    for number, who in ((1, "anna"), (2, "ben")):
        claim = f"https://id.example.org {number}"
        face = gate.bir(gate.face(number))
        assert (await gate.ok("verifySubject", galleryID="staff", identityClaim=claim, inputBIR=face))["match"]
        found = await gate.ok("identifySubject", galleryID="staff", maxListSize=3, bir=face)
        assert [each["identity"]["subjectID"] for each in found["candidateList"]["candidate"]] == [who]
    assert await gate.ok("retrieveBiographicData", subjectID="anna") == {"biographicData": {"lastName": "Muster"}}
    assert (await gate.ok("listDocumentData", subjectID="anna"))["documentDataList"]["documentData"]
    kept = await gate.gallery.read(lambda view: [list(view.templates(who, small=False)) for who in ("anna", "ben")])
    assert [len(each) for each in kept] == [1, 0]


def test_a_gallery_of_the_version_before_is_read_and_bound(story: Story, tmp_path: Path) -> None:
    before(tmp_path)
    story(as_it_was)
    story(as_it_was)
    write(tmp_path, "PRAGMA foreign_keys = OFF", SWAPS["whose record"].replace("mallory", "ben"))
    with pytest.raises(ValueError, match="this key does not open"):
        opens(tmp_path)


def test_a_gallery_of_before_that_has_no_small_pictures_noted_is_read(tmp_path: Path) -> None:
    before(tmp_path)
    write(tmp_path, "ALTER TABLE templates DROP COLUMN small")
    opens(tmp_path)


class PowerCut(Exception):  # noqa: N818 -- says what happens
    pass


def test_renewing_goes_on_after_a_power_cut_at_any_step(story: Story, tmp_path: Path) -> None:
    left = [0]

    class Failing(sqlite3.Connection):
        def execute(self, *statement: Any) -> sqlite3.Cursor:
            left[0] -= 1
            if left[0] < 0:
                raise PowerCut
            return super().execute(*statement)

    cut, steps = True, 0
    while cut:
        steps += 1
        folder = tmp_path / str(steps)
        folder.mkdir()
        before(folder)
        left[0] = steps
        file = sqlite3.connect(folder / "gallery.db", isolation_level=None, factory=Failing)
        try:
            renew(file, Vault(KEY))
            cut = False
        except PowerCut:
            cut = True
        finally:
            file.close()
        opens(folder)
    assert steps > 20
    (folder / "gallery.db").replace(tmp_path / "gallery.db")
    story(as_it_was)


def test_another_key_and_a_later_version_open_nothing(tmp_path: Path) -> None:
    before(tmp_path)
    file = sqlite3.connect(tmp_path / "gallery.db", isolation_level=None)
    with pytest.raises(ValueError, match="this key does not open"):
        renew(file, Vault(bytes(32)))
    file.execute(f"PRAGMA user_version = {VERSION + 1}")
    file.close()
    with pytest.raises(ValueError, match="later version"):
        opens(tmp_path)
