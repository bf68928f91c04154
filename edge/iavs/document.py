"""The OpenAPI document, made from the catalogue.

A structured input is described as JSON in the query, which every tool encodes alike; where a service answers POST, PUT
or PATCH the same inputs are described as a JSON body, where they belong.
"""

from __future__ import annotations

import json
from typing import Any

from edge.iavs.catalogue import GENERIC, Catalogue, Field, Kind, Service

Plain = dict[str, Any]
_STATUS = {
    200: "Success",
    202: "Accepted or not ready; Retry-After tells when to ask again",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    413: "Content Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
}
_FORMATS = {"byte", "uri", "uuid", "date-time"}
_WITH_BODY = ("POST", "PUT", "PATCH")


def document(catalogue: Catalogue, version: str) -> Plain:
    """The whole document; the same bytes for the same catalogue."""
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "IAVS",
            "version": version,
            "description": "Derived from public parts of ISO/IEC 30108-2:2023. Not ISO text, no claim of conformance.",
        },
        "security": [{"oauth2": []}],
        "paths": {service.path: _path(catalogue, service) for service in catalogue.services.values()},
        "components": {
            "responses": _responses(),
            "schemas": _errors(catalogue) | {kind.name: _kind(kind) for kind in catalogue.kinds.values()},
            "securitySchemes": _security(catalogue),
        },
    }


def written(plain: Plain) -> bytes:
    """The document as it is served."""
    return json.dumps(plain, indent=1, ensure_ascii=False).encode() + b"\n"


def schema(field: Field) -> Plain:
    """The JSON schema of a field or an input."""
    name, many = field.is_.removesuffix("[]"), field.is_.endswith("[]")
    one = _scalar(name, field)
    if not many:
        return one
    return {"type": "array", "items": one} | ({"minItems": field.least} if field.least else {})


def _scalar(name: str, field: Field) -> Plain:
    pattern = {"pattern": field.pattern} if field.pattern else {}
    match name:
        case "id":
            return {"type": "string", "minLength": 1, "maxLength": 255}
        case "string" | "number" | "boolean":
            return {"type": name} | ({"format": "float"} if name == "number" else {}) | pattern
        case "integer" | "integer+" | "integer0":
            least = {"integer": field.least, "integer+": 1, "integer0": 0}[name]
            bounds = {"minimum": least, "maximum": field.most}
            return {"type": "integer"} | {key: bound for key, bound in bounds.items() if bound is not None}
        case "enum":
            return {"type": "string", "enum": list(field.enum)}
        case "any":
            return {}
        case _ if name in _FORMATS:
            return {"type": "string", "format": name}
    return {"$ref": f"#/components/schemas/{name}"}


def _kind(kind: Kind) -> Plain:
    if kind.enum:
        return {"type": "string", "enum": list(kind.enum)}
    plain: Plain = {"type": "object"}
    if kind.fields:
        plain["properties"] = {field.name: schema(field) for field in kind.fields}
    else:
        plain["additionalProperties"] = True
    required = [field.name for field in kind.fields if field.required]
    if required:
        plain["required"] = required
    if kind.one:
        plain |= {"minProperties": 1, "maxProperties": 1}
    return plain


def _path(catalogue: Catalogue, service: Service) -> Plain:
    return {method.lower(): _operation(catalogue, service, method) for method in service.methods}


def _operation(catalogue: Catalogue, service: Service, method: str) -> Plain:
    first = method == service.method
    plain: Plain = {
        "summary": service.title,
        "operationId": service.name if first else f"{service.name}_{method.lower()}",
        "tags": [service.kind],
        "x-iavs-clause": service.clause,
        "x-method-confidence": service.sure if first else "alternate",
        "security": [{"oauth2": [service.scope]}],
    }
    body = [each for each in service.inputs if method in _WITH_BODY and _structured(catalogue, each)]
    asked = [_parameter(catalogue, each) for each in service.inputs if each not in body]
    if asked:
        plain["parameters"] = asked
    if body:
        plain["requestBody"] = _body(body)
    return plain | {"responses": _answers(catalogue, service)}


def _structured(catalogue: Catalogue, field: Field) -> bool:
    kind = catalogue.kinds.get(field.is_.removesuffix("[]"))
    return kind is not None and not kind.enum and field.is_ != "TokenType"


def _parameter(catalogue: Catalogue, field: Field) -> Plain:
    plain: Plain = {"name": field.name, "in": "query", "required": field.required}
    if field.is_ == "TokenType":  # its value is enough
        return plain | {"schema": {"type": "string", "minLength": 1, "maxLength": 255}}
    if _structured(catalogue, field):
        return plain | {"content": {"application/json": {"schema": schema(field)}}}
    return plain | {"schema": schema(field)}


def _body(fields: list[Field]) -> Plain:
    required = [field.name for field in fields if field.required]
    shape: Plain = {"type": "object", "properties": {field.name: schema(field) for field in fields}}
    if required:
        shape["required"] = required
    return {"required": bool(required), "content": {"application/json": {"schema": shape}}}


def _answers(catalogue: Catalogue, service: Service) -> Plain:
    plain: Plain = {"200": {"$ref": "#/components/responses/success"}}
    if service.outputs:
        required = [field.name for field in service.outputs if field.required]
        shape: Plain = {"type": "object", "properties": {field.name: schema(field) for field in service.outputs}}
        plain["200"] = _answer(200, shape | ({"required": required} if required else {}))
    for status, names in codes(catalogue, service).items():
        refs = [{"$ref": f"#/components/schemas/{catalogue.codes[name].schema}"} for name in names]
        plain[str(status)] = _answer(status, refs[0] if len(refs) == 1 else {"oneOf": refs})
    if service.later or service.fetches:
        accepted = {"schema": {"type": "object"}}
        wait = {"Retry-After": {"schema": {"type": "integer"}}}
        plain["202"] = {"description": _STATUS[202], "headers": wait, "content": {"application/json": accepted}}
    return plain | {"503": {"$ref": "#/components/responses/x503"}}


def codes(catalogue: Catalogue, service: Service) -> dict[int, list[str]]:
    """All codes that this service may answer, by status, without success, 202 and 503."""
    found: dict[int, list[str]] = {}
    for name in (*service.errors, *GENERIC):
        code = catalogue.codes[name]
        if code.http != 503 and name not in found.setdefault(code.http, []):
            found[code.http].append(name)
    return dict(sorted(found.items()))


def _answer(status: int, shape: Plain) -> Plain:
    return {"description": _STATUS[status], "content": {"application/json": {"schema": shape}}}


def _responses() -> Plain:
    wait = {"Retry-After": {"schema": {"type": "integer"}}}
    unavailable = {"application/json": {"schema": {"$ref": "#/components/schemas/serviceUnavailable"}}}
    return {
        "success": {"description": "Success"},
        "x503": {"description": "Service Unavailable", "headers": wait, "content": unavailable},
    }


def _errors(catalogue: Catalogue) -> Plain:
    """One schema per code, told apart by the code itself."""
    text = {"type": "string"}
    return {
        code.schema: {
            "type": "object",
            "properties": {"code": {"type": "string", "enum": [code.name]}, "message": text, "detail": text},
            "required": ["code", "message"],
        }
        for code in catalogue.codes.values()
        if code.name != "SUCCESS"
    }


def _security(catalogue: Catalogue) -> Plain:
    scopes = {
        scope: ", ".join(each.name for each in catalogue.services.values() if each.scope == scope)
        for scope in catalogue.scopes()
    }
    flow = {"clientCredentials": {"tokenUrl": "https://idp.example/token", "scopes": scopes}}
    return {"oauth2": {"type": "oauth2", "flows": flow}}
