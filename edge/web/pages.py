"""The addresses: which page answers what."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from importlib import resources

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from edge.listening import HERE, Places
from edge.settings import Site, Web
from edge.web import metrics, stream
from edge.web.board import Board
from edge.web.desk import Desk
from edge.web.guard import Guard
from edge.web.languages import Language, handed_out, load
from edge.web.machine import Machine

STREAMS = 32
SCREENS = 16
KEPT = 8
EACH = 8
SCREENS_EACH = 2
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
AGAIN_S = 30.0
_STATIC = (
    "operator.css",
    "operator.js",
    "acting.js",
    "charts.js",
    "door.js",
    "kiosk.css",
    "kiosk.js",
    "icon.svg",
)


class Pages:
    """Operator page, kiosk page, events, health and metrics of one gate."""

    def __init__(
        self,
        board: Board,
        site: Site,
        spoken: Callable[[Sequence[str]], tuple[Language, ...]],
        web: Web,
        desk: Desk,
        machine: Machine,
    ) -> None:
        self._board = board
        self._site = site
        self._spoken, self._languages = spoken, spoken(web.languages)
        self._aloud = stream.Aloud(web.sound, web.speech)
        self._desk = desk
        self._machine = machine
        self._screens_open = web.kiosk == "network"
        self._screens = Places(SCREENS, KEPT, SCREENS_EACH)
        self._streams = Places(STREAMS, KEPT, EACH)

    def routes(self) -> list[Route]:
        """Everything that can be asked for."""
        return [
            Route("/", self._for_readers(_file("operator.html", self._for_operators))),
            Route("/login", _file("login.html", self._named)),
            Route("/enrol", _file("enrol.html", self._named)),
            Route("/kiosk", self._at_the_gate(_file("kiosk.html", self._connecting))),
            *(Route(f"/static/{name}", _file(name)) for name in _STATIC),
            Route("/events", self.events),
            Route("/kiosk/events", self._at_the_gate(self.kiosk_events)),
            Route("/health", self.health),
            Route("/metrics", self.metrics),
        ]

    async def events(self, request: Request) -> Response:
        """Follow the log after the entry that the browser (Last-Event-ID) or the page (``?after=``) names."""
        reader = await self._desk.reader(request)
        if reader is None:
            return PlainTextResponse("log in first\n", 401)
        named = request.headers.get("last-event-id", "") or request.query_params.get("after", "")
        events = stream.entries(self._board, stream.last_event_id(named), self._machine.health, known=bool(reader.name))
        return self._stream(request, self._while_known(request, events, reader.name), self._streams)

    async def kiosk_events(self, request: Request) -> Response:
        """Follow the screen; ``?lang=ar,en`` chooses among all languages for one screen."""
        return self._stream(request, stream.kiosk(self._board, self._chosen(request), self._aloud), self._screens)

    async def health(self, _: Request) -> Response:
        """200 when the gate serves, 503 when not; the body says why."""
        board = self._board
        serving, known = board.serving(), board.standing
        told = {
            "serving": serving,
            "gate": self._site.gate,
            "screen": board.face().screen.value,
            "log": {"entries": board.open_size(), "sealed": board.open_sealed(), "trouble": board.trouble},
            "detects_attacks": known.detects_attacks,
            "lost": {name: device.detail for name, device in board.devices().items() if not device.ok},
            "version": metrics.release(),
        }
        return JSONResponse(told, 200 if serving else 503)

    async def metrics(self, _: Request) -> Response:
        """For Prometheus."""
        return PlainTextResponse(
            metrics.text(self._board, len(self._streams) + len(self._screens), self._machine.health()),
            headers={"Content-Type": metrics.CONTENT_TYPE},
        )

    def _for_readers(self, page: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """The page for whoever may read it; others are shown where to log in."""

        async def answer(request: Request) -> Response:
            if await self._desk.reader(request) is None:
                return RedirectResponse("/login", 303)
            return await page(request)

        return answer

    def _at_the_gate(self, page: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """The page for the screen of this machine; for others where the site says so: it tells why who was refused."""

        async def answer(request: Request) -> Response:
            if not self._may_see_screens(request):
                return PlainTextResponse("the kiosk page is for the screen of the gate\n", 403)
            return await page(request)

        return answer

    def _may_see_screens(self, request: Request) -> bool:
        return self._screens_open or _caller(request) in HERE

    async def _while_known(self, request: Request, events: AsyncIterator[bytes], name: str) -> AsyncIterator[bytes]:
        """These events for as long as whoever asked for them may read; an open page is nobody at it."""
        looked_s = time.monotonic()
        async for event in events:
            if time.monotonic() - looked_s > AGAIN_S:
                looked_s = time.monotonic()
                reader = await self._desk.reader(request)
                if reader is None or reader.name != name:
                    yield stream.event("over", {})
                    return
            yield event

    def _chosen(self, request: Request) -> tuple[Language, ...]:
        wanted = request.query_params.get("lang", "")
        if not wanted:
            return self._languages
        try:
            return self._spoken(wanted.split(",")[:8])
        except ValueError:
            raise HTTPException(404, "no such language") from None

    def _stream(self, request: Request, events: AsyncIterator[bytes], places: Places) -> Response:
        """Events for as long as the page is open, when there is a place for it."""
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        address = _caller(request)
        if not places.take(address):
            return PlainTextResponse("too many pages are open\n", 503, headers={"Retry-After": "5"})
        return _Stream(events, partial(places.leave, address))

    def _for_operators(self, page: str, request: Request) -> str:
        """The operator page, with a way to the kiosk page for whoever is shown that."""
        way = '<a href="/kiosk">Kiosk page</a> · ' if self._may_see_screens(request) else ""
        return self._named(page.replace("{kiosk}", way), request)

    def _named(self, page: str, _: Request) -> str:
        """A page with the gate's name."""
        return page.replace("{gate}", _escaped(f"{self._site.site} · {self._site.gate}"))

    def _connecting(self, page: str, request: Request) -> str:
        """The kiosk page with what it says while it has no server."""
        language = self._chosen(request)[0]
        words = language.connecting()
        texts = {"lang": language.code, "dir": language.direction, "say": words.say, "step": words.step}
        for mark, text in texts.items():
            page = page.replace("{" + mark + "}", _escaped(text))
        return page


class _Stream(StreamingResponse):
    """Events that give their place back when they end, also where they never began."""

    def __init__(self, events: AsyncIterator[bytes], leave: Callable[[], None]) -> None:
        super().__init__(events, media_type="text/event-stream")
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._leave()


def _caller(request: Request) -> str:
    return request.client.host if request.client else ""


def application(
    board: Board,
    site: Site,
    web: Web,
    desk: Desk,
    machine: Machine,
    more: Sequence[Route] = (),
    *,
    dispenser: bool = False,
) -> Guard:
    """The pages behind their door; ``more``: further addresses; ``dispenser``: something is handed out at this gate.

    Raises:
        UnknownLanguageError: the configuration names a language without words.
    """
    pages = Pages(board, site, handed_out if dispenser else load, web, desk, machine)
    return Guard(Starlette(routes=[*pages.routes(), *desk.routes(), *more]), web.names)


def _file(
    name: str, filled: Callable[[str, Request], str] = lambda page, _: page
) -> Callable[[Request], Awaitable[Response]]:
    """A page or picture of this package, read once."""
    text = resources.files("edge.web").joinpath("static", name).read_text(encoding="utf-8")
    kind = _TYPES[name.rpartition(".")[2]]

    async def answer(request: Request) -> Response:
        return Response(filled(text, request), media_type=kind)

    return answer


def _escaped(text: str) -> str:
    for sign, name in (("&", "amp"), ("<", "lt"), (">", "gt"), ('"', "quot"), ("'", "#39")):
        text = text.replace(sign, f"&{name};")
    return text
