"""What edge-gate tells the kiosk page, and what it hears from the other processes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from edge.app.commands import Commands
from edge.biometric.values import Hint
from edge.errors import DeviceError
from edge.passage import Indication
from edge.ports import Panel
from edge.watch import Watch
from edge.wire import Carried, Health, Hinted, Message, Neighbour, Shown, WireError, decode, ear, encode

_log = logging.getLogger("edge.gate")


class ToldPanel:
    """The gate's lights, and the same word to the kiosk page: a datagram at each change and once a second."""

    def __init__(self, panel: Panel, ear: Path) -> None:
        self._panel = panel
        self._ear = str(ear)
        self._shown = Indication.OUT_OF_SERVICE
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._channel.setblocking(False)

    def close(self) -> None:
        """Tell nobody any more."""
        self._channel.close()

    def show(self, indication: Indication) -> None:
        """Show it and tell it."""
        self._panel.show(indication)
        if indication is not self._shown:
            self._shown = indication
            self.tell()

    def tell(self) -> None:
        """Say what is shown; nobody listening is no matter."""
        self._send(Shown(self._shown))

    def hint(self, hint: Hint) -> None:
        """Say what would help the person to be seen."""
        self._send(Hinted(hint))

    def _send(self, message: Message) -> None:
        with contextlib.suppress(OSError):
            self._channel.sendto(encode(message), self._ear)


async def hear(
    path: Path, watch: Watch, commands: Commands, neighbour: Callable[[bytes], None] = lambda _: None
) -> None:
    """Hear from the other processes how their devices are, which commands came, and what neighbours say."""
    async for message in _datagrams(path):
        match message:
            case Health(device, ok, detail):
                watch.heard(device, ok, detail)
            case Carried(signed):
                try:
                    await commands.hear(signed)
                except DeviceError as error:
                    watch.lost(error.device, error.message)
            case Neighbour(said):
                neighbour(said)


async def _datagrams(path: Path) -> AsyncIterator[Health | Carried | Neighbour]:
    loop = asyncio.get_running_loop()
    with ear(path) as listening:
        while True:
            body = await loop.sock_recv(listening, 8192)
            try:
                message = decode(body)
            except WireError as error:
                _log.warning("health: %s", error)
                continue
            if isinstance(message, Health | Carried | Neighbour):
                yield message
