"""The ear for what the gate's panel shows: a datagram socket on this machine, nothing else can be said to it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from edge import wire
from edge.passage import Indication

LIMIT = 1024


async def listen(path: Path, heard: Callable[[Indication], None]) -> None:
    """Call ``heard`` with each indication that edge-gate sends to ``path``, until cancelled.

    A datagram that is not a ``Shown`` is ignored: it is as good as silence, and silence the screen shows by itself.
    """
    with _ear(path) as ear:
        while True:
            message = understood(await asyncio.get_running_loop().sock_recv(ear, LIMIT))
            if message is not None:
                heard(message)


@contextlib.contextmanager
def _ear(path: Path) -> Iterator[socket.socket]:
    """The socket under its name, which goes when it goes."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.setblocking(False)
        ear.bind(str(path))
        path.chmod(0o660)
        try:
            yield ear
        finally:
            path.unlink(missing_ok=True)


def understood(body: bytes) -> Indication | None:
    """The indication in a datagram; None when it is anything else."""
    try:
        message = wire.decode(body)
    except wire.WireError:
        return None
    return message.indication if isinstance(message, wire.Shown) else None
