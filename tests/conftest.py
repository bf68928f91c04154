"""What many tests share: pins of a gate, a loop to run a story in."""

from __future__ import annotations

import asyncio
import os
import select
import threading
from collections.abc import Callable, Coroutine, Iterator
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


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Run one story to its end, for at most a minute."""

    def within_a_minute(story: Coroutine[Any, Any, Any]) -> Any:
        async def bounded() -> Any:
            async with asyncio.timeout(60):
                return await story

        return asyncio.run(bounded())

    return within_a_minute


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
