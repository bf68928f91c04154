"""What a page sends: one small JSON object, with exactly the fields its address asks for.

Rules:

1. ``LIMIT`` bytes within ``BODY_S``, or the connection is closed.
2. Every name once, known and wanted; texts short and of characters that exist; no numbers with a point, nothing nested
   but a list of texts.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request

LIMIT: Final = 8192
BODY_S: Final = 5.0
TEXT: Final = 256
ITEMS: Final = 20
_CLOSE: Final = {"Connection": "close"}


async def asked(request: Request, shape: Mapping[str, type]) -> dict[str, Any]:
    """The fields of the request's body; ``shape`` is name and type of each: str, int, bool or list (of texts).

    Raises:
        HTTPException: 408, 413 or 400; the body is not that.
    """
    body = await _body(request)
    try:
        table = json.loads(body, object_pairs_hook=_once, parse_constant=_nothing, parse_float=_nothing)
        if not isinstance(table, dict) or set(table) != set(shape):
            raise ValueError("other fields")
        return {name: _fit(table[name], kind) for name, kind in shape.items()}
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "not what is asked for here") from error


async def _body(request: Request) -> bytes:
    """Rule 1."""
    found = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                found += chunk
                if len(found) > LIMIT:
                    raise HTTPException(413, "too long", _CLOSE)
    except TimeoutError as error:
        raise HTTPException(408, "too slow", _CLOSE) from error
    return bytes(found)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a name twice")
    return dict(pairs)


def _nothing(_: str) -> Any:
    raise ValueError("not a whole number")


def _fit(value: Any, kind: type) -> Any:
    """Rule 2."""
    if type(value) is not kind:
        raise ValueError("another type")
    if isinstance(value, list):
        if len(value) > ITEMS:
            raise ValueError("too many")
        return [_fit(item, str) for item in value]
    if isinstance(value, str) and (len(value) > TEXT or (not value.isascii() and not _exists(value))):
        raise ValueError("not a short text")
    if isinstance(value, int) and not -1 <= value < 1 << 53:
        raise ValueError("not a number of an entry")
    return value


def _exists(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
