"""One real broker for all tests of the way out that do not harm it."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from edge.demo import broker as brokers
from edge.demo.broker import COLLECTOR, HOST, Broker, Identity
from edge.sync.collector import Collector, signing_key
from edge.sync.connection import Link
from edge.sync.sender import Pace, Sender, pinned
from edge.sync.simulated import SimulatedLog
from edge.sync.topics import Address

HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Full campaigns run when they are asked for: ``-m slow``."""
    if not config.getoption("-m"):
        for item in [item for item in items if item.path.parent == HERE and item.get_closest_marker("slow")]:
            items.remove(item)


GATES = tuple(f"demo/lobby/gate-{number}" for number in range(1, 9))
# Who has a certificate is waited for: a busy machine is no lost broker. Where a test is about silence it says so itself
FAST = Pace(connect_s=0.05, connect_most_s=0.4, retry_s=0.3, retry_most_s=1.0, state_s=0.1)


class Site:
    """A broker, and whoever talks over it; all of it ends with the test."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.broker, self.folder = broker, folder
        self.logs: dict[str, SimulatedLog] = {}
        self._ends: list[Callable[[], None]] = []

    def address(self, name: str) -> Address:
        return Address(*name.split("/"))

    def link(self, name: str) -> Link:
        identity = self.broker.identities[name]
        return Link(self.broker.host, self.broker.port, self.broker.ca, identity.certificate, identity.key, 60, 20.0)

    def log(self, name: str, entries: int = 0, sealed_every: int = 0) -> SimulatedLog:
        made = self.logs.setdefault(name, SimulatedLog(self.address(name).origin))
        made.grow(entries, sealed_every)
        return made

    def sender(
        self, name: str, *, link: Link | None = None, collector_key: Path | None = None, pace: Pace = FAST
    ) -> Sender:
        key = pinned(collector_key or self.broker.collector_key)
        log = self.log(name)
        outbox = self.folder / name / "sync.db"
        sender = Sender(self.address(name), link or self.link(name), key, log, log, outbox, pace=pace)
        self._ends.append(sender.stop)
        sender.start()
        return sender

    def collector(self, name: str = COLLECTOR, *, signing: Path | None = None, store: str = "received.db") -> Collector:
        gates = {name: log.point for name, log in self.logs.items()}
        key = signing_key(signing or self.broker.signing_key)
        collector = Collector(self.link(name), key, gates, self.folder / store, name=name, pace=FAST)
        self._ends.append(collector.stop)
        collector.start()
        return collector

    def end(self) -> None:
        for end in reversed(self._ends):
            end()


@pytest.fixture(scope="session")
def shared_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with brokers.start(tmp_path_factory.mktemp("broker"), GATES) as broker:
        yield broker


@pytest.fixture
def site(shared_broker: Broker, tmp_path: Path) -> Iterator[Site]:
    """On the broker that all tests share."""
    made = Site(shared_broker, tmp_path)
    yield made
    made.end()


@pytest.fixture
def fragile_site(tmp_path: Path) -> Iterator[Site]:
    """On a broker of its own, which may be killed."""
    with brokers.start(tmp_path / "broker", GATES) as broker:
        made = Site(broker, tmp_path)
        yield made
        made.end()


@pytest.fixture
def false_broker(site: Site) -> Callable[..., AbstractContextManager[Link]]:
    """A server with a right certificate, unless told otherwise, and wrong manners."""

    @contextmanager
    def started(
        talk: Callable[[Any], None], *, tls: bool = True, identity: Identity | None = None, port: int = 0
    ) -> Iterator[Link]:
        shown = identity or site.broker.authority.issue("false broker", server=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(shown.certificate, shown.key)
        listening = socket.create_server((HOST, port))
        listening.settimeout(0.1)
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                try:
                    caller, _ = listening.accept()
                except TimeoutError:
                    continue
                caller.settimeout(30)
                try:
                    connected = context.wrap_socket(caller, server_side=True) if tls else caller
                except OSError:
                    caller.close()
                    continue
                with connected, suppress(OSError):
                    talk(connected)

        thread = threading.Thread(target=serve)
        thread.start()
        mine = site.link(GATES[0])
        try:
            yield Link(HOST, listening.getsockname()[1], mine.ca, mine.certificate, mine.key, 60, 20.0)
        finally:
            ended.set()
            thread.join()
            listening.close()

    return started
