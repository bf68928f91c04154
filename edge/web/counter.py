"""Asking edge-gate for an operator: one short question on its socket, one answer. Nothing is decided on this side.

edge-gate hears a few at a time and sends others away. So questions wait here, in queues of their own: whoever asks who
he is, or tries to log in, as often as he likes, keeps no order of an operator waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from edge import orders, wire
from edge.errors import DeviceError

PATIENCE_S = 25.0
"""Longer than edge-gate takes for the longest answer."""
AT_ONCE = 4
"""Of each kind of question; all kinds together are fewer than edge-gate hears at once."""
_TRIES = (orders.LogIn, orders.Enrol, orders.Confirm)
_ORDERS = (orders.Order, orders.LogOut)


class Counter:
    """The way to edge-gate."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._asking, self._trying, self._ordering = (asyncio.Semaphore(AT_ONCE) for _ in range(3))

    async def ask(self, question: orders.Asked) -> orders.Told:
        """Ask, and wait for the answer.

        Raises:
            DeviceError: edge-gate does not answer, or cannot do what is asked.
        """
        try:
            async with asyncio.timeout(PATIENCE_S), self._queue(question):
                told = await self._asked(question)
        except (OSError, EOFError, TimeoutError, wire.WireError) as error:
            raise DeviceError("gate", "edge-gate does not answer") from error
        if isinstance(told, wire.Failed):
            raise wire.raised(told)
        if not isinstance(told, orders.Told):
            raise DeviceError("gate", f"{type(told).__name__} is no answer")
        return told

    def _queue(self, question: orders.Asked) -> asyncio.Semaphore:
        if isinstance(question, _ORDERS):
            return self._ordering
        return self._trying if isinstance(question, _TRIES) else self._asking

    async def _asked(self, question: orders.Asked) -> wire.Message:
        reader, writer = await asyncio.open_unix_connection(self._path)
        try:
            await wire.send(writer, question, orders.LIMIT)
            return await wire.receive(reader, orders.LIMIT)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
