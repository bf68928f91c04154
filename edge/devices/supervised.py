"""Inputs that notice when somebody cuts or bridges their wire: end-of-line resistors and an analogue converter.

A contact with one resistor behind it and one across it, both as large as the pull-up, divides the supply in four:

    bridged 0 | closed ½ | open ⅔ | cut 1

Rules:

1. Cut and bridged count as what the contact is there to report, and as tampering besides.
2. A value between two bands belongs to the worse one.
3. A converter that does not answer is as if every wire were cut.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final

import gpiozero

from edge.passage import Sensed

_EVERY_S: Final = 0.05
_BRIDGED, _CLOSED, _OPEN = 0.25, 0.56, 0.80
LINES: Final[Mapping[str, tuple[Sensed | None, Sensed]]] = {
    "door": (Sensed.DOOR_CLOSED, Sensed.DOOR_OPEN),
    "exit-door": (Sensed.EXIT_DOOR_CLOSED, Sensed.EXIT_DOOR_OPEN),
    "fire": (Sensed.FIRE_OVER, Sensed.FIRE),
    "tamper": (None, Sensed.TAMPER),
}
"""Inputs that may be supervised: what they report when closed, and when open."""


class Loop(Enum):
    """How a supervised wire stands."""

    CLOSED = "closed"
    OPEN = "open"
    BRIDGED = "bridged"
    CUT = "cut"


def loop_of(share: float) -> Loop:
    """How the wire stands, from its share of the supply, 0 to 1."""
    if not share >= _BRIDGED:  # nan is no share
        return Loop.BRIDGED
    if share < _CLOSED:
        return Loop.CLOSED
    return Loop.OPEN if share < _OPEN else Loop.CUT


def channels_of(told: tuple[str, ...]) -> dict[str, int]:
    """``door:0`` and the like as input and channel of the converter.

    Raises:
        ValueError: an input that cannot be supervised, a channel that is none, or one twice.
    """
    found: dict[str, int] = {}
    for each in told:
        name, _, channel = each.partition(":")
        if name not in LINES or not channel.isdigit() or int(channel) > 7:
            raise ValueError(f"{each!r}: one of {', '.join(LINES)}, then a colon and a channel from 0 to 7")
        if name in found or int(channel) in found.values():
            raise ValueError(f"{each!r} is there twice")
        found[name] = int(channel)
    return found


class Supervised:
    """Looks at all supervised wires in turn, on a thread of its own, and tells each change."""

    def __init__(
        self, channels: Mapping[str, int], read: Callable[[int], float], tell: Callable[[Sensed], None]
    ) -> None:
        """Begin looking.

        Args:
            channels: of the converter, by input.
            read: share of the supply on a channel; may fail.
            tell: hears of each change, on this thread.
        """
        self._channels, self._read, self._tell = channels, read, tell
        self._stood = dict.fromkeys(channels, Loop.CLOSED)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervised", daemon=True)
        self._thread.start()

    def look(self) -> None:
        """One look at every wire."""
        for name, channel in self._channels.items():
            try:
                stands = loop_of(self._read(channel))
            except Exception:  # noqa: BLE001 -- lgpio's own error is a plain one; a thread that ends sees no fire
                stands = Loop.CUT
            before, self._stood[name] = self._stood[name], stands
            if stands is before:
                continue
            closed, opened = LINES[name]
            if stands in (Loop.BRIDGED, Loop.CUT) and opened is not Sensed.TAMPER:
                self._tell(Sensed.TAMPER)
            if (before is Loop.CLOSED) != (stands is Loop.CLOSED):
                said = closed if stands is Loop.CLOSED else opened
                if said is not None:
                    self._tell(said)

    def _run(self) -> None:
        while not self._over.wait(_EVERY_S):
            self.look()

    def close(self) -> None:
        """Stop looking."""
        self._over.set()
        self._thread.join()


def converter(factory: Any) -> Callable[[int], float]:
    """An MCP3008 on the board's SPI: reads a channel as a share of the supply."""
    chips = [gpiozero.MCP3008(channel=channel, pin_factory=factory) for channel in range(8)]
    return lambda channel: float(chips[channel].value)
