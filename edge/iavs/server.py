"""The services on a port of their own: TLS with client certificates, and deadlines.

Rules:

1. Without a client certificate of the site's CA there is no connection. TLS 1.2 at least; withdrawn certificates are
   turned away where the site keeps a list (``certificates.py``).
2. The certificate's SHA-256 goes with each request (``state``, ``x5t#S256``).
3. A request's head must come within ``HEAD_S``; a query may be as long as a body, for the standard puts samples there.
   What is longer still is answered 413.
4. Nothing is logged about requests.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Coroutine
from dataclasses import dataclass
from hashlib import sha256

import h11
from starlette.types import ASGIApp

from edge.errors import DeviceError
from edge.iavs.asking import LIMIT
from edge.iavs.certificates import CHECK_S, Certificates, Files
from edge.iavs.jose import fold
from edge.listening import Listening, Punctual

HEAD_S = 10.0
GOODBYE_S = 3
_HEAD_LIMIT = LIMIT + 64 * 1024
_EACH = 32
"""Connections of one caller, who serves many people."""
_TOO_LONG = (
    b"HTTP/1.1 413 Content Too Large\r\ncontent-type: application/json\r\ncache-control: no-store\r\n"
    b'connection: close\r\ncontent-length: 58\r\n\r\n{"code": "PAYLOAD_TOO_LARGE", "message": "head too long"}\n'
)
log = logging.getLogger(__name__)


class Bound(Punctual):
    """A connection that knows its client's certificate and must ask in time."""

    _came = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Rule 2."""
        super().connection_made(transport)
        secured = transport.get_extra_info("ssl_object")
        certificate = secured.getpeercert(binary_form=True) if secured is not None else None
        if certificate:
            self.app_state = {**self.app_state, "x5t#S256": fold(sha256(certificate).digest())}

    def data_received(self, data: bytes) -> None:
        """Rule 3."""
        if self.conn.their_state is h11.IDLE:
            self._came += len(data)
            if self._came > _HEAD_LIMIT:
                self.transport.write(_TOO_LONG)
                self.transport.close()
                return
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._came = 0

    def head_s(self) -> float:
        """Samples may come in the head."""
        return HEAD_S


@dataclass(frozen=True)
class Port:
    """Where to listen, and what for TLS; without a certificate in the clear, on this machine only."""

    host: str
    port: int
    certificates: Certificates | None = None
    check_s: float = CHECK_S

    def context(self) -> ssl.SSLContext | None:
        """Rule 1.

        Raises:
            DeviceError: a file is missing or is not what it should be.
        """
        if self.certificates is not None:
            return self.certificates.context()
        if self.host not in ("127.0.0.1", "::1"):
            raise DeviceError("iavs", "without TLS on this machine only")
        return None

    def files(self) -> Files:
        """Which files are behind TLS now."""
        return () if self.certificates is None else self.certificates.files()

    async def replaced(self, before: Files) -> None:
        """Return when the files behind TLS are other ones than before.

        Raises:
            DeviceError: the list of withdrawn certificates has ended.
        """
        if self.certificates is None:
            await asyncio.Event().wait()
        else:
            await self.certificates.replaced(before, self.check_s)


async def serve(services: ASGIApp, port: Port, ready: asyncio.Future[int] | None = None) -> None:
    """Serve until cancelled; ``ready`` is told the port's number.

    Raises:
        DeviceError: the address cannot be listened to, TLS cannot be set up, or the server ended by itself.
    """
    number = port.port
    while True:
        before, context = port.files(), port.context()

        def opened(at: int, context: ssl.SSLContext | None = context) -> None:
            nonlocal number
            number = at
            log.info("identity services on port %d%s", at, "" if context else ", WITHOUT TLS, this machine only")
            if ready is not None and not ready.done():
                ready.set_result(at)

        listening = Listening("iavs", port.host, number, _HEAD_LIMIT, GOODBYE_S, Bound, context, each=_EACH)
        await _either(listening.serve(services, opened), port.replaced(before))
        log.info("certificates or the list of withdrawn ones were replaced: all connections begin anew")


async def _either(*stories: Coroutine[None, None, None]) -> None:
    """Run them until one ends, and end the others; what one raised is raised."""
    parts = [asyncio.create_task(story) for story in stories]
    try:
        await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for part in parts:
            part.cancel()
        found = await asyncio.gather(*parts, return_exceptions=True)
    for error in found:
        if isinstance(error, BaseException) and not isinstance(error, asyncio.CancelledError):
            raise error
