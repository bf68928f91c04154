"""Commands on their way in: carried, not judged.

Rules:

1. A command is a signed value of at most 4 KiB on ``.../cmd``. Whether it may be obeyed (who signed, for which gate,
   until when, not seen before) is decided by ``edge-gate``, which this side cannot talk into anything.
2. A command that was published to be retained is not passed on: nothing old may move a gate.
3. At most eight wait for their answer, five minutes at most; more are dropped and counted. An answer goes to
   ``.../cmd/res`` of the same gate, wherever the asker wants it, with the asker's correlation.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable

from edge.errors import DeviceError
from edge.sync.connection import Connection, Link, Message
from edge.sync.topics import Address

LIMIT = 4096
WAITING = 8
_EXPIRY_S = 300
_KIND = "application/cose"
_CORRELATION = 64

Answer = Callable[[bytes], None]
Handler = Callable[[bytes, Answer], None]
"""Told each command on the sender's thread, where it must not wait; answers once, from any thread."""


class Desk:
    """Where commands come in and answers go out."""

    def __init__(self, address: Address, handler: Handler) -> None:
        self.topic = address.topic("cmd")
        self._answers_to = address.topic("cmd/res")
        self._handler = handler
        self._waiting: list[float] = []
        self._answers: deque[Message] = deque()

    def hear(self, message: Message) -> str:
        """Pass one command on; returns why it was not, empty when it was."""
        if message.retain:
            return "a retained command"
        if not 0 < len(message.payload) <= LIMIT or len(message.correlation) > _CORRELATION:
            return "a command beyond the limits"
        now = time.monotonic()
        self._waiting = [until for until in self._waiting if until > now]
        if len(self._waiting) >= WAITING:
            return "a command while others wait"
        self._waiting.append(now + _EXPIRY_S)
        self._handler(message.payload, self._answer_to(message.correlation))
        return ""

    def answers(self) -> list[Message]:
        """Answers that are ready to go out."""
        ready = [self._answers.popleft() for _ in range(len(self._answers))]
        del self._waiting[: len(ready)]
        return ready

    def _answer_to(self, correlation: bytes) -> Answer:
        given: list[bool] = []

        def answer(signed: bytes) -> None:
            if not given:
                given.append(True)
                self._answers.append(
                    Message(self._answers_to, signed, kind=_KIND, correlation=correlation, expiry_s=_EXPIRY_S),
                )

        return answer


def ask(link: Link, name: str, address: Address, signed: bytes, within_s: float = 10.0) -> bytes:
    """Send a signed command to a gate and wait for its answer; for whoever operates the gates.

    Raises:
        DeviceError: broker not reached, or no answer in time.
    """
    connection = Connection(link, name)
    correlation = secrets.token_bytes(16)
    deadline = time.monotonic() + within_s
    try:
        connection.open()
        connection.subscribe(address.topic("cmd/res"))
        connection.publish(
            Message(address.topic("cmd"), signed, kind=_KIND, correlation=correlation, expiry_s=_EXPIRY_S)
        )
        while time.monotonic() < deadline:
            connection.turn(0.1)
            for message in connection.take():
                if message.correlation == correlation and not message.retain:
                    return message.payload
            if connection.unheard:
                raise DeviceError("gate", f"{address.name} is not connected")
    finally:
        connection.close()
    raise DeviceError("gate", f"{address.name} does not answer")
