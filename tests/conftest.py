"""What many tests share: pins of a gate, a loop to run a story in."""

from __future__ import annotations

import asyncio
import os
import select
import selectors
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from edge.settings import Gate

# Machines are noisy; time is measured by scripts/bench
settings.register_profile("edge", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("edge")

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Full campaigns run when they are asked for: ``-m slow``."""
    if not config.getoption("-m"):
        items[:] = [item for item in items if item.get_closest_marker("slow") is None]


@pytest.fixture
def pins() -> Gate:
    """The default wiring, with short times."""
    return Gate(
        kind="simulated",
        lock_pin=17,
        red_pin=22,
        green_pin=23,
        amber_pin=24,
        buzzer_pin=25,
        door_pin=5,
        beam_1_pin=16,
        beam_2_pin=20,
        exit_request_pin=21,
        fire_pin=26,
        tamper_pin=19,
        release_s=1.0,
        held_s=1.0,
    )


class _Unhurried(asyncio.SelectorEventLoop):
    """A loop for which no time passes while the machine leaves it alone, but what it waited on purpose.

    Whoever walks through is told here, and so is the lock's timer: a machine that is busy elsewhere for a second
    shortens neither. Its own work counts, a hundredth of a second at once at most.
    """

    def __init__(self) -> None:
        self._seen, self._passed = time.monotonic(), 0.0
        super().__init__(_Counted(self))

    def time(self) -> float:
        """Seconds that passed."""
        self.count(0.0)
        return self._passed

    def count(self, meant_s: float) -> None:
        """What passed since the last count, when so many seconds were waited on purpose."""
        now = time.monotonic()
        self._passed += min(now - self._seen, meant_s + 0.01)
        self._seen = now


class _Counted(selectors.DefaultSelector):
    """Tells its loop how long it was meant to wait."""

    def __init__(self, loop: _Unhurried) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What has happened."""
        self._loop.count(0.0)
        events = super().select(timeout)
        self._loop.count(float("inf") if timeout is None else max(0.0, timeout))
        return events


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Run one story to its end, for at most a minute of its own: while this machine does something else none passes."""

    def within_a_minute(story: Coroutine[Any, Any, Any]) -> Any:
        async def bounded() -> Any:
            async with asyncio.timeout(60):
                return await story

        with asyncio.Runner(loop_factory=_Unhurried) as runner:
            return runner.run(bounded())

    return within_a_minute


class _Hours(selectors.DefaultSelector):
    """Whoever sleeps is woken as soon as nobody has anything to do: the hours in between take no time.

    While a thread works for the loop no time goes by, as long as that may take.
    """

    now_s = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.helpers = _Helpers(1)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What has happened; the next timer's hour has come where nothing has."""
        if timeout is None or self.helpers.busy:
            return super().select(timeout)
        found = super().select(0)
        if not found:
            self.now_s += max(0.0, timeout)
        return found


class _Helpers(ThreadPoolExecutor):
    """Threads that work for a loop, and whether one does."""

    busy = 0

    def submit(self, *told: Any, **named: Any) -> Future[Any]:
        """Begin something."""
        self.busy += 1
        begun = super().submit(*told, **named)
        loop = asyncio.get_running_loop()
        begun.add_done_callback(lambda _: loop.call_soon_threadsafe(self._ended))
        return begun

    def _ended(self) -> None:
        self.busy -= 1


@pytest.fixture
def hours() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Run one story in a time of its own: what sleeps for seconds does so in order, and no machine is too slow for it.

    For stories that wait for nothing but the loop's timers and the threads it sends for itself.
    """

    def at_once(story: Coroutine[Any, Any, Any]) -> Any:
        def loop() -> asyncio.AbstractEventLoop:
            told = _Hours()
            made = asyncio.SelectorEventLoop(told)
            made.time = lambda: told.now_s  # type: ignore[method-assign] # the loop's own clock
            made.set_default_executor(told.helpers)
            return made

        with asyncio.Runner(loop_factory=loop) as runner:
            return runner.run(story)

    return at_once


@pytest.fixture
def later() -> Callable[[float], None]:
    """Let so many seconds pass at once for everything that waits in the running loop."""

    def jump(seconds: float) -> None:
        loop = asyncio.get_running_loop()
        before = loop.time
        loop.time = lambda: before() + seconds  # type: ignore[method-assign] # the loop's own clock

    return jump


@pytest.fixture
def free_port() -> Iterator[Callable[[], int]]:
    """Ports of this machine that nobody else is given until the test is over; a server of the test may take them.

    A port that was only asked for and let go may be somebody's by the time the server wants it.
    """
    kept: list[socket.socket] = []

    def another() -> int:
        place = socket.socket()
        kept.append(place)
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])

    yield another
    for place in kept:
        place.close()


@pytest.fixture
def line(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Both ends of a serial line: two pseudo-terminals, each the far end of the other."""
    ends = [os.openpty(), os.openpty()]
    over = threading.Event()

    def carry() -> None:
        there = {ends[0][0]: ends[1][0], ends[1][0]: ends[0][0]}
        while not over.is_set():
            for source in select.select(list(there), [], [], 0.02)[0]:
                os.write(there[source], os.read(source, 1024))

    thread = threading.Thread(target=carry)
    thread.start()
    yield Path(os.ttyname(ends[0][1])), Path(os.ttyname(ends[1][1]))
    over.set()
    thread.join()
    for pair in ends:
        for end in pair:
            os.close(end)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Public vectors and samples beside the project; tests that want them skip where they are not."""
    folder = Path(os.environ.get("EDGE_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip("the folder of public vectors is not here")
    return folder
