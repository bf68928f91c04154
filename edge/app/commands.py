"""Signed commands, obeyed by edge-gate: verified here, counted on disk, written down, and only then done.

Rules:

1. Every command is an entry, obeyed or not; the answer is made of that entry by whoever follows the log.
2. Counts are on disk before anything is done, and survive a restart, as a lock-down does. That one is closed at once,
   the disk may take its time, and lifted only when it is written down.
3. Remote unlock is off unless the site's configuration turns it on; it takes the receipt of its entry, like a grant,
   and a moment in which nobody goes through or is looked at: what opens would open for them (``turn.py``).
4. A flood is bounded: beyond a few a minute they are dropped, and not even written down one by one. What nobody who may
   command has signed is counted apart, so that noise never drops a lock-down.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from edge.audit.entry import Event, Kind, Value
from edge.devices import kept
from edge.errors import DeviceError, Reason, Refusal
from edge.passage import State
from edge.ports import Clock, Journal, Receipt
from edge.trust.charter import Charter
from edge.trust.commands import Command, heard
from edge.turn import Turn

_log = logging.getLogger("edge.gate")
_A_MINUTE = 20


class Opening(Protocol):
    """What a remote unlock needs of the doorway."""

    @property
    def state(self) -> State:
        """Where the passage is."""
        ...

    async def let_through(self, receipt: Receipt) -> Kind:
        """Unlock for one person."""
        ...


class Commands:
    """Obeys one command after the other."""

    def __init__(
        self,
        gate: str,
        charter: Callable[[], Charter],
        journal: Journal,
        clock: Clock,
        opening: Opening | None,
        kept: Path,
        shut: Callable[[bool], None] = lambda _: None,
        turn: Turn | None = None,
    ) -> None:
        """Set up.

        Args:
            gate: origin of this gate's log.
            charter: who may command what, at present.
            journal: where each command is written down.
            clock: of the gate.
            opening: what a remote unlock opens; None where the site does not allow it.
            kept: file for counts and lock-down.
            shut: closes the doorway, and ends that; told at once how it is.
            turn: shared with everybody else who may open.
        """
        self._gate, self._charter, self._journal, self._clock = gate, charter, journal, clock
        self._opening, self._kept, self._shut = opening, kept, shut
        self._turn = turn or Turn()
        self._counts, self._locked_down = self._read()
        self._shut(self._locked_down)
        self._alone = asyncio.Lock()
        self._obeyed_lately: deque[float] = deque(maxlen=_A_MINUTE)
        self._noise_lately: deque[float] = deque(maxlen=_A_MINUTE)
        self._running: set[asyncio.Task[None]] = set()

    def locked_down(self) -> bool:
        """Whether an operator closed the gate."""
        return self._locked_down

    async def close(self, on: bool) -> None:
        """Lock the gate down at once, or lift that; on disk on return."""
        self._locked_down = on
        try:
            self._shut(on)
        finally:
            await self._keep()

    async def hear(self, data: bytes) -> None:
        """Obey a command, or write down why not."""
        fields: dict[str, Value] = {"digest": hashlib.sha256(data).digest()}
        command: Command | None = None
        try:
            command = heard(data, self._charter(), self._gate, self._counts, self._clock.now())
            if not self._few(self._obeyed_lately):
                return
            fields |= {"what": command.what, "by": command.by, "count": command.count, **command.arguments}
            self._possible(command)
        except Refusal as refusal:
            if command is not None or self._few(self._noise_lately):
                fields |= {"outcome": "refused", "detail": (refusal.detail or refusal.reason.code)[:120]}
                await self._written(fields)
            return
        await self._obey(command, fields)

    def _few(self, lately: deque[float]) -> bool:
        """Whether this is not one too many within a minute; if not, it counts."""
        now = self._clock.monotonic()
        if len(lately) == _A_MINUTE and now - lately[0] < 60:
            _log.warning("a flood of commands is dropped")
            return False
        lately.append(now)
        return True

    def _possible(self, command: Command) -> None:
        """Hold a good command against what this gate can do.

        Raises:
            Refusal: it cannot.
        """
        if command.what == "unlock":
            if self._opening is None:
                raise Refusal(Reason.UNSUPPORTED, "this site does not open from afar")
            if self._locked_down:
                raise Refusal(Reason.LOCKED_DOWN, "the gate is locked down")
            if self._opening.state is not State.LOCKED:
                raise Refusal(Reason.REFERRED, "somebody is going through")
            if self._turn.taken:
                raise Refusal(Reason.REFERRED, "somebody is being served")

    async def _obey(self, command: Command, fields: dict[str, Value]) -> None:
        self._counts[command.by] = command.count
        fields = {**fields, "outcome": "obeyed"}
        if command.what == "unlock" and self._opening is not None:
            await self._unlock(self._opening, fields)
            return
        lifts = command.what == "lock-down" and not command.arguments.get("on", True)
        if command.what == "lock-down" and not lifts:
            await self.close(True)
        else:
            await self._keep()
        receipt = await self._written(fields)
        if lifts and receipt is not None:
            await self.close(False)

    async def _unlock(self, opening: Opening, fields: dict[str, Value]) -> None:
        """Open for one person, and let nobody else be looked at until that is over."""
        self._turn.take()
        receipt = None
        try:
            await self._keep()
            receipt = await self._written(fields)
        finally:
            if receipt is None:
                self._turn.give_back()
        if receipt is not None:
            task = asyncio.ensure_future(self._open(opening, receipt))
            self._running.add(task)
            task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._turn.give_back()

    async def _open(self, opening: Opening, receipt: Receipt) -> None:
        outcome = await opening.let_through(receipt)
        try:
            await self._journal.append(Event(outcome, {"command": receipt.index}))
        except DeviceError as error:
            _log.error("passage not written: %s", error)

    async def _written(self, fields: dict[str, Value]) -> Receipt | None:
        try:
            return await self._journal.append(Event(Kind.COMMAND, fields))
        except DeviceError as error:
            _log.error("command not written, not obeyed: %s", error)
            return None

    def _read(self) -> tuple[dict[str, int], bool]:
        try:
            kept = json.loads(self._kept.read_text(encoding="utf-8"))
            return dict(kept["counts"]), bool(kept["locked_down"])
        except FileNotFoundError:
            return {}, False
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DeviceError("commands", f"{self._kept.name} cannot be read: {type(error).__name__}") from error

    async def _keep(self) -> None:
        try:
            async with self._alone:
                told = json.dumps({"counts": self._counts, "locked_down": self._locked_down})
                await asyncio.to_thread(kept.keep, self._kept, told)
        except OSError as error:
            raise DeviceError("commands", f"{self._kept.name} cannot be written: {error.strerror}") from error
