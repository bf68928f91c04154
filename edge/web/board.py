"""The one place that all pages look at: it follows the log, hears the panel, and wakes whoever waits for news.

Rules:

1. Nothing is queued for a page. Each looks at what is newest; a slow one misses steps, never truth.
2. A log that cannot be read is said on the page and tried again; the last standing stays, marked as old.
3. After a restart the log since the gate's last start is added up again, at most ``HISTORY`` entries of it; of what is
   further back only what stays true until something else is said (``LASTING``). Only what is written from then on
   reaches the kiosk. Another log (a new epoch, or one that
   was put in its place) begins like a restart.
4. Whether the gate is locked down is what it said last, by itself or in an entry written since then: it closes first,
   writes after, and the entry may never come.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from edge.audit.entry import Kind, LogError, decode, kind_in
from edge.audit.proof import prove
from edge.audit.receipt import number_of, text_of
from edge.biometric.values import Hint
from edge.errors import DeviceError
from edge.passage import Indication
from edge.ports import Checkpoints, Log
from edge.web.charted import Charted
from edge.web.kiosk import RECEIPT_S, REFUSED_S, Face, Kiosk, Screen
from edge.web.standing import QUIET, Device, Standing, Told, locks_down

RECENT = 200
HISTORY = 20_000
LASTING = frozenset({Kind.CONFIGURATION, Kind.TRUST_UPDATE, Kind.STATUS_UPDATE, Kind.COMMAND})
CHUNK = 200
LOOK_S = 0.1
SEAL_S = 1.0
AGAIN_S = 1.0
_WITH_RECEIPT = frozenset({Screen.REFUSED, Screen.ASSISTED, Screen.OUT_OF_SERVICE})


class Board:
    """What is known now. Touched by the event loop only.

    Attributes:
        turn: how often something has changed.
        log: how many logs were read here so far; another one has another number, also under the same epoch.
        epoch: of the log that was read; None while one is read for the first time.
        standing: what its entries add up to.
        charted: how busy the gate was lately.
        recent: the newest of them.
        sealed: how many of them a checkpoint covers; None when that cannot be told.
        receipt: number and text for whoever was refused just now, once the token has signed; None before and after.
        trouble: why the log cannot be read, for the technician; empty when it can.
        closed: everybody goes home.
    """

    def __init__(
        self,
        log: Log,
        checkpoints: Checkpoints,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        receipts: bool = False,
    ) -> None:
        """Set up.

        Args:
            log: to follow.
            checkpoints: what seals it.
            monotonic: a stopwatch.
            receipts: whether who is refused is shown a receipt.
        """
        self._log = log
        self._checkpoints = checkpoints
        self._monotonic = monotonic
        self._receipts = receipts
        self._refused: int | None = None
        self._called: dict[str, tuple[bool, str]] = {}
        self._locked_down: bool | None = None
        self._kiosk = Kiosk(monotonic(), RECEIPT_S if receipts else REFUSED_S)
        self._face = self._kiosk.face(monotonic())
        self._poke = asyncio.Event()
        self._news = asyncio.Event()
        self._position = 0
        self._sealed_s = -SEAL_S
        self.turn = 0
        self.log = 0
        self.epoch: int | None = None
        self.standing = Standing()
        self.charted = Charted()
        self.recent: deque[Told] = deque(maxlen=RECENT)
        self.sealed: int | None = None
        self.receipt: tuple[str, str] | None = None
        self.trouble = "the log has not been read yet"
        self.closed = False

    async def follow(self) -> None:
        """Read the log and keep the board true, until cancelled."""
        while True:
            wait_s = LOOK_S
            try:
                await self._follow_up()
                self._said("")
            except DeviceError as error:
                self._said(str(error))
                wait_s = AGAIN_S
            self._seal()
            self._prove()
            self._look()
            self._poke.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._poke.wait()

    def shown(self, indication: Indication) -> None:
        """The panel shows this now; the reason is likely in the log already."""
        self._kiosk.shown(indication, self._monotonic())
        self._look()
        self._poke.set()

    def hinted(self, hint: Hint) -> None:
        """This would help the person to be seen."""
        self._kiosk.hinted(hint, self._monotonic())
        self._look()

    def called(self, devices: Mapping[str, tuple[bool, str]], closed: bool | None = None) -> None:
        """The gate says how its devices are, and whether it is locked down; nothing when it does not answer."""
        known = self.locked_down()
        if closed is not None:
            self._locked_down = closed
            self._kiosk.locked_down(closed)
            self._look()
        if devices != self._called or known is not self.locked_down():
            self._called = dict(devices)
            self._wake()

    def devices(self) -> dict[str, Device]:
        """Every device: as the gate says, with what the log tells of it; one that only the log knows, as it says."""
        found = dict(self.standing.devices)
        for name, (ok, detail) in self._called.items():
            logged = found.get(name)
            if logged is None or logged.ok != ok:
                found[name] = Device(ok, None, detail)
        return dict(sorted(found.items()))

    def locked_down(self) -> bool | None:
        """Whether an operator closed the gate; None when neither the gate nor its log told. Rule 4."""
        return self.standing.closed if self._locked_down is None else self._locked_down

    def open_size(self) -> int:
        """How many entries anybody may know of: since the gate's start, and without ``QUIET`` ones.

        With those in it, whoever forces a person and asks before and after would see that there is one more.
        """
        return sum(count for kind, count in self.standing.kinds.items() if kind not in QUIET)

    def open_sealed(self) -> int | None:
        """How many of these a checkpoint covers; None when that cannot be told."""
        if self.sealed is None:
            return None
        sealed = self.sealed
        quiet = sum(told.kind in QUIET and told.index >= sealed for told in self.recent)
        return max(0, self.open_size() - max(0, self.standing.size - sealed - quiet))

    def now(self) -> datetime | None:
        """What the gate's clock says, as far as the log tells."""
        return self.standing.now(self._monotonic())

    def age_s(self, told: Told) -> float | None:
        """How long ago an entry of this start was written, by the machine's stopwatch; None for an earlier one."""
        age_s = self._monotonic() - told.monotonic_ms / 1000
        return age_s if told.boot == self.standing.boot and age_s >= 0 else None

    def face(self) -> Face:
        """What the kiosk shows now."""
        return self._face

    def serving(self) -> bool:
        """Whether the gate is heard, says that it works, and its log can be read."""
        return not self.trouble and self._kiosk.serving(self._monotonic())

    def close(self) -> None:
        """Send everybody home who waits for news."""
        self.closed = True
        self._wake()

    async def news(self, since: int, wait_s: float) -> bool:
        """Wait until something has changed after turn ``since``; False when nothing did within ``wait_s``."""
        if self.turn == since:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._news.wait()
        return self.turn != since

    async def _follow_up(self) -> None:
        """Take what is new in the log; of a log not seen before, all since the gate started."""
        epoch, size = self._log.epoch(), self._log.size()
        if epoch != self.epoch or size < self._position:
            self.log, self.epoch = self.log + 1, None
            start = self._start(size)
            self._position = max(start, size - HISTORY)
            self.standing = await self._lasting(start, self._position)
            self.charted = Charted()
            self.recent.clear()
            while self._position < size:
                await self._read(live=False)
            self.epoch = epoch
            self._wake()
        while await self._read(live=True):
            pass

    def _start(self, size: int) -> int:
        """Where the gate's last start is, with a page full after it at least."""
        low, high = 0, max(0, size - RECENT)
        last = self._log.entries(size - 1, 1)
        while low < high and last:
            middle = (low + high) // 2
            found = self._log.entries(middle, 1)
            if found and found[0].boot == last[0].boot:
                high = middle
            else:
                low = middle + 1
        return high

    async def _lasting(self, first: int, last: int) -> Standing:
        """What entries said that is true until something else is said; they are many, and few of them are decoded."""
        standing = Standing()
        for begin in range(first, last, CHUNK):
            try:
                for encoded in self._log.read(begin, min(CHUNK, last - begin)):
                    if kind_in(encoded) in LASTING:
                        standing = standing.after(Told.of(decode(encoded)))
            except LogError as error:
                raise DeviceError("journal", f"an entry after {begin} is damaged: {error}") from error
            await asyncio.sleep(0)
        return replace(standing, size=last)

    async def _read(self, *, live: bool) -> bool:
        """Take the next few entries; False when there are none. Pruned ones are passed over."""
        size = self._log.size()  # asked first: what is written in between is for the next time, not pruned
        entries = self._log.entries(self._position, CHUNK)
        for told in map(Told.of, entries):
            self.standing = self.standing.after(told)
            self.charted = self.charted.after(told)
            self.recent.append(told)
            if live:
                self._kiosk.told(told, self._monotonic())
                if (closed := locks_down(told)) is not None:
                    self._locked_down = closed
                if told.kind is Kind.DENIED:
                    self._refused = told.index if self._receipts else None
                    self.receipt = None
        self._kiosk.burning(self.standing.fire)
        self._kiosk.without_cards(self.standing.lane)
        if (known := self.locked_down()) is not None:
            self._kiosk.locked_down(known)
        if entries:
            self._position = self.standing.size
        elif size > self._position:
            self._position = min(size, self._position + CHUNK)
        else:
            return False
        self._wake()
        await asyncio.sleep(0)
        return True

    def _seal(self) -> None:
        """Look how far the log is sealed, once a second."""
        if self._monotonic() - self._sealed_s < SEAL_S:
            return
        self._sealed_s = self._monotonic()
        try:
            last = self._checkpoints.last()
            sealed = last.head.size if last is not None and last.head.epoch == self.epoch else 0
        except DeviceError:
            sealed = None
        if sealed != self.sealed:
            self.sealed = sealed
            self._wake()

    def _prove(self) -> None:
        """The receipt of the newest refusal, as soon as a checkpoint covers it and for as long as it is shown."""
        if self._refused is None or self.epoch is None:
            return
        try:
            covering = self._checkpoints.covering(self.epoch, self._refused)
            entries = self._log.read(self._refused, 1) if covering is not None else []
            if covering is None or not entries:
                return
            path = self._log.inclusion(self._refused, covering.head.size)
            proof = prove(self._refused, entries[0], path, covering, blind=True)
            self.receipt = number_of(proof), text_of(proof)
        except (DeviceError, LogError):
            return  # it is looked for again; the refusal stands without it
        self._refused = None
        self._wake()

    def _look(self) -> None:
        face = self._kiosk.face(self._monotonic())
        if face.screen not in _WITH_RECEIPT:
            self._refused, self.receipt = None, None
        if face != self._face:
            self._face = face
            self._wake()

    def _said(self, trouble: str) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            self._wake()

    def _wake(self) -> None:
        self.turn += 1
        self._news.set()
        self._news = asyncio.Event()
