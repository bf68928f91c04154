"""edge-web: operator page, kiosk page, health and metrics. Local network only."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from edge.app.service import credential_path, keep_alive, notify, place_for, report_health
from edge.audit.export import sequence
from edge.devices.checkpoints import CheckpointReader
from edge.devices.follower import Follower
from edge.settings import Settings, SettingsError
from edge.web.board import Board
from edge.web.counter import Counter
from edge.web.desk import Desk
from edge.web.machine import Machine
from edge.web.pages import application
from edge.web.panel import listen
from edge.web.roll import call
from edge.web.server import serve
from edge.web.taking import Taking

if TYPE_CHECKING:
    from edge.app.iavs import Part

_ROWS = 500


async def run(settings: Settings) -> None:
    """Serve the pages until cancelled."""
    if settings.web.readers == "anyone" and settings.web.host not in ("127.0.0.1", "::1"):
        raise SettingsError('web.readers = "anyone" goes with host = "127.0.0.1" only')
    log, checkpoints = Follower(settings.paths.journal), CheckpointReader(settings.paths.checkpoints)
    board = Board(log, checkpoints, receipts=settings.seal.receipts)
    counter = Counter(settings.paths.operators_socket)
    desk = Desk(counter, open_to_read=settings.web.readers == "anyone")
    taking = Taking(desk, log, lambda: exported(settings, log, checkpoints), settings.site.gate)
    machine = Machine(settings.paths.state)
    pages = application(board, settings.site, settings.web, desk, machine, taking.routes())
    key = credential_path(settings.paths, "web-tls-key")
    ready = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as parts:
            parts.create_task(board.follow())
            parts.create_task(call(counter, board))
            parts.create_task(listen(place_for(settings.paths.panel_socket), board.shown, board.hinted))
            parts.create_task(serve(pages, board, settings.web, ready, key))
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


def exported(settings: Settings, log: Follower, checkpoints: CheckpointReader) -> Iterator[bytes]:
    """The log as it is now, as a file's pieces."""
    size = log.size()
    rows = (row for first in range(0, size, _ROWS) for row in log.rows(first, min(_ROWS, size - first)))
    return sequence(settings.site.origin, log.epoch(), rows, checkpoints.after(0, 0, 1 << 40))


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
