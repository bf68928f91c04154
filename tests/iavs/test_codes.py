"""Every code that the catalogue lists for a service is provoked once, and no other appears."""

from __future__ import annotations

import asyncio
import copy
import os
import secrets
import sqlite3
import sys
from collections import Counter
from typing import Any

import pytest

from edge.errors import DeviceError
from edge.iavs.access import Loopback, Rate
from edge.iavs.catalogue import Service, catalogue
from edge.iavs.desk import Ask, Options
from edge.iavs.door import Door
from edge.iavs.results import Results
from edge.wire import Still, StillWork

Story = Any
SERVICES = catalogue().services
NEVER = {
    ("addSubjectToGallery", "UNKNOWN_IDENTITY_CLAIM"): "the claim is given here, not looked up",
    ("createSubject", "UNKNOWN_SUBJECT"): "the subject is made here, not looked up",
    ("createEncounter", "UNKNOWN_ENCOUNTER"): "the encounter is made here, not looked up",
    ("performFusion", "NONEXISTANT_DATA"): "an empty list is INVALID_INPUT already by its schema",
    ("performFusion", "CANNOT_PROCESS_DATA"): "sums of checked numbers do not fail",
}
TESTS = 12
BROKEN_BODY = b"{"
ELEMENT = {
    "biometricType": "Face",
    "algorithmOwner": "edge-gate",
    "algorithmType": "paint-1",
    "fusionResult": {"score": {"value": 0.1}},
}
ENROL = ("enrol", "UNKNOWN_ENCOUNTER")  # it makes its encounter, where there are encounters
seen: Counter[str] = Counter()
answered: set[tuple[str, str]] = set()


class NoPen:
    """edge-gate is away."""

    async def record(self, fields: dict[str, str], subject: bytes) -> None:
        raise DeviceError("journal", "edge-gate does not answer")


class NoModels:
    """The models fail."""

    async def still(self, data: bytes, work: StillWork, form: str = "jpeg") -> Still:
        raise DeviceError("models", "a model failed")


def base(gate: Any, service: Service) -> dict[str, Any]:
    """Inputs that the service would take, but for what a case changes."""
    sample = gate.bir(gate.face(1))
    known: dict[str, Any] = {
        "subjectID": "s",
        "encounterID": "e",
        "galleryID": "staff",
        "bir": sample,
        "inputBIR": sample,
        "maxListSize": 3,
        "identityClaim": "c",
        "biographicData": {"lastName": "X"},
        "documentDataList": {"documentData": [{"documentCategory": "passport"}]},
        "processingOptions": {"option": []},
        "inputData": {"bir": sample},
        "transformOperation": 1,
        "fusionInput": {"fusionIdentity": [{"fusionElement": [ELEMENT, ELEMENT]}]},
        "token": "x",
    }
    wanted = {field.name for field in service.inputs if field.required or field.name in ("subjectID", "encounterID")}
    if service.name in ("checkQuality", "enrol"):
        wanted -= {"subjectID"}
    wanted |= {"verifySubject": {"identityClaim"}, "verify": {"identityClaim"}}.get(service.name, set())
    wanted |= {"identifySubject": {"galleryID"}, "checkQuality": {"bir"}, "setBiometricData": {"bir"}}.get(
        service.name, set()
    )
    if service.name in ("verifySubject", "createSubject"):
        wanted -= {"subjectID"}
    if service.name == "createEncounter":
        wanted -= {"encounterID"}
    if service.name == "identify":
        wanted |= {"galleryID"}
    if service.name == "enrol":
        known["encounterID"] = secrets.token_hex(4)
    return {name: copy.deepcopy(value) for name, value in known.items() if name in wanted}


def with_bir(inputs: dict[str, Any], bir: dict[str, Any]) -> dict[str, Any]:
    for name in ("bir", "inputBIR"):
        if name in inputs:
            return inputs | {name: bir}
    return inputs | {"inputData": {"bir": bir}}


def spoilt(gate: Any, service: Service, code: str) -> dict[str, Any]:
    """Inputs that bring this code."""
    inputs, picture = base(gate, service), gate.face(1)
    match code:
        case "INVALID_SUBJECT_ID":
            return inputs | {"subjectID": ""}
        case "INVALID_ENCOUNTER_ID":
            return inputs | {"encounterID": ""}
        case "INVALID_IDENTITY_CLAIM":
            return inputs | {"identityClaim": "c", "subjectID": "other", "encounterID": "o"}
        case "UNKNOWN_SUBJECT":
            return (
                {k: v for k, v in inputs.items() if k not in ("bir", "identityClaim")}
                | {"subjectID": "nobody"}
                | ({"bir": inputs["bir"]} if "bir" in inputs and service.name != "checkQuality" else {})
            )
        case "UNKNOWN_GALLERY":
            return inputs | {"galleryID": "none"}
        case "UNKNOWN_ENCOUNTER":
            return inputs | {"encounterID": "none"}
        case "UNKNOWN_IDENTITY_CLAIM":
            return {k: v for k, v in inputs.items() if k != "subjectID"} | {"identityClaim": "nobody"}
        case "INVALID_BIR":
            return with_bir(inputs, gate.bir(b""))
        case "BIOMETRIC_TYPE_NOT_SUPPORTED":
            if service.name in ("deleteBiometricData", "retrieveBiometricData"):
                return inputs | {"biometricType": ["Tail"]}
            return with_bir(inputs, gate.bir(picture, "Tail"))
        case "UNKNOWN_FORMAT":
            return with_bir(inputs, gate.bir(picture) | {"formatOwner": 1})
        case "BIR_DECRYPTION_FAILURE":
            return with_bir(inputs, gate.bir(picture, encryption=True))
        case "BIR_SIGNATURE_FAILURE":
            bir = gate.bir(picture)
            bir["bir"]["json"]["sb"] = "YS5iLmM="
            return with_bir(inputs, bir)
        case "BIR_QUALITY_ERROR":
            return with_bir(inputs, gate.bir(gate.face(1, eyes_px=4)))
        case "NONEXISTANT_DATA":
            return inputs | {"subjectID": "other", "encounterID": "o"} if "subjectID" in inputs else inputs
        case "INVALID_PROCESSING_OPTION":
            return inputs | {"processingOptions": {"option": [{"key": "colour"}]}}
        case "UNKNOWN_BIOGRAPHIC_FORMAT":
            said = {"biographicDataSet": {"name": "N", "source": "urn:x", "type": "EXE"}}
            if service.name in ("enrol", "update"):
                return inputs | {"inputData": {"bir": gate.bir(picture), "biographicData": said}}
            return inputs | {"biographicData": said}
        case "CANNOT_VERIFY":
            return {k: v for k, v in inputs.items() if k not in ("identityClaim", "subjectID")}
        case "UNSUPPORTED_CAPABILITY" if service.name == "identifySubject":
            inputs.pop("galleryID")
            return inputs | {"gallery": {"bir": [gate.bir(picture)] * 65}}
        case "UNSUPPORTED_CAPABILITY" if service.name == "performFusion":
            return inputs
        case "UNSUPPORTED_CAPABILITY":
            return inputs | {"transformOperation": 99}
    return inputs


async def furnished(gate: Any) -> None:
    """Two people, one with everything, one with nothing."""
    for subject, encounter in (("s", "e"), ("other", "o")):
        await gate.ok("createSubject", subjectID=subject)
        await gate.ok("createEncounter", subjectID=subject, encounterID=encounter)
    within = {"subjectID": "s", "encounterID": "e"}
    await gate.ok("setBiometricData", **within, bir=gate.bir(gate.face(1)))
    await gate.ok("setBiographicData", **within, biographicData={"lastName": "X"})
    await gate.ok("setDocumentData", **within, documentDataList={"documentData": [{"documentCategory": "passport"}]})
    await gate.ok("addSubjectToGallery", **within, galleryID="staff", identityClaim="c")


async def said(gate: Any, service: Service, code: str) -> str:
    """The code of the answer, which must be one that the service lists, with its status."""
    inputs = spoilt(gate, service, code)
    answer = await gate(service.name, **{k: v for k, v in inputs.items() if v is not None})
    return checked(service, answer)


def checked(service: Service, answer: Any) -> str:
    found = "SUCCESS" if answer.status_code == 200 else str(answer.json()["code"])
    assert answer.status_code == catalogue().codes[found].http, (service.name, answer.text)
    generic = ("SUCCESS", "NOT_AUTHENTICATED", "NOT_AUTHORISED", "PAYLOAD_TOO_LARGE", "SERVICE_UNAVAILABLE")
    assert found in service.errors or found in generic, (service.name, found)
    assert "Traceback" not in answer.text
    answered.add((service.name, found))
    return found


def cases(*codes: str) -> list[tuple[Service, str]]:
    """Services that list one of these codes."""
    return [(s, c) for s in SERVICES.values() for c in s.errors if c in codes and (s.name, c) not in NEVER]


def expect(found: list[tuple[Service, str, str]]) -> None:
    wrong = [(service.name, code, got) for service, code, got in found if code != got]
    assert wrong == []
    for _, code, _ in found:
        seen[code] += 1


BY_INPUT = (
    "INVALID_SUBJECT_ID",
    "INVALID_ENCOUNTER_ID",
    "INVALID_IDENTITY_CLAIM",
    "UNKNOWN_SUBJECT",
    "UNKNOWN_GALLERY",
    "UNKNOWN_ENCOUNTER",
    "UNKNOWN_IDENTITY_CLAIM",
    "INVALID_BIR",
    "BIOMETRIC_TYPE_NOT_SUPPORTED",
    "UNKNOWN_FORMAT",
    "BIR_DECRYPTION_FAILURE",
    "BIR_SIGNATURE_FAILURE",
    "BIR_QUALITY_ERROR",
    "NONEXISTANT_DATA",
    "INVALID_PROCESSING_OPTION",
    "UNKNOWN_BIOGRAPHIC_FORMAT",
    "CANNOT_VERIFY",
)


def test_codes_about_inputs(story: Story) -> None:
    async def told(gate: Any) -> None:
        await furnished(gate)
        expect([(s, c, await said(gate, s, c)) for s, c in cases(*BY_INPUT) if (s.name, c) != ENROL])

    story(told, encounters=True)


def test_there_are_no_encounters_where_a_person_has_one_record(story: Story) -> None:
    async def told(gate: Any) -> None:
        enrol = SERVICES[ENROL[0]]
        expect([(enrol, ENROL[1], await said(gate, enrol, ENROL[1]))])

    story(told)


def test_what_cannot_be_read_is_invalid_input(story: Story) -> None:
    async def told(gate: Any) -> None:
        found = []
        for service, code in cases("INVALID_INPUT"):
            answer = await gate.client.request(service.method, service.path, content=BROKEN_BODY)
            found.append((service, code, checked(service, answer)))
        expect(found)

    story(told)


def test_a_log_that_cannot_be_written_keeps_everything_as_it_is(story: Story) -> None:
    async def told(gate: Any) -> None:
        await furnished(gate)
        object.__setattr__(gate.desk, "recorder", NoPen())
        expect([(s, c, await said(gate, s, c)) for s, c in cases("CANNOT_STORE_DATA")])
        assert (await gate.ok("retrieveBiographicData", subjectID="s"))["biographicData"] == {"lastName": "X"}

    story(told, encounters=True)


def test_a_file_without_its_tables(story: Story) -> None:
    async def told(gate: Any) -> None:
        await furnished(gate)
        with sqlite3.connect(gate.folder / "gallery.db") as other:
            for table in ("templates", "records", "members", "encounters", "subjects"):
                other.execute(f"DROP TABLE {table}")
        other.close()
        expect([(s, c, await said(gate, s, c)) for s, c in cases("INTERNAL_DATABASE_ERROR")])

    story(told, encounters=True)


def test_models_that_fail(story: Story) -> None:
    async def told(gate: Any) -> None:
        await furnished(gate)
        object.__setattr__(gate.desk, "faces", NoModels())
        expect([(s, c, await said(gate, s, c)) for s, c in cases("CANNOT_CHECK_QUALITY", "CANNOT_PROCESS_DATA")])

    story(told, encounters=True)


def test_rates_beyond_what_was_measured(story: Story) -> None:
    async def told(gate: Any) -> None:
        await furnished(gate)
        strict = Options(encounters=True, fmr=0.001, fpir=1e-9)
        object.__setattr__(gate.desk, "options", strict)
        found = []
        for service, code in cases("CANNOT_IDENTIFY"):
            if not service.fetches:
                found.append((service, code, await said(gate, service, code)))
                continue
            inputs = base(gate, SERVICES["identifySubject"])
            begun = await gate.client.post("/identifySubject", json=inputs, headers={"Prefer": "respond-async"})
            assert begun.status_code == 202
            found.append((service, code, await fetched(gate, service, begun.json()["token"]["tokenValue"])))
        expect(found)

    story(told, encounters=True)


async def fetched(gate: Any, service: Service, token: str) -> str:
    while (answer := await gate(service.name, token=token)).status_code == 202:  # noqa: ASYNC110 -- as a caller does
        await asyncio.sleep(0.01)
    return checked(service, answer)


def test_capabilities_that_are_not_there(story: Story) -> None:
    async def told(gate: Any) -> None:
        await furnished(gate)
        from edge.iavs.services import Services

        bare = Services(gate.desk, gate.services.door._access)
        gate.client._transport.app = bare.door
        expect([(s, c, await said(gate, s, c)) for s, c in cases("UNSUPPORTED_CAPABILITY")])

    story(told, encounters=True)


def test_a_fault_of_ours_says_nothing(story: Story) -> None:
    async def told(gate: Any) -> None:
        await furnished(gate)

        async def faulty(ask: Ask) -> dict[str, Any]:
            raise ZeroDivisionError("with a secret")

        for name in gate.services.handlers:
            gate.services.handlers[name] = faulty
        found = []
        for service, code in cases("UNKNOWN_ERROR"):
            if service.fetches:
                begin = catalogue().later(service)
                method = "POST" if "POST" in begin.methods else begin.method
                begun = await gate.client.request(
                    method, begin.path, json=base(gate, begin), headers={"Prefer": "respond-async"}
                )
                token = begun.json()["token"]["tokenValue"]
                found.append((service, code, await fetched(gate, service, token)))
            else:
                answer = await gate(service.name, **base(gate, service))
                assert "secret" not in answer.text
                found.append((service, code, checked(service, answer)))
        expect(found)

    story(told, encounters=True)


def test_tokens(story: Story) -> None:
    now = [0.0]

    async def told(gate: Any) -> None:
        await furnished(gate)
        found = []
        for service, code in cases("INVALID_TOKEN", "UNKNOWN_TOKEN", "TOKEN_EXPIRED"):
            token = {"INVALID_TOKEN": "x", "UNKNOWN_TOKEN": secrets.token_urlsafe(24)}.get(code)
            if token is None:
                begin = catalogue().later(service)
                method = "POST" if "POST" in begin.methods else begin.method
                begun = await gate.client.request(
                    method, begin.path, json=base(gate, begin), headers={"Prefer": "respond-async"}
                )
                token = begun.json()["token"]["tokenValue"]
                await fetched_quietly(gate, service, token)
                now[0] += 700
            found.append((service, code, checked(service, await gate(service.name, token=token))))
        expect(found)

    story(told, encounters=True, results=Results(monotonic=lambda: now[0]))


async def fetched_quietly(gate: Any, service: Service, token: str) -> None:
    while (await gate(service.name, token=token)).status_code == 202:  # noqa: ASYNC110 -- as a caller does
        await asyncio.sleep(0.01)


def test_too_many_requests_are_told_to_come_back(story: Story) -> None:
    async def told(gate: Any) -> None:
        door = gate.services.door
        assert isinstance(door, Door)
        door._access = Loopback(Rate(0))
        found = []
        for service, code in cases("SERVICE_UNAVAILABLE"):
            answer = await gate.client.request(service.method, service.path, headers={"host": "localhost"})
            assert answer.headers["Retry-After"] == "1"
            found.append((service, code, checked(service, answer)))
        expect(found)

    story(told)


def test_every_listed_code_was_provoked(capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> None:
    listed = Counter(code for service in SERVICES.values() for code in service.errors)
    never = Counter(code for _, code in NEVER)
    with capsys.disabled():
        total = f"{sum(seen.values())} of {sum(listed.values())} listed, {len(NEVER)} cannot arise"
        sys.stdout.write(f"\ncodes provoked: {total}\n")
    here = [item for item in request.session.items if item.path == request.path]
    if len(here) >= TESTS and "PYTEST_XDIST_WORKER" not in os.environ:
        assert answered & set(NEVER) == set()
        assert {
            code: listed[code] - never[code] - seen[code] for code in listed if listed[code] - never[code] - seen[code]
        } == {}
