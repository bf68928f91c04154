"""Asking edge-gate for an operator: one short question on its socket, one answer. Nothing is decided on this side."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from edge import orders, wire
from edge.errors import DeviceError

PATIENCE_S = 25.0
"""Longer than edge-gate takes for the longest answer."""


class Counter:
    """The way to edge-gate."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def ask(self, question: orders.Asked) -> orders.Told:
        """Ask, and wait for the answer.

        Raises:
            DeviceError: edge-gate does not answer, or cannot do what is asked.
        """
        try:
            async with asyncio.timeout(PATIENCE_S):
                told = await self._asked(question)
        except (OSError, EOFError, TimeoutError, wire.WireError) as error:
            raise DeviceError("gate", "edge-gate does not answer") from error
        if isinstance(told, wire.Failed):
            raise wire.raised(told)
        if not isinstance(told, orders.Told):
            raise DeviceError("gate", f"{type(told).__name__} is no answer")
        return told

    async def _asked(self, question: orders.Asked) -> wire.Message:
        reader, writer = await asyncio.open_unix_connection(self._path)
        try:
            await wire.send(writer, question, orders.LIMIT)
            return await wire.receive(reader, orders.LIMIT)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
