"""HTTP on a port inside our own loop: uvicorn, with deadlines that it does not have by itself.

Rules:

1. A request's head must come within the time and the length that its port gives it.
2. Signals belong to the process, not to one of its parts.
3. Nothing is written down about requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from edge.errors import DeviceError

CONNECTIONS = 64
HEAD_S = 5.0


class Punctual(H11Protocol):
    """A connection that must finish asking in time: a slow asker does not hold a place."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Start the deadline of the first request."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Keep the deadline while the head of a request is incomplete."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        super().connection_lost(exc)
        self._stop()

    def head_s(self) -> float:
        """How long a head may take."""
        return HEAD_S

    def _watch(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._stop()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.head_s(), self._late)

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._deadline = None
        if self.conn.their_state is h11.IDLE:
            self.transport.close()


@dataclass(frozen=True)
class Listening:
    """How a port answers.

    Attributes:
        device: what it is called when it fails.
        head_limit: bytes of a request's head.
        goodbye_s: how long open requests may take when the port closes.
        protocol: of one connection.
        tls: None: in the clear.
    """

    device: str
    host: str
    port: int
    head_limit: int
    goodbye_s: int
    protocol: type[Punctual] = Punctual
    tls: ssl.SSLContext | None = None

    async def serve(
        self, application: ASGIApp, ready: Callable[[int], None], leaving: Callable[[], None] = lambda: None
    ) -> None:
        """Serve until cancelled; ``ready`` is told the port's number, ``leaving`` ends answers that never end.

        Raises:
            DeviceError: the address cannot be listened to, or the server ended by itself.
        """
        with self._ear() as ear:
            config = self._config(application)
            config.load()
            config.ssl = self.tls
            server = _Server(config)
            running = asyncio.create_task(server.serve([ear]))
            ready(int(ear.getsockname()[1]))
            try:
                await asyncio.shield(running)
            finally:
                leaving()
                server.should_exit = True
                await running
        raise DeviceError(self.device, "the server ended by itself")

    @contextlib.contextmanager
    def _ear(self) -> Iterator[socket.socket]:
        """The port, taken."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as ear:
            ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                ear.bind((self.host, self.port))
            except OSError as error:
                said = f"cannot listen on {self.host} port {self.port}: {error.strerror}"
                raise DeviceError(self.device, said) from error
            ear.listen(CONNECTIONS)
            yield ear

    def _config(self, application: ASGIApp) -> uvicorn.Config:
        return uvicorn.Config(
            application,
            http=self.protocol,
            ws="none",
            lifespan="off",
            loop="none",
            interface="asgi3",
            log_config=None,
            log_level="error",  # at its finest level uvicorn would write down what was asked for
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=CONNECTIONS,
            h11_max_incomplete_event_size=self.head_limit,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=self.goodbye_s,
        )


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Rule 2."""
        yield
