"""The pages on a port."""

from __future__ import annotations

import asyncio
import logging

from starlette.types import ASGIApp

from edge.listening import Listening
from edge.settings import Web
from edge.web.board import Board

HEAD_LIMIT = 16 * 1024
GOODBYE_S = 2
log = logging.getLogger(__name__)


async def serve(pages: ASGIApp, board: Board, web: Web, ready: asyncio.Event | None = None) -> None:
    """Serve the pages until cancelled; ``ready`` is set when the port answers.

    Raises:
        DeviceError: the address cannot be listened to, or the server ended by itself.
    """

    def opened(number: int) -> None:
        log.info("pages on http://%s:%d", web.host, number)
        if ready is not None:
            ready.set()

    port = Listening("web", web.host, web.port, HEAD_LIMIT, GOODBYE_S)
    await port.serve(pages, opened, board.close)
