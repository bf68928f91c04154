"""The door of the services: every request passes here, and every answer leaves here.

Rules:

1. Who asks is known before anything is read: 401 without, 403 without the scope.
2. A path answers the methods of the catalogue; others get 405 with ``Allow``.
3. An answer says only what the catalogue lists for its service. A code that is not listed is replaced by the nearest
   one that is, and a fault of ours is UNKNOWN_ERROR without detail.
4. Nothing may be kept: ``no-store`` on everything. The log gets the path's name and the code, never query or body.
5. ``AT_ONCE`` requests of more than ``LARGE`` bytes at once, as many as edge-vision lets wait: the others are told to
   come back. A sample in memory is several times its size, and screen and operator page live in the same process.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from edge.iavs.aggregates import options
from edge.iavs.asking import drained, inputs
from edge.iavs.catalogue import GENERIC, Catalogue, Service
from edge.iavs.desk import Ask, Caller
from edge.iavs.document import document, written
from edge.iavs.refused import Refused
from edge.iavs.results import Results
from edge.iavs.subjects import Answer, Handler

HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
RETRY_S = 1
AT_ONCE = 16
LARGE = 64 * 1024
_NEAREST = {
    "INTERNAL_DATABASE_ERROR": ("CANNOT_STORE_DATA", "CANNOT_CHECK_QUALITY", "CANNOT_PROCESS_DATA"),
    "CANNOT_PROCESS_DATA": ("CANNOT_CHECK_QUALITY", "CANNOT_STORE_DATA"),
    "CANNOT_CHECK_QUALITY": ("CANNOT_PROCESS_DATA",),
    "CANNOT_IDENTIFY": ("CANNOT_PROCESS_DATA",),
    "CANNOT_VERIFY": ("INVALID_INPUT",),
    "UNKNOWN_GALLERY": ("INVALID_INPUT",),
    "UNKNOWN_ENCOUNTER": ("INVALID_ENCOUNTER_ID", "INVALID_INPUT"),
    "UNKNOWN_SUBJECT": ("INVALID_SUBJECT_ID", "INVALID_INPUT"),
    "INVALID_SUBJECT_ID": ("INVALID_INPUT",),
    "INVALID_IDENTITY_CLAIM": ("UNKNOWN_IDENTITY_CLAIM", "INVALID_INPUT"),
    "UNKNOWN_IDENTITY_CLAIM": ("INVALID_INPUT",),
    "INVALID_INPUT": ("INVALID_SUBJECT_ID",),
    "UNSUPPORTED_CAPABILITY": ("INVALID_INPUT",),
    "NONEXISTANT_DATA": ("INVALID_INPUT",),
}
_FORGETTING = ("deleteSubject", "delete", "deleteEncounter", "deleteSubjectFromGallery")
"""Services after which earlier results say what is no longer so."""
log = logging.getLogger(__name__)


class Access(Protocol):
    """Knows who asks."""

    async def admit(self, request: Request, scope: str) -> Caller:
        """The caller, who may do this.

        Raises:
            Refused: NOT_AUTHENTICATED, NOT_AUTHORISED, SERVICE_UNAVAILABLE.
        """
        ...


class Door:
    """The services as an ASGI application; façades stand beside them under their own paths."""

    def __init__(
        self,
        catalogue: Catalogue,
        handlers: dict[str, Handler],
        access: Access,
        results: Results,
        version: str,
        facades: dict[str, ASGIApp] | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._handlers = handlers
        self._access = access
        self._results = results
        self._document = written(document(catalogue, version))
        self._facades = facades or {}
        self._large = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        if not _large(request):
            await self._answered(request, send)
        elif self._large < AT_ONCE:
            self._large += 1
            try:
                await self._answered(request, send)
            finally:
                self._large -= 1
        else:
            await drained(request)
            response = self.refusal(None, Refused("SERVICE_UNAVAILABLE", "too many large requests at once"))
            response.headers.update(HEADERS)
            await response(scope, receive, send)

    async def _answered(self, request: Request, send: Send) -> None:
        scope = request.scope
        try:
            response = await self._answer(request)
        except (ClientDisconnect, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 -- rule 3: the text may hold what was sent, the type does not
            log.error("%s: unexpected %s", scope["path"][:64] if scope["path"].isascii() else "?", type(error).__name__)
            response = self.refusal(None, Refused("UNKNOWN_ERROR"))
        response.headers.update(HEADERS)
        await response(scope, request.receive, send)

    async def _answer(self, request: Request) -> Response:
        path = request.scope["path"]
        if path == "/openapi.json" and request.method in ("GET", "HEAD"):
            return Response(self._document, media_type="application/json")
        facade = next((each for prefix, each in self._facades.items() if path.startswith(prefix)), None)
        if facade is not None:
            return _Handed(facade)
        service = self._catalogue.services.get(path[1:])
        if service is None:
            return _json(404, {"code": "UNKNOWN_PATH", "message": "there is no such service"})
        if request.method not in service.methods:
            response = _json(405, {"code": "METHOD_NOT_ALLOWED", "message": "not by this method"})
            response.headers["Allow"] = ", ".join(service.methods)
            return response
        try:
            return await self._served(request, service)
        except Refused as refused:
            return self.refusal(service, refused)

    async def _served(self, request: Request, service: Service) -> Response:
        caller = await self._access.admit(request, service.scope)
        ask = Ask(service, await inputs(request, service, self._catalogue), caller)
        if service.fetches:
            token = ask.inputs["token"]["tokenValue"]
            return _json(200, await self._results.fetch(service, caller.name, token))
        prefers = "respond-async" in request.headers.get("prefer", "")
        if service.later and (prefers or options(ask).get("async") == "true"):
            answer = self._results.begin(service, caller.name, self._behind(ask))
            return _json(202 if prefers else 200, answer)
        return _json(200, await self.serve(ask))

    def _behind(self, ask: Ask) -> Callable[[Callable[[str], None]], Any]:
        async def work(step: Callable[[str], None]) -> Answer:
            return await self.serve(replace(ask, step=step))

        return work

    async def serve(self, ask: Ask) -> Answer:
        """Let the service do its work.

        Raises:
            Refused: UNKNOWN_ERROR for a fault of ours, and whatever the service refuses.
        """
        try:
            answer = await self._handlers[ask.service.name](ask)
        except Refused:
            raise
        except Exception as error:
            log.error("%s: unexpected %s", ask.service.name, type(error).__name__)
            raise Refused("UNKNOWN_ERROR") from error
        if ask.service.name in _FORGETTING:
            named = (answer.get("subjectID"), ask.get("subjectID"), ask.get("identityClaim"))
            self._results.forget(*(name for name in named if name))
        return answer

    def refusal(self, service: Service | None, refused: Refused) -> Response:
        """Rule 3."""
        name = refused.code if service is None else listed(service, refused.code)
        code = self._catalogue.codes[name]
        detail = refused.detail if name == refused.code else f"{refused.code} {refused.detail}".strip()
        body = {"code": code.name, "message": code.says} | ({"detail": detail[:300]} if detail else {})
        response = _json(code.http, body)
        if code.http in (202, 503):
            response.headers["Retry-After"] = str(RETRY_S)
        return response


def listed(service: Service, code: str) -> str:
    """The code, or the nearest one that the service lists."""
    if code in service.errors or code in GENERIC or (code == "RESULT_NOT_READY" and service.fetches):
        return code
    return next((each for each in _NEAREST.get(code, ()) if each in service.errors), "UNKNOWN_ERROR")


def _large(request: Request) -> bool:
    """Rule 5; of a body without a length nobody knows."""
    told = request.headers.get("content-length", "0")
    if "transfer-encoding" in request.headers or not told.isascii() or not told.isdigit() or len(told) > 12:
        return True
    return int(told) > LARGE or len(request.scope["query_string"]) > LARGE


class _Handed(Response):
    """An answer that another application gives."""

    def __init__(self, application: ASGIApp) -> None:
        super().__init__()
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let it answer, under our headers."""

        async def ours(message: Any) -> None:
            if message["type"] == "http.response.start":
                extra = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *extra]
            await send(message)

        await self._application(scope, receive, ours)


def _json(status: int, body: Answer) -> Response:
    return Response(json.dumps(body, ensure_ascii=False).encode(), status, media_type="application/json")
