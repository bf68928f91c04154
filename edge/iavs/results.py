"""Work that goes on in the background: a token at once, the result when it is asked for, for a while.

Rules:

1. A token is drawn at random, belongs to one caller and one service, and says nothing. Others do not know it.
2. Results are kept until they expire, then it is remembered for the same time again that there was one; at most
   ``MOST`` at once.
3. Results about a subject go when the subject goes, also those of work that had begun before.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from edge.iavs.catalogue import Service
from edge.iavs.refused import Refused

MOST = 64
KEPT_S = 600.0
_TOKEN = re.compile(r"[A-Za-z0-9_-]{32}")
Answer = dict[str, Any]


@dataclass
class _Job:
    service: str
    owner: str
    until: float
    step: str = "waiting"
    task: asyncio.Task[Answer] | None = None
    forgotten: bool = False
    gone: set[str] = field(default_factory=set, repr=False)

    def about_gone(self) -> bool:
        """Whether it was about somebody who is gone; then it goes, too."""
        if self.task is not None and self.task.done():
            made = None if self.task.cancelled() or self.task.exception() is not None else self.task.result()
            if any(_names(made, name) for name in self.gone):
                self.task, self.forgotten = None, True
            self.gone.clear()
        return self.forgotten


class Results:
    """Jobs by their tokens."""

    def __init__(self, kept_s: float = KEPT_S, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._kept_s = kept_s
        self._monotonic = monotonic
        self._jobs: dict[str, _Job] = {}

    def begin(self, service: Service, owner: str, work: Callable[[Callable[[str], None]], Awaitable[Answer]]) -> Answer:
        """Start the work; the answer is its token.

        Raises:
            Refused: SERVICE_UNAVAILABLE; too much is going on.
        """
        self._tidy()
        if sum(job.task is not None for job in self._jobs.values()) >= MOST:
            raise Refused("SERVICE_UNAVAILABLE", "too many requests in the background")
        token = secrets.token_urlsafe(24)
        job = _Job(service.later, owner, self._monotonic() + self._kept_s)

        def step(doing: str) -> None:
            job.step = doing

        async def run() -> Answer:
            return await work(step)

        job.task = asyncio.create_task(run())
        job.task.add_done_callback(_looked_at)
        job.task.add_done_callback(lambda _: job.about_gone())
        self._jobs[token] = job
        until = datetime.fromtimestamp(time.time() + self._kept_s, UTC)
        return {"token": {"tokenValue": token, "expiration": until.isoformat(timespec="seconds")}}

    async def fetch(self, service: Service, owner: str, token: str) -> Answer:
        """The result.

        Raises:
            Refused: INVALID_TOKEN, UNKNOWN_TOKEN, TOKEN_EXPIRED, RESULT_NOT_READY, or what the work raised.
        """
        self._tidy()
        if not _TOKEN.fullmatch(token):
            raise Refused("INVALID_TOKEN")
        job = self._jobs.get(token)
        if job is None or job.owner != owner or job.about_gone():
            raise Refused("UNKNOWN_TOKEN")
        if job.service != service.name:
            raise Refused("INVALID_TOKEN", "a token of another service")
        if job.task is None:
            raise Refused("TOKEN_EXPIRED")
        if not job.task.done():
            raise Refused("RESULT_NOT_READY", job.step)
        return job.task.result()

    def forget(self, *names: str) -> None:
        """Drop all results that name a subject, whenever they come; but not what is asking for this."""
        for job in self._jobs.values():
            if job.task is not None and job.task is not asyncio.current_task():
                job.gone.update(names)
                job.about_gone()

    async def close(self) -> None:
        """End all work."""
        tasks = [job.task for job in self._jobs.values() if job.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _tidy(self) -> None:
        now = self._monotonic()
        for token, job in list(self._jobs.items()):
            if now >= job.until + self._kept_s:
                del self._jobs[token]
            elif now >= job.until and job.task is not None and job.task.done():
                job.task = None


def _looked_at(task: asyncio.Task[Answer]) -> None:
    if not task.cancelled():
        task.exception()  # told when it is fetched; never to the log


def _names(value: Any, subject: str) -> bool:
    if isinstance(value, dict):
        return any(_names(item, subject) for item in value.values())
    if isinstance(value, list):
        return any(_names(item, subject) for item in value)
    return bool(value == subject)
