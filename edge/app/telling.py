"""edge-gate tells the other gates of the site what it knows, and hears them.

A statement goes out when somebody went through, and every few seconds in any case: that is the sign of life.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from pathlib import Path

from edge.errors import Refusal
from edge.policy.presence import Pass
from edge.policy.telling import Hearing, Rounds, Statement, hear, say
from edge.premises import Premises

BEAT_S = 5.0
_log = logging.getLogger("edge.gate")


class SiteTelling:
    """One gate among those of its site."""

    def __init__(
        self,
        site_key: bytes,
        origin: str,
        boot: int,
        mouth: Path,
        monotonic: Callable[[], float],
        beat_s: float = BEAT_S,
    ) -> None:
        """Set up.

        Args:
            site_key: that all gates of the site have.
            origin: of this gate's log.
            boot: how often it was opened.
            mouth: where edge-sync listens.
            monotonic: seconds of this boot.
            beat_s: between two statements when nobody goes through.
        """
        self._key, self._origin, self._boot = site_key, origin, boot
        self._mouth, self._monotonic, self._beat_s = str(mouth), monotonic, beat_s
        self._hearing = Hearing(origin)
        self._passes, self._marks = Rounds[Pass](), Rounds[bytes]()
        self._count = 0
        self.premises: Premises | None = None

    def silent_s(self) -> float | None:
        """Seconds since another gate was heard; None for never."""
        return self._hearing.silent_s(self._monotonic())

    def hear(self, said: bytes) -> None:
        """Take in what another gate says, if one of this site says it."""
        try:
            statement = hear(self._key, said)
        except Refusal as refusal:
            _log.warning("a statement is not believed: %s", refusal)
            return
        if self._hearing.fresh(statement, self._monotonic()) and self.premises is not None:
            self.premises.told(statement)

    async def run(self) -> None:
        """Tell, until cancelled."""
        assert self.premises is not None
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mouth:
            mouth.setblocking(False)
            while True:
                self.premises.news.clear()
                with contextlib.suppress(OSError):  # edge-sync is away: it is said again
                    mouth.sendto(self._next(self.premises), self._mouth)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._beat_s):
                        await self.premises.news.wait()

    def _next(self, premises: Premises) -> bytes:
        self._count += 1
        passes, marks = premises.to_tell()
        told = Statement(self._origin, self._boot, self._count, self._passes.next(passes), self._marks.next(marks))
        return say(self._key, told)
