"""The ear for what the gate's panel shows: a datagram socket on this machine, nothing else can be said to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from edge import wire
from edge.biometric.values import Hint
from edge.passage import Indication

LIMIT = 1024


async def listen(
    path: Path, shown: Callable[[Indication], None], hinted: Callable[[Hint], None] = lambda _: None
) -> None:
    """Call ``shown`` and ``hinted`` with what edge-gate sends to ``path``, until cancelled.

    A datagram that is neither is ignored: it is as good as silence, and silence the screen shows by itself.
    """
    with wire.ear(path) as ear:
        while True:
            match understood(await asyncio.get_running_loop().sock_recv(ear, LIMIT)):
                case wire.Shown(indication):
                    shown(indication)
                case wire.Hinted(hint):
                    hinted(hint)


def understood(body: bytes) -> wire.Shown | wire.Hinted | None:
    """What a datagram says; None when it is anything else."""
    try:
        message = wire.decode(body)
    except wire.WireError:
        return None
    return message if isinstance(message, wire.Shown | wire.Hinted) else None
