"""What an operator's order comes to at the gate: a refused person is let in, the gate is closed or opened again.

Who ordered it and why is verified before (``operators.py``). Rules:

1. Letting somebody in overrides one refusal: the newest visit, not older than the site's policy says, once, and only
   one that it lets an operator overrule. It takes the receipt of its own entry, like a grant, and nothing moves before
   that is on disk. The entry has the facts of the refusal, so that a replay can ask the policy again.
2. A gate that is locked down lets nobody in; neither does one where somebody is going through, or is looked at: what
   opens would open for them. From the order to the end of that passage nobody else is looked at (``turn.py``).
3. Locking down is done at once, and written down; lifting it is written down first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from edge.app.commands import Commands
from edge.app.operators import NotDoneError
from edge.audit.entry import Entry, Event, Kind, Value
from edge.errors import DeviceError, Reason
from edge.orders import No, Order, What
from edge.passage import Indication
from edge.ports import Clock, Journal, Log, Receipt
from edge.trust.operators import Operator
from edge.turn import Turn

VISIT_S = 60.0
"""Where nobody says otherwise."""
_LOOKED = 200
_log = logging.getLogger("edge.gate")


class Way(Protocol):
    """What letting somebody in needs of the doorway."""

    async def let_through(self, receipt: Receipt) -> Kind:
        """Unlock for one person."""
        ...


class Acts:
    """Does what operators order."""

    def __init__(
        self,
        log: Log,
        journal: Journal,
        clock: Clock,
        way: Way,
        clear: Callable[[], bool],
        commands: Commands,
        show: Callable[[Indication], None] = lambda _: None,
        *,
        stands: Callable[[Mapping[str, Value], int], Reason | None] = lambda _fields, _age_s: None,
        through: Callable[[Receipt, Entry], Awaitable[Kind]] | None = None,
        begun: Callable[[], None] = lambda: None,
        later: Callable[[Event], None] = lambda _: None,
        within_s: float = VISIT_S,
        turn: Turn | None = None,
        alarmed: Callable[[], bool] = lambda: False,
    ) -> None:
        """Set up.

        Args:
            log: the same log that ``journal`` writes.
            journal: where all of it is written down.
            clock: of the gate.
            way: what is opened.
            clear: whether it is free for somebody.
            commands: keeps whether the gate is locked down.
            show: the panel.
            stands: whether a refusal, so many seconds ago, stands whatever an operator says; None when it does not.
            through: how a refused person is let in; None for as anybody.
            begun: told before somebody is let in: nobody else lets them in, too.
            later: writes down what cannot be written now.
            within_s: seconds after a refusal in which it may be overridden.
            turn: shared with everybody else who may open.
            alarmed: whether somebody has to come and mend something; a jam keeps its turn as long.
        """
        self._log, self._journal, self._clock = log, journal, clock
        self._clear, self._commands, self._show = clear, commands, show
        self._stands, self._through = stands, through or (lambda receipt, _: way.let_through(receipt))
        self._begun, self._later, self._within_s = begun, later, within_s
        self._turn, self._alarmed = turn or Turn(), alarmed
        self._overridden: tuple[int, int] | None = None
        self._running: set[asyncio.Task[None]] = set()

    async def do(self, order: Order, by: Operator) -> int:
        """Do it; the entry it is written down as.

        Raises:
            NotDoneError: it cannot be done now.
            DeviceError: it cannot be written down.
        """
        fields: dict[str, Value] = {"by": by.name, "role": by.role.value, "why": order.why.value}
        match order.what:
            case What.OVERRIDE:
                return await self._override(order.visit, fields)
            case What.LOCK_DOWN:
                await self._commands.close(True)
                return await self._written(
                    Kind.COMMAND, {"what": "lock-down", "on": True, "outcome": "obeyed", **fields}
                )
            case What.LIFT:
                lifted: dict[str, Value] = {"what": "lock-down", "on": False, "outcome": "obeyed", **fields}
                entry = await self._written(Kind.COMMAND, lifted)
                await self._commands.close(False)
                return entry
            case What.EXPORT:
                return await self._written(Kind.EXPORT, {"first": max(0, order.visit), **fields})

    async def _override(self, visit: int, fields: dict[str, Value]) -> int:
        """Rules 1 and 2."""
        if self._commands.locked_down():
            raise NotDoneError(No.CLOSED)
        refused = self._refused(visit)
        if self._alarmed():
            raise NotDoneError(No.ALARM)
        if self._turn.taken or not self._clear():
            raise NotDoneError(No.BUSY)
        age_s = int(self._clock.monotonic() - refused.monotonic_ms / 1000)
        if self._stands(refused.fields, age_s) is not None:
            raise NotDoneError(No.STANDS)
        reason = refused.fields.get("reason")
        told = {**fields, "visit": visit, "reason": reason if isinstance(reason, str) else "", "age_s": age_s}
        if "facts" in refused.fields:
            told["facts"] = refused.fields["facts"]
        self._overridden = (refused.epoch, visit)
        event = Event(Kind.OVERRIDE, told, refused.subject, refused.issuer, refused.trust, refused.digests)
        self._turn.take()
        self._begun()
        try:
            receipt = await self._journal.append(event)
        except BaseException as error:
            self._turn.give_back()
            if isinstance(error, DeviceError):  # a disk that hangs may still write it: then the log says nobody went
                why = "the override was not written in time"
                self._later(Event(Kind.NOT_TAKEN, {"why": why}, subject=refused.subject))
            raise
        task = asyncio.ensure_future(self._let_through(receipt, refused))
        self._running.add(task)
        task.add_done_callback(self._over)
        return receipt.index

    def _over(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._turn.give_back()

    def _refused(self, visit: int) -> Entry:
        """The refusal that may be overridden."""
        epoch, size = self._log.epoch(), self._log.size()
        if not 0 <= visit < size or size - visit > _LOOKED or (epoch, visit) == self._overridden:
            raise NotDoneError(No.NO_VISIT)
        found = self._log.entries(visit, size - visit)
        if not found or found[0].kind is not Kind.DENIED or found[0].index != visit:
            raise NotDoneError(No.NO_VISIT)
        refused, *later = found
        age_ms = self._clock.monotonic() * 1000 - refused.monotonic_ms
        others = any(one.kind in (Kind.GRANTED, Kind.DENIED, Kind.OVERRIDE) for one in later)
        if others or found[-1].boot != refused.boot or not 0 <= age_ms <= self._within_s * 1000:
            raise NotDoneError(No.NO_VISIT)
        return refused

    async def _let_through(self, receipt: Receipt, refused: Entry) -> None:
        self._show(Indication.WELCOME)
        outcome = await self._through(receipt, refused)
        event = Event(outcome, {"visit": receipt.index, "commit_us": receipt.commit_us})
        try:
            await self._journal.append(event)
        except DeviceError as error:
            _log.error("passage not written: %s", error)
            self._later(event)

    async def _written(self, kind: Kind, fields: dict[str, Value]) -> int:
        return (await self._journal.append(Event(kind, fields))).index
