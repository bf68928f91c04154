"""edge-web: operator page, kiosk page, health and metrics. Local network only."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from edge.app.service import keep_alive, notify, place_for, report_health
from edge.devices.checkpoints import CheckpointReader
from edge.devices.follower import Follower
from edge.settings import Settings
from edge.web.board import Board
from edge.web.pages import application
from edge.web.panel import listen
from edge.web.server import serve

if TYPE_CHECKING:
    from edge.app.iavs import Part


async def run(settings: Settings) -> None:
    """Serve the pages until cancelled."""
    log, checkpoints = Follower(settings.paths.journal), CheckpointReader(settings.paths.checkpoints)
    board = Board(log, checkpoints)
    pages = application(board, settings.site, settings.web)
    ready = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as parts:
            parts.create_task(board.follow())
            parts.create_task(listen(place_for(settings.paths.panel_socket), board.shown, board.hinted))
            parts.create_task(serve(pages, board, settings.web, ready))
            services = _services(settings)
            if services is not None:
                parts.create_task(services.run())
            parts.create_task(report_health(settings.paths.health_socket, lambda: _conditions(services)))
            await ready.wait()
            parts.create_task(keep_alive(lambda: True))
            notify("READY=1")
    finally:
        log.close()
        checkpoints.close()


def _services(settings: Settings) -> Part | None:
    """Identity services, where the site wants them; else nothing of them is loaded."""
    if not settings.iavs.enabled:
        return None
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # searching is bound by memory; must be said before numpy is loaded
    from edge.app.iavs import Part

    return Part(settings)


def _conditions(services: Part | None) -> dict[str, str]:
    return {"pages": ""} if services is None else {"pages": "", "iavs": services.trouble}
