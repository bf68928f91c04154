"""Who asks, and what they may: a client certificate, and a token that is bound to it.

Rules:

1. The certificate was checked in the TLS handshake; its SHA-256 comes with the connection. Without one nobody is known.
2. The token is a JWT of one of the site's issuers (RFC 9068), for this gate, not expired, for this very certificate
   (``cnf``/``x5t#S256``, RFC 8705), and says for whom; a key that belongs to one issuer signs in no other's name.
   Everything is judged here, with keys that lie here.
3. A clock that nobody vouches for judges no expiry: then nobody but break-glass is let in.
4. Break-glass: a token that this machine made for somebody who stands at it; short, from this machine only, and each
   use is an entry in the log.
5. A token may be for some galleries only (``galleries``): then whoever is in another is not read, searched or changed.
6. So many requests a minute and caller; more are SERVICE_UNAVAILABLE.
"""

from __future__ import annotations

import hmac
import json
import re
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from starlette.requests import Request

from edge.errors import DeviceError
from edge.iavs.catalogue import catalogue
from edge.iavs.desk import Caller, Recorder, plain
from edge.iavs.jose import Invalid, Keys, fold, unfold
from edge.iavs.refused import Refused
from edge.listening import HERE
from edge.listening import plain as plain_address

LEEWAY_S = 30
LONGEST_S = 24 * 3600
BREAK_GLASS_S = 15 * 60
_CALLERS = 1024
_NAMES = ("localhost", "127.0.0.1", "[::1]")
_HEADER = fold(b'{"alg":"HS256","typ":"break-glass"}')


class Rate:
    """So many requests a minute, a minute's worth at once."""

    def __init__(self, per_minute: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._monotonic = monotonic
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, caller: str) -> None:
        """Count one request.

        Raises:
            Refused: SERVICE_UNAVAILABLE.
        """
        now = self._monotonic()
        left, since = self._left.pop(caller, (float(self._per_minute), now))
        left = min(float(self._per_minute), left + (now - since) * self._per_minute / 60)
        if len(self._left) >= _CALLERS:
            self._left.pop(next(iter(self._left)))
        self._left[caller] = (max(0.0, left - 1), now)
        if left < 1:
            raise Refused("SERVICE_UNAVAILABLE", "too many requests")


class Tokens:
    """Implements ``door.Access`` for callers of the network."""

    def __init__(
        self,
        issuers: Keys,
        audience: str,
        rate: Rate,
        break_glass: bytes,
        recorder: Recorder,
        *,
        now: Callable[[], float] = time.time,
        sure: Callable[[], bool] = lambda: True,
    ) -> None:
        self._issuers = issuers
        self._audience = audience
        self._rate = rate
        self._break_glass = break_glass
        self._recorder = recorder
        self._now = now
        self._sure = sure

    async def admit(self, request: Request, scope: str) -> Caller:
        """The caller, who may do this."""
        thumbprint = request.scope.get("state", {}).get("x5t#S256")
        if not isinstance(thumbprint, str):
            raise Refused("NOT_AUTHENTICATED", "no client certificate")
        self._rate.take(thumbprint)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Refused("NOT_AUTHENTICATED", "no access token")
        local = token.startswith(f"{_HEADER}.")
        claims = self._opened(token) if local else self._claims(token)
        self._judge(claims, thumbprint, local=local)
        caller = Caller(
            _name(claims),
            frozenset(str(claims.get("scope", "")).split()),
            "break-glass" if local else "client",
            _galleries(claims),
        )
        if scope not in caller.scopes:
            raise Refused("NOT_AUTHORISED", f"needs {scope}")
        if local:
            await self._used(request, caller)
        return caller

    def _claims(self, token: str) -> dict[str, Any]:
        if not self._sure():
            raise Refused("SERVICE_UNAVAILABLE", "this gate's clock cannot judge tokens yet")
        try:
            header, payload = self._issuers.verify(token)
            if str(header.get("typ", "")).lower() not in ("at+jwt", "application/at+jwt"):
                raise Invalid("not an access token")
            claims = _object(payload)
            if self._issuers.issuer(header) not in (None, claims.get("iss")):
                raise Invalid("a key of another issuer")
            return claims
        except Invalid as error:
            raise Refused("NOT_AUTHENTICATED", str(error)) from error

    def _opened(self, token: str) -> dict[str, Any]:
        try:
            signed, _, tag = token.rpartition(".")
            made = hmac.digest(self._break_glass, signed.encode(), sha256)
            if not hmac.compare_digest(made, unfold(tag)):
                raise Invalid("not a token of this gate")
            return _object(unfold(signed.partition(".")[2]))
        except (Invalid, ValueError) as error:
            raise Refused("NOT_AUTHENTICATED", "not a token of this gate") from error

    def _judge(self, claims: dict[str, Any], thumbprint: str, *, local: bool) -> None:
        now = self._now()
        audience = claims.get("aud")
        if self._audience not in (audience if isinstance(audience, list) else [audience]):
            raise Refused("NOT_AUTHENTICATED", "a token for somebody else")
        expires, begins = claims.get("exp"), claims.get("nbf", claims.get("iat"))
        if not isinstance(expires, int) or not isinstance(begins, int):
            raise Refused("NOT_AUTHENTICATED", "a token without end")
        longest = BREAK_GLASS_S if local else LONGEST_S
        if not begins - LEEWAY_S <= now < expires + (0 if local else LEEWAY_S) or expires - begins > longest:
            raise Refused("NOT_AUTHENTICATED", "a token outside its time")
        bound = claims.get("cnf")
        said = bound.get("x5t#S256") if isinstance(bound, dict) else None
        if not isinstance(said, str) or not hmac.compare_digest(said.encode(), thumbprint.encode()):
            raise Refused("NOT_AUTHENTICATED", "a token of another certificate")

    async def _used(self, request: Request, caller: Caller) -> None:
        """Rule 4."""
        if not _here(request):
            raise Refused("NOT_AUTHENTICATED", "break-glass is for who stands here")
        service = plain(request.scope["path"].strip("/"))
        fields = {"service": service, "caller": plain(caller.name), "role": caller.role, "outcome": "admitted"}
        try:
            await self._recorder.record(fields, b"")
        except DeviceError as error:
            raise Refused("SERVICE_UNAVAILABLE", "no entry in the log, no break-glass") from error


class Loopback:
    """Lets everybody on this machine do everything: for development, behind an explicit flag."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate

    async def admit(self, request: Request, scope: str) -> Caller:
        """The caller, if it is of this machine; a page that its browser has open from elsewhere is not."""
        if not _here(request) or _foreign(request):
            raise Refused("NOT_AUTHENTICATED", "this machine only")
        self._rate.take("development")
        return Caller("development", frozenset(catalogue().scopes()), "development")


def _here(request: Request) -> bool:
    try:
        return request.client is not None and plain_address(request.client.host) in HERE
    except ValueError:
        return False


def _foreign(request: Request) -> bool:
    """Whether a browser asks for a page of elsewhere, or of here under a name that somebody else gave this machine."""
    host = request.headers.get("host", "localhost").lower()
    named = re.sub(r":\d*$", "", host) in _NAMES
    origin = request.headers.get("origin", f"http://{host}")
    site = request.headers.get("sec-fetch-site", "none")
    return not named or origin.lower() != f"http://{host}" or site not in ("none", "same-origin")


def break_glass(key: bytes, claims: dict[str, Any]) -> str:
    """A token that rule 4 lets in."""
    signed = f"{_HEADER}.{fold(json.dumps(claims).encode())}"
    return f"{signed}.{fold(hmac.digest(key, signed.encode(), sha256))}"


def _name(claims: dict[str, Any]) -> str:
    """What the log calls the caller."""
    name = claims.get("client_id") or claims.get("sub")
    if not isinstance(name, str) or not name.strip():
        raise Refused("NOT_AUTHENTICATED", "a token of nobody")
    return name[:64]


def _galleries(claims: dict[str, Any]) -> frozenset[str] | None:
    """The galleries that a token is for; None where it names none: all."""
    if "galleries" not in claims:
        return None
    listed = claims["galleries"]
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise Refused("NOT_AUTHENTICATED", "galleries that are no list of names")
    return frozenset(listed)


def _object(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Invalid("not JSON") from error
    if not isinstance(found, dict):
        raise Invalid("not claims")
    return found
