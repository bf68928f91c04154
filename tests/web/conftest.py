"""A gate's journal, and the pages over it: as ASGI, and on a real port."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

import edge.web
from edge import orders
from edge.app.acts import Acts
from edge.app.commands import Commands
from edge.app.counter import attend
from edge.app.operators import Operators
from edge.app.service import wait_for
from edge.app.web import exported
from edge.audit.checkpoint import Checkpoint, Head, key_id, statement
from edge.audit.entry import Event, Kind, Value
from edge.devices.checkpoints import CheckpointReader, SqliteCheckpoints
from edge.devices.follower import Follower
from edge.devices.journal import LastHead, SqliteJournal
from edge.devices.simulated import SimulatedClock
from edge.devices.simulated_token import SimulatedToken
from edge.passage import Indication
from edge.ports import Receipt
from edge.settings import Site, Web
from edge.trust import operators as known
from edge.trust.charter import Charter
from edge.web import kiosk
from edge.web.board import Board
from edge.web.counter import Counter
from edge.web.desk import Desk
from edge.web.guard import Guard
from edge.web.machine import Machine
from edge.web.pages import application
from edge.web.roll import call
from edge.web.server import serve
from edge.web.taking import Taking

ORIGIN = "urn:gate:a:b:c"
KEY = ec.derive_private_key(12345, ec.SECP256R1())
SITE = Site("acme", "Harbour <office>", "north", "pilot")
PASSWORD = "correct horse battery"


class Phone:
    """An authenticator app that has the gate's time."""

    def __init__(self, address: str, clock: SimulatedClock) -> None:
        text = parse_qs(urlsplit(address).query)["secret"][0]
        self.secret, self.clock = base64.b32decode(text + "=" * (-len(text) % 8)), clock

    def code(self) -> str:
        """The one it shows."""
        return known.code_of(self.secret, known.step_of(self.clock.moment.timestamp()))

    def next(self) -> str:
        """Wait for one that was not used."""
        self.clock.go(30)
        return self.code()


class Clock(SimulatedClock):
    """A wall clock that goes only when it is told to, and a stopwatch that goes on by itself, as the machine's does."""

    gone: Callable[[], None] = staticmethod(lambda: None)
    held_s: float | None = None

    def monotonic(self) -> float:
        """Seconds since the machine started, and those that were told."""
        return (time.monotonic() if self.held_s is None else self.held_s) + self.ticks

    def hold(self) -> None:
        """From now on the stopwatch too goes only when it is told to: however long something takes, no time passes."""
        self.held_s = time.monotonic()

    def go(self, seconds: float) -> None:
        """Let time pass, in which the gate goes on saying what its panel shows."""
        super().go(seconds)
        self.gone()


@dataclass
class Way:
    """A way that is opened with a receipt."""

    receipts: list[Receipt] = field(default_factory=list)

    async def let_through(self, receipt: Receipt) -> Kind:
        """One person goes through."""
        self.receipts.append(receipt)
        return Kind.TAKEN


@dataclass
class Stand:
    """Everything a test of the pages touches."""

    journal: SqliteJournal
    log: Follower
    board: Board
    app: Guard
    client: httpx.AsyncClient
    clock: Clock
    way: Way
    commands: Commands
    operators: Operators
    folder: Path
    devices: dict[str, tuple[bool, str]]
    url: str = ""
    here: str = ""
    indication: Indication | None = None

    @property
    def point(self) -> bytes:
        """The key that seals the log."""
        return SimulatedToken(ORIGIN, KEY).enrolled

    async def seal(self) -> None:
        """Sign the log as it is now."""
        head = Head(
            ORIGIN, self.log.epoch(), self.log.size(), self.log.root(self.log.size()), 0, b"", at_s=1_780_000_000
        )
        kid = key_id(self.point)
        signature = await SimulatedToken(ORIGIN, KEY).sign(statement(head, kid))
        store = SqliteCheckpoints(self.folder / "checkpoints.db")
        store.add(Checkpoint(head, kid, None, signature))
        store.close()

    def phone(self, key: str) -> Phone:
        """A phone that was told this key."""
        return Phone(f"otpauth://totp/x?secret={key}", self.clock)

    async def setup(self, name: str = "anna", role: known.Role = known.Role.ADMIN) -> str:
        """A set-up code, as the console prints it."""
        invited = await self.operators.answer(orders.Invite(name, role))
        assert isinstance(invited, orders.Invited)
        return invited.setup

    async def enrolled(self, name: str = "anna", role: known.Role = known.Role.ADMIN) -> Phone:
        """Somebody with a phone."""
        setup = await self.setup(name, role)
        told = await self.operators.answer(orders.Enrol(setup, PASSWORD))
        assert isinstance(told, orders.Enrolling)
        phone = Phone(told.address, self.clock)
        assert isinstance(await self.operators.answer(orders.Confirm(setup, (phone.next(),))), orders.Obeyed)
        return phone

    async def act(self, name: str, /, token: str = "", origin: str = "", **fields: object) -> httpx.Response:
        """Send as a page of ours does."""
        headers = {"Origin": origin or str(self.client.base_url).rstrip("/"), "X-Gate-Page": token}
        return await self.client.post(f"/act/{name}", json=fields, headers=headers)

    async def logged_in(self, phone: Phone, name: str = "anna") -> str:
        """Log the client in; the token of its page."""
        answer = await self.act("login", name=name, password=PASSWORD, codes=[phone.next()])
        assert answer.status_code == 200, answer.text
        return str((await self.client.get("/me")).json()["token"])

    async def put(self, kind: Kind, **fields: Value) -> Receipt:
        """Write an entry as the gate does."""
        return await self.journal.append(Event(kind, fields))

    async def put_many(self, events: Iterable[Event]) -> None:
        """Write many entries at once."""
        await self.journal.append_all(list(events))

    async def until(self, true: Callable[[], bool], within_s: float = 45.0) -> None:
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
        self.indication = indication
        self.board.shown(indication)

    def again(self) -> None:
        """Show the same as before."""
        if self.indication is not None:
            self.board.shown(self.indication)

    async def say_again(self) -> None:
        """The gate says once a second what its panel shows."""
        while True:
            self.again()
            await asyncio.sleep(1.0)


class Folder:
    """Where one gate keeps its log; opened as often as a test likes."""

    package = Path(edge.web.__file__).parent
    sequence: Callable[[Path, Path, str], Iterator[bytes]] = staticmethod(exported)

    def __init__(self, path: Path, free_port: Callable[[], int]) -> None:
        self.path, self.free_port = path, free_port

    @contextlib.asynccontextmanager
    async def stand(
        self,
        web: Web | None = None,
        *,
        port: bool = False,
        last: LastHead | None = None,
        receipts: bool = False,
        roll: bool = False,
        key: Path | None = None,
        dispenser: bool = False,
    ) -> AsyncIterator[Stand]:
        """The gate at work; with ``port``, on a free port too.

        ``last``: the head that somebody holds. ``receipts``: for who is refused. ``roll``: devices are asked about.
        ``key``: of the certificate. ``dispenser``: something is handed out.
        """
        clock, way = Clock(), Way()
        journal = SqliteJournal.open(self.path / "journal.db", ORIGIN, "north", clock, last)
        follower, checkpoints = Follower(self.path / "journal.db"), CheckpointReader(self.path / "checkpoints.db")
        commands = Commands(ORIGIN, Charter, journal, clock, None, self.path / "commands")
        acts = Acts(follower, journal, clock, way, lambda: True, commands)
        devices: dict[str, tuple[bool, str]] = {}
        operators = Operators(
            "north", self.path / "operators", journal, clock, acts.do, commands.locked_down, lambda: devices
        )
        web = web or Web("127.0.0.1", 0, readers="anyone")
        board = Board(follower, checkpoints, clock.monotonic, receipts=receipts)
        counter = Counter(self.path / "operators.sock")
        desk = Desk(counter, open_to_read=web.readers == "anyone")
        paths = (self.path / "journal.db", self.path / "checkpoints.db")
        taking = Taking(desk, follower, lambda: self.sequence(*paths, ORIGIN), SITE.gate)
        machine = Machine(self.path, self.path / "thermal")
        app = application(board, SITE, web, desk, machine, taking.routes(), dispenser=dispenser)
        transport = httpx.ASGITransport(app)
        zone = self.path / "thermal" / "thermal_zone0" / "temp"
        zone.parent.mkdir(parents=True, exist_ok=True)
        zone.write_text("48312\n", encoding="ascii")
        console = self.path / "console.sock"
        console.unlink(missing_ok=True)
        tasks = [
            asyncio.create_task(board.follow()),
            asyncio.create_task(attend(self.path / "operators.sock", console, operators)),
        ]
        await wait_for(console)
        await asyncio.sleep(0.01)  # a server that is ended while it begins leaves its socket open
        if roll:
            tasks.append(asyncio.create_task(call(counter, board)))
        try:
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
                stand = Stand(
                    journal, follower, board, app, client, clock, way, commands, operators, self.path, devices
                )
                clock.gone = stand.again
                tasks.append(asyncio.create_task(stand.say_again()))
                if port:
                    web, ready = replace(web, port=self.free_port(), tls_port=self.free_port()), asyncio.Event()
                    tasks.append(asyncio.create_task(serve(app, board, web, ready, key)))
                    await ready.wait()
                    stand.here = f"http://127.0.0.1:{web.port}"
                    stand.url = stand.here if key is None else f"https://127.0.0.1:{web.tls_port}"
                yield stand
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            journal.close()
            follower.close()
            checkpoints.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords that cost little: how much they cost is tested elsewhere."""
    monkeypatch.setattr(known, "COST", 2**8)


@pytest.fixture
def folder(tmp_path: Path, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> Folder:
    """An empty place for a log, beside a panel that may be kept waiting: when silence is told is tested elsewhere."""
    monkeypatch.setattr(kiosk, "SILENT_S", 60.0)
    return Folder(tmp_path, free_port)
