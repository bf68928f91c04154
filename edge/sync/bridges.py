"""The gates' states for others that listen at the same broker: Home Assistant's discovery, read-only.

Only descriptions are published: which topic holds what. No entity can be set, no command topic is named, and nothing
about persons is in a state.
"""

from __future__ import annotations

import json

from edge.sync.connection import Connection, Message
from edge.sync.topics import Address

PREFIX = "homeassistant"
_SENSORS = (
    ("entries", "Entries", "{{ value_json.size }}", "total_increasing"),
    ("waiting", "Entries that wait", "{{ value_json.size - value_json.acknowledged }}", "measurement"),
)


def described(address: Address) -> list[Message]:
    """What Home Assistant must be told to show one gate; retained."""
    made = [_online(address)]
    for key, name, template, kind in _SENSORS:
        entity = {"name": name, "value_template": template, "state_class": kind, **_common(address, key)}
        made.append(_message("sensor", address, key, entity))
    return made


def forgotten(address: Address) -> list[Message]:
    """The same, taken back."""
    return [Message(message.topic, b"", retain=True) for message in described(address)]


def announce(connection: Connection, messages: list[Message]) -> None:
    """Put them onto the broker.

    Raises:
        DeviceError: it does not take them.
    """
    for message in messages:
        connection.publish(message)
    while connection.in_flight:
        connection.turn(0.05)


def _online(address: Address) -> Message:
    entity = {
        "name": "Connected",
        "device_class": "connectivity",
        "value_template": "{{ value_json.online }}",
        "payload_on": "True",
        "payload_off": "False",
        **_common(address, "online"),
    }
    return _message("binary_sensor", address, "online", entity)


def _common(address: Address, key: str) -> dict[str, object]:
    called = address.name.replace("/", "_")
    return {
        "state_topic": address.topic("state"),
        "unique_id": f"{called}_{key}",
        "device": {"identifiers": [address.origin], "name": address.name, "model": "edge-gate"},
    }


def _message(kind: str, address: Address, key: str, entity: dict[str, object]) -> Message:
    called = "".join(letter if letter.isalnum() else "_" for letter in address.name)
    return Message(f"{PREFIX}/{kind}/{called}/{key}/config", json.dumps(entity).encode(), retain=True)
