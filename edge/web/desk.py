"""The operator's desk: logging in, enrolling, orders to the gate. It carries questions to edge-gate and decides none.

Rules:

1. A ticket lives in a cookie that no script can read and no other site can send. What changes something also carries a
   token that only a page of ours can have read, compared in constant time. Under TLS only a cookie counts that nobody
   can have set in the clear.
2. Passwords and codes are taken on this machine or under TLS, never in the clear from elsewhere.
3. Whose ticket it is edge-gate says, each time. While it does not answer, who was known a moment ago may go on reading,
   and where anyone may read, so may everybody else.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from edge import orders
from edge.errors import DeviceError
from edge.orders import Declined, Known, No
from edge.trust.operators import Role
from edge.web.asked import asked
from edge.web.counter import Counter
from edge.web.drawn import drawn

COOKIE, COOKIE_TLS = "edge-operator", "__Host-edge-operator"
BROWSER, BROWSER_TLS = "edge-browser", "__Host-edge-browser"
TOKEN = "x-gate-page"  # noqa: S105 -- the name of a header
REMEMBERED_S = 60.0
TICKET_KEPT_S = 8 * 3600
"""A ticket's cookie; edge-gate ends the ticket when nobody is at the page."""
KEPT_S = 90 * 24 * 3600
_STATUS = {No.WRONG: 401, No.OVER: 401, No.WAIT: 429, No.UNFIT: 422, No.CODE: 403, No.ROLE: 403, No.NOT_HERE: 403}
ANYONE = Known("", Role.VIEWER, two_codes=False, closed=False, left_s=0.0)


@dataclass(frozen=True)
class _Remembered:
    known: Known
    until_s: float


class Desk:
    """What operators ask, on its way to edge-gate."""

    def __init__(
        self, counter: Counter, *, open_to_read: bool, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Set up.

        Args:
            counter: the way to edge-gate.
            open_to_read: whether anybody may read the operator page.
            monotonic: a stopwatch.
        """
        self._counter, self._open, self._monotonic = counter, open_to_read, monotonic
        self._remembered: dict[str, _Remembered] = {}

    def routes(self) -> list[Route]:
        """Addresses of orders; the guard has looked at each request already."""
        return [
            Route("/me", self.me),
            *(
                Route(f"/act/{name}", act, methods=["POST"])
                for name, act in (
                    ("login", self.log_in),
                    ("logout", self.log_out),
                    ("here", self.here),
                    ("enrol", self.enrol),
                    ("confirm", self.confirm),
                    ("order", self.order),
                )
            ),
        ]

    async def reader(self, request: Request, *, here: bool = False) -> Known | None:
        """Who asks, when it is somebody who may read; rule 3."""
        ticket = ticket_of(request)
        if not ticket:
            return ANYONE if self._open else None
        key, now_s = hashlib.sha256(ticket.encode()).hexdigest(), self._monotonic()
        try:
            told = await self._counter.ask(orders.WhoIs(ticket, here))
        except DeviceError:
            remembered = self._remembered.get(key)
            if remembered is not None and remembered.until_s > now_s:
                return remembered.known
            return ANYONE if self._open else None
        self._remembered = {one: kept for one, kept in self._remembered.items() if kept.until_s > now_s}
        if not isinstance(told, Known):
            self._remembered.pop(key, None)
            return ANYONE if self._open else None
        self._remembered[key] = _Remembered(told, now_s + min(REMEMBERED_S, told.left_s))
        return told

    async def me(self, request: Request) -> Response:
        """Who is at the page, and the token for what the page wants to change."""
        known = await self.reader(request)
        return JSONResponse({"no": "over"}, 401) if known is None else JSONResponse(_me(known, ticket_of(request)))

    async def here(self, request: Request) -> Response:
        """Somebody is at the page."""
        await asked(request, {})
        if not fits(request):
            return _no(No.OVER)
        known = await self.reader(request, here=True)
        return _no(No.OVER) if known is None else JSONResponse(_me(known, ticket_of(request)))

    async def log_in(self, request: Request) -> Response:
        """Name, password and code for a ticket."""
        fields = await asked(request, {"name": str, "password": str, "codes": list})
        if not private(request):
            return _no(No.NOT_HERE)
        browser = _short(request, BROWSER_TLS, BROWSER, 96)
        told = await self._ask(orders.LogIn(fields["name"], fields["password"], tuple(fields["codes"]), browser))
        if not isinstance(told, orders.LoggedIn):
            return answered(told)
        answer = JSONResponse({"name": told.name, "role": told.role.value})
        _keep(answer, request, (COOKIE_TLS, COOKIE), told.ticket, TICKET_KEPT_S)
        _keep(answer, request, (BROWSER_TLS, BROWSER), told.browser, KEPT_S)
        return answer

    async def log_out(self, request: Request) -> Response:
        """The ticket is not needed any more."""
        await asked(request, {})
        if not fits(request):
            return _no(No.OVER)
        await self._ask(orders.LogOut(ticket_of(request)))
        answer = JSONResponse({})
        _keep(answer, request, (COOKIE_TLS, COOKIE), "", 0)
        return answer

    async def enrol(self, request: Request) -> Response:
        """A set-up code and a password for what the phone is told."""
        fields = await asked(request, {"setup": str, "password": str})
        if not private(request):
            return _no(No.NOT_HERE)
        told = await self._ask(orders.Enrol(fields["setup"], fields["password"]))
        if not isinstance(told, orders.Enrolling):
            return answered(told)
        return JSONResponse(
            {"name": told.name, "role": told.role.value, "address": told.address, **drawn(told.address)}
        )

    async def confirm(self, request: Request) -> Response:
        """The phone's first code."""
        fields = await asked(request, {"setup": str, "codes": list})
        if not private(request):
            return _no(No.NOT_HERE)
        return answered(await self._ask(orders.Confirm(fields["setup"], tuple(fields["codes"]))))

    async def order(self, request: Request) -> Response:
        """Something that the gate shall do."""
        fields = await asked(request, {"what": str, "why": str, "codes": list, "visit": int})
        return answered(await self.ordered(request, **fields))

    async def ordered(
        self, request: Request, what: str, why: str, codes: list[str], visit: int
    ) -> orders.Told | DeviceError:
        """What edge-gate says to an order from a page of ours; rules 1 and 2."""
        if not private(request):
            return Declined(No.NOT_HERE)
        if not fits(request):
            return Declined(No.OVER)
        try:
            order = orders.Order(ticket_of(request), orders.What(what), orders.Why(why), tuple(codes), visit)
        except ValueError:
            return Declined(No.NOT_HERE)
        return await self._ask(order)

    async def _ask(self, question: orders.Asked) -> orders.Told | DeviceError:
        try:
            return await self._counter.ask(question)
        except DeviceError as error:
            return error


def ticket_of(request: Request) -> str:
    """The ticket that came along; empty when none did."""
    return _short(request, COOKIE_TLS, COOKIE, 64)


def _short(request: Request, under_tls: str, plain: str, longest: int) -> str:
    kept = request.cookies.get(under_tls if request.url.scheme == "https" else plain, "")
    return kept if len(kept) <= longest and kept.isascii() else ""


def token_for(ticket: str) -> str:
    """What a page shows to prove that it is one of ours: told to it alone, and of no use without the cookie."""
    return hmac.digest(ticket.encode(), b"a page of this gate", "sha256").hex() if ticket else ""


def private(request: Request) -> bool:
    """Rule 2."""
    address = (request.scope.get("server") or ("", None))[0]
    try:
        return request.url.scheme == "https" or ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def fits(request: Request) -> bool:
    """Whether it comes from a page of ours; rule 1."""
    wanted = token_for(ticket_of(request))
    return bool(wanted) and hmac.compare_digest(wanted.encode(), request.headers.get(TOKEN, "").encode("latin-1"))


def _me(known: Known, ticket: str) -> dict[str, Any]:
    return {
        "name": known.name,
        "role": known.role.value,
        "two_codes": known.two_codes,
        "closed": known.closed if known.name else None,
        "token": token_for(ticket) if known.name else "",
    }


def _keep(answer: Response, request: Request, names: tuple[str, str], value: str, lasts_s: int) -> None:
    secure = request.url.scheme == "https"
    name = names[0] if secure else names[1]
    answer.set_cookie(name, value, max_age=lasts_s, path="/", secure=secure, httponly=True, samesite="strict")


def _no(no: No) -> Response:
    return answered(Declined(no))


def answered(told: orders.Told | DeviceError) -> Response:
    """What edge-gate said, for the page."""
    match told:
        case orders.Obeyed(entry):
            return JSONResponse({"entry": entry})
        case Declined(no, wait_s):
            return JSONResponse({"no": no.value, "wait_s": int(wait_s + 0.999)}, _STATUS.get(no, 409))
        case _:
            message = told.message if isinstance(told, DeviceError) else ""
            return JSONResponse({"no": "failed", "detail": message}, 503)
