"""Pictures beside the gate, entries by the gate, and callers who may or may not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.requests import Request

from edge import wire
from edge.app.recorder import record
from edge.app.service import wait_for
from edge.errors import DeviceError, Refusal
from edge.iavs.access import Loopback, Rate, Tokens
from edge.iavs.jose import Keys, fold, jwk, sign
from edge.iavs.neighbours import Eye, Pen
from edge.iavs.refused import Refused
from edge.ports import Receipt
from edge.vision.simulated import PaintSessions
from edge.vision.stills import Stills

Story = Any


class Silent:
    """A journal that nobody may write into."""

    async def append(self, event: Any) -> Receipt:
        raise DeviceError("journal", "disk full")


@pytest.mark.parametrize(
    "message",
    [
        wire.Record({"service": "x", "picture": "y"}, b""),
        wire.Record({"service": "x" * 65}, b""),
        wire.Record({"service": "a\nb"}, b""),
        wire.Record({"service": "x"}, b"short"),
        wire.AskModels(),
    ],
)
def test_the_gate_writes_down_nothing_else(tmp_path: Path, run: Any, message: wire.Message) -> None:
    async def story() -> None:
        part = asyncio.create_task(record(tmp_path / "r", Silent()))
        await wait_for(tmp_path / "r")
        reader, writer = await asyncio.open_unix_connection(tmp_path / "r")
        await wire.send(writer, message)
        assert await reader.read() == b""
        writer.close()
        part.cancel()
        await asyncio.gather(part, return_exceptions=True)

    run(story())


def test_a_log_that_fails_is_told(tmp_path: Path, run: Any) -> None:
    async def story() -> None:
        part = asyncio.create_task(record(tmp_path / "r", Silent()))
        await wait_for(tmp_path / "r")
        pen = Pen(tmp_path / "r")
        with pytest.raises(DeviceError, match="disk full"):
            await pen.record({"service": "createSubject"}, bytes(16))
        pen.close()
        part.cancel()
        await asyncio.gather(part, return_exceptions=True)
        with pytest.raises(DeviceError, match="does not answer"):
            await pen.record({"service": "createSubject"}, bytes(16))

    run(story())


def test_pictures_are_looked_at_behind_the_gate(story: Story) -> None:
    async def told(gate: Any) -> None:
        await gate.desk.faces.still(gate.face(1), wire.StillWork.FACTS)
        threads = await asyncio.to_thread(lambda: [int(each.name) for each in Path("/proc/self/task").iterdir()])
        nice = [os.getpriority(os.PRIO_PROCESS, number) for number in threads]
        assert 15 in nice
        for hostile in (b"", b"\xff\xd8\xff", b"FAC\x00030\x00" + bytes(40), os.urandom(5000)):
            with pytest.raises(Refusal, match="unreadable"):
                await gate.desk.faces.still(hostile, wire.StillWork.FACTS)

    story(told)


def test_a_lying_vision_is_a_device_error(tmp_path: Path, run: Any) -> None:
    still = wire.Still(1, 1, 0.0, 0.0, 0.0, 500, False, False, None, "m", b"", b"", 1)

    async def story() -> None:
        async def lie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await wire.receive(reader, wire.STILL_LIMIT)
            await wire.send(writer, still)
            writer.close()

        server = await asyncio.start_unix_server(lie, tmp_path / "s")
        eye = Eye(tmp_path / "s")
        with pytest.raises(DeviceError, match="cannot be true"):
            await eye.still(b"x", wire.StillWork.FACTS)
        server.close()

    run(story())


def test_a_client_that_speaks_something_else_is_sent_away(tmp_path: Path, run: Any) -> None:
    async def story() -> None:
        part = asyncio.create_task(Stills(PaintSessions).run(tmp_path / "s"))
        await wait_for(tmp_path / "s")
        for raw in (b"\xff" * 8, b"\0\0\0\2\xff\xff"):
            reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
            writer.write(raw)
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
        part.cancel()
        await asyncio.gather(part, return_exceptions=True)

    run(story())


def request(token: str, thumbprint: str | None = "t", host: str = "10.0.0.1") -> Request:
    return Request(
        {
            "type": "http",
            "method": "GET",
            "path": "/queryCapabilities",
            "query_string": b"",
            "headers": [(b"authorization", f"Bearer {token}".encode())],
            "client": (host, 1),
            "state": {} if thumbprint is None else {"x5t#S256": thumbprint},
        }
    )


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, None),
        ({"aud": "other"}, "NOT_AUTHENTICATED"),
        ({"exp": 10}, "NOT_AUTHENTICATED"),
        ({"exp": None}, "NOT_AUTHENTICATED"),
        ({"cnf": {}}, "NOT_AUTHENTICATED"),
        ({"cnf": {"x5t#S256": "u"}}, "NOT_AUTHENTICATED"),
        ({"scope": "iavs.verify"}, "NOT_AUTHORISED"),
        ({"nbf": 4_000_000_000}, "NOT_AUTHENTICATED"),
    ],
)
def test_claims_are_judged(run: Any, changes: dict[str, Any], code: str | None) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    keys = Keys.of(json.dumps({"keys": [jwk(key.public_key(), "k")]}).encode())
    now = int(time.time())
    claims = {"aud": "gate", "sub": "desk", "iat": now, "exp": now + 60, "cnf": {"x5t#S256": "t"}}
    claims |= {"scope": "iavs.capabilities.read"}
    token = sign(key, {"kid": "k", "typ": "at+jwt"}, json.dumps(claims | changes).encode())
    access = Tokens(keys, "gate", Rate(100), bytes(32), Pen(Path("nowhere")))
    if code is None:
        assert run(access.admit(request(token), "iavs.capabilities.read")).role == "client"
    else:
        with pytest.raises(Refused, match=code):
            run(access.admit(request(token), "iavs.capabilities.read"))
    for bad in (request(token, None), request(fold(b"{}") + "..")):
        with pytest.raises(Refused, match="NOT_AUTHENTICATED"):
            run(access.admit(bad, "iavs.capabilities.read"))
    unsure = Tokens(keys, "gate", Rate(100), bytes(32), Pen(Path("nowhere")), sure=lambda: False)
    with pytest.raises(Refused, match="SERVICE_UNAVAILABLE"):
        run(unsure.admit(request(token), "iavs.capabilities.read"))


def test_development_is_of_this_machine_only_and_has_a_rate(run: Any) -> None:
    now = [0.0]
    access = Loopback(Rate(2, lambda: now[0]))
    with pytest.raises(Refused, match="this machine"):
        run(access.admit(request(""), "iavs.verify"))
    for _ in range(2):
        assert run(access.admit(request("", host="127.0.0.1"), "iavs.verify")).role == "development"
    with pytest.raises(Refused, match="too many"):
        run(access.admit(request("", host="127.0.0.1"), "iavs.verify"))
    now[0] += 31
    run(access.admit(request("", host="::1"), "iavs.verify"))
