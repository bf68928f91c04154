"""Who calls from elsewhere, under another name or through somebody's browser, is not of this machine."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from typing import Any
from urllib.parse import quote

import pytest
from starlette.requests import Request

from edge.iavs.access import Loopback, Rate, Tokens, break_glass
from edge.iavs.jose import Keys
from edge.iavs.refused import Refused

Story = Any
KEY = bytes(range(32))
SCOPE = "iavs.capabilities.read"


def request(client: str, token: str = "", **headers: str) -> Request:
    sent = {"host": "127.0.0.1:8443", "authorization": f"Bearer {token}"} | headers
    return Request(
        {
            "type": "http",
            "path": "/createSubject",
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in sent.items()],
            "client": (client, 1),
            "state": {"x5t#S256": "t"},
        }
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "evil.example", "origin": "http://evil.example"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "localhost@evil.example"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
def test_development_is_not_for_pages_of_elsewhere(run: Any, headers: dict[str, str]) -> None:
    with pytest.raises(Refused, match="this machine only"):
        run(Loopback(Rate(100)).admit(request("127.0.0.1", **headers), SCOPE))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8443", "localhost:8443", "LOCALHOST", "[::1]:8443", "[::1]"])
def test_development_is_for_programs_and_pages_of_here(run: Any, host: str) -> None:
    for headers in ({}, {"origin": f"http://{host}"}, {"sec_fetch_site": "same-origin"}):
        run(Loopback(Rate(100)).admit(request("::1", host=host, **headers), SCOPE))


class Written:
    async def record(self, fields: dict[str, str], subject: bytes) -> None:
        pass


@pytest.mark.parametrize(
    ("client", "let_in"), [("127.0.0.1", True), ("::ffff:127.0.0.1", True), ("::1", True), ("::ffff:10.0.0.5", False)]
)
def test_break_glass_is_for_who_stands_here_whichever_address_the_port_has(
    run: Any, client: str, *, let_in: bool
) -> None:
    now = int(time.time())
    claims = {"aud": "gate", "iat": now, "exp": now + 60, "scope": SCOPE, "sub": "x", "cnf": {"x5t#S256": "t"}}
    access = Tokens(Keys({}), "gate", Rate(100), KEY, Written())
    asked = access.admit(request(client, break_glass(KEY, claims)), SCOPE)
    if let_in:
        assert run(asked).role == "break-glass"
    else:
        with pytest.raises(Refused, match="stands here"):
            run(asked)


def test_a_person_of_osia_is_the_one_that_is_named(story: Story) -> None:
    names = {"x%41": 1, "xA": 2, "a/b": 3, "\u00e9 ?": 4}

    async def told(gate: Any) -> None:
        for who, number in names.items():
            await gate.ok("createSubject", subjectID=who)
            await gate.ok("setBiometricData", subjectID=who, bir=gate.bir(gate.face(number)))
            await gate.ok("addSubjectToGallery", galleryID="staff", subjectID=who)
        for who, number in names.items():
            for face in (1, 2, 3, 4):
                image = {"biometricType": "FACE", "image": b64encode(gate.face(face)).decode()}
                path = f"/v1/verify/staff/{quote(who, safe='')}"
                answer = await gate.client.post(path, content=json.dumps({"biometricData": [image]}))
                assert answer.json()["decision"] is (face == number), (who, face, answer.text)

    story(told)
