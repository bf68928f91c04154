"""Home Assistant may look, and cannot touch."""

from __future__ import annotations

import json

from edge.sync.bridges import described, forgotten
from edge.sync.topics import Address

GATE = Address("demo", "main.hall", "gate-1")


def test_each_description_points_at_the_state_and_can_be_taken_back() -> None:
    told = described(GATE)
    assert len({message.topic for message in told}) == len(told) == 3
    for message in told:
        entity = json.loads(message.payload)
        assert message.retain
        assert entity["state_topic"] == "gates/v1/demo/main.hall/gate-1/state"
        assert message.topic.startswith("homeassistant/")
        assert "." not in message.topic
    assert [message.topic for message in forgotten(GATE)] == [message.topic for message in told]
    assert all(message.payload == b"" for message in forgotten(GATE))


def test_nothing_can_be_set_from_there() -> None:
    assert not any(b"command" in message.payload or b"/cmd" in message.payload for message in described(GATE))
