"""What the gate may know of the gallery: written by the services, read by edge-vision, with painted faces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

from edge.biometric.enrolled import Place, Seals, opened, seal
from edge.biometric.values import Enrolled, ReferenceKind
from edge.errors import Reason, Refusal
from edge.iavs.handing import Handing
from edge.vision.enrolled import Galleries, record
from edge.vision.faces import FaceReader
from edge.vision.simulated import PaintSessions

KEY = bytes(range(40, 72))
MODEL = "paint-1"
CLAIM = "https://id.example.org 0123456789"
ANNA = Enrolled("staff", CLAIM)
Story = Callable[..., Any]


def handing(folder: Path, key: bytes = KEY, **given: Any) -> Handing:
    return Handing(folder / "faces", Seals(key), given.get("at_gate", ("staff",)), given.get("lanes", ("staff",)))


def reader(folder: Path, key: bytes = KEY) -> FaceReader:
    return FaceReader(PaintSessions(), Galleries(folder / "faces", Seals(key)))


def painted(who: int) -> Any:
    vector = np.zeros(8, np.float32)
    vector[who] = 1.0
    return vector


def score(faces: FaceReader, who: int, reference: Enrolled = ANNA) -> float:
    """How alike this person at the gate is to whom the gallery knows."""
    compared = faces.compare(reference, faces._keep(painted(who)))
    assert compared.kind is ReferenceKind.GALLERY
    return compared.score


def reason(ask: Callable[[], object]) -> Refusal:
    with pytest.raises(Refusal) as caught:
        ask()
    return caught.value


async def enrolled(gate: Any, subject: str = "anna", who: int = 1, claim: str | None = CLAIM, **face: Any) -> None:
    await gate.ok("createSubject", subjectID=subject)
    await gate.ok("setBiometricData", subjectID=subject, bir=gate.bir(gate.face(who, **face)))
    said = {} if claim is None else {"identityClaim": claim}
    await gate.ok("addSubjectToGallery", subjectID=subject, galleryID="staff", **said)


def test_who_is_enrolled_under_the_card_s_claim_is_known_at_the_gate_and_nobody_else(
    story: Story, tmp_path: Path
) -> None:
    faces = reader(tmp_path)

    async def told(gate: Any) -> None:
        assert reason(lambda: faces.enrolled(ANNA)).reason is Reason.NOT_ENROLLED
        await enrolled(gate)
        assert score(faces, 1) == pytest.approx(1.0)
        assert score(faces, 2) == pytest.approx(0.0)
        for other in (Enrolled("staff", f"{CLAIM}0"), Enrolled("staff", "anna"), Enrolled("staff", CLAIM.upper())):
            assert reason(lambda other=other: faces.enrolled(other)).reason is Reason.NOT_ENROLLED  # type: ignore[misc]

    story(told, handing=handing(tmp_path))
    assert score(faces, 1) == pytest.approx(1.0), "the services are down, the gate goes on"


async def _subject(gate: Any) -> None:
    await gate.ok("deleteSubject", subjectID="anna")


async def _membership(gate: Any) -> None:
    await gate.ok("deleteSubjectFromGallery", galleryID="staff", subjectID="anna")


async def _by_claim(gate: Any) -> None:
    await gate.ok("deleteSubjectFromGallery", galleryID="staff", identityClaim=CLAIM)


async def _face(gate: Any) -> None:
    await gate.ok("deleteBiometricData", subjectID="anna")


async def _whole(gate: Any) -> None:
    await gate.ok("delete", processingOptions={"option": []}, inputData={"subjectID": "anna"})


@pytest.mark.parametrize("delete", [_subject, _membership, _by_claim, _face, _whole])
def test_deleting_in_the_gallery_ends_it_at_the_gate_at_once(story: Story, tmp_path: Path, delete: Any) -> None:
    faces = reader(tmp_path)

    async def told(gate: Any) -> None:
        await enrolled(gate, "ben", 2, "https://id.example.org 2")
        await enrolled(gate)
        assert score(faces, 1) == pytest.approx(1.0)
        assert faces.identify("staff", faces._keep(painted(1))).among == 2
        await delete(gate)
        assert reason(lambda: faces.enrolled(ANNA)).reason is Reason.NOT_ENROLLED
        found = faces.identify("staff", faces._keep(painted(1)))
        assert found.among == 1
        assert found.score == pytest.approx(0.0)

    story(told, handing=handing(tmp_path))


def test_another_claim_takes_the_place_of_the_first(story: Story, tmp_path: Path) -> None:
    faces = reader(tmp_path)

    async def told(gate: Any) -> None:
        await enrolled(gate)
        await gate.ok("addSubjectToGallery", subjectID="anna", galleryID="staff", identityClaim=f"{CLAIM}9")
        assert reason(lambda: faces.enrolled(ANNA)).reason is Reason.NOT_ENROLLED
        assert score(faces, 1, Enrolled("staff", f"{CLAIM}9")) == pytest.approx(1.0)

    story(told, handing=handing(tmp_path))


def test_another_face_takes_the_place_of_the_first(story: Story, tmp_path: Path) -> None:
    faces = reader(tmp_path)

    async def told(gate: Any) -> None:
        await enrolled(gate)
        faces.identify("staff", faces._keep(painted(1)))
        await gate.ok("setBiometricData", subjectID="anna", bir=gate.bir(gate.face(3)))
        assert score(faces, 1) == pytest.approx(0.0)
        assert faces.identify("staff", faces._keep(painted(3))).score == pytest.approx(1.0)

    story(told, handing=handing(tmp_path))


def test_in_the_encounter_model_the_encounter_that_joined_counts(story: Story, tmp_path: Path) -> None:
    faces = reader(tmp_path)

    async def told(gate: Any) -> None:
        await gate.ok("createSubject", subjectID="anna")
        for name, who in (("first", 1), ("second", 2)):
            await gate.ok("createEncounter", subjectID="anna", encounterID=name)
            await gate.ok("setBiometricData", subjectID="anna", encounterID=name, bir=gate.bir(gate.face(who)))
        await gate.ok(
            "addSubjectToGallery", subjectID="anna", galleryID="staff", encounterID="second", identityClaim=CLAIM
        )
        assert [score(faces, 1), score(faces, 2)] == pytest.approx([0.0, 1.0])
        await gate.ok("deleteEncounter", subjectID="anna", encounterID="second")
        assert reason(lambda: faces.enrolled(ANNA)).reason is Reason.NOT_ENROLLED

    story(told, handing=handing(tmp_path), encounters=True)


def test_only_the_galleries_that_the_site_names_leave_it(story: Story, tmp_path: Path) -> None:
    async def told(gate: Any) -> None:
        await enrolled(gate)
        await enrolled(gate, "ben", 2, claim=None)
        await gate.ok("addSubjectToGallery", subjectID="anna", galleryID="guests", identityClaim=CLAIM)

    story(told, handing=handing(tmp_path, lanes=()))
    written = [path for path in (tmp_path / "faces").rglob("*") if path.is_file()]
    assert len(written) == 1, "one claim of a card in one gallery; ben has none"
    assert reason(lambda: reader(tmp_path).enrolled(Enrolled("guests", CLAIM))).reason is Reason.GALLERY_FAULT
    told_by = written[0].read_bytes() + str(written[0]).encode()
    for secret in (b"anna", b"0123456789", b"example.org", painted(1).tobytes()):
        assert secret not in told_by


def test_a_record_opens_at_its_place_only() -> None:
    seals, vector = Seals(KEY), painted(1)
    card, other = seals.card("staff", "a 1"), seals.card("staff", "a 2")
    lane, everybody = seals.lane("staff", "anna"), seals.lane("staff")
    sealed = seal(card, {MODEL: vector}, bytes(12))
    assert opened(card, sealed)[MODEL].tolist() == vector.tolist()
    for place, name in ((other, None), (other, card.name), (lane, None), (everybody, card.name)):
        with pytest.raises(ValueError, match="does not open"):
            opened(place, sealed, name)
    assert opened(everybody, seal(lane, {MODEL: vector}, bytes(12)), lane.name)
    with pytest.raises(ValueError, match="does not open"):
        opened(everybody, seal(lane, {MODEL: vector}, bytes(12)), seals.lane("staff", "ben").name)
    assert len({Seals(bytes(32)).card("a", "b c").name, Seals(bytes(32)).card("a b", "c").name, card.name}) == 3
    with pytest.raises(ValueError, match="32 bytes or more"):
        Seals(bytes(31))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder, record: record.write_bytes(record.read_bytes()[:-1] + b"?"), "cannot be read"),
        (lambda folder, record: record.write_bytes(b""), "cannot be read"),
        (lambda folder, record: (record.unlink(), record.mkdir()), "cannot be read"),
        (lambda folder, record: (folder / "faces").rename(folder / "gone"), "missing"),
    ],
)
def test_a_gallery_that_cannot_be_read_is_nobody_s_pass(story: Story, tmp_path: Path, spoil: Any, said: str) -> None:
    async def told(gate: Any) -> None:
        await enrolled(gate)

    story(told, handing=handing(tmp_path))
    for kind in ("card", "lane"):
        (record,) = (path for path in (tmp_path / "faces").glob(f"{kind}-*/*"))
        faces = reader(tmp_path)
        spoil(tmp_path, record)
        ask = (
            faces.enrolled
            if kind == "card"
            else lambda _, faces=faces: faces.identify("staff", faces._keep(painted(1)))
        )
        found = reason(lambda ask=ask: ask(ANNA))  # type: ignore[misc]
        assert found.reason is Reason.GALLERY_FAULT
        assert said in found.detail
        if said == "missing":
            break


def test_a_gate_without_the_key_is_told_so_and_with_another_key_knows_nobody(story: Story, tmp_path: Path) -> None:
    async def told(gate: Any) -> None:
        await enrolled(gate)

    story(told, handing=handing(tmp_path))
    locked = FaceReader(PaintSessions(), Galleries(tmp_path / "faces", None))
    for ask in (lambda: locked.enrolled(ANNA), lambda: locked.identify("staff", locked._keep(painted(1)))):
        found = reason(ask)
        assert found.reason is Reason.GALLERY_FAULT
        assert "locked" in found.detail
    assert reason(lambda: reader(tmp_path, bytes(32)).enrolled(ANNA)).reason is Reason.GALLERY_FAULT


def test_a_template_of_another_model_is_a_refusal_that_says_so(tmp_path: Path) -> None:
    hand, seals = handing(tmp_path), Seals(KEY)
    hand.begin()
    hand.hand_over(seals.card("staff", CLAIM), {"other-2": painted(1)})
    found = reason(lambda: reader(tmp_path).enrolled(ANNA))
    assert found.reason is Reason.REFERENCE_UNUSABLE
    assert found.detail == "enrolled with other-2, this gate runs paint-1"
    hand.hand_over(seals.lane("staff", "anna"), {"other-2": painted(1)})
    faces = reader(tmp_path)
    assert reason(lambda: faces.identify("staff", faces._keep(painted(1)))).reason is Reason.NOT_RECOGNISED


def test_a_small_picture_is_not_enrolled_for_the_gate(story: Story, tmp_path: Path) -> None:
    faces = reader(tmp_path)

    async def told(gate: Any) -> None:
        await enrolled(gate, side=90, eyes_px=30)
        found = reason(lambda: faces.enrolled(ANNA))
        assert found.reason is Reason.REFERENCE_UNUSABLE
        assert "too small" in found.detail
        await gate.ok("setBiometricData", subjectID="anna", bir=gate.bir(gate.face(1)))
        assert score(faces, 1) == pytest.approx(1.0)

    story(told, handing=handing(tmp_path))


class Broken(Handing):
    """A folder whose disk fails."""

    fails = ""

    def take_back(self, places: Iterable[Place]) -> None:
        if self.fails == "take_back":
            raise OSError(5, "Input/output error")
        super().take_back(places)

    def hand_over(self, place: Place, templates: Any) -> None:
        if self.fails == "hand_over":
            raise OSError(28, "No space left on device")
        super().hand_over(place, templates)


def test_nothing_is_deleted_that_the_gate_would_still_know(story: Story, tmp_path: Path) -> None:
    broken, faces = Broken(tmp_path / "faces", Seals(KEY), ("staff",), ("staff",)), reader(tmp_path)

    async def told(gate: Any) -> None:
        await enrolled(gate)
        broken.fails = "take_back"
        answer = await gate("deleteSubject", subjectID="anna")
        assert answer.json()["code"] == "CANNOT_STORE_DATA"
        assert score(faces, 1) == pytest.approx(1.0)
        broken.fails = ""
        await gate.ok("deleteSubject", subjectID="anna")
        assert reason(lambda: faces.enrolled(ANNA)).reason is Reason.NOT_ENROLLED

    story(told, handing=broken)


def test_what_could_not_be_handed_over_is_made_good_at_the_next_start(story: Story, tmp_path: Path) -> None:
    broken, faces = Broken(tmp_path / "faces", Seals(KEY), ("staff",), ("staff",)), reader(tmp_path)
    broken.fails = "hand_over"

    async def told(gate: Any) -> None:
        await enrolled(gate)
        assert reason(lambda: faces.enrolled(ANNA)).reason is Reason.NOT_ENROLLED

    async def nothing(gate: Any) -> None:
        pass

    story(told, handing=broken)
    handing(tmp_path).hand_over(Seals(KEY).card("staff", "a stranger"), {MODEL: painted(4)})
    (tmp_path / "faces" / Seals(KEY).lane("staff").folder / ".half-written").write_bytes(b"")
    story(nothing, handing=handing(tmp_path))
    assert score(faces, 1) == pytest.approx(1.0)
    assert reason(lambda: faces.enrolled(Enrolled("staff", "a stranger"))).reason is Reason.NOT_ENROLLED
    assert sum(path.is_file() for path in (tmp_path / "faces").rglob("*")) == 2


def test_a_gallery_that_is_no_longer_handed_over_is_taken_back(story: Story, tmp_path: Path) -> None:
    async def told(gate: Any) -> None:
        await enrolled(gate)

    async def nothing(gate: Any) -> None:
        pass

    story(told, handing=handing(tmp_path))
    story(nothing, handing=handing(tmp_path, at_gate=("guests",), lanes=()))
    assert not [path for path in (tmp_path / "faces").rglob("*") if path.is_file()]
    story(nothing, handing=handing(tmp_path, key=bytes(range(32))))
    assert score(reader(tmp_path, bytes(range(32))), 1) == pytest.approx(1.0), "handed over anew, under the new key"
    assert sum(path.is_file() for path in (tmp_path / "faces").rglob("*")) == 2


def test_a_gallery_file_of_before_is_read(story: Story, tmp_path: Path) -> None:
    import sqlite3

    anna = Enrolled("staff", "https://id.example.org 1")

    async def known(gate: Any) -> None:
        assert score(reader(tmp_path), 1, anna) == pytest.approx(1.0)

    written = Path(__file__).parents[1] / "vectors" / "iavs" / "gallery-before.sql"
    file = sqlite3.connect(tmp_path / "gallery.db")
    file.executescript(written.read_text(encoding="utf-8"))
    file.execute("ALTER TABLE templates DROP COLUMN small")
    file.close()
    story(known, handing=handing(tmp_path))


def test_a_lane_sees_each_change_even_two_in_one_tick_of_the_clock(tmp_path: Path) -> None:
    import os

    hand, seals = handing(tmp_path), Seals(KEY)
    hand.begin()
    folder = tmp_path / "faces" / seals.lane("staff").folder
    galleries = Galleries(tmp_path / "faces", seals)
    hand.hand_over(seals.lane("staff", "p0"), {MODEL: painted(0)})
    then = folder.stat().st_mtime_ns
    assert len(galleries.lane("staff", MODEL)) == 1
    for at in range(1, 8):
        hand.hand_over(seals.lane("staff", f"p{at}"), {MODEL: painted(at)})
        os.utime(folder, ns=(then, then))
        assert len(galleries.lane("staff", MODEL)) == at + 1
    for at in range(8):
        hand.take_back([seals.lane("staff", f"p{at}")])
        os.utime(folder, ns=(then, then))
        assert len(galleries.lane("staff", MODEL)) == 7 - at


def test_a_record_that_is_taken_back_while_it_is_read_is_none_or_the_next_one(tmp_path: Path) -> None:
    hand, seals = handing(tmp_path), Seals(KEY)
    hand.begin()
    place = seals.card("staff", CLAIM)
    path = tmp_path / "faces" / place.folder / place.name.hex()
    hand.hand_over(place, {MODEL: painted(1)})

    def taken_back(file: BinaryIO) -> bytes:
        hand.take_back([place])
        return file.read()

    with pytest.raises(FileNotFoundError):
        record(path, taken_back)
    hand.hand_over(place, {MODEL: painted(1)})
    again = iter((True, False))

    def replaced(file: BinaryIO) -> bytes:
        if next(again):
            hand.take_back([place])
            hand.hand_over(place, {MODEL: painted(2)})
        return file.read()

    assert opened(place, record(path, replaced))[MODEL] == pytest.approx(painted(2))


def test_readers_and_writers_at_once_see_a_person_whole_or_not_at_all(tmp_path: Path) -> None:
    hand, seals = handing(tmp_path), Seals(KEY)
    hand.begin()
    place, faces = seals.card("staff", CLAIM), reader(tmp_path)
    seen: set[str] = set()

    def look() -> None:
        for _ in range(400):
            try:
                faces.enrolled(ANNA)
                seen.add("known")
            except Refusal as refusal:
                seen.add(refusal.reason.code)

    async def both() -> None:
        looking = asyncio.create_task(asyncio.to_thread(look))
        while not looking.done():
            await asyncio.to_thread(hand.hand_over, place, {MODEL: painted(1)})
            await asyncio.to_thread(hand.take_back, [place])
        await looking

    asyncio.run(both())
    assert seen <= {"known", Reason.NOT_ENROLLED.code}
