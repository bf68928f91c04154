"""Who looks after the demo's gate: enrolled at its console, then at its operator page with a password and a phone.

Nothing is made easier than on a site: the set-up code comes from ``edge operator enrol``, every order carries a fresh
code, and the gate verifies all of it.
"""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from edge.demo.phone import Phone
from edge.errors import DeviceError

NAME = "guard"
_PASSWORD = "a walk in the morning"  # noqa: S105 -- of a gate that lives for minutes, in a private directory
_SETUP = re.compile(r"\b[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}\b")
_PATIENCE_S = 30.0


class Guard:
    """One operator, enrolled when first needed."""

    def __init__(self, configuration: Path, environment: Mapping[str, str], host: str, port: int) -> None:
        """The gate's configuration, what its programs find in their environment, and where its pages are."""
        self._configuration, self._environment = configuration, dict(environment)
        self._origin, self._place = f"http://{host}:{port}", (host, port)
        self._phone: Phone | None = None
        self._cookies: dict[str, str] = {}

    def enrol(self) -> None:
        """Be enrolled and log in.

        Raises:
            DeviceError: the gate takes the guard for nobody.
        """
        setup = self._setup()
        told = self._act("enrol", setup=setup, password=_PASSWORD)
        [secret] = parse_qs(urlsplit(told["address"]).query)["secret"]
        self._phone = Phone(secret)
        self._act("confirm", setup=setup, codes=[self._phone.code()])
        self._act("login", name=NAME, password=_PASSWORD, codes=[self._phone.code()])

    def let_in(self, visit: int) -> None:
        """Overrule the refusal that is this entry.

        Raises:
            DeviceError: the gate does not obey.
        """
        if self._phone is None:
            self.enrol()
        assert self._phone is not None
        token = self._ask("GET", "/me", {})["token"]
        codes = [self._phone.code()]
        self._act("order", token, what="override", why="identity-checked", codes=codes, visit=visit)

    def _setup(self) -> str:
        command = [sys.executable, "-m", "edge", "operator", "enrol", NAME, "--config", str(self._configuration)]
        done = subprocess.run(
            command, env=self._environment, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
        found = _SETUP.search(done.stdout)
        if found is None:
            raise DeviceError("operators", f"no set-up code: {done.stderr.strip()[-200:]}")
        return found[0]

    def _act(self, what: str, /, token: str = "", **fields: object) -> dict[str, Any]:
        return self._ask("POST", f"/act/{what}", {"X-Gate-Page": token}, json.dumps(fields))

    def _ask(self, method: str, path: str, headers: dict[str, str], body: str | None = None) -> dict[str, Any]:
        connection = http.client.HTTPConnection(*self._place, timeout=_PATIENCE_S)
        cookies = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        sent = {"Origin": self._origin, "Content-Type": "application/json", "Cookie": cookies, **headers}
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            said = json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise DeviceError("web", f"{path}: {type(error).__name__}") from error
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise DeviceError("web", f"{path}: {answer.status} {said.get('no', '')}")
        for cookie in answer.headers.get_all("Set-Cookie") or ():
            name, _, value = cookie.split(";")[0].partition("=")
            self._cookies[name] = value
        return dict(said)
