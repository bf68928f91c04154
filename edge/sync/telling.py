"""What the gates of a site tell each other, on its way: carried, not judged.

Rules:

1. What ``edge-gate`` says comes in datagrams and goes out on ``.../told`` of this gate; it cannot be made here.
2. What other gates of this site say goes to ``edge-gate`` as it came; it is verified there. Retained messages, those of
   other sites and those beyond the limit are dropped; so is what comes faster than ``_A_SECOND``.
3. Nothing is kept: a statement that is lost is said again.
"""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path
from typing import Protocol

from edge.sync.connection import Connection, Message
from edge.sync.topics import PREFIX, Address, addressed
from edge.wire import Neighbour, ear, encode

LIMIT = 4096
_A_SECOND = 50
_AT_ONCE = 20
_EXPIRY_S = 60


class Company(Protocol):
    """Something else that goes over the sender's connection, on its thread."""

    def connected(self, connection: Connection) -> None:
        """Begin on a new connection."""
        ...

    def serve(self, connection: Connection) -> None:
        """Say what is to be said."""
        ...

    def hear(self, connection: Connection, message: Message) -> bool:
        """Take in one message; whether it was for us."""
        ...

    def close(self) -> None:
        """Let go."""
        ...


class Together:
    """Several on one connection."""

    def __init__(self, *parts: Company) -> None:
        self._parts = parts

    def connected(self, connection: Connection) -> None:
        """Begin on a new connection."""
        for part in self._parts:
            part.connected(connection)

    def serve(self, connection: Connection) -> None:
        """Say what is to be said."""
        for part in self._parts:
            part.serve(connection)

    def hear(self, connection: Connection, message: Message) -> bool:
        """Take in one message; whether it was for one of us."""
        return any(part.hear(connection, message) for part in self._parts)

    def close(self) -> None:
        """Let go."""
        for part in self._parts:
            part.close()


class Telling:
    """Between edge-gate and the other gates of the site."""

    def __init__(self, address: Address, said: Path, heard: Path) -> None:
        """Set up.

        Args:
            address: of this gate.
            said: where edge-gate says something.
            heard: where it hears.
        """
        self._address, self._said, self._heard = address, said, str(heard)
        self._open = contextlib.ExitStack()
        self._ear: socket.socket | None = None
        self._second, self._in_it = 0, 0

    def connected(self, connection: Connection) -> None:
        """Listen to the gates of this site."""
        self.close()
        self._said.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._ear = self._open.enter_context(ear(self._said))
        connection.subscribe(f"{PREFIX}/{self._address.tenant}/{self._address.site}/+/told")

    def serve(self, connection: Connection) -> None:
        """Pass on what edge-gate says."""
        for _ in range(_AT_ONCE):
            try:
                said = b"" if self._ear is None else self._ear.recv(LIMIT + 1)
            except BlockingIOError:
                return
            if not 0 < len(said) <= LIMIT:
                return
            connection.publish(Message(self._address.topic("told"), said, expiry_s=_EXPIRY_S))

    def hear(self, connection: Connection, message: Message) -> bool:
        """Pass on what another gate says; whether it was that."""
        sender = addressed(message.topic, "told")
        if sender is None:
            return False
        ours = (sender.tenant, sender.site) == (self._address.tenant, self._address.site)
        if ours and sender != self._address and not message.retain and len(message.payload) <= LIMIT and self._may():
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mouth:
                mouth.setblocking(False)
                mouth.sendto(encode(Neighbour(message.payload)), self._heard)
        return True

    def close(self) -> None:
        """Let go of the ear."""
        self._open.close()
        self._ear = None

    def _may(self) -> bool:
        """Rule 2."""
        second = int(time.monotonic())
        self._second, self._in_it = second, self._in_it + 1 if second == self._second else 1
        return self._in_it <= _A_SECOND
