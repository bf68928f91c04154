"""Relay, lights, buzzer and sensors through gpiozero.

Rules:

1. Outputs are claimed at their safe level before anything else happens; the lock is active-high on a pin that the
   hardware pulls down, so that reset, crash and a pulled plug all mean locked.
2. Sensor edges arrive on gpiozero's own thread and are handed to the loop at once; nothing waits in a callback.
3. The fire contact is normally closed: a cut wire is a fire. It also cuts the lock's power in hardware; software only
   reports it.
4. What a contact does for a moment only is noise: it is heard when it has stood for ``_BOUNCE_S``. A portion's pulse is
   short, and one that is not heard is given twice: it counts from ``PORTION_S`` on, and is asked to be three times so.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import gpiozero

from edge.audit.entry import Kind
from edge.devices.supervised import Supervised, channels_of, converter
from edge.errors import DeviceError
from edge.passage import Indication, Sensed
from edge.ports import Receipt
from edge.settings import Gate

OPENING = frozenset({Kind.GRANTED, Kind.OVERRIDE, Kind.COMMAND})
"""Kinds of entries whose receipt opens: a grant, an operator's override, or a remote unlock that the site allows."""

_BOUNCE_S = 0.02
PORTION_S = 0.01

# red, green, amber, buzzer: on, off, or seconds of one blink; pattern as well as colour
LIGHTS: dict[Indication, tuple[float | bool, float | bool, float | bool, float | bool]] = {
    Indication.READY: (False, False, 1.0, False),
    Indication.READING: (False, False, 0.1, False),
    Indication.LOOK: (False, False, 0.4, False),
    Indication.WELCOME: (False, True, False, False),
    Indication.REFUSED: (0.25, False, False, False),
    Indication.STEP_BACK: (0.25, False, 0.25, False),
    Indication.ALARM: (0.1, False, 0.1, 0.25),
    Indication.OUT_OF_SERVICE: (True, False, True, False),
}


class GpioGate:
    """The gate's own pins: implements the ports Lock, Panel, Sensors and FillLight."""

    def __init__(self, pins: Gate, factory: Any = None) -> None:
        self._sensed: asyncio.Queue[Sensed] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._devices: list[Any] = []
        self._relay: Any = None
        self._exit: Any = None
        self._fill: Any = None
        self._heart: Any = None
        try:
            with _pins():
                self._factory = factory or _chip()
                self._claim_all(pins, self._factory)
        except DeviceError:
            self.close()
            raise
        self._shown: Indication | None = None

    def _claim_all(self, pins: Gate, factory: Any) -> None:
        self._relay = self._claim(gpiozero.OutputDevice, pins.lock_pin, factory, active_high=True, initial_value=False)
        if pins.exit_pin:
            self._exit = self._claim(
                gpiozero.OutputDevice, pins.exit_pin, factory, active_high=True, initial_value=False
            )
        lights = (pins.red_pin, pins.green_pin, pins.amber_pin)
        self._lights = [self._claim(gpiozero.LED, pin, factory, initial_value=False) for pin in lights]
        self._lights.append(self._claim(gpiozero.Buzzer, pins.buzzer_pin, factory, initial_value=False))
        if pins.fill_pin:
            self._fill = self._claim(gpiozero.LED, pins.fill_pin, factory, initial_value=False)
        if pins.heartbeat_pin:
            self._heart = self._claim(gpiozero.OutputDevice, pins.heartbeat_pin, factory, initial_value=False)
        supervised = channels_of(pins.supervised)
        if supervised:
            self._devices.append(Supervised(supervised, converter(factory), self._tell))
        watched = {
            "door": pins.door_pin,
            "fire": pins.fire_pin,
            "tamper": pins.tamper_pin,
            "exit-door": pins.exit_door_pin,
        }
        without = {watched[name] for name in supervised}
        for pin, closed, opened in (
            (pins.door_pin, Sensed.DOOR_CLOSED, Sensed.DOOR_OPEN),
            (pins.beam_1_pin, Sensed.BEAM_1_CLEAR, Sensed.BEAM_1),
            (pins.beam_2_pin, Sensed.BEAM_2_CLEAR, Sensed.BEAM_2),
            (pins.fire_pin, Sensed.FIRE_OVER, Sensed.FIRE),
            (pins.exit_request_pin, Sensed.EXIT_REQUEST, None),
            (pins.tamper_pin, None, Sensed.TAMPER),
            (pins.exit_door_pin, Sensed.EXIT_DOOR_CLOSED, Sensed.EXIT_DOOR_OPEN),
            (pins.portion_pin, Sensed.PORTION, None),
            (pins.fault_pin, Sensed.FAULT_OVER, Sensed.FAULT),
        ):
            if pin and pin not in without:
                self._watch(pin, factory, closed, opened)

    def unlock(self, receipt: Receipt) -> None:
        """Energise the release; the receipt proves that the grant is on disk."""
        _granted(receipt)
        with _pins():
            self._relay.on()

    def lock(self) -> None:
        """Drop the release."""
        with _pins():
            self._relay.off()

    def unlock_exit(self, receipt: Receipt) -> None:
        """Energise the release of the second door for the person of this grant."""
        _granted(receipt)
        self.free_exit()

    def free_exit(self) -> None:
        """Energise the release of the second door: there is a fire."""
        if self._exit is not None:
            with _pins():
                self._exit.on()

    def lock_exit(self) -> None:
        """Drop the release of the second door."""
        if self._exit is not None:
            with _pins():
                self._exit.off()

    @property
    def exit_unlocked(self) -> bool:
        """Whether the release of the second door is energised, as the pin says."""
        return self._exit is not None and bool(self._exit.value)

    @property
    def unlocked(self) -> bool:
        """Whether the release is energised, as the pin says."""
        return bool(self._relay.value)

    def fill(self, *, lit: bool) -> None:
        """Switch the fill light, where one is fitted."""
        with _pins():
            if self._fill is not None:
                self._fill.value = lit

    def beat(self) -> None:
        """The other level on the heartbeat's wire, where there is one: whoever listens there knows that we live."""
        with _pins():
            if self._heart is not None:
                self._heart.toggle()

    def show(self, indication: Indication) -> None:
        """Set lights and buzzer, once per change so that a blink keeps its rhythm."""
        if indication is self._shown:
            return
        with _pins():
            self._light(indication)
        self._shown = indication

    def _light(self, indication: Indication) -> None:
        for light, wanted in zip(self._lights, LIGHTS[indication], strict=True):
            if wanted is True:
                light.on()
            elif wanted is False:
                light.off()
            else:
                light.blink(on_time=wanted, off_time=wanted)

    async def sensed(self) -> AsyncIterator[Sensed]:
        """What the sensors report, in order, starting with what does not stand as it should."""
        while True:
            yield await self._sensed.get()

    def close(self) -> None:
        """Lock and give the pins back: a released output may keep its level (Raspberry Pi OS does)."""
        if self._relay is not None and not self._relay.closed:
            self.lock()
        if self._exit is not None and not self._exit.closed:
            self.lock_exit()
        for device in self._devices:
            device.close()

    def wire(self, pin: int, *, inverted: bool = True) -> Any:
        """One more output, for whoever speaks on wires: ``on`` pulls the wire behind its driver low.

        Args:
            pin: BCM.
            inverted: it is a transistor, which pulls the wire low while the pin is high; else a buffer that follows.
        """
        with _pins():
            return gpiozero.OutputDevice(pin, pin_factory=self._factory, active_high=inverted, initial_value=False)

    def _tell(self, sensed: Sensed) -> None:
        """A report from another thread."""
        self._loop.call_soon_threadsafe(self._sensed.put_nowait, sensed)

    def _claim(self, kind: Any, pin: int, factory: Any, **options: Any) -> Any:
        device = kind(pin, pin_factory=factory, **options)
        self._devices.append(device)
        return device

    def _watch(self, pin: int, factory: Any, closed: Sensed | None, opened: Sensed | None) -> None:
        """A contact to ground with the internal pull-up: closed is low, open or a cut wire is high."""
        bounce_s = PORTION_S if closed is Sensed.PORTION else _BOUNCE_S
        contact = self._claim(gpiozero.Button, pin, factory, pull_up=True, bounce_time=bounce_s)
        if closed is not None:
            contact.when_pressed = lambda: self._tell(closed)
        if opened is not None:
            contact.when_released = lambda: self._tell(opened)
            if not contact.is_pressed:
                self._sensed.put_nowait(opened)


def _granted(receipt: Receipt) -> None:
    if getattr(receipt, "kind", None) not in OPENING:
        raise TypeError("unlocking takes the receipt of a durable grant")


def drop_relay(lock_pin: int, factory: Any = None) -> None:
    """Drive the release off, whoever left it on: the last act of systemd after any exit."""
    with _pins():
        gpiozero.OutputDevice(lock_pin, active_high=True, initial_value=False, pin_factory=factory or _chip()).close()


def _chip() -> Any:
    """The real pins, by lgpio and nothing else: gpiozero would fall back to libraries that do not claim a line."""
    try:
        from gpiozero.pins.lgpio import LGPIOFactory  # only a machine with pins has it
    except ImportError as error:
        raise DeviceError("gate", f"GPIO: {error}; install lgpio (python3-lgpio)") from error
    return LGPIOFactory()


@contextlib.contextmanager
def _pins() -> Iterator[None]:
    """gpiozero's errors as the technician's; lgpio's own error is neither gpiozero's nor the system's."""
    try:
        yield
    except (gpiozero.GPIOZeroError, OSError) as error:
        raise DeviceError("gate", f"GPIO: {error}") from error
    except Exception as error:
        if type(error).__module__ != "lgpio":
            raise
        raise DeviceError("gate", f"GPIO: {error}; edge check says who has which pin") from error
