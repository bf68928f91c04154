"""How every device is, asked of the gate every few seconds: the log tells only of those that went or came back.

So is whether it is locked down, which a lock-down from before the gate's last start is not told of by the log since.
"""

from __future__ import annotations

import asyncio

from edge import orders
from edge.errors import DeviceError
from edge.web.board import Board
from edge.web.counter import Counter

EVERY_S = 5.0


async def call(counter: Counter, board: Board) -> None:
    """Keep the board told, until cancelled."""
    while True:
        try:
            told = await counter.ask(orders.AskDevices())
        except DeviceError:
            board.called({})  # the panel's silence says that the gate is away
        else:
            rows = told.rows if isinstance(told, orders.Devices) else ()
            closed = told.closed if isinstance(told, orders.Devices) else None
            board.called({name: (ok, detail) for name, ok, detail in rows}, closed)
        await asyncio.sleep(EVERY_S)
