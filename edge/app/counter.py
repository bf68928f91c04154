"""Where edge-gate hears operators: one socket for edge-web, one for whoever is at the device's own console.

Rules:

1. The console's socket can be opened by edge-gate's own user and by root only: set-up codes come from there alone.
2. A few at a time, one question each, short, answered or cut off within ``TALK_S``. edge-web keeps to fewer and lets
   its callers wait (``edge/web/counter.py``); whoever comes beyond them is sent away.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from pathlib import Path

from edge import wire
from edge.app.operators import Operators
from edge.errors import DeviceError
from edge.orders import LIMIT, Asked, AskedAtConsole
from edge.trust.operators import UnfitError

TALK_S = 20.0
_AT_ONCE = 16
_MET = 10  # rounds of the loop from a connection that was taken to the one who talks with it, and some more
_log = logging.getLogger("edge.gate")


async def attend(pages: Path, console: Path, operators: Operators) -> None:
    """Answer until cancelled."""
    for path in (pages, console):
        await asyncio.to_thread(path.unlink, missing_ok=True)
    here = _Counter(operators, Asked)
    there = _Counter(operators, AskedAtConsole)
    servers = [
        await asyncio.start_unix_server(here.meet, pages, limit=LIMIT),
        await _private(there, console),
    ]
    try:
        await asyncio.to_thread(pages.chmod, 0o660)
        await asyncio.Event().wait()
    finally:
        for server in servers:
            server.close()
        for _ in range(_MET):  # whoever was being let in just now is met, and sent away
            await asyncio.sleep(0.002)
        await asyncio.gather(here.close(), there.close())


async def _private(counter: _Counter, path: Path) -> asyncio.Server:
    """Rule 1: never open to others, not even for the moment between making and closing it."""
    before = os.umask(0o177)
    try:
        return await asyncio.start_unix_server(counter.meet, path, limit=LIMIT)
    finally:
        os.umask(before)


class _Counter:
    """One of the two sockets, and what may be asked there."""

    def __init__(self, operators: Operators, heard: object) -> None:
        self._operators, self._heard = operators, heard
        self._talks: set[asyncio.Task[None]] = set()

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Rule 2."""
        task = asyncio.current_task()
        if task is None or len(self._talks) >= _AT_ONCE:
            writer.close()
            return
        self._talks.add(task)
        try:
            async with asyncio.timeout(TALK_S):
                await wire.send(writer, await self._answer(await wire.receive(reader, LIMIT)), LIMIT)
        except (EOFError, ConnectionError, TimeoutError, asyncio.CancelledError):
            pass
        except wire.WireError as error:
            _log.warning("operators: %s", error)
        finally:
            self._talks.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, asked: wire.Message) -> wire.Message:
        if not isinstance(asked, self._heard):  # type: ignore[arg-type] # a union of classes
            raise wire.WireError(f"{type(asked).__name__} is not heard here")
        try:
            return await self._operators.answer(asked)  # type: ignore[arg-type] # one of that union
        except UnfitError as error:
            raise wire.WireError("a name that is none") from error
        except DeviceError as error:
            _log.error("%s", error)
            return wire.Failed(error.device, error.message)

    async def close(self) -> None:
        """Send everybody away."""
        talks = list(self._talks)
        for talk in talks:
            talk.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
