"""The inputs of a request, from wherever they are: query, JSON body, multipart parts.

Rules:

1. Looked for in the query first (plain, JSON text, or ``name[field]`` in brackets), then in the body. Inputs that the
   service does not know are passed over.
2. A body longer than ``LIMIT``, or a query longer than ``LIMIT``, is PAYLOAD_TOO_LARGE and not kept; a body that
   does not come within ``BODY_S`` ends the request.
3. JSON has no NaN, no infinity, no numbers of a thousand digits and no depth beyond what a BIR needs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request

from edge.iavs.catalogue import Catalogue, Field, Service
from edge.iavs.parts import parts
from edge.iavs.refused import Refused
from edge.iavs.shapes import Misshapen, shaped

LIMIT = 2 * 1024 * 1024
BODY_S = 15.0
_DRAIN_S = 1.0
_DEPTH = 24
_FIELDS = 4096
_BRACKETS = re.compile(r"([A-Za-z]{1,64})((?:\[[A-Za-z0-9_]{0,64}\]){1,12})")


async def inputs(request: Request, service: Service, catalogue: Catalogue) -> dict[str, Any]:
    """All inputs of the service, checked.

    Raises:
        Refused: the code that the service allows for what is wrong, or PAYLOAD_TOO_LARGE.
    """
    query = _query(request, service)
    body = await _body(request, service)
    made: dict[str, Any] = {}
    for field in service.inputs:
        loose = field.name in query
        if not loose and field.name not in body:
            if field.required:
                raise Refused(service.complaint(field.name), f"{field.name} is missing")
            continue
        value = query[field.name] if loose else body[field.name]
        if value is None and not field.required:
            continue
        made[field.name] = _checked(service, catalogue, field, value, loose=loose)
    return made


def _checked(service: Service, catalogue: Catalogue, field: Field, value: Any, *, loose: bool) -> Any:
    structured = field.is_.removesuffix("[]") in catalogue.kinds
    if structured and isinstance(value, str) and value[:1] in ("{", "[", '"'):
        value = json_value(value, service.complaint(field.name))
    try:
        return shaped(catalogue, field, value, loose=loose)
    except Misshapen as error:
        unsupported = "bdbInfo.type" in str(error) or str(error).startswith("biometricType")
        code = "BIOMETRIC_TYPE_NOT_SUPPORTED"
        if not unsupported or code not in service.errors:
            code = service.complaint(field.name)
        raise Refused(code, f"wrong at {error}") from error


def json_value(text: str | bytes, code: str) -> Any:
    """What JSON says.

    Raises:
        Refused: ``code``; it is none.
    """
    try:
        value = json.loads(text, parse_constant=_no_constant)
        _shallow(value, 0)
    except (ValueError, RecursionError) as error:
        raise Refused(code, "not JSON") from error
    return value


def _no_constant(_: str) -> Any:
    raise ValueError("not a number")


def _shallow(value: Any, depth: int) -> None:
    if depth > _DEPTH:
        raise ValueError("too deep")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _shallow(item, depth + 1)


def _query(request: Request, service: Service) -> dict[str, Any]:
    raw: bytes = request.scope["query_string"]
    if len(raw) > LIMIT:
        raise Refused("PAYLOAD_TOO_LARGE", f"query of {len(raw)} bytes")
    known = {field.name: field for field in service.inputs}
    found: dict[str, Any] = {}
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=_FIELDS, errors="strict")
    except (ValueError, UnicodeDecodeError) as error:
        raise Refused(_any(service), "the query cannot be read") from error
    for key, value in pairs:
        bracketed = _BRACKETS.fullmatch(key)
        name = bracketed[1] if bracketed else key
        if name not in known:
            continue
        if bracketed:
            _put(found, name, re.findall(r"\[([^\]]*)\]", bracketed[2]), value)
        elif known[name].is_.endswith("[]") and name in found:
            found[name] = [*_listed(found[name]), value]
        else:
            found[name] = value
    return {name: _without_numbers(value) for name, value in found.items()}


def _put(found: dict[str, Any], name: str, path: list[str], value: str) -> None:
    place = found.setdefault(name, {})
    for at, key in enumerate(path):
        if not isinstance(place, dict):
            return
        key = key or str(len(place))
        if at == len(path) - 1:
            place[key] = value
        else:
            place = place.setdefault(key, {})


def _without_numbers(value: Any) -> Any:
    """``a[0]=x&a[1]=y`` is a list."""
    if not isinstance(value, dict):
        return value
    if value and all(key.isdigit() and key.isascii() for key in value):
        return [_without_numbers(item) for item in value.values()]
    return {key: _without_numbers(item) for key, item in value.items()}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


async def _body(request: Request, service: Service) -> dict[str, Any]:
    raw = await read_body(request)
    if not raw:
        return {}
    kind = request.headers.get("content-type", "application/json").lower()
    if kind.startswith("multipart/"):
        return _parts(request.headers["content-type"], raw, service)
    if kind.startswith("application/x-www-form-urlencoded"):
        raise Refused(_any(service), "JSON or multipart")
    value = json_value(raw, _any(service))
    if not isinstance(value, dict):
        raise Refused(_any(service), "the body is a JSON object of inputs")
    return value


async def read_body(request: Request) -> bytes:
    """The body, within its limits.

    Raises:
        Refused: PAYLOAD_TOO_LARGE.
    """
    told = request.headers.get("content-length", "0")
    if not told.isascii() or not told.isdigit() or len(told) > 12 or int(told) > LIMIT:
        await drained(request)
        raise Refused("PAYLOAD_TOO_LARGE", f"body of {told[:12]} bytes")
    found = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                found += chunk
                if len(found) > LIMIT:
                    raise Refused("PAYLOAD_TOO_LARGE", "body too long")
    except TimeoutError as error:
        raise Refused("SERVICE_UNAVAILABLE", "the body did not come") from error
    return bytes(found)


async def drained(request: Request) -> None:
    """Let the caller finish sending, within reason: an answer before that is lost with the connection."""
    came = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_S):
            async for chunk in request.stream():
                came += len(chunk)
                if came > 4 * LIMIT:
                    return


def _parts(header: str, raw: bytes, service: Service) -> dict[str, Any]:
    """Multipart: a part for each input; JSON where its type says so, text otherwise."""
    found: dict[str, Any] = {}
    try:
        pieces = parts(header, raw)
    except ValueError as error:
        raise Refused(_any(service), str(error)) from error
    for part in pieces:
        if part.kind == "application/json":
            found[part.name] = json_value(part.content, _any(service))
            continue
        try:
            found[part.name] = part.content.decode()
        except UnicodeDecodeError as error:
            raise Refused(service.complaint(part.name), "a part that is not text") from error
    return found


def _any(service: Service) -> str:
    """The code for a request that cannot be read at all."""
    return service.complaint("")
