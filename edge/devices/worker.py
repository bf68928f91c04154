"""One thread that owns one slow device.

Rules:

1. A device is touched by its own thread only; calls are served one after another.
2. Every call has a deadline. A thread that hangs in a driver cannot be stopped: it is left alone, and every later call
   fails at once until it comes back. It never keeps the process from ending.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from edge.errors import DeviceError

T = TypeVar("T")


class Worker:
    """The thread of the device called ``device``."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._overdue: Future[Any] | None = None
        self._thread = threading.Thread(target=self._serve, name=device, daemon=True)
        self._thread.start()

    async def call(self, do: Callable[[], T], deadline_s: float) -> T:
        """Have the thread do this and wait for what comes of it.

        Raises:
            DeviceError: no answer within the deadline, or an earlier call still hangs.
        """
        if self._overdue is not None and not self._overdue.done():
            raise DeviceError(self._device, "still does not answer an earlier call")
        outcome: Future[T] = Future()
        self._calls.put((outcome, do))
        try:
            async with asyncio.timeout(deadline_s):
                return await asyncio.shield(asyncio.wrap_future(outcome))
        except TimeoutError as error:
            if not outcome.done():
                self._overdue = outcome
            raise DeviceError(self._device, f"no answer for {deadline_s:g} s") from error

    @property
    def stuck(self) -> bool:
        """Whether a call is overdue and its thread still hangs."""
        return self._overdue is not None and not self._overdue.done()

    def close(self, last: Callable[[], object] = lambda: None, deadline_s: float = 5.0) -> None:
        """Have the thread do one last thing and end; a hanging one is left behind."""
        self._calls.put((Future(), last))
        self._calls.put(None)
        self._thread.join(0.0 if self.stuck else deadline_s)

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            outcome, do = call
            try:
                outcome.set_result(do())
            except BaseException as error:  # noqa: BLE001 -- belongs to whoever waits for the call
                outcome.set_exception(error)
            del call, outcome, do
