"""Who may sign whose tokens, and for how long."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.requests import Request

from edge.app.iavs import keys_of
from edge.iavs.access import Rate, Tokens
from edge.iavs.jose import Invalid, Keys, jwk, sign
from edge.iavs.keyfile import KeyFile
from edge.iavs.neighbours import Pen
from edge.iavs.refused import Refused

SCOPE = "iavs.capabilities.read"


def request(token: str) -> Request:
    bearer = [(b"authorization", f"Bearer {token}".encode())]
    state = {"x5t#S256": "t"}
    return Request({"type": "http", "path": "/queryCapabilities", "headers": bearer, "state": state})


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    made = {"aud": "gate", "iat": now, "exp": now + 600, "scope": SCOPE, "client_id": "desk"}
    return made | {"cnf": {"x5t#S256": "t"}} | changes


def access(keys: Keys) -> Tokens:
    return Tokens(keys, "gate", Rate(100), bytes(32), Pen(Path("nowhere")))


def listing(*keys: dict[str, str]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def test_an_issuer_signs_in_no_other_s_name(run: Any) -> None:
    staff, visitors = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    keys = [jwk(staff.public_key(), "hr") | {"iss": "https://hr"}, jwk(visitors.public_key(), "visitors")]

    def asked(key: Ed25519PrivateKey, kid: str | None, listed: list[dict[str, str]], **said: Any) -> str:
        header = {"typ": "at+jwt"} | ({} if kid is None else {"kid": kid})
        token = sign(key, header, json.dumps(claims(**said)).encode())
        return str(run(access(Keys.of(listing(*listed))).admit(request(token), SCOPE)).name)

    assert asked(staff, "hr", keys, iss="https://hr", client_id="hr-desk") == "hr-desk"
    assert asked(visitors, "visitors", keys, iss="https://anybody") == "desk"
    bound = [keys[0], keys[1] | {"iss": "https://visitors"}]
    for key, kid, listed, iss in (
        (visitors, "visitors", bound, "https://hr"),
        (visitors, "visitors", bound, None),
        (staff, "hr", keys, "https://visitors"),
        (staff, None, keys[:1], "https://visitors"),
        (visitors, "hr", keys, "https://hr"),
    ):
        with pytest.raises(Refused, match="NOT_AUTHENTICATED"):
            asked(key, kid, listed, iss=iss)


@pytest.mark.parametrize("nobody", [{"client_id": None}, {"client_id": ""}, {"client_id": " "}, {"client_id": ["x"]}])
def test_a_token_says_for_whom_it_is(run: Any, nobody: dict[str, Any]) -> None:
    key = Ed25519PrivateKey.generate()
    tokens = access(Keys.of(listing(jwk(key.public_key(), "k"))))

    def asked(**said: Any) -> Any:
        token = sign(key, {"typ": "at+jwt"}, json.dumps(claims(**said)).encode())
        return run(tokens.admit(request(token), SCOPE))

    with pytest.raises(Refused, match="NOT_AUTHENTICATED: a token of nobody"):
        asked(**nobody)
    assert asked(client_id=None, sub="desk").name == "desk"


def test_a_key_that_is_taken_off_the_list_is_worth_nothing_from_then_on(
    run: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    leaked, new = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    file = tmp_path / "issuers.json"

    def put(raw: bytes) -> None:
        part = tmp_path / "part"
        part.write_bytes(raw)
        part.replace(file)

    put(listing(jwk(leaked.public_key(), "leaked")))
    tokens = access(KeyFile(file))

    def let_in(key: Ed25519PrivateKey, kid: str) -> bool:
        token = sign(key, {"typ": "at+jwt", "kid": kid}, json.dumps(claims()).encode())
        try:
            return bool(run(tokens.admit(request(token), SCOPE)))
        except Refused:
            return False

    assert let_in(leaked, "leaked")
    put(listing(jwk(new.public_key(), "new")))
    assert not let_in(leaked, "leaked")
    assert let_in(new, "new")
    with caplog.at_level(logging.ERROR, "edge.iavs.keyfile"):
        put(b"{")
        assert let_in(new, "new")
        assert let_in(new, "new")
        file.unlink()
        assert let_in(new, "new")
    assert len(caplog.records) == 2
    put(listing())
    assert not let_in(new, "new")


def test_services_that_run_follow_their_list_of_issuers(tmp_path: Path, site: Any) -> None:
    settings = site(tmp_path)
    issuers, _ = keys_of(settings)
    (tmp_path / "issuers.json").write_bytes(listing())
    assert issuers is not None
    with pytest.raises(Invalid, match="no such key"):
        issuers.verify(sign(Ed25519PrivateKey.generate(), {"kid": "site"}, b"{}"))
    assert len(issuers) == 0
