"""What is deleted is gone: from answers, from the file and its side files, the log and the matrices, in both models."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

Story = Any
PEOPLE = ("anna", "ben", "cleo")
GALLERIES = ("staff", "guests")
NAMED = (
    "listBiographicData",
    "listBiometricData",
    "listDocumentData",
    "retrieveBiographicData",
    "retrieveBiometricData",
    "retrieveDocumentData",
)


def test_nothing_of_a_deleted_person_is_left(story: Story) -> None:
    marker = "Zyxwvutsrq"

    async def told(gate: Any) -> None:
        subject = f"id-{marker}"
        await gate.ok("createSubject", subjectID=subject)
        await gate.ok("setBiometricData", subjectID=subject, bir=gate.bir(gate.face(1)))
        await gate.ok("setBiographicData", subjectID=subject, biographicData={"lastName": marker})
        await gate.ok("addSubjectToGallery", subjectID=subject, galleryID="staff", identityClaim=f"claim-{marker}")
        matrix = await gate.gallery.look(lambda index: index.of("staff", "paint-1"))
        assert len(matrix) == 1
        raw = b"".join(each.read_bytes() for each in gate.folder.glob("gallery.db*"))
        assert f"id-{marker}".encode() in raw
        assert b'"lastName"' not in raw
        assert gate.face(1)[:64] not in raw
        await gate.ok("deleteSubject", subjectID=subject)
        assert len(matrix) == 0
        assert not np.any(matrix._rows)
        for each in (*gate.folder.glob("gallery.db*"), *gate.folder.glob("journal.db*")):
            assert marker.encode() not in each.read_bytes(), each.name
        for service in NAMED:
            assert (await gate(service, subjectID=subject)).json()["code"] == "UNKNOWN_SUBJECT"

    story(told)


def test_a_grown_matrix_leaves_no_copy_and_a_restart_finds_the_same(tmp_path: Path) -> None:
    from edge.biometric.gallery import Matrix

    matrix = Matrix(8)
    first = matrix._rows
    vectors = np.random.default_rng(1).normal(size=(200, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for at, vector in enumerate(vectors):
        matrix.put(f"s{at}", "", vector)
    assert not np.any(first)
    naive = sorted(((float(v @ vectors[7]), f"s{at}") for at, v in enumerate(vectors)), reverse=True)
    found = matrix.search(vectors[7], 0.2, 10)
    assert [each.subject for each in found] == [name for score, name in naive if score >= 0.2][:10]
    matrix.drop("s7")
    assert all(each.subject != "s7" for each in matrix.search(vectors[7], -1.0, 500))
    matrix.put("again", "", vectors[7])
    assert (matrix.search(vectors[7], 0.9, 1)[0].subject, len(matrix)) == ("again", 200)


def test_the_gallery_is_the_same_after_a_restart(story: Story) -> None:
    async def before(gate: Any) -> None:
        for who, name in enumerate(PEOPLE):
            await gate.ok("createSubject", subjectID=name)
            await gate.ok("setBiometricData", subjectID=name, bir=gate.bir(gate.face(who)))
            await gate.ok("addSubjectToGallery", subjectID=name, galleryID="staff")

    async def after(gate: Any) -> None:
        for who, name in enumerate(PEOPLE):
            found = await gate.ok("identifySubject", galleryID="staff", bir=gate.bir(gate.face(who)), maxListSize=9)
            assert [each["identity"]["subjectID"] for each in found["candidateList"]["candidate"]] == [name]

    story(before)
    story(after)


@pytest.mark.parametrize("encounters", [False, True])
def test_any_order_of_requests_keeps_the_gallery_true(encounters: bool, make_office: Any) -> None:
    """Random requests beside a naive model: what is told is what the model knows, and deleted people are gone."""

    class Gallery(RuleBasedStateMachine):
        @initialize()
        def begin(self) -> None:
            self.loop = asyncio.new_event_loop()
            self.folder = tempfile.TemporaryDirectory()
            self.context = make_office(Path(self.folder.name), encounters=encounters)
            self.gate = self.loop.run_until_complete(self.context.__aenter__())
            self.people: dict[str, dict[str, Any]] = {}

        def ask(self, service: str, **inputs: Any) -> tuple[int, dict[str, Any]]:
            answer = self.loop.run_until_complete(self.gate(service, **inputs))
            return answer.status_code, answer.json()

        def at(self, person: dict[str, Any] | None) -> dict[str, str]:
            """The encounter that is meant, where there are any."""
            return {"encounterID": person["order"][-1]} if encounters and person and person["order"] else {}

        @rule(name=st.sampled_from(PEOPLE))
        def create(self, name: str) -> None:
            status, _ = self.ask("createSubject", subjectID=name)
            assert status == (400 if name in self.people else 200)
            self.people.setdefault(name, {"faces": {}, "names": {}, "in": set(), "order": []})

        @rule(name=st.sampled_from(PEOPLE), who=st.integers(0, 3))
        def give_a_face(self, name: str, who: int) -> None:
            status, said = self.ask("setBiometricData", subjectID=name, bir=self.gate.bir(self.gate.face(who)))
            assert status == (200 if name in self.people else 404)
            if status == 200:
                self.people[name]["faces"][self.new(name, said)] = who

        @rule(name=st.sampled_from(PEOPLE), called=st.sampled_from(["Ada", "Bo"]))
        def give_a_name(self, name: str, called: str) -> None:
            status, said = self.ask("setBiographicData", subjectID=name, biographicData={"lastName": called})
            assert status == (200 if name in self.people else 404)
            if status == 200:
                self.people[name]["names"][self.new(name, said)] = called

        def new(self, name: str, said: dict[str, Any]) -> str:
            """The encounter that was made for what was said."""
            if not encounters:
                assert said == {}
                return ""
            self.people[name]["order"].append(said["encounterID"])
            return str(said["encounterID"])

        @rule(name=st.sampled_from(PEOPLE))
        def meet(self, name: str) -> None:
            status, said = self.ask("createEncounter", subjectID=name, encounterType="Recognition")
            if not encounters:
                assert said["code"] == "INVALID_INPUT"
                return
            assert status == (200 if name in self.people else 404)
            if status == 200:
                self.people[name]["order"].append(said["encounterID"])

        @rule(name=st.sampled_from(PEOPLE))
        def forget_the_newest_meeting(self, name: str) -> None:
            person = self.people.get(name)
            at = self.at(person).get("encounterID", "none")
            status, _ = self.ask("deleteEncounter", subjectID=name, encounterID=at)
            assert status == (200 if at != "none" else 404)
            if person and at != "none":
                person["order"].remove(at)
                person["faces"].pop(at, None)
                person["names"].pop(at, None)
                person["in"] = {each for each in person["in"] if each[1] != at}
                raw = b"".join(each.read_bytes() for each in self.gate.folder.glob("gallery.db*"))
                assert at.encode() not in raw

        @rule(name=st.sampled_from(PEOPLE))
        def take_the_face_away(self, name: str) -> None:
            person = self.people.get(name)
            at = self.at(person)
            status, _ = self.ask("deleteBiometricData", subjectID=name, **at)
            where = at.get("encounterID", "")
            had = person is not None and where in person["faces"]
            assert (status == 200) == had
            if person and had:
                del person["faces"][where]

        @rule(name=st.sampled_from(PEOPLE), gallery=st.sampled_from(GALLERIES))
        def join(self, name: str, gallery: str) -> None:
            person = self.people.get(name)
            at = self.at(person)
            status, _ = self.ask("addSubjectToGallery", subjectID=name, galleryID=gallery, **at)
            fits = person is not None and (not encounters or bool(at))
            assert (status == 200) == fits
            if fits and person is not None:
                person["in"].add((gallery, at.get("encounterID", "")))

        @rule(name=st.sampled_from(PEOPLE), gallery=st.sampled_from(GALLERIES))
        def leave(self, name: str, gallery: str) -> None:
            person = self.people.get(name)
            at = self.at(person)
            status, _ = self.ask("deleteSubjectFromGallery", subjectID=name, galleryID=gallery, **at)
            membership = (gallery, at.get("encounterID", ""))
            was = person is not None and membership in person["in"]
            assert (status == 200) == was
            if person and was:
                person["in"].remove(membership)

        @rule(name=st.sampled_from(PEOPLE))
        def delete(self, name: str) -> None:
            status, _ = self.ask("deleteSubject", subjectID=name)
            assert status == (200 if name in self.people else 404)
            self.people.pop(name, None)
            for service in NAMED:
                assert self.ask(service, subjectID=name)[0] == 404
            raw = b"".join(each.read_bytes() for each in self.gate.folder.glob("gallery.db*"))
            assert name.encode() not in raw

        @precondition(lambda self: hasattr(self, "gate"))
        @invariant()
        def identifying_tells_what_the_model_knows(self) -> None:
            for gallery, who in zip(GALLERIES, (0, 2), strict=True):
                picture = self.gate.bir(self.gate.face(who))
                _, said = self.ask("identifySubject", galleryID=gallery, bir=picture, maxListSize=9)
                found = {each["identity"]["subjectID"] for each in said["candidateList"]["candidate"]}
                known = {
                    name
                    for name, person in self.people.items()
                    if any(of == gallery and person["faces"].get(at) == who for of, at in person["in"])
                }
                assert found == known, json.dumps(sorted(found))

        @precondition(lambda self: hasattr(self, "gate"))
        @invariant()
        def what_is_told_of_a_person_is_what_was_said_last(self) -> None:
            for name, person in self.people.items():
                _, said = self.ask("retrieveBiographicData", subjectID=name)
                newest = [person["names"][at] for at in (person["order"] or [""]) if at in person["names"]]
                assert said["biographicData"] == ({"lastName": newest[-1]} if newest else {})
                _, said = self.ask("listBiometricData", subjectID=name)
                if encounters:
                    kept = [at for at in person["order"] if at in person["faces"]]
                    assert said["encounterList"]["encounterID"] == kept
                else:
                    assert len(said["biometricDataList"]["biometricData"]) == len(person["faces"])

        def teardown(self) -> None:
            if hasattr(self, "gate"):
                self.loop.run_until_complete(self.context.__aexit__(None, None, None))
                self.loop.close()
                self.folder.cleanup()

    how = settings(
        max_examples=10, stateful_step_count=16, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(Gallery, settings=how)
