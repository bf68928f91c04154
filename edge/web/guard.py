"""The door of the pages: every request passes here first.

Rules:

1. GET and HEAD; POST only under ``/act/``, where a page of ours sends a small JSON object: the browser must say that it
   comes from here (Origin, and Sec-Fetch-Site where it is told), and how long it is (405, 403, 411, 413, 415).
2. The Host header must name this machine: a page of another site that points its own name at our address (DNS
   rebinding) is answered 421.
3. No other request body (413), no address longer than ``TARGET_LIMIT`` (414), and only so many event streams (503, in
   ``pages.py``).
4. Every answer forbids scripts, styles, frames and addresses from elsewhere, and forbids keeping it.
5. A fault of ours is answered 500 with no detail.
6. What was asked for is never logged: no path, no query.
7. Whoever calls a port of IPv6 by IPv4 is told apart by the address of IPv4, here and in the pages.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Iterable
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge.listening import plain
from edge.web.asked import LIMIT

TARGET_LIMIT = 2048
METHODS = ("GET", "HEAD")
ACTS = "/act/"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), usb=(), payment=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
log = logging.getLogger(__name__)


class Guard:
    """Lets a request through to the pages, or answers it at the door."""

    def __init__(self, pages: ASGIApp, names: Iterable[str]) -> None:
        self._pages = pages
        self._names = frozenset(name.lower().rstrip(".") for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; anything but HTTP is refused by not being served at all."""
        if scope["type"] != "http":
            return
        scope = {**scope, "server": _met(scope.get("server")), "client": _met(scope.get("client"))}
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(raw=message["headers"])
                headers.update(HEADERS)
            await send(message)

        refusal = self._refusal(scope)
        try:
            await (refusal or self._pages)(scope, receive, answer)
        except Exception as error:
            if started:
                raise
            log.error("a page failed: %s", type(error).__name__, exc_info=error)
            await PlainTextResponse("internal error\n", 500)(scope, receive, answer)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        if not self._ours(headers, scope):
            return _closing("not a name of this gate", 421)
        acting = scope["path"].startswith(ACTS)
        if scope["method"] not in (("POST",) if acting else METHODS):
            return _closing("not done here", 405, Allow="POST" if acting else ", ".join(METHODS))
        if len(scope.get("raw_path", b"")) + len(scope["query_string"]) > TARGET_LIMIT:
            return _closing("address too long", 414)
        if acting:
            return _of_our_page(headers)
        if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
            return _closing("no body, please", 413)
        return None

    def _ours(self, headers: Headers, scope: Scope) -> bool:
        """Whether the one Host header names the address called, localhost on loopback, or a configured name."""
        hosts = headers.getlist("host")
        if len(hosts) != 1:
            return False
        name, port = split(hosts[0])
        address, own_port = scope.get("server") or ("", None)
        if own_port is not None and port not in (None, own_port):
            return False
        return name in self._names or name == _plain(address) or (name == "localhost" and _loopback(address))


def _of_our_page(headers: Headers) -> PlainTextResponse | None:
    """Rule 1, of a request that may change something."""
    origins, told = headers.getlist("origin"), headers.get("content-length", "")
    scheme, _, host = (origins[0] if len(origins) == 1 else "").partition("://")
    if scheme not in ("http", "https") or host.lower() != headers["host"].lower():
        return _closing("not from a page of this gate", 403)
    if headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return _closing("not from a page of this gate", 403)
    if "transfer-encoding" in headers or not (told.isascii() and told.isdigit()):
        return _closing("say how long it is", 411)
    if len(told) > 5 or int(told) > LIMIT:
        return _closing("too long", 413)
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return _closing("JSON, please", 415)
    return None


def split(host: str) -> tuple[str, int | None]:
    """Name and port of a Host header; a name that is none gives an empty one."""
    name, bracket, rest = host.lower().partition("]")
    if bracket:
        name, rest = name.removeprefix("["), rest.removeprefix(":")
    else:
        name, _, rest = host.lower().partition(":")
    if not rest:
        return _plain(name), None
    return (_plain(name), int(rest)) if rest.isascii() and rest.isdigit() and len(rest) < 6 else ("", None)


def _plain(name: str) -> str:
    """One way of writing for each address, none for a name's final dot."""
    try:
        return plain(name)
    except ValueError:
        return name.rstrip(".")


def _met(end: tuple[Any, ...] | None) -> tuple[str, int | None]:
    """One end of the connection, its address in plain writing (rule 7)."""
    address, number, *_ = (*(end or ("", None)), None)
    return _plain(address), number


def _loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _closing(words: str, status: int, **headers: str) -> PlainTextResponse:
    return PlainTextResponse(words + "\n", status, headers={"Connection": "close", **headers})
