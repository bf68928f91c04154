"""The same services under the names of others: one core, the same decision whoever's words are used.

Rules:

1. A façade holds no logic: it turns foreign words into inputs of a service of the catalogue and the answer back.
2. Who may do the service may do it here; the door's limits hold.
"""

from __future__ import annotations

import json
import logging
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from edge.iavs.asking import json_value, read_body
from edge.iavs.catalogue import Field, catalogue
from edge.iavs.desk import Ask, Caller
from edge.iavs.refused import Refused
from edge.iavs.shapes import Misshapen, shaped
from edge.iavs.subjects import Answer, Handler

log = logging.getLogger(__name__)


class Access(Protocol):
    """Knows who asks."""

    async def admit(self, request: Request, scope: str) -> Caller:
        """The caller, who may do this."""
        ...


class Facade:
    """What every façade does the same way."""

    prefix = "/"

    def __init__(self, handlers: dict[str, Handler], access: Access) -> None:
        self._handlers = handlers
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        try:
            status, said = await self.answer(request, scope["path"].removeprefix(self.prefix))
        except Refused as refused:
            status, said = self.refusal(refused)
        except Exception as error:  # noqa: BLE001 -- the text may hold what was sent, the type does not
            log.error("%s: unexpected %s", self.prefix, type(error).__name__)
            status, said = 500, self.refusal(Refused("UNKNOWN_ERROR"))[1]
        response = Response(json.dumps(said, ensure_ascii=False).encode(), status, media_type="application/json")
        await response(scope, receive, send)

    async def answer(self, request: Request, path: str) -> tuple[int, Any]:
        """The façade's own part.

        Raises:
            Refused: as the services.
        """
        raise Refused("SERVICE_NOT_IMPLEMENTED", path[:32])

    def refusal(self, refused: Refused) -> tuple[int, Any]:
        """How a refusal is told."""
        code = catalogue().codes[refused.code]
        return code.http, {"code": code.number or code.http, "message": f"{code.name}: {refused.detail or code.says}"}

    async def admitted(self, request: Request, service: str) -> Caller:
        """The caller, who may use that service."""
        return await self._access.admit(request, catalogue().services[service].scope)

    async def ask(self, caller: Caller, service: str, **inputs: Any) -> Answer:
        """What a service of the catalogue says."""
        known = catalogue().services[service]
        made: dict[str, Any] = {}
        for field in known.inputs:
            if field.name in inputs:
                made[field.name] = _shaped(known.complaint(field.name), field, inputs[field.name])
        return await self._handlers[service](Ask(known, made, caller))


async def body(request: Request) -> Any:
    """The JSON body."""
    if request.method != "POST":
        raise Refused("INVALID_INPUT", "POST")
    return json_value(await read_body(request), "INVALID_INPUT")


def sample(data: str, info: dict[str, Any]) -> Answer:
    """A data block, base64, as a sample."""
    record = {"birInfo": {"integrity": False}, "bdbInfo": info, "bdb": data}
    return {"formatOwner": 257, "formatType": 11, "bir": {"json": record}}


def _shaped(code: str, field: Field, value: Any) -> Any:
    try:
        return shaped(catalogue(), field, value)
    except Misshapen as error:
        raise Refused(code, f"wrong at {error}") from error
