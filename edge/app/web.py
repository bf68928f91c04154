"""edge-web: operator page, kiosk page, health and metrics. Local network only."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from edge.app.service import credential_path, keep_alive, notify, place_for, report_health
from edge.audit.checkpoint import Checkpoint
from edge.audit.export import sequence
from edge.devices.checkpoints import CheckpointReader
from edge.devices.follower import Follower
from edge.settings import Settings
from edge.web.board import Board
from edge.web.counter import Counter
from edge.web.desk import Desk
from edge.web.fitting import fitting
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
    fitting(settings.web)
    paths, origin = settings.paths, settings.site.origin
    log, checkpoints = Follower(paths.journal), CheckpointReader(paths.checkpoints)
    board = Board(log, checkpoints, receipts=settings.seal.receipts)
    counter = Counter(settings.paths.operators_socket)
    desk = Desk(counter, open_to_read=settings.web.readers == "anyone")
    taking = Taking(desk, log, lambda: exported(paths.journal, paths.checkpoints, origin), settings.site.gate)
    machine = Machine(settings.paths.state)
    dispenser = settings.gate.passage == "dispenser"
    pages = application(board, settings.site, settings.web, desk, machine, taking.routes(), dispenser=dispenser)
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


def exported(journal: Path, sealed: Path, origin: str) -> Iterator[bytes]:
    """The log as it is now, as a file's pieces; with readers of its own, for it is read beside the loop."""
    with closing(Follower(journal)) as log, closing(CheckpointReader(sealed)) as checkpoints:
        size = log.size()
        rows = (row for first in range(0, size, _ROWS) for row in log.rows(first, min(_ROWS, size - first)))
        yield from sequence(origin, log.epoch(), rows, _all(checkpoints))


def _all(checkpoints: CheckpointReader) -> Iterator[Checkpoint]:
    """Every checkpoint in order, some at a time: there is one more for every minute of the log's life."""
    epoch, size = 0, 0
    while found := checkpoints.after(epoch, size, _ROWS):
        yield from found
        epoch, size = found[-1].head.epoch, found[-1].head.size


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
