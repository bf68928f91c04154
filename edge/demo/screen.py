"""The screen in front of the gate, read as a person reads it: the kiosk page's own stream of what it shows."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from typing import Any

from edge.errors import DeviceError

_AGAIN_S = 0.2
_SILENT_S = 15.0


class ScreenReader:
    """Knows the hint that the kiosk page shows now. A context: it reads inside."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._hint = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="screen", daemon=True)

    def __enter__(self) -> ScreenReader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    @property
    def hint(self) -> str:
        """What the person is told to do; empty when nothing."""
        return self._hint

    def _run(self) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException, DeviceError):
                self._read()
            self._hint = ""
            self._ended.wait(_AGAIN_S)

    def _read(self) -> None:
        """Follow the stream until it ends."""
        connection = http.client.HTTPConnection(*self._address, timeout=_SILENT_S)
        with contextlib.closing(connection):
            connection.request("GET", "/kiosk/events")
            stream = connection.getresponse()
            while not self._ended.is_set() and (line := stream.readline()):
                if line.startswith(b"data: "):
                    self._hint = _hint_of(line[6:])


def _hint_of(data: bytes) -> str:
    """The hint in one event.

    Raises:
        DeviceError: it is none of the kiosk's.
    """
    try:
        told: dict[str, Any] = json.loads(data)
        return str(told["hint"]) if told["screen"] == "look" else ""
    except (ValueError, KeyError, TypeError) as error:
        raise DeviceError("screen", f"{type(error).__name__} in what the kiosk shows") from error
