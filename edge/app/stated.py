"""What a gate says of itself to whoever watches many: read from its log, where everything it says is.

Rules:

1. What the log since the gate's last start does not tell is left out, never guessed; except that edge-gate does not
   take what it is told (``Listening``): one that crashed writes nothing about it.
2. Duress and the watch list are not told here: what others see may hang on a wall.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from edge import __version__
from edge.audit.entry import Kind
from edge.errors import DeviceError
from edge.ports import Log
from edge.web.standing import ALARMS, QUIET, Standing, Told, kind_name

LOOKED_BACK = 5_000
_AT_ONCE = 500


class Listening:
    """Whether edge-gate takes what it is told: noted on one thread, asked on another."""

    def __init__(self, patience_s: float = 15.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._patience_s, self._monotonic = patience_s, monotonic
        self._since: float | None = None

    def note(self, taken: bool) -> None:
        """It was told something."""
        if taken:
            self._since = None
        elif self._since is None:
            self._since = self._monotonic()

    def away(self) -> bool:
        """Whether it has taken nothing for longer than a start needs."""
        since = self._since
        return since is not None and self._monotonic() - since > self._patience_s


class Stated:
    """Adds the log up, as far as it has come. Called by one thread, the sender's."""

    def __init__(self, log: Log, away: Callable[[], bool] = lambda: False) -> None:
        self._log, self._away = log, away
        self._epoch, self._position = -1, 0
        self._known, self._alarm, self._alarms, self._stopped = Standing(), "", 0, False

    def __call__(self) -> dict[str, str | int | bool]:
        """The facts of a state message; a log that cannot be read adds nothing."""
        with contextlib.suppress(DeviceError):
            self._read_on()
        lost = [name for name, device in sorted(self._known.devices.items()) if not device.ok]
        told: dict[str, str | int | bool] = {"software": __version__, "alarms": self._alarms}
        told["lost"] = ", ".join(["gate"] * (self._stopped or self._away()) + lost)[:200]
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
