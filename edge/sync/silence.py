"""Which enrolled gates are away, and for how long.

A gate's retained state says that it is connected; its last will says that it is not. Both are the broker's word and
raise an alarm at most: no entry depends on them. Every collector looks for itself and keeps nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from edge.sync.connection import Message
from edge.sync.topics import addressed

_LIMIT = 4096


class Silence:
    """Since when each gate has been away."""

    def __init__(self, gates: Iterable[str], after_s: float) -> None:
        self._gates, self._after_s = frozenset(gates), after_s
        self._since: dict[str, float] = {}
        self._said: set[str] = set()

    def begin(self, now: float) -> None:
        """A connection begins: whoever says nothing from now on is away."""
        self._since = {name: self._since.get(name, now) for name in self._gates}

    def hear(self, message: Message, now: float) -> bool:
        """Take in the state of a gate; whether the message was one."""
        address = addressed(message.topic, "state")
        if address is None:
            return False
        if address.name in self._gates:
            if _online(message.payload):
                self._since.pop(address.name, None)
                self._said.discard(address.name)
            else:
                self._since.setdefault(address.name, now)
        return True

    def away(self, now: float) -> list[str]:
        """Gates that have been away for too long, each once until it is back."""
        found = [name for name, since in self._since.items() if now - since > self._after_s and name not in self._said]
        self._said.update(found)
        return sorted(found)


def _online(payload: bytes) -> bool:
    if len(payload) > _LIMIT:
        return False
    try:
        said = json.loads(payload)
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and said.get("online") is True
