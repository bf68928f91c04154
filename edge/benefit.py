"""A benefit at the dispenser: reserved on disk, handed out, finished on disk; and finished after a power cut.

Rules:

1. Nothing is handed out before its reservation is on disk, and nothing is reserved while another one is unfinished.
2. What came out is the dispenser's own count where it has one, else what its pulses told the doorway.
3. What a cycle was opened with is in the log. A cycle that was open here before, in a log that does not know it, is a
   ledger that was lost: then nobody can tell who received.
4. One thing at a time: while something is handed out nobody reads the ledger, so nobody takes it for interrupted.
5. What a power cut, a full disk or a crash left unfinished is finished before anybody is served again, and not while
   the dispenser is jammed or open: what is stuck there would be counted for nobody.
6. What another point says is asked again at the last moment: a person, or an operator's word, may have taken a while.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from edge.audit.entry import Event, Kind
from edge.errors import DeviceError
from edge.policy.ledger import (
    ForgottenError,
    Ledger,
    LedgerKey,
    Reservation,
    dispensed,
    finishing,
    opening,
    reserving,
)
from edge.ports import Dispenser, Journal, Receipt
from edge.trust.cycles import Cycle

MOST = 200_000
"""People of whom other points said that they received, in one cycle."""
CYCLES = 4
"""Other points may be a cycle ahead, or hand out another benefit."""
COUNTED = ("ledger", "dispenser")
"""Devices that are looked after between people."""
NOT_DUE = "not-due"
"""No device: one person is due nothing any more, and the next one is served."""
_log = logging.getLogger("edge.benefit")


class Way(Protocol):
    """What handing out needs of the doorway."""

    @property
    def dispensed(self) -> int:
        """How many portions came at the last grant."""
        ...

    @property
    def alarmed(self) -> bool:
        """Whether the dispenser is jammed or open, and somebody has to mend it."""
        ...

    async def let_through(self, receipt: Receipt, *, longer_s: float = 0.0, portions: int = 1) -> Kind:
        """Enable the dispenser for one person."""
        ...


def not_due(why: str) -> DeviceError:
    """Nothing is handed out to this person, and no device is to blame: told in one log line."""
    _log.warning("nothing was handed out: %s", why)
    return DeviceError(NOT_DUE, why)


class Benefit:
    """One point that hands out a benefit."""

    def __init__(
        self, journal: Journal, dispenser: Dispenser, way: Way, read: Callable[[], Ledger], settle_s: float = 0.0
    ) -> None:
        """Set up.

        Args:
            journal: where all of it is written down.
            dispenser: with its count.
            way: what enables it.
            read: makes the ledger of the log; asked at the start, and after an entry of which nobody knows whether it
                is on disk. Called in a thread.
            settle_s: how long a portion may still fall after the dispenser was disabled.
        """
        self._journal, self._dispenser, self._way, self._read = journal, dispenser, way, read
        self._settle_s = settle_s
        self._ledger: Ledger | None = None
        self._interrupted = False
        self._alone = asyncio.Lock()

    async def ledger(self) -> Ledger:
        """What the log says, with nothing unfinished.

        Raises:
            DeviceError: it cannot be read, or what is unfinished cannot be finished now.
        """
        async with self._alone:
            return await self._whole()

    async def _whole(self) -> Ledger:
        if self._ledger is None:
            if self._interrupted:
                self._mended()  # before the log is read: a jam lasts for hours, and is asked about every few seconds
            read = await asyncio.to_thread(self._read)
            self._interrupted = bool(read.unfinished)
            if self._interrupted:
                self._mended()
                await asyncio.sleep(self._settle_s)
                self._mended()
            self._ledger, self._interrupted = read, False
        for reservation in self._ledger.unfinished:
            count = dispensed(reservation, self._dispenser.counted())
            _log.warning("reservation %d is finished after an interruption", reservation.index)
            await self._write(finishing(reservation, count, "resumed"))
        return self._ledger

    def _mended(self) -> None:
        """Rule 5."""
        if self._way.alarmed:
            raise DeviceError("dispenser", "what was interrupted is finished when the dispenser is mended")

    def received(self, number: int) -> tuple[bytes, ...]:
        """The marks of everybody who received something here in this cycle; none before the log was read."""
        return () if self._ledger is None else self._ledger.received(number)

    def well(self) -> None:
        """Ask the dispenser for its count, as the next person will.

        Raises:
            DeviceError: it does not answer.
        """
        self._dispenser.counted()

    async def opened(self, cycle: Cycle) -> None:
        """A signed message says that this cycle is open: from its entry on the log is its ledger.

        Raises:
            DeviceError: not on disk; the cycle is not open here.
        """
        async with self._alone:
            if not (await self._whole()).knows(cycle):
                await self._write(opening(cycle))

    async def hand_out(self, grant: Receipt, mark: bytes, cycle: Cycle, longer_s: float = 0.0) -> Kind:
        """Reserve, let the dispenser give out, and write down what came of it.

        A person for whom it stays enabled longer has so many seconds more.

        Raises:
            DeviceError: nothing was handed out; or something was, and it is finished before the next person.
        """
        async with self._alone:
            if (await self._whole()).benefit(mark) != "free":
                raise not_due("the benefit was reserved meanwhile")
            reservation = await self._reserved(mark, cycle)
            outcome = await self._way.let_through(grant, longer_s=longer_s, portions=cycle.amount)
            await self._write(finishing(reservation, self._came(reservation, outcome), outcome.name.lower()))
            return outcome

    async def _reserved(self, mark: bytes, cycle: Cycle) -> Reservation:
        counted = self._dispenser.counted()
        receipt = await self._write(reserving(mark, cycle, counted))
        return Reservation(mark, cycle.number, cycle.amount, counted, receipt.index)

    def _came(self, reservation: Reservation, outcome: Kind) -> int:
        """Rule 2."""
        told = self._way.dispensed
        counted = dispensed(reservation, self._dispenser.counted())
        came = told if counted is None else max(told, counted)
        return max(came, 1) if outcome is Kind.TAKEN else came

    async def _write(self, event: Event) -> Receipt:
        ledger, self._ledger = self._ledger, None  # whatever ends this call early, the log is read again
        receipt = await self._journal.append(event)
        if ledger is not None:
            ledger.note(event.kind, event.fields, receipt.index)
        self._ledger = ledger
        return receipt


class Keyring(Protocol):
    """The key of the ledger, kept where a power cut does not take it back (``devices/ledgerkey.py``)."""

    @property
    def key(self) -> LedgerKey:
        """The oldest that is there."""
        ...

    @property
    def opened(self) -> int:
        """The highest number of a cycle that was open here."""
        ...

    def open(self, number: int) -> None:
        """Note that this cycle is open here.

        Raises:
            DeviceError: not on disk.
        """
        ...

    def forget(self, disputed: Mapping[int, datetime], now_at_least: datetime) -> bool:
        """Destroy the keys of cycles that nobody can dispute any more; whether one was.

        Raises:
            DeviceError: not on disk.
        """
        ...


@dataclass(frozen=True)
class Due:
    """What one person is due at this moment.

    Attributes:
        cycle: which is open.
        mark: of the person in it.
        benefit: ``free``, ``reserved``, ``received``; ``lost`` where nobody can tell.
    """

    cycle: Cycle
    mark: bytes = field(repr=False)
    benefit: str


class Entitlements:
    """Who is due what: the ledger under the marks of people."""

    def __init__(
        self,
        benefit: Benefit,
        keyring: Keyring,
        cycle: Callable[[], Cycle | None],
        told: Iterable[tuple[int, bytes]] = (),
        keep: Callable[[int, Iterable[bytes]], None] = lambda _number, _marks: None,
    ) -> None:
        """Set up.

        Args:
            benefit: the point.
            keyring: for the marks.
            cycle: which is open, as the newest signed message says; None for none.
            told: the numbers of cycles and who received in them at other points, as it was heard before the restart.
            keep: puts what is heard where a restart does not forget it.
        """
        self._benefit, self._keyring, self._cycle, self._keep = benefit, keyring, cycle, keep
        self._elsewhere: dict[int, dict[bytes, None]] = {}
        for number, mark in told:
            self._elsewhere.setdefault(number, {})[mark] = None

    async def due(self, person: bytes) -> Due | None:
        """What this person is due; None while no cycle is open, or its key is gone.

        Raises:
            DeviceError: the ledger cannot be read, or what is unfinished cannot be finished now.
        """
        cycle = self._cycle()
        if cycle is None:
            return None
        try:
            mark = self._keyring.key.mark(person, cycle)
        except ForgottenError:
            return None
        ledger = await self._benefit.ledger()
        if not ledger.knows(cycle):
            if cycle.number <= self._keyring.opened:
                return Due(cycle, mark, "lost")
            await self._benefit.opened(cycle)
        if cycle.number > self._keyring.opened:
            self._keyring.open(cycle.number)
        benefit = ledger.benefit(mark)
        return Due(cycle, mark, "received" if benefit == "free" and self._told(cycle, mark) else benefit)

    def elsewhere(self, number: int, marks: Iterable[bytes]) -> None:
        """Other points say that these people received in that cycle; one that is over here is no matter any more."""
        cycle = self._cycle()
        over = 0 if cycle is None else cycle.number
        self._elsewhere = {each: known for each, known in self._elsewhere.items() if each >= over}
        known_cycle = number == over or number in self._elsewhere
        if number < max(over, 1) or not (known_cycle or len(self._elsewhere) < CYCLES):
            return
        known = self._elsewhere.setdefault(number, {})
        news = [mark for mark in marks if mark not in known]
        known |= dict.fromkeys(news)
        while len(known) > MOST:
            del known[next(iter(known))]
        if news:
            self._keep(number, news)

    def received(self) -> tuple[int, tuple[bytes, ...]]:
        """The number of the open cycle, and the marks of people who received at this point in it; 0 for none."""
        cycle = self._cycle()
        return (0, ()) if cycle is None else (cycle.number, self._benefit.received(cycle.number))

    def _told(self, cycle: Cycle, mark: bytes) -> bool:
        return mark in self._elsewhere.get(cycle.number, ())

    async def tend(self, now_at_least: datetime) -> None:
        """Finish what is unfinished, and forget who received in cycles whose dispute window is over for sure.

        Raises:
            DeviceError: not now.
        """
        ledger = await self._benefit.ledger()
        if self._keyring.forget(ledger.disputed, now_at_least):
            _log.info("keys of the ledger below cycle %d were destroyed", self._keyring.key.number)
        oldest, cycle = self._keyring.key.number, self._cycle()
        ledger.forget(oldest if cycle is None else min(oldest, cycle.number))  # others may still ask about the open one
        self._benefit.well()

    async def hand_out(self, grant: Receipt, due: Due, longer_s: float = 0.0) -> Kind:
        """Hand it out once.

        Raises:
            DeviceError: nothing was handed out; or something was, and it is finished before the next person.
        """
        if due.cycle != self._cycle():
            raise not_due("the cycle was closed meanwhile")
        if self._told(due.cycle, due.mark) or due.benefit == "received":
            raise not_due("the benefit was received at another point")
        return await self._benefit.hand_out(grant, due.mark, due.cycle, longer_s)
