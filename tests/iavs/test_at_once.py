"""Several who ask for the same thing at once: one gets it, the others are told."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import cv2
import numpy as np
import pytest

from edge.iavs.catalogue import catalogue
from edge.vision.simulated import paint

MANY = 6
LISTED = catalogue().services["enrol"].errors
Live = Any  # of conftest.py
Enrol = Callable[[int], dict[str, Any]]


def sample(who: int, light: float = 1.0) -> dict[str, Any]:
    canvas = np.full((240, 240, 3), 60, np.uint8)
    paint(canvas, who, (120, 100), 60, light)
    picture = b64encode(cv2.imencode(".png", canvas)[1].tobytes()).decode()
    record = {"birInfo": {"integrity": False}, "bdbInfo": {"type": ["Face"]}, "bdb": picture}
    return {"formatOwner": 257, "formatType": 11, "bir": {"json": record}}


def enrolled(live: Live, given: Enrol, duplicates: str) -> list[tuple[int, dict[str, Any]]]:
    """What ``MANY`` callers are told who let go at the same moment, each on a connection of its own."""
    token = live.token("--key", "issuer.key", "--scope", "all")
    options = {"option": [{"key": "duplicates", "value": duplicates}]}
    ready = Barrier(MANY)

    def ask(number: int) -> tuple[int, dict[str, Any]]:
        body = {"processingOptions": options, "inputData": {"galleryID": "staff"} | given(number)}
        ready.wait(60)
        answer: tuple[int, dict[str, Any]] = live.ask("POST", "/enrol", body, token)
        return answer

    with ThreadPoolExecutor(MANY) as callers:
        return list(callers.map(ask, range(MANY)))


def forget(live: Live, *subjects: str) -> None:
    token = live.token("--key", "issuer.key", "--scope", "all")
    for subject in subjects:
        assert live.ask("DELETE", "/deleteSubject", {"subjectID": subject}, token)[0] == 200


def test_one_person_is_enrolled_once_however_many_ask_at_once(live: Live) -> None:
    told = enrolled(live, lambda number: {"subjectID": f"same-{number}", "bir": sample(6, 1 - number / 100)}, "check")
    assert {status for status, _ in told} == {200}
    outcomes = Counter(said["returnData"]["outcome"] for _, said in told)
    assert outcomes == {"enrolled": 1, "already-enrolled": MANY - 1}
    assert len({said["subjectID"] for _, said in told}) == 1
    token = live.token("--key", "issuer.key", "--scope", "all")
    known = [live.ask("GET", f"/listBiometricData?subjectID=same-{at}", None, token)[0] for at in range(MANY)]
    assert sorted(known) == [200] + [404] * (MANY - 1)
    forget(live, told[0][1]["subjectID"])


@pytest.mark.parametrize("what", ["subjectID", "identityClaim"])
def test_a_name_is_given_once_however_many_ask_at_once(live: Live, what: str) -> None:
    def given(number: int) -> dict[str, Any]:
        return {"subjectID": f"other-{number}", "bir": sample(number)} | {what: "wanted"}

    told = enrolled(live, given, "allow")
    assert sorted(status for status, _ in told) == [200] + [400] * (MANY - 1)
    refused = [said for status, said in told if status != 200]
    assert {said["code"] for said in refused} <= set(LISTED)
    assert all("already in use" in said["detail"] for said in refused)
    made = next(said["subjectID"] for status, said in told if status == 200)
    token = live.token("--key", "issuer.key", "--scope", "all")
    names = {"wanted", *(f"other-{at}" for at in range(MANY))} - {made}
    assert {live.ask("GET", f"/listBiometricData?subjectID={each}", None, token)[0] for each in names} == {404}
    forget(live, made)
