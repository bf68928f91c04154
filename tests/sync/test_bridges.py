"""Home Assistant may look, and cannot touch: over a real broker, with a real sender behind the states."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge.cli import main
from edge.demo.broker import BRIDGE, HOME
from edge.sync.bridges import described, forgotten
from edge.sync.connection import Connection, Message
from edge.sync.topics import Address

ROOT = Path(__file__).resolve().parents[2]
GATE = Address("demo", "main.hall", "gate-1")
NAMES = ("demo/lobby/gate-6", "demo/lobby/gate-7")


def until(true: Callable[[], object], within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def shown(template: str, state: dict[str, Any]) -> str:
    """What Home Assistant makes of a template: of Jinja only what these use."""
    if found := re.fullmatch(r"\{% if value_json\.(\w+) is defined %\}(.*)\{% endif %\}", template):
        if found[1] not in state:
            return ""
        template = found[2]
    expression = re.fullmatch(r"\{\{ (.*) \}\}", template)
    assert expression is not None, template
    return str(eval(expression[1], {"value_json": SimpleNamespace(**state)}))


def test_each_description_points_at_the_state_and_can_be_taken_back() -> None:
    told = described(GATE)
    assert len({message.topic for message in told}) == len(told) == 10
    for message in told:
        entity = json.loads(message.payload)
        assert message.retain
        assert entity["state_topic"] == "gates/v1/demo/main.hall/gate-1/state"
        assert re.fullmatch(r"homeassistant/(binary_)?sensor/[A-Za-z0-9_]+/[a-z]+/config", message.topic)
        assert entity["device"]["identifiers"] == [GATE.origin]
        assert ("availability_topic" in entity) is ("/online/" not in message.topic)  # who is away is off, not unknown
    assert [message.topic for message in forgotten(GATE)] == [message.topic for message in told]
    assert all(message.payload == b"" for message in forgotten(GATE))


def test_nothing_can_be_set_from_there() -> None:
    for message in described(GATE):
        assert not any("command" in key or key.endswith("_cmd_t") for key in json.loads(message.payload))
        assert b"/cmd" not in message.payload


def test_two_gates_never_share_an_entity() -> None:
    others = [Address("demo", "main_hall", "gate-1"), Address("demo_main", "hall", "gate-1"), GATE]
    topics = [message.topic for address in others for message in described(address)]
    names = [json.loads(message.payload)["unique_id"] for address in others for message in described(address)]
    assert len(set(topics)) == len(topics)
    assert len(set(names)) == len(names)


def test_what_the_log_tells_of_the_gate_is_shown() -> None:
    told = {message.topic.split("/")[3]: json.loads(message.payload)["value_template"] for message in described(GATE)}
    state = {"online": True, "lost": "camera", "alarms": 2, "alarm": "door-forced", "locked_down": True}
    assert [shown(told[key], state) for key in ("trouble", "lost", "closed", "alarms")] == ["ON", "camera", "ON", "2"]
    assert shown(told["trouble"], {**state, "lost": ""}) == "OFF"
    assert shown(told["closed"], {"online": True}) == ""


class Home:
    """Home Assistant's side: what is described, and what the states say."""

    def __init__(self, site: Any) -> None:
        self._connection = Connection(site.link(HOME), HOME)
        self._connection.open()
        self._connection.subscribe("homeassistant/#", "gates/v1/+/+/+/state")
        self.entities: dict[str, dict[str, Any]] = {}
        self.states: dict[str, dict[str, Any]] = {}

    def hear(self) -> None:
        self._connection.gather(0.1)
        for message in self._connection.take():
            if not message.topic.startswith("homeassistant/"):
                self.states[message.topic] = json.loads(message.payload)
            elif message.payload:
                self.entities[message.topic] = json.loads(message.payload)
            else:
                self.entities.pop(message.topic, None)

    def of(self, name: str) -> dict[str, dict[str, Any]]:
        self.hear()
        return {
            topic.split("/")[3]: entity for topic, entity in self.entities.items() if entity["device"]["name"] == name
        }

    def value(self, name: str, key: str) -> str:
        entity = self.of(name)[key]
        state = self.states[entity["state_topic"]]
        if "availability_template" in entity and shown(entity["availability_template"], state) != "online":
            return "unavailable"
        return shown(entity["value_template"], state)

    def may_write(self, topic: str) -> bool:
        self._connection.publish(Message(topic, b"x"))
        while self._connection.in_flight:
            self._connection.turn(0.05)
        return self._connection.refused == ""

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def home(site: Any) -> Iterator[Home]:
    made = Home(site)
    yield made
    made.close()


def bridge(site: Any, *more: str) -> list[str]:
    identity = site.broker.identities[BRIDGE]
    words = ["bridge", "home-assistant", "--host", site.broker.host, "--port", str(site.broker.port)]
    words += ["--ca", str(site.broker.ca), "--certificate", str(identity.certificate), "--key", str(identity.key)]
    return [*words, *more]


def test_a_gate_is_shown_with_what_it_says(site: Any, home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    name = NAMES[0]
    site.log(name, 40, 8)
    site.collector()
    sender = site.sender(name)
    until(lambda: sender.position.acked == 40)
    until(lambda: main(bridge(site, "--once", "1")) == 0 and f"{name}: announced" in capsys.readouterr().out)
    until(lambda: len(home.of(name)) == 10)
    until(lambda: home.value(name, "waiting") == "0")
    assert home.value(name, "online") == "ON"
    assert home.value(name, "entries") == "40"
    until(lambda: home.value(name, "unsealed") == "0")
    assert home.value(name, "trouble") == ""  # this sender tells nothing of it, and nothing is guessed
    sender.stop()
    until(lambda: home.value(name, "online") == "OFF")  # the bridge does not run any more
    assert home.value(name, "entries") == "unavailable"
    again = Home(site)  # restarted, everything is there: it is retained
    until(lambda: len(again.of(name)) == 10)
    until(lambda: main(bridge(site, "--once", "1", "--forget")) == 0 and again.of(name) == {})
    again.close()


def test_a_gate_that_comes_later_is_announced(site: Any, home: Home) -> None:
    name = NAMES[1]
    words = [sys.executable, "-m", "edge", *bridge(site)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE) as running:
        try:
            site.log(name, 3)
            site.sender(name)
            until(lambda: len(home.of(name)) == 10)
            assert home.value(name, "online") == "ON"
        finally:
            running.terminate()
            assert running.wait(60) == 0


def test_neither_bridge_nor_home_can_reach_a_gate(site: Any, home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert not home.may_write("gates/v1/demo/lobby/gate-1/cmd")
    assert not home.may_write("gates/v1/demo/lobby/gate-1/state")
    own = Connection(site.link(BRIDGE), BRIDGE)
    own.open()
    for topic in ("gates/v1/demo/lobby/gate-1/cmd", "trust/v1/x/m/timestamp.json"):
        own.publish(Message(topic, b"x"))
        while own.in_flight:
            own.turn(0.05)
        assert "Not authorized" in own.refused
    own.close()
    assert main(bridge(site, "--key", str(site.broker.ca), "--once", "1")) == 1
    assert "edge bridge: broker" in capsys.readouterr().err
