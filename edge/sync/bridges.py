"""The gates' states for Home Assistant, which listens at the same broker and is told which topic holds what. Read-only.

Rules:

1. Only descriptions are published, retained, below ``homeassistant/``. No entity can be set: no command topic is named.
2. What they point at is the gate's state: whether it is there, how many entries, how many wait, which software, what
   does not answer, whether it is locked down, alarms. Nothing about persons is in it.
3. A gate that is gone shows as unavailable by its own last will, whether this bridge runs or not.
4. Of what gates say only the topic is used, which the broker guards; a thousand gates at most.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Final

from edge import __version__
from edge.sync.connection import Connection, Message
from edge.sync.topics import STATES, Address, addressed

PREFIX: Final = "homeassistant"
MOST: Final = 1000
_SENSORS: Final = (
    ("entries", "Entries", "value_json.size", "total_increasing", "size"),
    ("waiting", "Entries that wait", "value_json.size - value_json.acknowledged", "measurement", "acknowledged"),
    ("unsealed", "Entries not sealed", "value_json.size - value_json.sealed", "measurement", "sealed"),
    ("software", "Software", "value_json.software", "", "software"),
    ("lost", "Does not answer", "value_json.lost", "", "lost"),
    ("alarms", "Alarms since the start", "value_json.alarms", "total_increasing", "alarms"),
    ("alarm", "Last alarm", "value_json.alarm", "", "alarm"),
)
"""Key, name, value, class of statistics, and the member that must be there: a last will has none of them."""
_SWITCHES: Final = (
    ("trouble", "Trouble", "value_json.lost", "problem", "lost"),
    ("closed", "Locked down", "value_json.locked_down", "", "locked_down"),
)
"""Key, name, what is on when it is true or not empty, class, and the member that must be there."""
_DAILY: Final = ("entries", "alarms", "alarm", "closed", "trouble")


def described(address: Address) -> list[Message]:
    """What Home Assistant must be told to show one gate; retained."""
    online = {
        "name": "Connected",
        "device_class": "connectivity",
        "value_template": "{{ 'ON' if value_json.online else 'OFF' }}",
        **_common(address, "online"),
    }
    made = [_message("binary_sensor", address, "online", online)]
    for key, name, value, kind, member in _SENSORS:
        entity = _entity(address, key, name, value, member) | ({"state_class": kind} if kind else {})
        made.append(_message("sensor", address, key, entity))
    for key, name, true, kind, member in _SWITCHES:
        entity = _entity(address, key, name, f"'ON' if {true} else 'OFF'", member)
        made.append(_message("binary_sensor", address, key, entity | ({"device_class": kind} if kind else {})))
    return made


def _entity(address: Address, key: str, name: str, value: str, member: str) -> dict[str, object]:
    return {
        "name": name,
        "value_template": f"{{% if value_json.{member} is defined %}}{{{{ {value} }}}}{{% endif %}}",
        "availability_topic": address.topic("state"),
        "availability_template": "{{ 'online' if value_json.online else 'offline' }}",
        **({} if key in _DAILY else {"entity_category": "diagnostic"}),
        **_common(address, key),
    }


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
        while connection.in_flight > 4:
            connection.turn(0.05)
    while connection.in_flight:
        connection.turn(0.05)


class HomeAssistant:
    """Tells of every gate whose state is heard, once."""

    def __init__(self, connection: Connection, told: Callable[[str], None], *, forget: bool = False) -> None:
        """Set up.

        Args:
            connection: open; its name may read states and write below ``homeassistant/``.
            told: called with the name of each gate that was announced, or taken back.
            forget: take back, in place of announcing.
        """
        self._connection, self._told = connection, told
        self._messages = forgotten if forget else described
        self._known: set[Address] = set()

    def listen(self) -> None:
        """Ask for the states.

        Raises:
            DeviceError: refused.
        """
        self._connection.subscribe(STATES)

    def turn(self, timeout_s: float = 1.0) -> None:
        """Hear states, and announce gates that are new.

        Raises:
            DeviceError: the connection is gone.
        """
        self._connection.gather(timeout_s)
        for message in self._connection.take():
            address = addressed(message.topic, "state")
            if address is None or address in self._known or len(self._known) >= MOST:
                continue
            self._known.add(address)
            announce(self._connection, self._messages(address))
            self._told(address.name)


def _common(address: Address, key: str) -> dict[str, object]:
    return {
        "state_topic": address.topic("state"),
        "unique_id": f"edge_gate_{_called(address)}_{key}",
        "device": {"identifiers": [address.origin], "name": address.name, "model": "edge-gate"},
        "origin": {"name": "edge-gate", "sw_version": __version__},
    }


def _message(kind: str, address: Address, key: str, entity: dict[str, object]) -> Message:
    return Message(f"{PREFIX}/{kind}/{_called(address)}/{key}/config", json.dumps(entity).encode(), retain=True)


def _called(address: Address) -> str:
    """A name of letters, digits and underscores that no other gate has."""
    read = "".join(letter if letter.isalnum() else "_" for letter in address.name)
    return f"{read}_{hashlib.sha256(address.name.encode()).hexdigest()[:8]}"
