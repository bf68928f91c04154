"""Break-glass is for who stands here, for a short while, and never unwritten; nobody takes more than a share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from starlette.requests import Request

from edge.errors import DeviceError
from edge.iavs.access import BREAK_GLASS_S, Rate, Tokens, break_glass
from edge.iavs.jose import Keys
from edge.iavs.refused import Refused

KEY = bytes(range(32))
SCOPE = "iavs.capabilities.read"


class Written:
    """A pen that works, or not."""

    def __init__(self, *, works: bool = True) -> None:
        self.entries: list[dict[str, str]] = []
        self._works = works

    async def record(self, fields: dict[str, str], subject: bytes) -> None:
        if not self._works:
            raise DeviceError("journal", "edge-gate does not answer")
        self.entries.append(fields)


def request(token: str, thumbprint: str | None = "t", host: str = "127.0.0.1") -> Request:
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


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    made: dict[str, Any] = {"aud": "gate", "iat": now, "exp": now + 600, "scope": SCOPE, "client_id": "technician"}
    return made | {"cnf": {"x5t#S256": "t"}} | changes


def tokens(pen: Written, rate: int = 100, *, sure: bool = False, now: Any = None) -> Tokens:
    return Tokens(Keys({}), "gate", Rate(rate, *([now] if now else [])), KEY, pen, sure=lambda: sure)


def test_break_glass_works_without_issuer_and_without_a_clock_and_is_written_down(run: Any) -> None:
    pen = Written()
    caller = run(tokens(pen).admit(request(break_glass(KEY, claims())), SCOPE))
    assert (caller.name, caller.role) == ("technician", "break-glass")
    assert pen.entries == [
        {"service": "queryCapabilities", "caller": "technician", "role": "break-glass", "outcome": "admitted"}
    ]


@pytest.mark.parametrize(
    ("token", "at", "code"),
    [
        (lambda: break_glass(KEY, claims()), {"host": "192.168.1.9"}, "NOT_AUTHENTICATED"),
        (lambda: break_glass(KEY, claims()), {"thumbprint": None}, "NOT_AUTHENTICATED"),
        (lambda: break_glass(KEY, claims()), {"thumbprint": "another"}, "NOT_AUTHENTICATED"),
        (lambda: break_glass(bytes(32), claims()), {}, "NOT_AUTHENTICATED"),
        (lambda: break_glass(KEY, claims(exp=int(time.time()) + BREAK_GLASS_S + 60)), {}, "NOT_AUTHENTICATED"),
        (lambda: break_glass(KEY, claims(exp=int(time.time()) - 1)), {}, "NOT_AUTHENTICATED"),
        (lambda: break_glass(KEY, claims(aud="another gate")), {}, "NOT_AUTHENTICATED"),
        (lambda: break_glass(KEY, claims(scope="iavs.verify")), {}, "NOT_AUTHORISED"),
        (lambda: break_glass(KEY, claims())[:-2], {}, "NOT_AUTHENTICATED"),
    ],
)
def test_break_glass_is_no_way_round_anything_else(
    run: Any, token: Callable[[], str], at: dict[str, Any], code: str
) -> None:
    pen = Written()
    with pytest.raises(Refused, match=code):
        run(tokens(pen).admit(request(token(), **at), SCOPE))
    assert pen.entries == []


def test_break_glass_that_cannot_be_written_down_is_not_let_in(run: Any) -> None:
    with pytest.raises(Refused, match="SERVICE_UNAVAILABLE"):
        run(tokens(Written(works=False)).admit(request(break_glass(KEY, claims())), SCOPE))


def test_each_caller_has_a_share_of_his_own_and_tries_count(run: Any) -> None:
    now = [0.0]
    access = tokens(Written(), 3, sure=True, now=lambda: now[0])
    for _ in range(3):
        with pytest.raises(Refused, match="NOT_AUTHENTICATED"):
            run(access.admit(request("guess"), SCOPE))
    with pytest.raises(Refused, match="SERVICE_UNAVAILABLE: too many requests"):
        run(access.admit(request(break_glass(KEY, claims())), SCOPE))
    other = break_glass(KEY, claims(cnf={"x5t#S256": "u"}))
    assert run(access.admit(request(other, "u"), SCOPE)).name == "technician"
    now[0] += 20
    assert run(access.admit(request(break_glass(KEY, claims())), SCOPE)).name == "technician"
    with pytest.raises(Refused, match="too many requests"):
        run(access.admit(request("guess"), SCOPE))
