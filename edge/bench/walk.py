"""How fast the gate is: people walk up, with card and face in view at once, until there are enough figures.

Measured on the five processes as the demo starts them, on composed footage at 30 frames a second. The times of the
stages are the gate's own, as they stand in the log; the whole is from the hand-over of the frame with the readable code
to the relay, so it contains everything but the camera's exposure.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

from edge.bench.figures import cpu_s, memory_kb, percentiles
from edge.demo import footage
from edge.demo.director import Director, shown
from edge.demo.footage import Hold, Stand
from edge.demo.planned import Algorithm, Card, Dialect, Visit
from edge.demo.stage import Stage, Wanted, models_of
from edge.errors import DeviceError
from edge.vision.camera import CameraThread
from edge.vision.footage import FootageCamera

PASSAGES, WARM_UP = 48, 6
FPS = 30.0
_IDLE_S = 10.0
_HOLD = Hold(module_px=3.0, turn=(6.0, -5.0, 2.0), at=(430.0, 480.0), glare=0.25)
_STAND = Stand("obama2", eyes_px=92.0, at=(800.0, 190.0))
_CARDS = (
    Card(side_px=64, picture_bytes=800),
    Card(side_px=64, picture_bytes=800, dialect=Dialect.EXAMPLE, algorithm=Algorithm.ES256),
    Card(side_px=64, picture_bytes=800, algorithm=Algorithm.ES256),
    Card(side_px=64, picture_bytes=800, dialect=Dialect.EXAMPLE),
)
STAGES = {
    "hand_over": "frame hand-over",
    "read": "QR",
    "verify": "verify",
    "detect": "detect",
    "quality": "quality",
    "attack": "attack detection",
    "embed": "align + embed",
    "prepare": "reference, while the face is awaited",
    "reference": "reference, after it",
    "compare": "compare",
    "decide": "decide",
    "commit": "entry commit",
    "relay": "relay",
    "whole": "whole",
}


@dataclass(frozen=True)
class Target:
    """What the gate promises, and which figure is held against it."""

    name: str
    unit: str
    most: float


TARGETS = (
    Target("whole p50", "ms", 120.0),
    Target("whole p95", "ms", 250.0),
    Target("idle frame, CPU", "ms", 20.0),
    Target("resident memory, five processes", "MB", 450.0),
    Target("ready", "s", 5.0),
)


def measure(console: Console, models: Literal["best", "default", "standard"] = "best") -> dict[str, object]:
    """Run the gate and measure it; figures in milliseconds, megabytes, seconds."""
    wanted = Wanted(models, fps=FPS)
    with Stage(wanted) as stage:
        director = Director(stage)
        director.open()
        with console.status("starting the five processes"):
            stage.start()
        ready = {name: round(part.ready_s or 0.0, 3) for name, part in stage.processes.parts.items()}
        stages = _passages(stage, director, console)
        idle_ms = _idle(stage, console)
        memory = {name: memory_kb(pid) for name, pid in stage.processes.pids().items()}
        stages["hand_over"] = asyncio.run(_hand_over(stage.scene))
    pss, rss = (sum(each[kind] for each in memory.values()) / 1024 for kind in ("pss", "rss"))
    figures = {name: percentiles(stages.get(name, [])) for name in STAGES}
    found = {
        "whole p50": figures["whole"].get("p50"),
        "whole p95": figures["whole"].get("p95"),
        "idle frame, CPU": round(idle_ms, 2),
        "resident memory, five processes": round(pss, 1),
        "ready": max(ready.values()),
    }
    return {
        "models": models_of(wanted)[0],
        "stages_ms": figures,
        "idle_frame_cpu_ms": round(idle_ms, 2),
        "memory_mb": {"pss": round(pss, 1), "rss": round(rss, 1), "each_kb": memory},
        "ready_s": ready,
        "targets": [
            {"name": t.name, "unit": t.unit, "most": t.most, "found": found[t.name], "met": _met(found[t.name], t.most)}
            for t in TARGETS
        ],
    }


def _met(found: float | None, most: float) -> bool:
    return found is not None and found <= most


def _passages(stage: Stage, director: Director, console: Console) -> dict[str, list[float]]:
    """Milliseconds per stage, one figure per passage after the warm-up."""
    for number, card in enumerate(_CARDS):
        paper = shown(stage, Visit("bench", "", card))
        assert paper is not None  # a card is always something to show
        clip = footage.both_clip(stage.wanted.portraits, paper, _HOLD, _STAND, seed=number)
        footage.write(stage.scene / f"both-{number}.npy", clip)
    found: dict[str, list[float]] = {name: [] for name in STAGES}
    with console.status("people walk through") as status:
        for passage in range(WARM_UP + PASSAGES):
            status.update(f"people walk through: {passage + 1} of {WARM_UP + PASSAGES}")
            took = director.walk_through(f"both-{passage % len(_CARDS)}")
            if passage >= WARM_UP:
                for name, microseconds in took.items():
                    found.setdefault(name, []).append(microseconds / 1000)
    return found


def _idle(stage: Stage, console: Console) -> float:
    """Processor milliseconds of edge-vision per frame while nobody is there, reading the footage included."""
    pid = stage.processes.pids()["vision"]
    stage.play("nobody")
    with console.status("nobody is there"):
        time.sleep(3.0)
        before, began = cpu_s(pid), time.monotonic()
        time.sleep(_IDLE_S)
        used, frames = cpu_s(pid) - before, (time.monotonic() - began) * FPS
    return 1000 * used / frames


async def _hand_over(scene: Path) -> list[float]:
    """Milliseconds from a frame's arrival in the camera thread until who waits for it has it."""
    camera = CameraThread(lambda: FootageCamera(str(scene), FPS), frozen_s=2.0)
    camera.start()
    taken: list[float] = []
    number = 0
    try:
        while len(taken) < 3 * FPS:
            frame = await camera.newer_than(number)
            taken.append(1000 * (time.monotonic() - frame.seen_at))
            number = frame.number
    except DeviceError:
        return []
    finally:
        await asyncio.to_thread(camera.stop)
    return taken[5:]
