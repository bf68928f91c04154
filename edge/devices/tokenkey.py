"""A key in a token that signs on the operator's desk, in a process of its own.

Rules:

1. The PKCS#11 library is loaded by a child process only. python-pkcs11 and OpenSSL's PKCS#11 provider break each other
   when they meet in one process, and a desk may publish over TLS with a key in a token; one process holds one library.
2. The PIN goes to the child through a pipe: it is in no argument, no environment and no file of ours. It is tried once,
   and never when it is the last try that the token has left.
3. A signature is verified under the public key before anybody uses it.
4. The place is a PKCS#11 URI (RFC 7512): token, serial, id, and the library as ``module-path``. A PIN in it is refused.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge.audit.checkpoint import verify_es256
from edge.audit.entry import LogError
from edge.devices.provisioning import provision
from edge.devices.token import PinRefused, TokenPlace, find, load, point_of, said
from edge.errors import DeviceError

_ANSWER_S: Final = 60.0
_KNOWN: Final = {"token", "serial", "id", "module-path", "type", "object", "manufacturer", "model"}
Pin = Callable[[str, str], str]
"""The PIN for a key, by its name and its token's label: asks whoever sits there."""


def place_of(uri: str) -> TokenPlace:
    """The place that a PKCS#11 URI names.

    Raises:
        DeviceError: it is none, carries a PIN, or leaves out what is needed.
    """
    scheme, _, rest = uri.partition(":")
    if scheme != "pkcs11" or not rest:
        raise DeviceError("token", f"{uri[:80]!r} is not a PKCS#11 URI")
    parts: dict[str, bytes] = {}
    for part in rest.replace("?", ";").replace("&", ";").split(";"):
        name, _, value = part.partition("=")
        if name.startswith("pin-"):
            raise DeviceError("token", "a PIN does not belong into a URI: it is asked for")
        if name not in _KNOWN or name in parts:
            raise DeviceError("token", f"{name[:40]!r} in the PKCS#11 URI is not known, or is there twice")
        parts[name] = unquote_to_bytes(value)
    for name in ("token", "id", "module-path"):
        if not parts.get(name):
            raise DeviceError("token", f"the PKCS#11 URI has no {name}")
    text = {name: value.decode("utf-8", "replace") for name, value in parts.items()}
    return TokenPlace(Path(text["module-path"]), text["token"], text.get("serial", ""), parts["id"].hex())


class DeskKey:
    """A P-256 key in a token that is plugged in.

    Attributes:
        public: its SubjectPublicKeyInfo, DER.
    """

    def __init__(self, child: _Child, name: str, point: bytes) -> None:
        self._child, self._name, self._point = child, name, point
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        self.public = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, message: bytes) -> bytes:
        """Sign with ECDSA over SHA-256; r || s.

        Raises:
            DeviceError: the token does not, or signs something else.
        """
        signature = bytes.fromhex(self._child.ask({"sign": message.hex()})["signature"])
        try:
            verify_es256(self._point, message, signature)
        except LogError as error:
            raise DeviceError("token", f"the signature of {self._name} is wrong: {error}") from error
        return signature


class Tokens:
    """The tokens of a desk, each opened when it is first needed; ``close`` lets go of all."""

    def __init__(self, pin: Pin) -> None:
        self._pin = pin
        self._ends = contextlib.ExitStack()

    def __call__(self, name: str, uri: str, make: bool) -> DeskKey | None:
        """The key of this name at this URI, made there if ``make`` says so; None when the token is not plugged in.

        Raises:
            DeviceError: no such key, a wrong PIN, or the token does not do its part.
        """
        label = place_of(uri).label
        child = self._ends.enter_context(_child())
        if not child.ask({"open": uri, "make": make})["there"]:
            return None
        return DeskKey(child, name, bytes.fromhex(child.ask({"pin": self._pin(name, label)})["point"]))

    def close(self) -> None:
        """Log out of all of them."""
        self._ends.close()

    def __enter__(self) -> Tokens:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Child:
    """The process that has the library: one question at a time, one JSON object each way."""

    def __init__(self, running: subprocess.Popen[bytes]) -> None:
        self._running = running

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._running.stdin is not None and self._running.stdout is not None
        try:
            self._running.stdin.write(json.dumps(question).encode() + b"\n")
            self._running.stdin.flush()
        except OSError as error:
            raise DeviceError("token", "the process that holds it ended") from error
        if not select.select([self._running.stdout], [], [], _ANSWER_S)[0]:
            raise DeviceError("token", f"does not answer within {_ANSWER_S:.0f} s")
        line = self._running.stdout.readline()
        if not line:
            raise DeviceError("token", "the process that holds it ended: its library may have crashed")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise DeviceError("token", answer["error"])
        return answer


@contextlib.contextmanager
def _child() -> Iterator[_Child]:
    """The process, without whatever OpenSSL was told to load here."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENSSL_")}
    command = [sys.executable, "-m", "edge.devices.tokenkey"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, bufsize=0
    ) as running:
        try:
            yield _Child(running)
        finally:
            assert running.stdin is not None
            with contextlib.suppress(OSError):
                running.stdin.close()
            try:
                running.wait(5.0)
            except subprocess.TimeoutExpired:  # the library hangs
                running.kill()


class _Held:
    """The child's side."""

    def __init__(self) -> None:
        self._place: TokenPlace | None = None
        self._make = False
        self._private: Any = None

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        match question:
            case {"open": str(uri), "make": bool(make)}:
                return {"there": self._look(place_of(uri), make)}
            case {"pin": str(pin)} if self._place is not None:
                return {"point": self._login(self._place, pin).hex()}
            case {"sign": str(message)} if self._private is not None:
                return {"signature": self._sign(bytes.fromhex(message)).hex()}
        raise DeviceError("token", "asked for something else")

    def _look(self, place: TokenPlace, make: bool) -> bool:
        self._place, self._make = place, make
        return any(load(place.module).get_tokens(token_label=place.label))

    def _login(self, place: TokenPlace, pin: str) -> bytes:
        """Log in once, and find the key, or make it."""
        import pkcs11

        token = find(load(place.module), place)
        PinRefused(None).check(token, pin)
        session = token.open(user_pin=pin)
        if self._make and not list(session.get_objects({pkcs11.Attribute.ID: bytes.fromhex(place.key_id)})):
            session.close()
            provision(place, pin)
            session = find(load(place.module), place).open(user_pin=pin)
        found = [
            list(session.get_objects({pkcs11.Attribute.CLASS: kind, pkcs11.Attribute.ID: bytes.fromhex(place.key_id)}))
            for kind in (pkcs11.ObjectClass.PUBLIC_KEY, pkcs11.ObjectClass.PRIVATE_KEY)
        ]
        if [len(keys) for keys in found] != [1, 1]:
            raise DeviceError("token", f"{place.label!r} holds no key pair of id {place.key_id}, or several")
        self._private = found[1][0]
        return point_of(bytes(found[0][0][pkcs11.Attribute.EC_POINT]))

    def _sign(self, message: bytes) -> bytes:
        import hashlib

        import pkcs11

        return bytes(self._private.sign(hashlib.sha256(message).digest(), mechanism=pkcs11.Mechanism.ECDSA))


def _serve() -> None:
    """Answer until nobody asks any more."""
    from pkcs11.exceptions import PKCS11Error

    held, label = _Held(), ""
    for line in sys.stdin:
        question = json.loads(line)
        try:
            label = place_of(question["open"]).label if "open" in question else label
            answer = held.answer(question)
        except DeviceError as error:
            answer = {"error": error.message}
        except PKCS11Error as error:
            answer = {"error": said(error, label)}
        print(json.dumps(answer), flush=True)  # noqa: T201 -- the pipe to whoever started us


if __name__ == "__main__":
    _serve()
