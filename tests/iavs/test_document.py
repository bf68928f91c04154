"""The OpenAPI document: valid, and explained where it differs from the one that was derived beside it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import openapi_spec_validator
import pytest
import yaml

from edge.iavs.catalogue import GENERIC, catalogue
from edge.iavs.document import codes, document, written

EXPLAINED = {
    "security": "each operation names its scope; the derived document has one for all",
    "401": "no or bad certificate or token: ours, about the caller",
    "403 NOT_AUTHORISED": "the caller lacks the scope: ours",
    "413": "payload too large: ours",
    "202": "says what its body is, and Retry-After",
    "body": "a body whose inputs are all conditional may be missing; the query serves as well",
}


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return document(catalogue(), "0")


def test_all_forty_services_are_there(made: dict[str, Any]) -> None:
    kinds = Counter(service.kind for service in catalogue().services.values())
    assert kinds == {"primitive": 29, "aggregate": 11}
    assert len(made["paths"]) == 40
    assert sum(len(path) for path in made["paths"].values()) == 67


def test_the_document_is_valid_openapi(made: dict[str, Any]) -> None:
    openapi_spec_validator.validate(made)


def test_the_same_catalogue_gives_the_same_bytes(made: dict[str, Any]) -> None:
    assert written(made) == written(document(catalogue(), "0"))


def test_every_fact_says_how_it_is_known() -> None:
    for service in catalogue().services.values():
        for field in (*service.inputs, *service.outputs):
            assert field.from_, (service.name, field.name)
    for kind in catalogue().kinds.values():
        assert all(field.from_ for field in kind.fields), kind.name


def test_every_code_of_every_service_exists_and_has_a_status() -> None:
    known = catalogue().codes
    assert set(GENERIC) <= set(known)
    for service in catalogue().services.values():
        assert set(service.errors) <= set(known), service.name
        assert all(service.complaint(field.name) in service.errors for field in service.inputs), service.name


def test_asynchronous_services_come_in_pairs() -> None:
    services = catalogue().services
    pairs = {service.name: service.later for service in services.values() if service.later}
    assert len(pairs) == 6
    assert sorted(pairs.values()) == sorted(service.name for service in services.values() if service.fetches)


def test_every_difference_from_the_derived_document_is_explained(made: dict[str, Any], shared: Path) -> None:
    other = yaml.safe_load((shared / "iavs" / "openapi.derived.sane.yaml").read_text(encoding="utf-8"))
    assert list(made["paths"]) == list(other["paths"])
    found: Counter[str] = Counter()
    for path, operations in other["paths"].items():
        assert list(made["paths"][path]) == list(operations)
        for method, theirs in operations.items():
            ours = _without_ours(made["paths"][path][method], found)
            theirs.pop("security", None)
            theirs["responses"].pop("202", None)
            theirs["responses"] = _flat(theirs["responses"])
            if theirs.get("requestBody", {}).get("required") and not ours["requestBody"]["required"]:
                assert all(not field.required for field in catalogue().services[path[1:]].inputs if "body" in field.at)
                theirs["requestBody"]["required"] = False
                found["body"] += 1
            assert _inlined(ours, made) == _inlined(theirs, other), (path, method)
    assert set(found) <= set(EXPLAINED)


def _without_ours(operation: dict[str, Any], found: Counter[str]) -> dict[str, Any]:
    """The operation without what ``EXPLAINED`` explains."""
    plain = {key: value for key, value in operation.items() if key != "security"}
    responses = {key: value for key, value in plain["responses"].items() if key not in ("401", "413", "202")}
    found.update(["security", "401", "413", "403 NOT_AUTHORISED"])
    flat = _flat(responses)
    flat["403"] = [ref for ref in flat["403"] if not ref.endswith("/notAuthorised")]
    if not flat["403"]:
        del flat["403"]
    return plain | {"responses": flat}


def _flat(responses: dict[str, Any]) -> dict[str, Any]:
    """Errors as lists of their schemas."""
    flat: dict[str, Any] = {}
    for status, response in responses.items():
        if status in ("200", "503"):
            flat[status] = response
            continue
        shape = response["content"]["application/json"]["schema"]
        flat[status] = [each["$ref"] for each in shape.get("oneOf", [shape])]
    return dict(sorted(flat.items()))


def _inlined(value: Any, whole: dict[str, Any], depth: int = 0) -> Any:
    """The value with types put in where they are named; where tools write the same in two ways, one of them."""
    if isinstance(value, dict):
        if "$ref" in value and "/schemas/" in value["$ref"] and depth < 12:
            name = value["$ref"].rpartition("/")[2]
            return _inlined(whole["components"]["schemas"][name], whole, depth + 1)
        same = {"properties": {}, "parameters": [], "additionalProperties": True}
        kept = {key: item for key, item in value.items() if key not in same or item != same[key]}
        return {key: _inlined(item, whole, depth) for key, item in kept.items() if key != "description"}
    if isinstance(value, list):
        return [_inlined(item, whole, depth) for item in value]
    return value


def test_codes_are_told_by_status() -> None:
    service = catalogue().services["addSubjectToGallery"]
    assert codes(catalogue(), service)[404] == [
        "UNKNOWN_GALLERY",
        "UNKNOWN_SUBJECT",
        "UNKNOWN_IDENTITY_CLAIM",
        "UNKNOWN_ENCOUNTER",
    ]
