"""A gate's journal, and the pages over it: as ASGI, and on a real port."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

import edge.web
from edge.audit.entry import Event, Kind, Value
from edge.devices.checkpoints import CheckpointReader
from edge.devices.follower import Follower
from edge.devices.journal import LastHead, SqliteJournal
from edge.devices.simulated import SimulatedClock
from edge.passage import Indication
from edge.ports import Receipt
from edge.settings import Site, Web
from edge.web.board import Board
from edge.web.guard import Guard
from edge.web.pages import application
from edge.web.server import serve

SITE = Site("acme", "Harbour <office>", "north", "pilot")


@dataclass
class Stand:
    """Everything a test of the pages touches."""

    journal: SqliteJournal
    log: Follower
    board: Board
    app: Guard
    client: httpx.AsyncClient
    url: str = ""

    async def put(self, kind: Kind, **fields: Value) -> Receipt:
        """Write an entry as the gate does."""
        return await self.journal.append(Event(kind, fields))

    async def put_many(self, events: Iterable[Event]) -> None:
        """Write many entries at once."""
        await self.journal.append_all(list(events))

    async def until(self, true: Callable[[], bool], within_s: float = 5.0) -> None:
        """Wait for the board to know."""
        async with asyncio.timeout(within_s):
            while not true():
                await self.board.news(self.board.turn, 0.02)

    async def read(self) -> None:
        """Wait until all that is written has been read."""
        last = await self.put(Kind.EXIT_REQUEST)
        await self.until(lambda: self.board.standing.size > last.index and not self.board.trouble)
        await self.until(lambda: self.board.sealed is not None)

    def show(self, indication: Indication) -> None:
        """Show something on the gate's panel."""
        self.board.shown(indication)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Folder:
    """Where one gate keeps its log; opened as often as a test likes."""

    package = Path(edge.web.__file__).parent

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextlib.asynccontextmanager
    async def stand(
        self, web: Web | None = None, *, port: bool = False, last: LastHead | None = None
    ) -> AsyncIterator[Stand]:
        """The gate at work; with ``port``, on a free port too; ``last``: the head that somebody holds."""
        journal = SqliteJournal.open(self.path / "journal.db", "urn:gate:a:b:c", "north", SimulatedClock(), last)
        follower, checkpoints = Follower(self.path / "journal.db"), CheckpointReader(self.path / "checkpoints.db")
        web = web or Web("127.0.0.1", 0)
        board = Board(follower, checkpoints)
        app = application(board, SITE, web)
        transport = httpx.ASGITransport(app)
        tasks = [asyncio.create_task(board.follow())]
        try:
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
                stand = Stand(journal, follower, board, app, client)
                if port:
                    web, ready = replace(web, port=free_port()), asyncio.Event()
                    tasks.append(asyncio.create_task(serve(app, board, web, ready)))
                    await ready.wait()
                    stand.url = f"http://127.0.0.1:{web.port}"
                yield stand
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            journal.close()
            follower.close()
            checkpoints.close()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An empty place for a log."""
    return Folder(tmp_path)
