"""The pages on a port: uvicorn inside our own loop, with deadlines that it does not have by itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from edge.errors import DeviceError
from edge.settings import Web
from edge.web.board import Board

CONNECTIONS = 64
HEAD_LIMIT = 16 * 1024
HEAD_S = 5.0
GOODBYE_S = 2
log = logging.getLogger(__name__)


class Punctual(H11Protocol):
    """A connection that must finish asking within ``HEAD_S``: a slow asker does not hold a place."""

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

    def _watch(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._stop()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_S, self._late)

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._deadline = None
        if self.conn.their_state is h11.IDLE:
            self.transport.close()


class _Server(uvicorn.Server):
    """Signals belong to the process, not to one of its parts."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


async def serve(pages: ASGIApp, board: Board, web: Web, ready: asyncio.Event | None = None) -> None:
    """Serve the pages until cancelled; ``ready`` is set when the port answers.

    Raises:
        DeviceError: the address cannot be listened to, or the server ended by itself.
    """
    with _listening(web) as ear:
        server = _Server(_config(pages))
        running = asyncio.create_task(server.serve([ear]))
        log.info("pages on http://%s:%d", *ear.getsockname()[:2])
        if ready is not None:
            ready.set()
        try:
            await asyncio.shield(running)
        finally:
            board.close()
            server.should_exit = True
            await running
    raise DeviceError("web", "the server ended by itself")


def _config(pages: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        pages,
        http=Punctual,
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
        h11_max_incomplete_event_size=HEAD_LIMIT,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=GOODBYE_S,
    )


@contextlib.contextmanager
def _listening(web: Web) -> Iterator[socket.socket]:
    """The port, taken."""
    family = socket.AF_INET6 if ":" in web.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as ear:
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            ear.bind((web.host, web.port))
        except OSError as error:
            raise DeviceError("web", f"cannot listen on {web.host} port {web.port}: {error.strerror}") from error
        ear.listen(CONNECTIONS)
        yield ear
