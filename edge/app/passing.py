"""Commands on their way through edge-sync: to edge-gate as they came, and back as what the log says about them.

Nothing is judged here. The answer is made of the entry that edge-gate wrote: its index, and whether it was obeyed; for
``fetch-log`` with the entries that were asked for. Whoever asked can check it against the sealed log later.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import threading
import time
from pathlib import Path

from edge.audit.entry import Entry, Kind
from edge.devices.follower import Follower
from edge.errors import DeviceError
from edge.sync.batch import ENTRIES, Batch, fitting, pack
from edge.sync.commands import Answer
from edge.trust.cbor import encode
from edge.wire import Carried
from edge.wire import encode as told

_WAIT_S = 60.0


class Passing:
    """Passes commands on and answers from the log."""

    def __init__(self, ear: Path, log: Follower, origin: str) -> None:
        """Set up.

        Args:
            ear: where edge-gate listens.
            log: a follower of our own.
            origin: of that log.
        """
        self._ear, self._log, self._origin = str(ear), log, origin
        self._waiting: dict[bytes, tuple[Answer, float]] = {}
        self._alone = threading.Lock()

    def __call__(self, signed: bytes, answer: Answer) -> None:
        """Pass one on; called on the sender's thread."""
        with self._alone:
            now = time.monotonic()
            self._waiting = {digest: each for digest, each in self._waiting.items() if each[1] > now}
            self._waiting[hashlib.sha256(signed).digest()] = (answer, now + _WAIT_S)
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mouth:
            mouth.setblocking(False)  # edge-gate is away: no answer is an answer
            mouth.sendto(told(Carried(signed)), self._ear)

    async def run(self) -> None:
        """Answer as entries come, until cancelled."""
        while True:
            try:
                async for entry in self._log.follow(self._log.size()):
                    if entry.kind is Kind.COMMAND:
                        self._answer(entry)
            except DeviceError:
                await asyncio.sleep(1.0)

    def _answer(self, entry: Entry) -> None:
        digest = entry.fields.get("digest")
        with self._alone:
            waiting = self._waiting.pop(digest, None) if isinstance(digest, bytes) else None
        if waiting is None:
            return
        fields = {"entry": entry.index, "epoch": entry.epoch, "outcome": str(entry.fields.get("outcome"))}
        fields |= {"detail": str(entry.fields.get("detail", "")), "log": self._fetched(entry)}
        waiting[0](encode(fields))

    def _fetched(self, entry: Entry) -> bytes:
        """The entries that were asked for, as a batch."""
        first, count = entry.fields.get("first"), entry.fields.get("entries")
        obeyed = entry.fields.get("what") == "fetch-log" and entry.fields.get("outcome") == "obeyed"
        if not obeyed or type(first) is not int or type(count) is not int:
            return b""
        found = self._log.read(first, min(count, ENTRIES))
        return pack(Batch(self._origin, entry.epoch, first, tuple(found[: fitting(found)])))
