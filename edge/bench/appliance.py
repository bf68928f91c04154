"""What the whole appliance costs and gives: people at a turnstile, the two pages, the sandbox, starting, the disk.

throughput   20 people a minute come to a gate with profile turnstile, each with a card of their own, on composed
             footage; a person who comes while the gate is still busy waits, as in a queue
screen       from the lights' change after a decision until the kiosk page has been told
frames       how often the kiosk page draws in a second, in Chromium without a graphics card, its scripts and layout
             slowed down ``SLOWER`` times, while languages take turns; told and never asserted
page         the operator's page with everything that it loads: first byte, complete, bytes
exposure     ``systemd-analyze security`` of each unit as it is installed
start        from starting the five processes until all have said that they are ready
writes       what gate, seal, sync and web had the disk write meanwhile, for each 1,000 visits
"""

from __future__ import annotations

import http.client
import importlib.util
import json
import re
import shutil
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.bench.figures import least, most, percentiles
from edge.demo import footage
from edge.demo.director import Director, Stuck, shown
from edge.demo.footage import Hold, Stand
from edge.demo.planned import Algorithm, Card, Visit
from edge.demo.stage import ROOT, Stage, Wanted, models_of
from edge.passage import Indication

if TYPE_CHECKING:
    from rich.console import Console

PER_MINUTE = 20
EXPOSURE = {"vision": 1.2, "gate": 0.5, "seal": 0.3, "sync": 1.0, "web": 1.5}
WRITERS = ("gate", "seal", "sync", "web")
_HOLD = Hold(module_px=3.0, turn=(6.0, -5.0, 2.0), at=(430.0, 480.0), glare=0.25)
_STAND = Stand("obama2", eyes_px=92.0, at=(800.0, 190.0))
_CARD = Card(side_px=64, picture_bytes=800, algorithm=Algorithm.ES256)
_ANSWERS = {Indication.WELCOME.value: "welcome", Indication.REFUSED.value: "refused"}
_LOOK_S = 0.002
SLOWER = 4
DRAWN_S = 8.0
_COUNTED = """seconds => new Promise(done => {
  const began = performance.now(); let last = began, longest = 0, frames = 0;
  requestAnimationFrame(function drawn(now) {
    longest = Math.max(longest, now - last); last = now; frames += 1;
    if (now - began < 1000 * seconds) requestAnimationFrame(drawn); else done([frames, now - began, longest]);
  });
})"""


def measure(console: Console, minutes: float = 1.0) -> dict[str, Any]:
    """Run the appliance for so long and measure it."""
    wanted = Wanted(profile="turnstile")
    with ExitStack() as leaving, Stage(wanted) as stage:
        disk = Path(leaving.enter_context(tempfile.TemporaryDirectory(prefix="edge-bench-", dir="/var/tmp")))
        _state_on(disk, stage)
        director = Director(stage)
        director.open()
        with console.status("starting the five processes"):
            stage.start()
        ready = {name: round(part.ready_s or 0.0, 3) for name, part in stage.processes.parts.items()}
        with Screen(stage) as screen:
            crowd = _crowd(stage, director, minutes, console)
        page = _page(stage.settings.web.host, stage.settings.web.port)
        drawn = frames(f"{stage.pages}kiosk?lang=en,fr,ar,hi,am")
    found = {
        "models": models_of(wanted)[0],
        "throughput": crowd,
        "screen_ms": percentiles(screen.took_ms),
        "frames": drawn,
        "page": page,
        "exposure": exposures(ROOT / "systemd"),
        "ready_s": ready,
    }
    return found | {"targets": _targets(found)}


def _targets(found: dict[str, Any]) -> list[dict[str, Any]]:
    crowd, page = found["throughput"], found["page"]
    targets = [
        least("people a minute", "1/min", 0.95 * PER_MINUTE, crowd["per_minute"]),
        most("screen after the decision, p95", "ms", 100.0, found["screen_ms"].get("p95")),
        most("operator page complete", "ms", 1000.0, page["complete_ms"]),
        most("operator page", "kB", 300.0, page["kb"]),
    ]
    return targets + [
        most(f"exposure of edge-{name}", "", EXPOSURE[name], found["exposure"].get(name)) for name in EXPOSURE
    ]


def _state_on(disk: Path, stage: Stage) -> None:
    """Have log and state on a disk, as at a gate: in the stage's RAM nothing is written anywhere."""
    state = stage.folder / "state"
    shutil.rmtree(state)
    disk.chmod(0o700)
    state.symlink_to(disk, target_is_directory=True)


def _crowd(stage: Stage, director: Director, minutes: float, console: Console) -> dict[str, Any]:
    """People who come one every three seconds; each is new to the gate."""
    people = max(2, round(PER_MINUTE * minutes))
    whole: list[float] = []
    waited: list[float] = []
    refused: list[str] = []
    with ThreadPoolExecutor(1, "footage") as painter, console.status("people come") as status:
        clip = painter.submit(_composed, stage, -1)
        director.walk_through(clip.result())  # the first one warms it up and is not counted
        clip = painter.submit(_composed, stage, 0)
        clip.result()
        before, began = written(stage), time.monotonic()
        for number in range(people):
            status.update(f"people come: {number + 1} of {people}")
            name = clip.result()
            clip = painter.submit(_composed, stage, number + 1)
            due = began + number * 60.0 / PER_MINUTE
            time.sleep(max(0.0, due - time.monotonic()))
            waited.append(time.monotonic() - due)
            try:
                whole.append(director.walk_through(name).get("whole", 0) / 1000)
            except Stuck as stuck:
                refused.append(str(stuck))
            (stage.scene / f"{name}.npy").unlink()
        took = time.monotonic() - began
        time.sleep(3.0)  # the last of them is sealed and sent
        after = written(stage)
    scale = 1000 / people / 1e6
    return {
        "people": people,
        "let_through": len(whole),
        "refused": sorted(set(refused)),
        "per_minute": round(60 * people / max(took, people * 60 / PER_MINUTE), 2),
        "decision_ms": percentiles(whole),
        "came_late_s": percentiles(waited),
        "written_mb_per_1000": {name: round((after[name] - before[name]) * scale, 2) for name in WRITERS},
    }


def _composed(stage: Stage, number: int) -> str:
    """Somebody new with a card of their own, as the camera sees them; the name of the clip."""
    paper = shown(stage, Visit("bench", "", _CARD))
    assert paper is not None  # a card is always something to show
    name = f"crowd-{number + 1}"
    footage.write(
        stage.scene / f"{name}.npy",
        footage.both_clip(stage.wanted.portraits, paper, _HOLD, _STAND, seed=number + 1),
    )
    return name


def written(stage: Stage) -> dict[str, int]:
    """Bytes that each of those who write has had a disk write, since it was started."""
    pids = stage.processes.pids()
    return {name: _write_bytes(pids[name]) for name in WRITERS}


def _write_bytes(pid: int) -> int:
    said = Path(f"/proc/{pid}/io").read_text(encoding="ascii")
    return int(re.findall(r"^write_bytes: (\d+)", said, re.MULTILINE)[0])


class Screen:
    """Milliseconds from the change of the lights to the kiosk's. A context: it watches both inside."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._ended = threading.Event()
        self._lit: dict[str, float] = {}
        self.took_ms: list[float] = []
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._lights, self._kiosk)]

    def __enter__(self) -> Screen:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(10)

    def _lights(self) -> None:
        last = ""
        while not self._ended.wait(_LOOK_S):
            now = self._stage.panel()
            if now != last and now in _ANSWERS:
                self._lit[_ANSWERS[now]] = time.monotonic()
            last = now

    def _kiosk(self) -> None:
        web = self._stage.settings.web
        with closing(http.client.HTTPConnection(web.host, web.port, timeout=15)) as connection:
            connection.request("GET", "/kiosk/events")
            stream, last = connection.getresponse(), ""
            while not self._ended.is_set() and (line := stream.readline()):
                if not line.startswith(b"data: "):
                    continue
                heard, screen = time.monotonic(), str(json.loads(line[6:]).get("screen"))
                if screen != last and (lit := self._lit_for(screen)) is not None:
                    self.took_ms.append(1000 * max(0.0, heard - lit))
                last = screen

    def _lit_for(self, screen: str) -> float | None:
        """When the lights changed to this; None when they did not."""
        if screen not in _ANSWERS.values():
            return None
        time.sleep(5 * _LOOK_S)  # the page may be told first
        return self._lit.pop(screen, None)


def _page(host: str, port: int) -> dict[str, Any]:
    """The operator's page and all that it names, one after the other on one connection, as a browser's worst case."""
    began = time.perf_counter()
    first = bytes_ = 0
    wanted, seen = ["/"], {"/"}
    with closing(http.client.HTTPConnection(host, port, timeout=10)) as connection:
        while wanted:
            connection.request("GET", wanted.pop())
            answer = connection.getresponse()
            if answer.status != 200:
                raise Stuck(f"the operator's page, and was told {answer.status}")
            text = answer.read(1)
            first = first or round(1e6 * (time.perf_counter() - began))
            text += answer.read()
            bytes_ += len(text)
            for name in named(text.decode()):
                if name not in seen:
                    seen.add(name)
                    wanted.append(name)
    complete = 1000 * (time.perf_counter() - began)
    return {
        "first_byte_ms": first / 1000,
        "complete_ms": round(complete, 1),
        "kb": round(bytes_ / 1000, 1),
        "files": len(seen),
    }


def frames(url: str, seconds: float = DRAWN_S) -> dict[str, float] | None:
    """Frames a second of the kiosk page; None where there is no Chromium, or nothing that steers it."""
    chromium = shutil.which("chromium")
    if chromium is None or importlib.util.find_spec("playwright") is None:
        return None
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1024, "height": 600})
        page.goto(url)
        page.wait_for_selector("body:not([data-screen=connecting])", state="attached")
        page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
        count, took_ms, longest_ms = page.evaluate(_COUNTED, seconds)
        browser.close()
    return {
        "per_s": round(1000 * count / took_ms, 1),
        "longest_ms": round(longest_ms, 1),
        "slower": SLOWER,
    }


def named(text: str) -> set[str]:
    """Files of ours that a page, a style or a script names."""
    found = re.findall(r"""(?:src|href|from|import|url\()\s*=?\s*["']?(?:\./|/static/)([a-z]+\.(?:js|css|svg))""", text)
    return {f"/static/{name}" for name in found}


def exposures(folder: Path) -> dict[str, float]:
    """What systemd says about each unit's sandbox, from 0 to 10; empty where there is no systemd."""
    if shutil.which("systemd-analyze") is None:
        return {}
    found = {}
    for name in EXPOSURE:
        command = ["systemd-analyze", "security", "--offline=yes", "--threshold=100", "--no-pager"]
        said = subprocess.run(
            [*command, f"./edge-{name}.service"], cwd=folder, capture_output=True, text=True, check=False, timeout=60
        ).stdout
        if level := re.search(r"exposure level for \S+: ([\d.]+)", said):
            found[name] = float(level[1])
    return found
