"""Whatever is sent, the answer is one of the listed ones: no 500 but the listed kinds, no stack trace, no echo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.iavs.catalogue import Service, catalogue

Story = Any
SERVICES = list(catalogue().services.values())
GENERIC = {"SUCCESS", "PAYLOAD_TOO_LARGE", "SERVICE_UNAVAILABLE"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


def judge(service: Service, answer: Any) -> None:
    code = "SUCCESS" if answer.status_code == 200 else answer.json()["code"]
    assert code in GENERIC or code in service.errors, (service.name, code)
    assert answer.status_code not in (500,), (service.name, answer.text)
    assert "Traceback" not in answer.text


def body(service: Service) -> str:
    return next((m for m in service.methods if m != "GET"), service.method)


def test_odd_json_is_answered_by_the_list(story: Story, shared: Path) -> None:
    files = sorted((shared / "vectors" / "JSONTestSuite").rglob("test_parsing/*.json"))
    assert len(files) > 300

    async def told(gate: Any) -> None:
        for at, file in enumerate(files):
            for service in (SERVICES[at % 40], SERVICES[(at * 7 + 3) % 40]):
                raw = file.read_bytes()
                judge(service, await gate.client.request(body(service), service.path, content=raw))
                whole = b'{"subjectID": "x", "bir": ' + raw + b', "inputData": ' + raw + b"}"
                judge(service, await gate.client.request(body(service), service.path, content=whole))

    story(told)


def test_naughty_strings_in_every_field(story: Story, shared: Path) -> None:
    file = next((shared / "vectors" / "blns").rglob("blns.json"))
    strings = json.loads(file.read_text(encoding="utf-8"))

    async def told(gate: Any) -> None:
        fields = [(service, field) for service in SERVICES for field in service.inputs]
        for at, text in enumerate(strings):
            service, field = fields[at % len(fields)]
            inputs = {each.name: "x" for each in service.inputs} | {field.name: text}
            judge(service, await gate.client.request(body(service), service.path, json=inputs))
            judge(service, await gate.client.request(body(service), service.path, params={field.name: text}))

    story(told)


def test_any_json_in_any_field(story: Story) -> None:
    async def told(gate: Any) -> None:
        tried: list[tuple[Service, dict[str, Any]]] = []

        @settings(max_examples=250, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(st.sampled_from(SERVICES), st.data())
        def draw(service: Service, data: st.DataObject) -> None:
            tried.append((service, {field.name: data.draw(JSON) for field in service.inputs}))

        draw()
        for service, inputs in tried:
            raw = json.dumps(inputs).encode("utf-8", "surrogatepass")
            judge(service, await gate.client.request(body(service), service.path, content=raw))

    story(told)
