"""An existing door controller beside or instead of our own relay: over OSDP (IEC 60839-11-5), or over Wiegand.

Rules:

1. Three ways. ``osdp-output``: we are the control panel and switch an output of a device on the secure side, off with
   our own relay; and by its own timer after the longest that our relay may be on, so that a cut line locks.
   ``osdp-reader``: we are a reader and show the controller one fixed card, which means that this gate has granted.
   ``wiegand``: the same card on two wires. The controller pulls them up, to 5 V as a rule: a pin never touches one, but
   pulls it low through a transistor or an open-drain buffer.
2. The card is of the gate, never of the person. A controller learns that somebody was granted, not who.
3. OSDP runs in its secure channel with a key that both sides were given, and not without.
4. A controller that does not answer is a lost device. It opens nothing, and neither does the gate's own relay wait.
5. Nothing is sent without the receipt of a grant on disk.
"""

from __future__ import annotations

import os
import termios
import time
import tty
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Protocol

from edge.errors import DeviceError
from edge.ports import Lock, Receipt
from edge.settings import Controller

_SPEEDS: Final = {9600: termios.B9600, 19200: termios.B19200, 38400: termios.B38400, 115200: termios.B115200}
_TEMPORARILY_ON, _OFF = 5, 1
_PULSE_S, _GAP_S = 50e-6, 2e-3  # the middle of what controllers read: 20 to 100 µs, every 0.2 to 20 ms


class Told(Protocol):
    """A controller that hears of grants."""

    def opened(self, seconds: float) -> None:
        """A person may go, for so long."""
        ...

    def closed(self) -> None:
        """Not any more."""
        ...

    def condition(self) -> str:
        """What is wrong with it; empty when it answers."""
        ...

    def close(self) -> None:
        """Let go of the line."""
        ...


class Controlled:
    """The gate's own lock, and a controller that is told the same: implements the port Lock."""

    def __init__(self, lock: Lock, told: Told, longest_s: float) -> None:
        self._lock, self._told, self._longest_s = lock, told, longest_s

    def unlock(self, receipt: Receipt) -> None:
        """Energise the release, which refuses what is no grant; then tell the controller."""
        self._lock.unlock(receipt)
        self._told.opened(self._longest_s)

    def lock(self) -> None:
        """Drop the release, whatever becomes of the controller."""
        try:
            self._lock.lock()
        finally:
            self._told.closed()

    def unlock_exit(self, receipt: Receipt) -> None:
        """The second door is ours alone."""
        self._lock.unlock_exit(receipt)

    def lock_exit(self) -> None:
        """The second door is ours alone."""
        self._lock.lock_exit()

    def free_exit(self) -> None:
        """The second door is ours alone."""
        self._lock.free_exit()


class Line:
    """A serial line, as the OSDP library reads and writes it: never waits."""

    def __init__(self, device: Path, baud: int) -> None:
        """Open it raw.

        Raises:
            DeviceError: it cannot be opened.
        """
        self.id = 0
        try:
            self._fd = os.open(device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            tty.setraw(self._fd)
            attributes = termios.tcgetattr(self._fd)
            attributes[4] = attributes[5] = _SPEEDS[baud]
            termios.tcsetattr(self._fd, termios.TCSANOW, attributes)
        except KeyError as error:
            raise DeviceError("controller", f"{baud} baud: one of {', '.join(map(str, _SPEEDS))}") from error
        except (OSError, termios.error) as error:
            raise DeviceError("controller", f"{device}: {error}") from error

    def read(self, most: int) -> bytes:
        """What has come, perhaps nothing."""
        try:
            return os.read(self._fd, most)
        except OSError:  # nothing there, or the line is gone: the library notices that nobody answers
            return b""

    def write(self, content: bytes) -> int:
        """Send as much as the line takes."""
        try:
            return os.write(self._fd, content)
        except OSError:
            return 0

    def flush(self) -> None:
        """Forget what came before."""
        termios.tcflush(self._fd, termios.TCIFLUSH)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)


class OsdpOutput:
    """We are the control panel: an output of a device on the secure side follows the grant."""

    def __init__(self, chosen: Controller, key: bytes) -> None:
        import osdp

        self._osdp, self._chosen = osdp, chosen
        self._line = Line(chosen.device, chosen.baud)
        info = osdp.PDInfo(chosen.address, self._line, scbk=key, flags=[osdp.LibFlag.EnforceSecure])
        self._panel: Any = osdp.ControlPanel([info], log_level=osdp.LogLevel.Critical)
        self._panel.start()

    def opened(self, seconds: float) -> None:
        """On for so long, by the device's own timer."""
        self._send(_TEMPORARILY_ON, min(0xFFFF, round(seconds * 10)))

    def closed(self) -> None:
        """Off at once."""
        self._send(_OFF, 0)

    def _send(self, code: int, tenths: int) -> None:
        if not self.condition():  # a command for a device that is away would come when it is back
            command = {
                "command": self._osdp.Command.Output,
                "output_no": self._chosen.output,
                "control_code": code,
                "timer_count": tenths,
            }
            self._panel.submit_command(self._chosen.address, command)

    def condition(self) -> str:
        """Whether it answers in its secure channel."""
        there = self._panel.is_sc_active(self._chosen.address)
        return "" if there else f"no answer from OSDP address {self._chosen.address} on {self._chosen.device}"

    def close(self) -> None:
        """Stop asking."""
        self._panel.teardown()
        self._line.close()


class OsdpReader:
    """We are a reader of an existing controller: a grant is its fixed card."""

    def __init__(self, chosen: Controller, key: bytes) -> None:
        import osdp

        self._osdp, self._chosen = osdp, chosen
        self._line = Line(chosen.device, chosen.baud)
        info = osdp.PDInfo(chosen.address, self._line, scbk=key, flags=[osdp.LibFlag.EnforceSecure])
        able = osdp.Capability
        capabilities = osdp.PDCapabilities(
            [(able.CardDataFormat, 1, 1), (able.CommunicationSecurity, 1, 1), (able.Readers, 1, 1)]
        )
        self._device: Any = osdp.PeripheralDevice(info, capabilities, log_level=osdp.LogLevel.Critical)
        self._device.start()

    def opened(self, seconds: float) -> None:
        """Show the card; how long it opens is the controller's to say."""
        if self.condition():
            return
        bits = wiegand_26(self._chosen.facility, self._chosen.card)
        self._device.submit_event(
            {
                "event": self._osdp.Event.CardRead,
                "reader_no": 0,
                "direction": 0,
                "format": self._osdp.CardFormat.Wiegand,
                "length": len(bits),
                "data": int(bits.ljust(32, "0"), 2).to_bytes(4, "big"),
            }
        )

    def closed(self) -> None:
        """A reader takes nothing back."""

    def condition(self) -> str:
        """Whether the controller asks in its secure channel."""
        there = self._device.is_sc_active()
        return "" if there else f"no controller asks for OSDP address {self._chosen.address} on {self._chosen.device}"

    def close(self) -> None:
        """Stop answering."""
        self._device.teardown()
        self._line.close()


class Wiegand:
    """The fixed card on two wires, pulled low bit by bit; nobody answers on them.

    A pulse is as long as a look at the clock makes it, never shorter. It begins right after a sleep, when this thread
    has just been given the interpreter and nobody can ask for it back within half a millisecond (``app/gate.py``).
    """

    def __init__(self, chosen: Controller, output: Callable[[int], Any]) -> None:
        """``output`` claims a pin whose ``on`` pulls the wire low."""
        self._bits = wiegand_26(chosen.facility, chosen.card)
        self._wires = [output(chosen.data_0_pin), output(chosen.data_1_pin)]
        self._hand = ThreadPoolExecutor(1, "wiegand")
        self._trouble = ""

    def opened(self, seconds: float) -> None:
        """Show the card, beside whatever else is to be done."""
        self._hand.submit(self._show)

    def _show(self) -> None:
        try:
            for bit in self._bits:
                time.sleep(_GAP_S)
                _pulse(self._wires[int(bit)])
        except Exception as error:  # noqa: BLE001 -- whatever pins raise, on a thread that nobody waits for
            self._trouble = f"the card was not shown: {error}"
        else:
            self._trouble = ""

    def closed(self) -> None:
        """A reader takes nothing back."""

    def condition(self) -> str:
        """Two wires say nothing; why the last card could not be shown."""
        return self._trouble

    def close(self) -> None:
        """Both wires let go."""
        self._hand.shutdown()
        for wire in self._wires:
            wire.close()


def _pulse(wire: Any) -> None:
    """Pull the wire low for one bit, measured once it is low: a thread that waited for the pin makes none shorter."""
    try:
        wire.on()
        began = time.perf_counter()
        while time.perf_counter() - began < _PULSE_S:
            pass
    finally:
        wire.off()


def wiegand_26(facility: int, card: int) -> str:
    """A card of the common 26-bit format: even parity over the first half, odd over the second.

    Raises:
        ValueError: a number that does not fit.
    """
    if not (0 <= facility < 1 << 8 and 0 <= card < 1 << 16):
        raise ValueError("the format has 8 bits for the facility and 16 for the card")
    number = f"{facility:08b}{card:016b}"
    first, second = number[:12].count("1") % 2, (number[12:].count("1") + 1) % 2
    return f"{first}{number}{second}"


def key_of(text: str) -> bytes:
    """The key of the secure channel, 32 hexadecimal digits.

    Raises:
        DeviceError: it is none.
    """
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != 16:
        raise DeviceError("controller", "the credential osdp-key is not 32 hexadecimal digits")
    return key
