"""The pages on a port."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path

from starlette.types import ASGIApp

from edge.errors import DeviceError
from edge.listening import Listening
from edge.settings import Web
from edge.web.board import Board

HEAD_LIMIT = 16 * 1024
GOODBYE_S = 2
log = logging.getLogger(__name__)


async def serve(
    pages: ASGIApp, board: Board, web: Web, ready: asyncio.Event | None = None, key: Path | None = None
) -> None:
    """Serve the pages until cancelled; ``ready`` is set when the port answers, ``key`` is that of the certificate.

    Raises:
        DeviceError: the address cannot be listened to, or the server ended by itself.
    """

    tls = _tls(web, key)

    def opened(number: int) -> None:
        log.info("pages on %s://%s:%d", "http" if tls is None else "https", web.host, number)
        if ready is not None:
            ready.set()

    port = Listening("web", web.host, web.port, HEAD_LIMIT, GOODBYE_S, tls=tls)
    await port.serve(pages, opened, board.close)


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
