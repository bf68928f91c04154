"""Simulated twins, for the demo and the tests: the same code over pins that no hardware is behind.

The simulated gate is ``GpioGate`` on gpiozero's mock pins, with a simulated person who walks through when it unlocks.
It refuses what the real one refuses, because it is the real one down to the pin.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gpiozero.pins.mock import MockFactory, MockPin

from edge.audit.entry import Event
from edge.biometric.values import (
    Comparison,
    Enrolled,
    Identification,
    ModelSet,
    Probe,
    ProbeQuality,
    Reference,
    ReferenceKind,
)
from edge.devices.dispenser import CountInFile
from edge.devices.gate import PORTION_S, GpioGate
from edge.errors import DeviceError, Reason, Refusal
from edge.passage import OPPOSITE, Indication, Sensed
from edge.ports import COMMITTED, Code, Receipt
from edge.settings import Gate
from edge.trust.interval import ClockState, Interval

_STEP_S = 0.12
_PULSE_S = 0.05
_FULL = 50

_IN = (Sensed.DOOR_OPEN, Sensed.BEAM_1, Sensed.BEAM_2, Sensed.BEAM_1_CLEAR)
STORIES: Mapping[str, Mapping[str, tuple[Sensed, ...]]] = {
    "turnstile": {
        "through": (Sensed.BEAM_1, Sensed.BEAM_2, Sensed.BEAM_1_CLEAR, Sensed.BEAM_2_CLEAR),
        "turns-back": (Sensed.BEAM_1, Sensed.BEAM_1_CLEAR),
        "tailgate": (
            *(Sensed.BEAM_1, Sensed.BEAM_2, Sensed.BEAM_1_CLEAR, Sensed.BEAM_1),
            *(Sensed.BEAM_2_CLEAR, Sensed.BEAM_2, Sensed.BEAM_1_CLEAR, Sensed.BEAM_2_CLEAR),
        ),
        "stays": (),
    },
    "interlock": {
        "through": (*_IN, Sensed.DOOR_CLOSED),
        "turns-back": (Sensed.DOOR_OPEN, Sensed.BEAM_1, Sensed.BEAM_1_CLEAR, Sensed.DOOR_CLOSED),
        "two-inside": (*_IN, Sensed.BEAM_1, Sensed.BEAM_1_CLEAR, Sensed.BEAM_2_CLEAR, Sensed.DOOR_CLOSED),
        "stays": (),
    },
}
"""What a person does when the entry is released, by the kind of passage and the word on the stage."""


class ContactPin(MockPin):  # type: ignore[misc] # gpiozero ships no types
    """A mock pin with a contact to ground behind it: while that is closed, a pull-up does not lift the pin."""

    closed = False

    def _set_pull(self, value: str) -> None:
        super()._set_pull(value)
        if self.closed:
            self._change_state(False)


class SimulatedGate(GpioGate):
    """A gate on mock pins, and a person who does what ``<stage>/person`` says (see ``_walk``).

    Each movement of the relay is a line in ``<stage>/relay``: the index of the entry that allowed it.
    """

    def __init__(self, pins: Gate, stage: Path | None = None, step_s: float = _STEP_S) -> None:
        self._pins = pins
        self._stage = stage
        self._step_s = step_s
        self.factory: Any = MockFactory(pin_class=ContactPin)
        closed = (pins.door_pin, pins.beam_1_pin, pins.beam_2_pin, pins.fire_pin, pins.tamper_pin)
        for pin in filter(None, (*closed, pins.exit_door_pin, pins.fault_pin)):
            self.factory.pin(pin).closed = True
        self._pulse: asyncio.TimerHandle | None = None
        self._walking: set[asyncio.Task[None]] = set()
        self.unlocks = 0
        super().__init__(pins, self.factory)

    def unlock(self, receipt: Receipt) -> None:
        """Energise the release, and let the simulated person walk."""
        super().unlock(receipt)
        self.unlocks += 1
        if self._stage is not None:
            with (self._stage / "relay").open("a", encoding="ascii") as movements:
                movements.write(f"{receipt.index}\n")
        self._go(self._walk())

    def unlock_exit(self, receipt: Receipt) -> None:
        """Energise the release of the second door, and let the simulated person leave."""
        super().unlock_exit(receipt)
        self._go(self._leave())

    def show(self, indication: Indication) -> None:
        """Show it, and tell the stage, so that the simulated person can react."""
        super().show(indication)
        if self._stage is not None:
            new = self._stage / "panel.new"
            new.write_text(f"{indication.value}\n", encoding="ascii")
            new.replace(self._stage / "panel")

    def fill(self, *, lit: bool) -> None:
        """Switch it, and tell the stage, so that the scene is lit."""
        super().fill(lit=lit)
        if self._stage is not None and self._fill is not None:
            new = self._stage / "light.new"
            new.write_text(f"{int(lit)}\n", encoding="ascii")
            new.replace(self._stage / "light")

    def sense(self, pin: int, *, broken: bool) -> None:
        """Break or mend the contact on a pin; that of a portion counts when it has stayed so, as in the kernel."""
        if pin and pin == self._pins.portion_pin:
            if self._pulse is not None:
                self._pulse.cancel()
            self._pulse = self._loop.call_later(PORTION_S, self._drive, pin, broken)
        else:
            self._drive(pin, broken)

    def close(self) -> None:
        """Lock and give the pins back."""
        if self._pulse is not None:
            self._pulse.cancel()
        super().close()

    def _drive(self, pin: int, broken: bool) -> None:
        mock = self.factory.pin(pin)
        if broken:
            mock.drive_high()
        else:
            mock.drive_low()

    def _go(self, story: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(story)
        self._walking.add(task)
        task.add_done_callback(self._walking.discard)

    async def _walk(self) -> None:
        """What the person does when the entry is released."""
        if self._pins.passage == "dispenser":
            await self._dispense()
            return
        plans = STORIES[self._pins.passage]
        await self._happen(plans.get(self._person(), plans["through"]))

    async def _leave(self) -> None:
        """What the person does when the exit is released."""
        if self._person() != "stays-inside":
            await self._happen((Sensed.EXIT_DOOR_OPEN, Sensed.BEAM_2_CLEAR, Sensed.EXIT_DOOR_CLOSED))

    async def _dispense(self) -> None:
        """Give out portions for as long as it is enabled, or what ``person`` says; see below."""
        match self._person():
            case "jams":  # and somebody mends it
                await self._happen((Sensed.FAULT, *(Sensed.FAULT,) * 8, Sensed.FAULT_OVER))
            case "jams-late":  # and what was on its way falls, and with that it is well again
                await self._happen((Sensed.FAULT, Sensed.PORTION, Sensed.FAULT_OVER))
            case "empty":
                return
            case "late":
                while self.unlocked:  # noqa: ASYNC110 -- a pin has no event
                    await asyncio.sleep(self._step_s)
                await self._happen((Sensed.PORTION,))
            case _:
                for _ in range(_FULL):
                    await asyncio.sleep(self._step_s)
                    if not self.unlocked:
                        return
                    await self._happen((Sensed.PORTION,))

    async def _happen(self, story: tuple[Sensed, ...]) -> None:
        pins = self._pins
        contacts = {
            Sensed.BEAM_1: pins.beam_1_pin,
            Sensed.BEAM_2: pins.beam_2_pin,
            Sensed.DOOR_OPEN: pins.door_pin,
            Sensed.EXIT_DOOR_OPEN: pins.exit_door_pin,
            Sensed.FAULT: pins.fault_pin,
        }
        for sensed in story:
            await asyncio.sleep(self._step_s)
            if sensed is Sensed.PORTION:
                self._fell()
                self.sense(pins.portion_pin, broken=False)
                await asyncio.sleep(_PULSE_S)
                self.sense(pins.portion_pin, broken=True)
            elif sensed in contacts:
                self.sense(contacts[sensed], broken=True)
            else:
                self.sense(contacts[OPPOSITE[sensed]], broken=False)

    def _fell(self) -> None:
        """The dispenser's own count, which survives a power cut: ``<stage>/portions``."""
        if self._stage is not None:
            before = CountInFile(self._stage / "portions", begins=True).counted()
            new = self._stage / "portions.new"
            new.write_text(f"{before + 1}\n", encoding="ascii")
            new.replace(self._stage / "portions")

    def _person(self) -> str:
        if self._stage is not None:
            with contextlib.suppress(OSError):
                return (self._stage / "person").read_text(encoding="ascii").strip()
        return "through"


class SimulatedClock:
    """A clock that goes only when it is told to."""

    def __init__(self, moment: datetime = datetime(2026, 11, 22, 12, tzinfo=UTC)) -> None:
        self.moment = moment
        self.state = ClockState.SYNCED
        self.ticks = 0.0

    def now(self) -> Interval:
        """The told moment; with a floor only, no upper bound."""
        return Interval(self.moment, None if self.state is ClockState.FLOOR else self.moment, self.state)

    def raise_floor(self, moment: datetime) -> None:
        """Now cannot be earlier than ``moment``."""
        self.moment = max(self.moment, moment)

    def monotonic(self) -> float:
        """Told seconds."""
        return self.ticks

    def go(self, seconds: float) -> None:
        """Let time pass."""
        self.moment += timedelta(seconds=seconds)
        self.ticks += seconds


class SimulatedJournal:
    """A log in memory whose disk can fail: ``fault`` is the technician's sentence while it does."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.fault = ""

    async def append(self, event: Event) -> Receipt:
        """Keep the event, or fail as a full disk does."""
        await asyncio.sleep(0)
        return self.written(event)

    def written(self, event: Event) -> Receipt:
        """The same without waiting."""
        if self.fault:
            raise DeviceError("journal", self.fault)
        self.events.append(event)
        return Receipt(len(self.events) - 1, 100, event.kind, COMMITTED)


class SimulatedVision:
    """A person with a code and a face, as edge-vision would report them: implements the ports Reader and Faces.

    ``probe_outcome`` and ``compare_outcome`` are what the camera would find: a value, or the error it would raise.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.shown: asyncio.Queue[str | DeviceError] = asyncio.Queue()
        self.score = 0.95
        self.bona_fide: float | None = None
        self.probe_outcome: Refusal | DeviceError | None = None
        self.compare_outcome: Refusal | DeviceError | None = None
        self.gallery_outcome: Refusal | DeviceError | None = None
        self.known: list[str] = []
        self.forgotten = 0
        self.wanted: list[ProbeQuality] = []
        self._frame = 0

    async def code(self) -> Code:
        """The next code that the person shows."""
        shown = await self.shown.get()
        if isinstance(shown, DeviceError):
            raise shown
        self._frame += 1
        return Code(shown, self._frame, self._clock(), 2_000)

    async def models(self) -> ModelSet:
        """A set with a detector exactly when ``bona_fide`` is told."""
        attack = {} if self.bona_fide is None else {"attack": ("simulated-attack", bytes(32))}
        return ModelSet("simulated", {"embedder": ("simulated", bytes(32)), **attack})

    async def probe(
        self, wanted: ProbeQuality, newer_than: int, deadline_s: float, reference: Reference | None = None
    ) -> Probe:
        """One face of the wanted quality, or what stood in its way."""
        self.wanted.append(wanted)
        if self.probe_outcome is not None:
            raise self.probe_outcome
        frame = max(self._frame, newer_than + 1)
        return Probe(1, frame, self._clock(), 90.0, 100.0, 120.0, self.bona_fide, {"detect": 1_000})

    async def compare(self, reference: Reference, probe: Probe) -> Comparison:
        """The told score."""
        if self.compare_outcome is not None:
            raise self.compare_outcome
        kind = ReferenceKind.GALLERY if isinstance(reference, Enrolled) else ReferenceKind.SMALL
        return Comparison(probe.number, self.score, "simulated", kind, {"compare": 500})

    async def enrolled(self, reference: Enrolled) -> None:
        """Known when the claim is among those told."""
        if self.gallery_outcome is not None:
            raise self.gallery_outcome
        if reference.claim not in self.known:
            raise Refusal(Reason.NOT_ENROLLED)

    async def search(self, gallery: str, probe: Probe) -> Identification:
        """The first of those told, with the told score."""
        if self.gallery_outcome is not None:
            raise self.gallery_outcome
        if not self.known:
            raise Refusal(Reason.NOT_RECOGNISED, "nobody is enrolled")
        candidate = self.known[0].encode()[-16:].rjust(16)
        return Identification(probe.number, candidate, self.score, len(self.known), "simulated", {"search": 100})

    async def forget(self) -> None:
        """Count that the visit was forgotten."""
        self.forgotten += 1


class SimulatedPanel:
    """Remembers what was shown."""

    def __init__(self) -> None:
        self.shown: list[Indication] = []

    def show(self, indication: Indication) -> None:
        """Note it, once per change."""
        if not self.shown or self.shown[-1] is not indication:
            self.shown.append(indication)
