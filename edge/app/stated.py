"""What a gate says of itself to whoever watches many: read from its log, where everything it says is.

Rules:

1. What the log since the gate's last start does not tell is left out, never guessed.
2. Duress and the watch list are not told here: what others see may hang on a wall.
"""

from __future__ import annotations

import contextlib

from edge import __version__
from edge.audit.entry import Kind
from edge.errors import DeviceError
from edge.ports import Log
from edge.web.standing import ALARMS, QUIET, Standing, Told, kind_name

LOOKED_BACK = 5_000
_AT_ONCE = 500


class Stated:
    """Adds the log up, as far as it has come. Called by one thread, the sender's."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._epoch, self._position = -1, 0
        self._known, self._alarm, self._alarms, self._stopped = Standing(), "", 0, False

    def __call__(self) -> dict[str, str | int | bool]:
        """The facts of a state message; a log that cannot be read adds nothing."""
        with contextlib.suppress(DeviceError):
            self._read_on()
        lost = [name for name, device in sorted(self._known.devices.items()) if not device.ok]
        told: dict[str, str | int | bool] = {"software": __version__, "alarms": self._alarms}
        told["lost"] = ", ".join(["gate"] * self._stopped + lost)[:200]
        if self._alarm:
            told["alarm"] = self._alarm
        if self._known.closed is not None:
            told["locked_down"] = self._known.closed
        return told

    def _read_on(self) -> None:
        epoch, size = self._log.epoch(), self._log.size()
        if epoch != self._epoch or size < self._position:
            self._epoch, self._position, self._known = epoch, max(0, size - LOOKED_BACK), Standing()
        while self._position < size:
            for told in map(Told.of, self._log.entries(self._position, _AT_ONCE)):
                self._hear(told)
            self._position = min(size, self._position + _AT_ONCE)

    def _hear(self, told: Told) -> None:
        if told.boot != self._known.boot:
            self._alarm, self._alarms = "", 0
            self._known = Standing(closed=self._known.closed)  # a lock-down outlives the gate's start
        self._known = self._known.after(told)
        self._stopped = told.kind is Kind.SHUTDOWN
        if told.kind in ALARMS and told.kind not in QUIET:
            when = "" if told.at is None else f" {told.at:%Y-%m-%d %H:%M:%S} UTC"
            self._alarm, self._alarms = f"{kind_name(told.kind)}{when}", self._alarms + 1
