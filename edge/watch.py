"""Which devices are well, said once per change: a device that goes is an entry, a device that is back is another.

Rules:

1. The other processes tell how their device is once a second. Silence for ``SILENT_S`` is a device lost.
2. A device that the gate cannot do without takes it out of service; the others never do.
3. A device that is not there yet when the gate starts is not called lost before ``START_S`` have passed.
4. What cannot be written down now (the journal itself may be the device) is written when it can be. What is too much
   to keep is counted, and the count is written.
5. Other processes may be in somebody else's hands: only the devices in ``TOLD`` are heard of, each changes at most once
   in ``STEADY_S``, and of what is said plain characters are kept.
6. A neighbour's log that forked is an entry of its own, sealed at once, whatever the witnesses' condition was before.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass

from edge.audit.entry import Event, Kind
from edge.errors import DeviceError
from edge.ports import Clock, Journal

SILENT_S = 5.0
SETTLE_S = 2.0
START_S = 10.0
STEADY_S = 1.0
FORK_S = 60.0
KEPT = 200
TOLD = frozenset({"camera", "models", "token", "broker", "pages", "iavs", "trust-delivery", "bundles", "witnesses"})
REQUIRED = frozenset({"camera", "models", "journal", "gate", "trust", "ledger", "dispenser"})
_log = logging.getLogger("edge.watch")


@dataclass
class _Condition:
    ok: bool
    detail: str
    changed_at: float
    heard_at: float
    told_by_process: bool
    written: bool = True


class Watch:
    """Remembers how every device is."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._began_at = clock.monotonic()
        self._devices: dict[str, _Condition] = {}
        self._unwritten: deque[Event] = deque()
        self._dropped = 0
        self._forked = ("", -FORK_S)
        self._wake = asyncio.Event()

    def lost(self, device: str, detail: str) -> None:
        """A device failed under our own hands."""
        self._note(device, False, detail, told_by_process=False)

    def back(self, device: str) -> None:
        """A device did its part under our own hands."""
        self._note(device, True, "", told_by_process=False)

    def heard(self, device: str, ok: bool, detail: str) -> None:
        """The device's own process says how it is."""
        if device not in TOLD:
            return
        if device == "witnesses" and not ok and detail.startswith("forked:"):
            self._fork(plain(detail))
        known = self._devices.get(device)
        if known is not None:
            known.heard_at = self._clock.monotonic()
            known.told_by_process = True
            steady_s = SETTLE_S if ok else STEADY_S  # well: said before it knew of the failure that we saw
            if ok != known.ok and known.heard_at - known.changed_at < steady_s:
                return
        self._note(device, ok, plain(detail), told_by_process=True)

    def _fork(self, told: str) -> None:
        """Rule 6: once for what is told, and not more often than somebody could want to fill the log with it."""
        now = self._clock.monotonic()
        before, at = self._forked
        if told != before and now - at >= FORK_S:
            self._forked = (told, now)
            self.later(Event(Kind.FORK, {"told": told}))

    def later(self, event: Event) -> None:
        """Write this down as soon as the journal can."""
        if len(self._unwritten) >= KEPT:
            self._dropped += 1
        else:
            self._unwritten.append(event)
        self._wake.set()

    def out_of_service(self) -> str:
        """Why the gate cannot serve, as a sentence for the technician; empty when it can."""
        return next(
            (f"{name}: {c.detail}" for name, c in self._devices.items() if name in REQUIRED and not c.ok),
            "",
        )

    def conditions(self) -> dict[str, tuple[bool, str]]:
        """Every device that was heard of: well or not, and why."""
        return {name: (c.ok, c.detail) for name, c in self._devices.items()}

    async def run(self) -> None:
        """Notice silence and write changes down, until cancelled."""
        while True:
            self._notice_silence()
            await self._write()
            self._wake.clear()
            try:
                async with asyncio.timeout(1.0):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _note(self, device: str, ok: bool, detail: str, *, told_by_process: bool) -> None:
        now = self._clock.monotonic()
        known = self._devices.get(device)
        if known is not None and known.ok == ok:
            known.detail = detail
            return
        told = told_by_process or (known is not None and known.told_by_process)
        here = _Condition(ok, detail, now, now, told)
        self._devices[device] = here
        if known is None:
            here.written = ok or now - self._began_at >= START_S
            if ok or not here.written:
                return
        elif not known.written:
            return  # came up while the gate did
        self._say(device, here)

    def _say(self, device: str, condition: _Condition) -> None:
        ok, detail = condition.ok, condition.detail
        _log.warning("device %s %s%s", device, "back" if ok else "lost", f": {detail}" if detail else "")
        fields = {"device": device, "detail": detail[:200]}
        self.later(Event(Kind.DEVICE_BACK if ok else Kind.DEVICE_LOST, fields))

    def _notice_silence(self) -> None:
        now = self._clock.monotonic()
        for name, condition in list(self._devices.items()):
            if condition.told_by_process and condition.ok and now - condition.heard_at > SILENT_S:
                self._note(name, False, "its process is silent", told_by_process=True)
            elif not condition.written and now - self._began_at >= START_S:
                condition.written = True
                self._say(name, condition)

    async def _write(self) -> None:
        while self._unwritten or self._dropped:
            if not self._unwritten:
                self._unwritten.append(Event(Kind.DROPPED, {"count": self._dropped}))
                self._dropped = 0
            try:
                await self._journal.append(self._unwritten[0])
            except DeviceError as error:
                self.lost("journal", error.message)
                return
            self._unwritten.popleft()
            self.back("journal")


def plain(said: str) -> str:
    """What another process says, without what could forge a line of a log."""
    return "".join(sign if sign.isprintable() else " " for sign in said[:200])
