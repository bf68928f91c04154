"""edge-gate tells the other gates of the site what it knows, and hears them.

A statement goes out when somebody went through, and every few seconds in any case: what answers it is the sign of life.
When a gate is back that was away, everything goes out once at a faster pace.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
from pathlib import Path

from edge.devices.heard import HeardFile
from edge.errors import DeviceError, Refusal
from edge.policy.presence import Pass
from edge.policy.telling import ANSWERS, WORD, Hearing, Rounds, Statement, hear, say
from edge.ports import Clock
from edge.premises import Premises
from edge.watch import Watch

BEAT_S = 5.0
HURRY_S = 0.5
_KEPT_S = 5.0
_log = logging.getLogger("edge.gate")


class SiteTelling:
    """One gate among those of its site."""

    def __init__(
        self,
        site_key: bytes,
        origin: str,
        mouth: Path,
        clock: Clock,
        beat_s: float = BEAT_S,
    ) -> None:
        """Set up.

        Args:
            site_key: that all gates of the site have.
            origin: of this gate's log.
            mouth: where edge-sync listens.
            clock: of this gate.
            beat_s: between two statements when nobody goes through.
        """
        self._key, self._origin = site_key, origin
        self._mouth, self._clock, self._beat_s = str(mouth), clock, beat_s
        self._hearing = Hearing(origin)
        self._passes, self._marks, self._words = Rounds[Pass](), Rounds[bytes](), Rounds[bytes](ANSWERS)
        self._hurried = 0
        self.premises: Premises | None = None

    @property
    def pause_s(self) -> float:
        """Until something is said again, when nobody goes through."""
        return min(HURRY_S, self._beat_s) if self._hurried > 0 else self._beat_s

    def silent_s(self) -> float | None:
        """Seconds since a word of ours that another gate answered; None for never."""
        return self._hearing.silent_s(self._clock.monotonic())

    def hear(self, said: bytes) -> None:
        """Take in what another gate says, if one of this site says it, and says it now."""
        if self.premises is None:
            return
        now = self._clock.now()
        try:
            statement = hear(self._key, said, int(self.premises.steady(now).timestamp()))
        except Refusal as refusal:
            _log.warning("a statement is not believed: %s", refusal)
            return
        if self._hearing.answers(statement, self._clock.monotonic()):
            self.premises.told(statement, now)
            if self._hearing.back:
                _, passes, _, marks = self.premises.to_tell(now)
                self._hurried = max(self._passes.lasts(passes), self._marks.lasts(marks))
                self.premises.news.set()

    async def run(self) -> None:
        """Tell, until cancelled."""
        assert self.premises is not None
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mouth:
            mouth.setblocking(False)
            while True:
                self.premises.news.clear()
                with contextlib.suppress(OSError):  # edge-sync is away: it is said again
                    mouth.sendto(self.next(self.premises), self._mouth)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self.pause_s):
                        await self.premises.news.wait()

    def next(self, premises: Premises) -> bytes:
        """What is said now."""
        now, word = self._clock.now(), secrets.token_bytes(WORD)
        self._hearing.said(word, self._clock.monotonic())
        self._hurried = max(0, self._hurried - 1)
        months, passes, cycle, marks = premises.to_tell(now)
        told = Statement(
            self._origin,
            word,
            self._words.next(self._hearing.words()),
            months,
            self._passes.next(passes),
            cycle,
            self._marks.next(marks),
        )
        return say(self._key, told, int(premises.steady(now).timestamp()))


async def remember(premises: Premises, heard: HeardFile, clock: Clock, watch: Watch) -> None:
    """Put what neighbours told on disk every few seconds, until cancelled."""
    while True:
        await asyncio.sleep(_KEPT_S)
        try:
            if await heard.keep(*premises.to_keep(clock.now())):
                watch.back("neighbours")
        except DeviceError as error:
            watch.lost(error.device, error.message)
