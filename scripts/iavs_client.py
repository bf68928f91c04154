#!/usr/bin/env python3
"""A client of the identity services: one file, the standard library only.

    gate = Gate("https://gate:8443", token, certificate="client.pem", key="client.key", ca="ca.pem")
    person = gate.ask("createSubject")["subjectID"]
    gate.ask("setBiometricData", subjectID=person, bir=face("anna.jpg"))

From the command line, each input as NAME=VALUE, JSON or text, @FILE for a picture of a face:

    scripts/iavs_client.py https://gate:8443 --token-file token verifySubject inputBIR=@probe.jpg identityClaim=badge-7
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import ssl
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

METHODS = {"set": "PUT", "upd": "PATCH", "del": "DELETE"}
BODILESS = ("list", "retrieveBio", "retrieveDocument", "query", "get")


class Refused(Exception):  # noqa: N818 -- says what happened
    """The gate answered something else than success."""

    def __init__(self, status: int, said: dict[str, Any]) -> None:
        super().__init__(f"{status} {said.get('code')}: {said.get('detail') or said.get('message')}")
        self.status = status
        self.code = str(said.get("code"))


class Gate:
    """One gate."""

    def __init__(
        self,
        address: str,
        token: str = "",
        *,
        certificate: str | None = None,
        key: str | None = None,
        ca: str | None = None,
    ) -> None:
        self._address = urlsplit(address)
        self._token = token
        self._context = None
        if self._address.scheme == "https":
            self._context = ssl.create_default_context(cafile=ca)
            if certificate is not None:
                self._context.load_cert_chain(certificate, key)

    def ask(self, service: str, **inputs: Any) -> dict[str, Any]:
        """What the service answers; a token of background work is waited for.

        Raises:
            Refused: it does not succeed.
        """
        answer = self._send(service, inputs)
        if set(answer) == {"token"}:
            return self.wait(service, answer["token"]["tokenValue"])
        return answer

    def wait(self, service: str, token: str) -> dict[str, Any]:
        """The result of background work."""
        name = {"delete": "Deletion"}.get(service, service[:1].upper() + service[1:])
        while True:
            try:
                return self._send(f"get{name}Results", {"token": token})
            except Refused as refused:
                if refused.status != 202:
                    raise
            time.sleep(0.2)

    def _send(self, service: str, inputs: dict[str, Any]) -> dict[str, Any]:
        method = "GET" if service.startswith(BODILESS) else METHODS.get(service[:3], "POST")
        path, body = f"/{service}", json.dumps(inputs)
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        connection = self._connection()
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            said: dict[str, Any] = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise Refused(response.status, said)
        return said

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._address.hostname or "", self._address.port
        if self._context is None:
            return http.client.HTTPConnection(host, port, timeout=30)
        return http.client.HTTPSConnection(host, port, timeout=30, context=self._context)


def face(picture: str | Path | bytes) -> dict[str, Any]:
    """A picture of a face as the services want it."""
    raw = picture if isinstance(picture, bytes) else Path(picture).read_bytes()
    info = {"type": ["Face"], "format": {"organization": "257", "type": "8"}}
    record = {"birInfo": {"integrity": False}, "bdbInfo": info, "bdb": base64.b64encode(raw).decode()}
    return {"formatOwner": 257, "formatType": 11, "bir": {"json": record}}


def _value(text: str) -> Any:
    if text.startswith("@"):
        return face(text[1:])
    try:
        return json.loads(text)
    except ValueError:
        return text


def main() -> int:
    """Ask one service and print its answer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address")
    parser.add_argument("service")
    parser.add_argument("inputs", nargs="*", metavar="NAME=VALUE")
    parser.add_argument("--token-file", type=Path)
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    parser.add_argument("--ca")
    args = parser.parse_args()
    token = args.token_file.read_text(encoding="utf-8").strip() if args.token_file else ""
    gate = Gate(args.address, token, certificate=args.certificate, key=args.key, ca=args.ca)
    inputs = {name: _value(text) for name, _, text in (each.partition("=") for each in args.inputs)}
    try:
        print(json.dumps(gate.ask(args.service, **inputs), indent=1, ensure_ascii=False))
    except Refused as refused:
        print(f"iavs: {refused}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
