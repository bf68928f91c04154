"""The pages on their ports.

Rules:

1. The screen of this machine asks in the clear on 127.0.0.1, whatever else there is: no certificate, and no address of
   a network, stands between it and its page.
2. Under a certificate there is a port of its own, so that the two are never in each other's way.
3. An address of a network that is not there, or not yet, keeps nobody from the screen: it is tried again. So does a
   certificate that cannot be used, and one that was put right by then is taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from starlette.types import ASGIApp

from edge.errors import DeviceError
from edge.listening import Listening
from edge.settings import Web
from edge.web.board import Board

HEAD_LIMIT = 16 * 1024
GOODBYE_S = 2
AGAIN_S = 5.0
log = logging.getLogger(__name__)


async def serve(
    pages: ASGIApp, board: Board, web: Web, ready: asyncio.Event | None = None, key: Path | None = None
) -> None:
    """Serve the pages until cancelled; ``ready`` is set when all ports answer or have been tried.

    Args:
        pages: to serve.
        board: closed on the way out, so that pages which follow it end.
        web: where.
        ready: to be set.
        key: file with the key of the certificate.

    Raises:
        DeviceError: this machine's port is taken, or its server ended by itself.
    """
    here, *others = ports_of(web)
    due = {here, *others}

    def tried(port: Listening, number: int = 0) -> None:
        if number:
            under = "" if port is here or web.certificate == Path() else " under TLS"
            log.info("pages on %s port %d%s", port.host, number, under)
        due.discard(port)
        if ready is not None and not due:
            ready.set()

    parts = [asyncio.create_task(here.serve(pages, partial(tried, here), board.close))]
    for port in others:
        secured = partial(_secured, port, web.certificate, key)
        parts.append(asyncio.create_task(_to_others(pages, secured, partial(tried, port))))
    try:
        ended, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for part in parts:
            part.cancel()
        await asyncio.gather(*parts, return_exceptions=True)
    for part in ended:
        part.result()


async def _to_others(pages: ASGIApp, secured: Callable[[], Listening], tried: Callable[..., None]) -> None:
    """Rule 3."""
    said = ""
    while True:
        try:
            await secured().serve(pages, tried)
        except DeviceError as error:
            if str(error) != said:
                log.error("%s: tried again every %.0f s", error, AGAIN_S)
            said = str(error)
        tried()
        await asyncio.sleep(AGAIN_S)


def ports_of(web: Web) -> list[Listening]:
    """Where the pages are: for this machine first, then for others, at an address of the network or under TLS."""
    here, others = _port("127.0.0.1", web.port), _port(web.host, web.port)
    if web.certificate != Path():
        return [here, _port(web.host, web.tls_port)]
    if web.host == here.host or _covers(web.host):
        return [others]
    return [here, others]


def _port(host: str, number: int) -> Listening:
    return Listening("web", host, number, HEAD_LIMIT, GOODBYE_S)


def _covers(host: str) -> bool:
    """Whether who listens on this address is heard on 127.0.0.1 too: of IPv6 only where this machine has that."""
    address = ipaddress.ip_address(host)
    if address.version == 6 and address.is_unspecified:
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET6):
            return True
        return False
    return address.is_unspecified


def _secured(port: Listening, certificate: Path, key: Path | None) -> Listening:
    """The port under its certificate, where there is one."""
    if certificate == Path():
        return port
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise DeviceError("web", f"certificate {certificate} with the credential web-tls-key: {error}") from error
    return replace(port, tls=context)
