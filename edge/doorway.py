"""The passage table at work: sensors and timers in, lock and alarm out, and an entry for whatever happened.

Rules:

1. The step itself never waits: a lock command is given in the same moment as the event that asks for it, whatever the
   disk does. Entries are queued behind it, in order.
2. A command that fails ends this part, and with it the process: a relay that does not drop is not left to a timer that
   nobody hears. What comes after the process drops it.
3. A door that still stands open when the passage is over has the held time to close.
4. When this part has ended nothing opens any more, whoever waited for it.
5. Nor does it while the gate is locked down. A release that nobody has used by then ends as when its time is over:
   whoever has begun to go through may finish, and the second door of an interlock stays shut.
6. Where portions are counted, an end of service is no outcome: what still falls then nobody here would see.
7. Of a grant that nobody has begun to use when service ends, or whose person stepped back, nobody may be left to hear:
   ``unused`` keeps whose it was.
8. An exit request excuses a door that opens for as long as a release lasts, whatever else goes on meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import assert_never

from edge.audit.entry import Event, Kind, Value
from edge.errors import DeviceError
from edge.passage import AT_REST, TURNSTILE, Command, Happening, Indication, Plan, Sensed, State, stands
from edge.passage import Event as Occurrence
from edge.ports import Clock, Journal, Lock, Panel, Receipt, Sensors

_log = logging.getLogger("edge.doorway")
_ALARM_S = 3.0
"""How long both beams are clear before an alarm ends: somebody who steps back for a moment is still there."""

_NOBODY_IN = frozenset({State.RELEASED, State.STEPPED_BACK})
"""Unlocked, and nobody is in the lane."""

_REPORTS: dict[Command, Kind] = {
    Command.REPORT_FORCED: Kind.DOOR_FORCED,
    Command.REPORT_HELD: Kind.DOOR_HELD,
    Command.REPORT_TAILGATE: Kind.TAILGATE,
    Command.REPORT_FAULT: Kind.DISPENSER_FAULT,
    Command.REPORT_PORTION: Kind.PORTION_UNGRANTED,
    Command.REPORT_EXIT_REQUEST: Kind.EXIT_REQUEST,
    Command.REPORT_FIRE: Kind.FIRE,
    Command.REPORT_FIRE_OVER: Kind.FIRE_OVER,
    Command.REPORT_TAMPER: Kind.TAMPER,
}
_OF_A_VISIT = frozenset({Kind.DOOR_FORCED, Kind.DOOR_HELD, Kind.TAILGATE, Kind.DISPENSER_FAULT, Kind.PORTION_UNGRANTED})
"""What may have to do with whoever goes through or just has: told with the index of that grant."""


class Doorway:
    """One passage with its locks, sensors and alarm."""

    def __init__(
        self,
        lock: Lock,
        panel: Panel,
        sensors: Sensors,
        journal: Journal,
        clock: Clock,
        *,
        release_s: float,
        held_s: float,
        plan: Plan = TURNSTILE,
        alarm_s: float = _ALARM_S,
    ) -> None:
        self._plan = plan
        self._lock = lock
        self._panel = panel
        self._sensors = sensors
        self._journal = journal
        self._clock = clock
        self._seconds = {
            Happening.RELEASE_OVER: release_s,
            Happening.HELD_OVER: held_s,
            Happening.DOOR_LEFT_OPEN: held_s,
            Happening.ALARM_OVER: alarm_s,
        }
        self._longer_s = 0.0
        self._exit_over: asyncio.TimerHandle | None = None
        self._timers: dict[Happening, asyncio.TimerHandle] = {}
        self._state = State.LOCKED
        self._receipt: Receipt | None = None
        self._visit: int | None = None
        self._outcome: asyncio.Future[Kind] | None = None
        self._one = asyncio.Lock()
        self._moved = asyncio.Event()
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._standing = AT_REST
        self._portions = 1
        self._over = self._shut = self._turned = False
        self.dispensed = 0
        self.unused: int | None = None
        self._reports: asyncio.Queue[Event] = asyncio.Queue(maxsize=1000)
        self.unlocked_at = 0.0

    @property
    def state(self) -> State:
        """Where the passage is."""
        return self._state

    @property
    def alarmed(self) -> bool:
        """Whether somebody has to come and mend something."""
        return self._state in self._plan.alarmed

    @property
    def open(self) -> bool:
        """Whether somebody may go in now."""
        return self._state in self._plan.unlocked

    @property
    def turned_away(self) -> bool:
        """Whether somebody who was let in and did not pass is still in the way, and nobody has to mend anything."""
        return self._turned and not (self._over or self.alarmed or self.is_clear())

    def is_clear(self) -> bool:
        """Whether a grant would open now."""
        return self._state in self._plan.clear

    async def let_through(self, receipt: Receipt, *, longer_s: float = 0.0, portions: int = 1) -> Kind:
        """Unlock for one person; ``TAKEN`` or ``NOT_TAKEN`` when it is over.

        Args:
            receipt: the grant on disk: without one there is nothing to unlock with.
            longer_s: how much longer this person has than anybody, to come and to go through, until the next grant.
            portions: how many a dispenser gives out; ``dispensed`` tells afterwards how many came.

        Raises:
            DeviceError: rule 6.
        """
        async with self._one:
            self.dispensed, self._portions = 0, portions
            waited = not self.is_clear()
            await self._out_of_the_way()
            if self._over or self._shut:
                return Kind.NOT_TAKEN
            self._receipt, self._longer_s = receipt, longer_s
            self._visit = receipt.index if self.is_clear() else self._visit
            self._outcome = asyncio.get_running_loop().create_future()
            try:
                self._happens(Happening.GRANTED)
                if waited and self.open:
                    self._panel.show(Indication.WELCOME)  # who waits was shown to step back so long
                outcome = self._sure(await self._outcome)
                self.unused = None  # somebody hears of it
                return outcome
            except asyncio.CancelledError:
                if self._state in _NOBODY_IN:
                    self.stop()
                raise
            finally:
                self._receipt = self._outcome = None

    def _sure(self, outcome: Kind) -> Kind:
        """Rule 6."""
        if self._over and self._plan.counts:
            raise DeviceError("dispenser", "service ended before everything had fallen")
        return outcome

    async def _out_of_the_way(self) -> None:
        """Wait for whoever was let in before, or leaves, but not for a gate that somebody has to mend.

        Who leaves has the held time in the second beam, and once more in the first.
        """
        held_s = self._seconds[Happening.HELD_OVER] + self._longer_s
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * held_s):
                while not (self.is_clear() or self.alarmed or self._over or self._shut):
                    self._moved.clear()
                    await self._moved.wait()

    def happened(self, occurrence: Occurrence) -> None:
        """Take the step of the table, and what follows from it at once, and carry out the commands."""
        if isinstance(occurrence, Sensed):
            self._standing = stands(self._standing, occurrence)
        if occurrence is Sensed.EXIT_REQUEST:
            self._excuse()
        to = self._plan.follow(self._state, occurrence, self._standing)
        self._state = to.state
        for command in to.commands:
            self._carry_out(command)
        self._turned = Command.NOT_TAKEN in to.commands or (self._turned and not self.is_clear())
        if Command.NOT_TAKEN in to.commands and self.turned_away:
            self._panel.show(Indication.STEP_BACK)
        self._mind_the_door()
        if self._state is State.LOCKED and Sensed.DOOR_OPEN not in self._standing:
            self._visit = None
        self._moved.set()
        if occurrence is Sensed.PORTION:
            self._count()

    def _count(self) -> None:
        """One more portion came out; a grant of so many is over with the last."""
        self.dispensed += 1
        if self._state in self._plan.pending and self.dispensed >= self._portions:
            self.happened(Happening.ALL_OUT)

    async def clear(self) -> None:
        """Wait until the person before is out of the way, so that the next grant can open."""
        while self._state not in self._plan.clear:
            self._moved.clear()
            await self._moved.wait()

    def shut(self, on: bool) -> None:
        """The gate is locked down, or not any more; rule 5."""
        self._shut = on
        self._moved.set()
        if on and (release := self._timers.get(Happening.RELEASE_OVER)) is not None:
            release.cancel()
            self._ran_out(Happening.RELEASE_OVER)

    def stop(self) -> None:
        """Lock, whatever is going on; rule 7."""
        if self._receipt is not None and self._state in _NOBODY_IN:
            self.unused = self._receipt.index
        self.happened(Happening.STOP)

    async def run(self) -> None:
        """Follow the sensors and write reports down, until cancelled; locked on the way out."""
        try:
            async with asyncio.TaskGroup() as parts:
                parts.create_task(self._follow())
                parts.create_task(self._write())
                parts.create_task(self._break_down())
        finally:
            self._over = True
            self.stop()

    def _mind_the_door(self) -> None:
        """Rule 3."""
        waiting = self._timers.get(Happening.DOOR_LEFT_OPEN)
        if not (Sensed.DOOR_OPEN in self._standing and (self._state, Happening.DOOR_LEFT_OPEN) in self._plan.table):
            if waiting is not None:
                waiting.cancel()
                del self._timers[Happening.DOOR_LEFT_OPEN]
        elif waiting is None:
            self._time(Happening.DOOR_LEFT_OPEN)

    def _excuse(self) -> None:
        """Rule 8: a timer of its own, which no step of the table stops."""
        if self._exit_over is not None:
            self._exit_over.cancel()
        loop, seconds = asyncio.get_running_loop(), self._seconds[Happening.RELEASE_OVER]
        self._exit_over = loop.call_later(seconds, self._happens, Sensed.EXIT_REQUEST_OVER)

    def _ran_out(self, end: Happening) -> None:
        """A timer ran out."""
        self._timers.pop(end, None)
        self._happens(end)

    def _happens(self, occurrence: Occurrence) -> None:
        """Take the step where nobody else hears that it failed; rule 2. Its visit ends when this part does."""
        try:
            self.happened(occurrence)
        except Exception as error:  # noqa: BLE001 -- passed on to who waits for this part, whatever it is
            if not self._broken.done():
                self._broken.set_exception(error)

    async def _break_down(self) -> None:
        """Rule 2."""
        await self._broken

    async def _follow(self) -> None:
        async for sensed in self._sensors.sensed():
            self.happened(sensed)

    async def _write(self) -> None:
        while True:
            report = await self._reports.get()
            while not await self._written(report):  # noqa: ASYNC110 -- a disk that fails has no event
                await asyncio.sleep(1.0)

    async def _written(self, report: Event) -> bool:
        try:
            await self._journal.append(report)
        except DeviceError as error:
            _log.error("%s not written: %s", report.kind.name, error)
            return False
        return True

    def _carry_out(self, command: Command) -> None:
        match command:
            case Command.UNLOCK:
                self._unlock()
            case Command.LOCK:
                self._lock.lock()
            case Command.UNLOCK_EXIT if self._shut:
                pass  # rule 5: the timer runs, and the entry door's own handle leads out
            case Command.UNLOCK_EXIT:
                self._lock.unlock_exit(self._granted())
            case Command.LOCK_EXIT:
                self._lock.lock_exit()
            case Command.FREE_EXIT:
                self._lock.free_exit()
            case Command.TIME_RELEASE:
                self._time(Happening.RELEASE_OVER)
            case Command.TIME_HELD:
                self._time(Happening.HELD_OVER)
            case Command.TIME_ALARM:
                self._time(Happening.ALARM_OVER)
            case Command.STOP_TIMERS:
                for timer in self._timers.values():
                    timer.cancel()
                self._timers.clear()
            case Command.TAKEN:
                self._settle(Kind.TAKEN)
            case Command.NOT_TAKEN:
                self._settle(Kind.NOT_TAKEN)
            case Command.ALARM:
                self._panel.show(Indication.ALARM)
            case Command.SILENCE:
                self._panel.show(Indication.WELCOME if self._state in self._plan.pending else Indication.READY)
            case (
                Command.REPORT_FORCED
                | Command.REPORT_HELD
                | Command.REPORT_TAILGATE
                | Command.REPORT_FAULT
                | Command.REPORT_PORTION
                | Command.REPORT_EXIT_REQUEST
                | Command.REPORT_FIRE
                | Command.REPORT_FIRE_OVER
                | Command.REPORT_TAMPER
            ):
                self._report(_REPORTS[command])
            case _:
                assert_never(command)

    def _unlock(self) -> None:
        self._lock.unlock(self._granted())
        self.unlocked_at = self._clock.monotonic()

    def _granted(self) -> Receipt:
        if self._receipt is None:
            raise RuntimeError("the table unlocked without a grant on disk")
        return self._receipt

    def _time(self, end: Happening) -> None:
        if self._over:
            return
        if (running := self._timers.get(end)) is not None:
            running.cancel()
        seconds = self._seconds[end] + (0.0 if end is Happening.ALARM_OVER else self._longer_s)
        self._timers[end] = asyncio.get_running_loop().call_later(seconds, self._ran_out, end)

    def _settle(self, outcome: Kind) -> None:
        if self._outcome is not None and not self._outcome.done():
            self._outcome.set_result(outcome)

    def _report(self, kind: Kind) -> None:
        about = kind in _OF_A_VISIT and self._visit is not None
        fields: dict[str, Value] = {"visit": self._visit} if about else {}
        try:
            self._reports.put_nowait(Event(kind, fields))
        except asyncio.QueueFull:
            _log.error("%s not written: too many reports are waiting", kind.name)
