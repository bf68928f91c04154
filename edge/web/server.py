"""The pages on their ports.

Rules:

1. The screen of this machine asks in the clear on 127.0.0.1, whatever else there is: no certificate, and no address of
   a network, stands between it and its page.
2. Under a certificate there is a port of its own, so that the two are never in each other's way.
3. An address of a network that is not there, or not yet, keeps nobody from the screen: it is tried again.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
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
        DeviceError: the certificate does not fit, this machine's port is taken, or its server ended by itself.
    """
    here, *others = ports_of(web, _tls(web, key))
    due = {here, *others}

    def tried(port: Listening, number: int = 0) -> None:
        if number:
            log.info("pages on %s://%s:%d", "http" if port.tls is None else "https", port.host, number)
        due.discard(port)
        if ready is not None and not due:
            ready.set()

    parts = [asyncio.create_task(here.serve(pages, partial(tried, here), board.close))]
    parts += [asyncio.create_task(_to_others(pages, port, partial(tried, port))) for port in others]
    try:
        ended, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for part in parts:
            part.cancel()
        await asyncio.gather(*parts, return_exceptions=True)
    for part in ended:
        part.result()


async def _to_others(pages: ASGIApp, port: Listening, tried: Callable[..., None]) -> None:
    """Rule 3."""
    said = ""
    while True:
        try:
            await port.serve(pages, tried)
        except DeviceError as error:
            if str(error) != said:
                log.error("%s: tried again every %.0f s", error, AGAIN_S)
            said = str(error)
        tried()
        await asyncio.sleep(AGAIN_S)


def ports_of(web: Web, tls: ssl.SSLContext | None) -> list[Listening]:
    """Where the pages are: in the clear for this machine always, and for others at an address or under TLS."""
    ports = [] if tls is None and _covers_here(web.host) else [_port("127.0.0.1", web.port)]
    if tls is not None:
        return [*ports, _port(web.host, web.tls_port, tls)]
    return ports if web.host == "127.0.0.1" else [*ports, _port(web.host, web.port)]


def _port(host: str, number: int, tls: ssl.SSLContext | None = None) -> Listening:
    return Listening("web", host, number, HEAD_LIMIT, GOODBYE_S, tls=tls)


def _covers_here(host: str) -> bool:
    """Whether who listens on this address is heard on 127.0.0.1 too."""
    return host in ("localhost", "0.0.0.0", "::")  # noqa: S104 -- compared with, not listened on


def _tls(web: Web, key: Path | None) -> ssl.SSLContext | None:
    if web.certificate == Path():
        return None
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(web.certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise DeviceError("web", f"certificate {web.certificate} with the credential web-tls-key: {error}") from error
    return context
