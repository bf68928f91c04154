"""The addresses: which page answers what."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from importlib import resources

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from edge.settings import Site, Web
from edge.web import metrics, stream
from edge.web.board import Board
from edge.web.desk import Desk
from edge.web.guard import Guard
from edge.web.languages import Language, load
from edge.web.machine import Machine

STREAMS = 32
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
        self, board: Board, site: Site, languages: Sequence[Language], web: Web, desk: Desk, machine: Machine
    ) -> None:
        self._board = board
        self._site = site
        self._languages = tuple(languages)
        self._aloud = stream.Aloud(web.sound, web.speech)
        self._desk = desk
        self._machine = machine
        self._streams = 0

    def routes(self) -> list[Route]:
        """Everything that can be asked for."""
        return [
            Route("/", self._for_readers(_file("operator.html", self._named))),
            Route("/login", _file("login.html", self._named)),
            Route("/enrol", _file("enrol.html", self._named)),
            Route("/kiosk", _file("kiosk.html", self._connecting)),
            *(Route(f"/static/{name}", _file(name)) for name in _STATIC),
            Route("/events", self.events),
            Route("/kiosk/events", self.kiosk_events),
            Route("/health", self.health),
            Route("/metrics", self.metrics),
        ]

    async def events(self, request: Request) -> Response:
        """Follow the log after the entry that the browser (Last-Event-ID) or the page (``?after=``) names."""
        if await self._desk.reader(request) is None:
            return PlainTextResponse("log in first\n", 401)
        named = request.headers.get("last-event-id", "") or request.query_params.get("after", "")
        events = stream.entries(self._board, stream.last_event_id(named), self._machine.health)
        return self._stream(request, self._while_known(request, events))

    async def kiosk_events(self, request: Request) -> Response:
        """Follow the screen; ``?lang=ar,en`` chooses among all languages for one screen."""
        return self._stream(request, stream.kiosk(self._board, self._chosen(request), self._aloud))

    async def health(self, _: Request) -> Response:
        """200 when the gate serves, 503 when not; the body says why."""
        serving, known = self._board.serving(), self._board.standing
        told = {
            "serving": serving,
            "gate": self._site.gate,
            "screen": self._board.face().screen.value,
            "log": {"entries": known.size, "sealed": self._board.sealed, "trouble": self._board.trouble},
            "detects_attacks": known.detects_attacks,
            "lost": {name: device.detail for name, device in self._board.devices().items() if not device.ok},
            "version": metrics.release(),
        }
        return JSONResponse(told, 200 if serving else 503)

    async def metrics(self, _: Request) -> Response:
        """For Prometheus."""
        return PlainTextResponse(
            metrics.text(self._board, self._streams, self._machine.health()),
            headers={"Content-Type": metrics.CONTENT_TYPE},
        )

    def _for_readers(self, page: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """The page for whoever may read it; others are shown where to log in."""

        async def answer(request: Request) -> Response:
            if await self._desk.reader(request) is None:
                return RedirectResponse("/login", 303)
            return await page(request)

        return answer

    async def _while_known(self, request: Request, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """These events for as long as whoever asked for them may read; an open page is nobody at it."""
        looked_s = time.monotonic()
        async for event in events:
            if time.monotonic() - looked_s > AGAIN_S:
                looked_s = time.monotonic()
                if await self._desk.reader(request) is None:
                    yield stream.event("over", {})
                    return
            yield event

    def _chosen(self, request: Request) -> tuple[Language, ...]:
        wanted = request.query_params.get("lang", "")
        if not wanted:
            return self._languages
        try:
            return load(wanted.split(",")[:8])
        except ValueError:
            raise HTTPException(404, "no such language") from None

    def _stream(self, request: Request, events: AsyncIterator[bytes]) -> Response:
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        if self._streams >= STREAMS:
            return PlainTextResponse("too many pages are open\n", 503, headers={"Retry-After": "5"})
        return StreamingResponse(self._counted(events), media_type="text/event-stream")

    async def _counted(self, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        self._streams += 1
        try:
            async for event in events:
                yield event
        finally:
            self._streams -= 1

    def _named(self, page: str, _: Request) -> str:
        """The operator page with the gate's name."""
        return page.replace("{gate}", _escaped(f"{self._site.site} · {self._site.gate}"))

    def _connecting(self, page: str, request: Request) -> str:
        """The kiosk page with what it says while it has no server."""
        language = self._chosen(request)[0]
        words = language.connecting()
        texts = {"lang": language.code, "dir": language.direction, "say": words.say, "step": words.step}
        for mark, text in texts.items():
            page = page.replace("{" + mark + "}", _escaped(text))
        return page


def application(board: Board, site: Site, web: Web, desk: Desk, machine: Machine, more: Sequence[Route] = ()) -> Guard:
    """The pages behind their door; ``more``: further addresses.

    Raises:
        UnknownLanguageError: the configuration names a language without words.
    """
    pages = Pages(board, site, load(web.languages), web, desk, machine)
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
