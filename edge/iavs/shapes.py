"""Whether a value is what the catalogue promises, and the value in the catalogue's own casing.

Rules:

1. Names of fields are read in any casing and with underscores; unknown fields are dropped.
2. What came in a query is text: numbers and truth values are read from it.
3. Text is UTF-8 without NUL, lists and texts have limits. What is wrong is told by the path to it, never by the value.
"""

from __future__ import annotations

import binascii
import math
import re
from base64 import b64decode
from datetime import datetime
from typing import Any
from uuid import UUID

from edge.iavs.catalogue import Catalogue, Field

TEXT_LIMIT = 64 * 1024
LIST_LIMIT = 10_000
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S*")


class Misshapen(ValueError):  # noqa: N818 -- says what the value is
    """The value is not of its type; the message is the path to what is wrong."""


def shaped(catalogue: Catalogue, field: Field, value: Any, *, loose: bool = False) -> Any:
    """The value as the field wants it.

    Raises:
        Misshapen: it is something else.
    """
    return _Shaper(catalogue, loose).value(field, value, field.name)


class _Shaper:
    def __init__(self, catalogue: Catalogue, loose: bool) -> None:
        self._catalogue = catalogue
        self._loose = loose

    def value(self, field: Field, value: Any, path: str) -> Any:
        if not field.is_.endswith("[]"):
            return self._one(field, field.is_, value, path)
        if not isinstance(value, list):
            value = [value]  # one of a list may stand alone, as in XML
        if len(value) > LIST_LIMIT or len(value) < (field.least or 0):
            raise Misshapen(path)
        return [self._one(field, field.is_[:-2], item, f"{path}[{at}]") for at, item in enumerate(value)]

    def _one(self, field: Field, name: str, value: Any, path: str) -> Any:
        match name:
            case "id":
                return identifier(value, path)
            case "string":
                text = _text(value, path)
                if field.pattern and not re.search(field.pattern, text):
                    raise Misshapen(path)
                return text
            case "integer" | "integer+" | "integer0":
                least = {"integer": field.least, "integer+": 1, "integer0": 0}[name]
                return self._whole(value, least, field.most, path)
            case "number":
                return self._number(value, path)
            case "boolean":
                return self._truth(value, path)
            case "enum":
                return _word(value, field.enum, path)
            case "any":
                return value
            case "byte":
                return _byte(value, path)
            case "uri" | "uuid" | "date-time":
                return _formatted(name, _text(value, path), path)
        return self._object(name, value, path)

    def _object(self, name: str, value: Any, path: str) -> Any:
        kind = self._catalogue.kinds[name]
        if kind.enum:
            return _word(value, kind.enum, path)
        if name == "TokenType" and isinstance(value, str):
            value = {"tokenValue": value, "expiration": "9999-12-31T00:00:00Z"}
        listed = kind.fields[0] if len(kind.fields) == 1 and kind.fields[0].is_.endswith("[]") else None
        if listed and isinstance(value, list):
            value = {listed.name: value}
        if not isinstance(value, dict):
            raise Misshapen(path)
        if not kind.fields:
            return value
        known = {_folded(field.name): field for field in kind.fields}
        made: dict[str, Any] = {}
        for key, item in value.items():
            field = known.get(_folded(key))
            if field is not None and item is not None:
                made[field.name] = self.value(field, item, f"{path}.{field.name}")
        for field in kind.fields:
            if field.required and field.name not in made:
                raise Misshapen(f"{path}.{field.name}")
        if kind.one and len(made) != 1:
            raise Misshapen(path)
        return made

    def _whole(self, value: Any, least: int | None, most: int | None, path: str) -> int:
        if self._loose and isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value, re.ASCII):
            value = int(value)
        if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
            value = int(value)  # JSON knows no difference
        if type(value) is not int or abs(value) >= 2**63:
            raise Misshapen(path)
        if (least is not None and value < least) or (most is not None and value > most):
            raise Misshapen(path)
        return value

    def _number(self, value: Any, path: str) -> float:
        if self._loose and isinstance(value, str):
            try:
                value = float(value)
            except ValueError as error:
                raise Misshapen(path) from error
        if type(value) not in (int, float) or abs(value) > 1e300 or not math.isfinite(value):
            raise Misshapen(path)
        return float(value)

    def _truth(self, value: Any, path: str) -> bool:
        if self._loose and isinstance(value, str):
            value = {"true": True, "false": False}.get(value, value)
        if type(value) is not bool:
            raise Misshapen(path)
        return value


def identifier(value: Any, path: str) -> str:
    """An identifier: 1 to 255 characters."""
    text = _text(value, path)
    if not 1 <= len(text) <= 255:
        raise Misshapen(path)
    return text


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise Misshapen(path)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise Misshapen(path) from error
    if "\0" in value or (len(value) > TEXT_LIMIT and not path.endswith((".xml", ".documentImage", ".uri"))):
        raise Misshapen(path)
    return value


def _word(value: Any, words: tuple[str, ...], path: str) -> str:
    found = {word.lower(): word for word in words}.get(_text(value, path).strip().lower())
    if found is None:
        raise Misshapen(path)
    return found


def _byte(value: Any, path: str) -> str:
    if not isinstance(value, str) or not value.isascii():
        raise Misshapen(path)
    try:
        b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Misshapen(path) from error
    return "".join(value.split())


def _formatted(name: str, text: str, path: str) -> str:
    try:
        match name:
            case "uuid":
                UUID(text)
            case "date-time":
                # a database of others may know nanoseconds; we keep what is written
                datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text).replace("z", "Z"))
            case _ if not _URI.fullmatch(text):
                raise Misshapen(path)
    except ValueError as error:
        raise Misshapen(path) from error
    return text


def _folded(name: str) -> str:
    return name.replace("_", "").lower()
