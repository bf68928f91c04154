"""The catalogue as types: which services there are, what goes in and out, and what an answer may say.

Rules:

1. ``catalogue.toml`` is the only place where a path, an input, a code or a scope is written.
2. A service answers its own codes and the ``GENERIC`` ones; anything else is a mistake of ours.
3. A bad input is told by the code that its service allows (``complaint``).
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

GENERIC = ("NOT_AUTHENTICATED", "NOT_AUTHORISED", "PAYLOAD_TOO_LARGE", "SERVICE_UNAVAILABLE")
"""Codes that any service may answer: they are about the caller and the machine, not about the request."""
_COMPLAINTS = {
    "subjectID": ("INVALID_SUBJECT_ID",),
    "encounterID": ("INVALID_ENCOUNTER_ID",),
    "identityClaim": ("INVALID_IDENTITY_CLAIM",),
    "galleryID": ("UNKNOWN_GALLERY",),
    "bir": ("INVALID_BIR",),
    "inputBIR": ("INVALID_BIR",),
    "referenceBIR": ("INVALID_BIR",),
    "birList": ("INVALID_BIR",),
    "gallery": ("INVALID_BIR",),
    "inputData": ("INVALID_INPUT",),
    "token": ("INVALID_TOKEN",),
    "processingOptions": ("INVALID_PROCESSING_OPTION",),
}


@dataclass(frozen=True)
class Code:
    """What an answer may say."""

    name: str
    schema: str
    http: int
    says: str
    number: int | None = None


@dataclass(frozen=True)
class Field:
    """An input, an output, or a field of a type; ``is_`` names its type, ``[]`` behind it a list."""

    name: str
    is_: str
    use: str = "optional"
    at: str = "query"
    when: str = ""
    from_: str = ""
    enum: tuple[str, ...] = ()
    least: int | None = None
    most: int | None = None
    pattern: str = ""

    @property
    def required(self) -> bool:
        """Whether it must be there in any case."""
        return self.use == "required"


@dataclass(frozen=True)
class Service:
    """One service."""

    name: str
    clause: str
    title: str
    kind: str
    method: str
    sure: str
    also: tuple[str, ...]
    scope: str
    errors: tuple[str, ...]
    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...]
    later: str = ""

    @property
    def path(self) -> str:
        """Where it is asked for."""
        return f"/{self.name}"

    @property
    def methods(self) -> tuple[str, ...]:
        """All methods that are answered, the likeliest first."""
        return (self.method, *self.also)

    @property
    def fetches(self) -> bool:
        """Whether it hands out the results of another one that goes on in the background."""
        return self.name.endswith("Results")

    def complaint(self, name: str) -> str:
        """The code for a bad or missing input of that name."""
        allowed = (*_COMPLAINTS.get(name, ()), "INVALID_INPUT")
        found = next((code for code in allowed if code in self.errors), None)
        return found or next(code for code in self.errors if code.startswith(("INVALID", "UNKNOWN")))


@dataclass(frozen=True)
class Kind:
    """A type: fields of an object (``one``: exactly one of them), or a list of words."""

    name: str
    fields: tuple[Field, ...] = ()
    one: bool = False
    enum: tuple[str, ...] = ()


@dataclass(frozen=True)
class Catalogue:
    """The whole file."""

    codes: dict[str, Code]
    services: dict[str, Service]
    kinds: dict[str, Kind]
    capabilities: tuple[str, ...]

    def scopes(self) -> list[str]:
        """All rights that can be given."""
        return sorted({service.scope for service in self.services.values()})

    def later(self, results: Service) -> Service:
        """The service whose results this one hands out."""
        return next(service for service in self.services.values() if service.later == results.name)


@cache
def catalogue() -> Catalogue:
    """The catalogue of this release."""
    with Path(__file__).with_name("catalogue.toml").open("rb") as file:
        tables = tomllib.load(file)
    codes = [Code(**{k: v for k, v in each.items() if k != "from"}) for each in tables["codes"]]
    services = [_service(each) for each in tables["services"]]
    kinds = [
        Kind(each["name"], _fields(each.get("fields", ())), each.get("one", False), tuple(each.get("enum", ())))
        for each in tables["types"]
    ]
    return Catalogue(
        {code.name: code for code in codes},
        {service.name: service for service in services},
        {kind.name: kind for kind in kinds},
        tuple(tables["capabilities"]["names"]),
    )


def _service(table: dict[str, Any]) -> Service:
    plain = {key: table[key] for key in ("name", "clause", "title", "kind", "method", "sure", "scope")}
    return Service(
        **plain,
        also=tuple(table["also"]),
        errors=tuple(table["errors"]),
        inputs=_fields(table["inputs"]),
        outputs=_fields(table["outputs"]),
        later=table.get("later", ""),
    )


def _fields(tables: Any) -> tuple[Field, ...]:
    return tuple(_field(dict(each)) for each in tables)


def _field(table: dict[str, Any]) -> Field:
    table["is_"], table["from_"] = table.pop("is"), table.pop("from")
    return Field(**table | {"enum": tuple(table.pop("enum", ()))})
