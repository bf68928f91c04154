"""HTTP on a port inside our own loop: uvicorn, with deadlines that it does not have by itself.

Rules:

1. A request's head must come within the time and the length that its port gives it, and what is left of it once it has
   been answered; a TLS handshake within ``HANDSHAKE_S``.
2. A connection takes a place as it is accepted, before a byte of it is read. One address has ``each`` of them, all
   strangers together leave ``KEPT`` for this machine; whoever comes beyond that is hung up on, or takes the place of
   one of those who hold most. A caller who is gone without a word, as one out of reach of the radio is, loses the
   place once nothing sent to him has arrived for ``GONE_S``.
3. Signals belong to the process, not to one of its parts.
4. Nothing is written down about requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from edge.errors import DeviceError

CONNECTIONS = 128
KEPT = 32
EACH = 16
SPARED = 2
BACKLOG = 1024
"""How many wait to be taken or hung up on, which takes a moment."""
HEAD_S = 5.0
HANDSHAKE_S = 5.0
GONE_S = 30
HERE = frozenset({"127.0.0.1", "::1"})
"""Where programs of this machine call from, unless they ask for another address."""


def plain(address: str) -> str:
    """One way of writing for each address: who calls a port of IPv6 by IPv4 is that caller.

    Raises:
        ValueError: it is a name.
    """
    whole = ipaddress.ip_address(address)
    return str(getattr(whole, "ipv4_mapped", None) or whole)


class Places:
    """So many at once. Strangers leave some of them for this machine, and no one of them has more than his share.

    When strangers' places are all taken, whoever holds most of them, and more than ``SPARED``, gives the newest up to a
    caller who holds at least two fewer: so many addresses together keep out nobody either, and what somebody opened
    first stays.

    Args:
        most: of all together.
        kept: of them for this machine.
        each: for one stranger; of IPv6 that is a network of 64 bits, which one machine can have to itself.
    """

    def __init__(self, most: int, kept: int, each: int) -> None:
        self._most, self._kept, self._each = most, kept, each
        self._taken: Counter[str] = Counter()
        self._ends: defaultdict[str, list[Callable[[], None]]] = defaultdict(list)

    def __len__(self) -> int:
        return self._taken.total()

    def take(self, address: str, end: Callable[[], None] | None = None) -> bool:
        """Whether there is a place for this caller; it is taken then. ``end`` ends what takes it, which leaves then."""
        whose = _whose(address)
        if whose in HERE:
            free = len(self) < self._most
        else:
            free = self._taken[whose] < self._each and (self._free() or (end is not None and self._given_up(whose)))
        if free:
            self._taken[whose] += 1
            if end is not None:
                self._ends[whose].append(end)
        return free

    def leave(self, address: str, end: Callable[[], None] | None = None) -> None:
        """Give a place back, with the ``end`` that it was taken with."""
        whose = _whose(address)
        self._taken[whose] -= 1
        self._taken += Counter()
        if end in self._ends[whose]:
            self._ends[whose].remove(end)
        if not self._ends[whose]:
            del self._ends[whose]

    def _free(self) -> bool:
        """Whether a stranger finds a place."""
        strangers = len(self) - sum(self._taken[own] for own in HERE)
        return len(self) < self._most and strangers < self._most - self._kept

    def _given_up(self, whose: str) -> bool:
        """Whether somebody who holds more has given a place up for this caller."""
        fullest = max((other for other in self._ends if other not in HERE), key=self._taken.__getitem__, default=whose)
        if self._taken[fullest] <= max(SPARED, self._taken[whose] + 1):
            return False
        self._ends[fullest][-1]()
        return self._free()


def _whose(address: str) -> str:
    try:
        whole = ipaddress.ip_address(plain(address))
    except ValueError:
        return ""
    network = whole.version == 6 and str(whole) not in HERE
    return str(ipaddress.ip_network((whole, 64), strict=False)) if network else str(whole)


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

    def on_response_complete(self) -> None:
        """Answered before all of it was here: the rest must come in time too."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY and not self.transport.is_closing():
            self.loop.call_later(self.head_s(), self._unread, self.conn)

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

    def _unread(self, request: h11.Connection) -> None:
        if self.conn is request and request.their_state is h11.SEND_BODY:
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
        each: connections from one address that is not of this machine.
    """

    device: str
    host: str
    port: int
    head_limit: int
    goodbye_s: int
    protocol: type[Punctual] = Punctual
    tls: ssl.SSLContext | None = None
    each: int = EACH

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
        try:
            ear = _Ear(family, socket.SOCK_STREAM)
        except OSError as error:
            raise DeviceError(self.device, f"this machine has no addresses like {self.host}") from error
        with ear:
            ear.places = Places(CONNECTIONS, KEPT, self.each)
            ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            ear.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_S * 1000)  # each connection inherits it
            if family is socket.AF_INET6:
                ear.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # "::" is every address of either kind
            try:
                ear.bind((self.host, self.port))
            except OSError as error:
                said = f"cannot listen on {self.host} port {self.port}: {error.strerror}"
                raise DeviceError(self.device, said) from error
            ear.listen(BACKLOG)
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
            h11_max_incomplete_event_size=self.head_limit,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=self.goodbye_s,
        )


class _Ear(socket.socket):
    """A port that is listened on, with a place for each connection (rule 2)."""

    places: Places

    def accept(self) -> tuple[socket.socket, Any]:
        """Let the next one in.

        Raises:
            ConnectionAbortedError: there was no place; the loop comes back for the next one.
        """
        accepted, address = super().accept()
        line = _Line(accepted.family, accepted.type, accepted.proto, accepted.detach())
        if not self.places.take(address[0], line.give_up):
            line.close()
            raise ConnectionAbortedError
        line.leave = partial(self.places.leave, address[0], line.give_up)
        return line, address


class _Line(socket.socket):
    """A connection that gives its place back when it is closed, however far it came."""

    leave: Callable[[], None] | None = None

    def close(self) -> None:
        """End it."""
        super().close()
        self._left()

    def give_up(self) -> None:
        """Let somebody else have the place, at once; the loop sees the end of the line and closes it."""
        with contextlib.suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)
        self._left()

    def _left(self) -> None:
        leave, self.leave = self.leave, None
        if leave is not None:
            leave()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Rule 3."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's own, which does not pass on how long a handshake may take (rule 1)."""
        await self.lifespan.startup()
        loop, tls = asyncio.get_running_loop(), self.config.ssl
        within_s = HANDSHAKE_S if tls else None
        self.servers = [
            await loop.create_server(self._line, sock=ear, backlog=BACKLOG, ssl=tls, ssl_handshake_timeout=within_s)
            for ear in sockets or ()
        ]
        self.started = True

    def _line(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]  # as in uvicorn
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
