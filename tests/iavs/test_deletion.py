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

        @rule(name=st.sampled_from(PEOPLE))
        def create(self, name: str) -> None:
            status, _ = self.ask("createSubject", subjectID=name)
            assert status == (400 if name in self.people else 200)
            self.people.setdefault(name, {"faces": {}, "in": set(), "last": None})

        @rule(name=st.sampled_from(PEOPLE), who=st.integers(0, 3))
        def give_a_face(self, name: str, who: int) -> None:
            status, said = self.ask("setBiometricData", subjectID=name, bir=self.gate.bir(self.gate.face(who)))
            assert status == (200 if name in self.people else 404)
            if status == 200:
                at = said.get("encounterID", "")
                self.people[name]["faces"][at] = who
                self.people[name]["last"] = at

        @rule(name=st.sampled_from(PEOPLE), gallery=st.sampled_from(GALLERIES))
        def join(self, name: str, gallery: str) -> None:
            person = self.people.get(name)
            at = {"encounterID": person["last"]} if encounters and person and person["last"] else {}
            status, _ = self.ask("addSubjectToGallery", subjectID=name, galleryID=gallery, **at)
            fits = person is not None and (not encounters or bool(at))
            assert (status == 200) == fits
            if fits and person is not None:
                person["in"].add((gallery, at.get("encounterID", "")))

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
            for gallery in GALLERIES:
                for who in (0, 2):
                    picture = self.gate.bir(self.gate.face(who))
                    _, said = self.ask("identifySubject", galleryID=gallery, bir=picture, maxListSize=9)
                    found = {each["identity"]["subjectID"] for each in said["candidateList"]["candidate"]}
                    known = {
                        name
                        for name, person in self.people.items()
                        if any(of == gallery and person["faces"].get(at) == who for of, at in person["in"])
                    }
                    assert found == known, json.dumps(sorted(found))

        def teardown(self) -> None:
            if hasattr(self, "gate"):
                self.loop.run_until_complete(self.context.__aexit__(None, None, None))
                self.loop.close()
                self.folder.cleanup()

    how = settings(
        max_examples=12, stateful_step_count=14, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(Gallery, settings=how)
