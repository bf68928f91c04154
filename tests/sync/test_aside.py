"""What else happens on the connection while trust is asked for, and when it cannot be kept."""

from __future__ import annotations

from typing import Any, cast

import pytest

from edge.errors import DeviceError
from edge.sync.connection import Connection, Message
from edge.sync.updates import Haste, Keeper, Updates

HASTE = Haste(spread_s=0, least_s=0, absent_s=0.05, again_s=600, again_most_s=600)


class Flood:
    """A broker that talks of other things, until it has said so many."""

    def __init__(self, many: int, payload: bytes) -> None:
        self.left, self.payload = many, payload

    @property
    def heard_at(self) -> float:
        """It goes on talking while it has something to say."""
        return float("inf") if self.left else float("-inf")

    def subscribe(self, *_: str) -> None: ...
    def unsubscribe(self, *_: str) -> None: ...
    def turn(self, _: float) -> None: ...

    def take(self) -> list[Message]:
        said, self.left = min(100, self.left), max(0, self.left - 100)
        return [Message("gates/v1/demo/lobby/gate-1/ack", self.payload)] * said


class Asking:
    """A keeper that asks for one file."""

    def take(self, fetch: Any) -> bool:
        return fetch("m/2.root.json", 1000) is not None

    def close(self) -> None: ...


@pytest.mark.parametrize(("payload", "most"), [(b"x", 256), (bytes(64 << 10), 64)], ids=["many", "large"])
def test_what_comes_while_trust_is_asked_for_is_kept_up_to_a_limit(payload: bytes, most: int) -> None:
    updates = Updates("r", lambda: cast(Keeper, Asking()), HASTE)
    updates.hear()
    handed_on = updates.serve(cast(Connection, Flood(5000, payload)))
    assert (len(handed_on), updates.dropped) == (most, 5000 - most)
    assert updates.trouble == ""
    updates.hear()
    assert len(updates.serve(cast(Connection, Flood(30, payload)))) == 30


def test_entries_go_out_although_trust_cannot_be_kept() -> None:
    """A full disk is said, and tried again later; it does not break the connection."""

    def full() -> Keeper:
        raise DeviceError("trust", "what was verified cannot be kept or read: disk I/O error")

    updates = Updates("r", full, HASTE)
    updates.hear()
    assert updates.serve(cast(Connection, Flood(0, b""))) == []
    assert "cannot be kept" in updates.trouble
