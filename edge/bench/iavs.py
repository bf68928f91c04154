"""What identity services cost: exact search, requests of several clients at once, enrolment, memory, start, limits.

search     one query among 1,000, 10,000 and 100,000 templates of 256 dimensions, as the standard set's are, and of 512,
           on one thread, beside plain numpy and, where they are at hand (scripts/oracles), faiss and usearch, with the
           share of mates found
requests   verify and identify end to end over HTTP at 1, 4 and 16 clients, each request on a connection of its own
           without TLS, on painted faces: all but the model's time; durable enrolments per second: entry in the log and
           commit of the gallery each on disk; a request of 1 MB; how fast one above the limit is refused
resident   memory of the process with an empty gallery, and the time until it answers, start of Python included
full       the same with 100,000 people of 256 dimensions in the gallery, and verify and identify among them

All of it with memory that is overwritten when it is given back, as in service (edge/app/memory.py).
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.app.memory import WANTED
from edge.bench.figures import memory_kb, percentiles

if TYPE_CHECKING:
    from rich.console import Console

_TOP = Path(__file__).parents[2]
_PEERS = Path(os.environ.get("EDGE_ORACLES", _TOP / ".cache" / "oracles")) / "bin" / "python"
_DIMENSIONS = (256, 512)
_SIZES = (1_000, 10_000, 100_000)
_CLIENTS = (1, 4, 16)
_MANY, _WIDE = 100_000, 256
_KEY = bytes(range(32))
_ALONE = """
import os
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
import json
from edge.bench.iavs import {name}
print(json.dumps({name}()))
"""


def measure(console: Console) -> dict[str, Any]:
    """All figures, and whether the targets are met."""
    found: dict[str, Any] = {}
    for name in ("search", "resident", "requests", "full"):
        console.print(f"identity services: {name}")
        found[name] = _alone(name)
    fast, small = found["search"]["256"]["100000"]["matrix"]["p50"], found["resident"]["rss_mb"]
    large, refused = found["requests"]["1 MB"], found["requests"]["too large"]
    found["targets"] = [
        _target("search among 100,000", "ms", 10.0, fast, met=fast <= 10.0),
        _target("resident, empty", "MB", 120.0, small, met=small <= 120.0),
        _target("1 MB accepted", "status", 200.0, large["status"], met=large["status"] == 200),
        _target("413 above", "ms", 50.0, refused["p95"], met=refused["status"] == 413 and refused["p95"] < 50.0),
    ]
    return found


def _target(name: str, unit: str, goal: float, found: float, *, met: bool) -> dict[str, Any]:
    return {"name": name, "unit": unit, "goal": goal, "found": found, "met": met}


def _alone(name: str) -> Any:
    """A measurement in a process of its own, with the linear algebra on one thread."""
    python = str(_PEERS) if name == "search" and _has_peers() else sys.executable
    told = subprocess.run(
        [python, "-c", _ALONE.format(name=name)],
        env=os.environ | WANTED | {"PYTHONPATH": str(_TOP), "EDGE_BEGAN": str(time.time())},
        capture_output=True,
        check=True,
        text=True,
    )
    return json.loads(told.stdout.splitlines()[-1])


def _has_peers() -> bool:
    """Whether the environment of the peers has those for a search."""
    if not _PEERS.exists():
        return False
    return subprocess.run([_PEERS, "-c", "import faiss, usearch"], capture_output=True, check=False).returncode == 0


def search() -> dict[str, Any]:
    """Milliseconds of one search, and the share of mates found, by dimensions, size and engine."""
    return {str(dimensions): _search(dimensions) for dimensions in _DIMENSIONS}


def _search(dimensions: int) -> dict[str, Any]:
    import numpy as np

    from edge.biometric.gallery import Matrix

    random = np.random.default_rng(1)
    found: dict[str, Any] = {}
    for size in _SIZES:
        rows = random.normal(size=(size, dimensions)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        mates = random.integers(0, size, 50)
        noise = random.normal(size=(50, dimensions)).astype(np.float32)
        probes = rows[mates] + noise * (1.5 / np.sqrt(dimensions))
        probes = (probes / np.linalg.norm(probes, axis=1, keepdims=True)).astype(np.float32)
        matrix = Matrix(dimensions)
        for at, row in enumerate(rows):
            matrix.put(str(at), "", row)

        def ours(probe: Any, matrix: Matrix = matrix) -> int:
            candidates = matrix.search(probe, 0.3, 10)
            return int(candidates[0].subject) if candidates else -1

        def plain(probe: Any, rows: Any = rows) -> int:
            scores = rows @ probe
            top = np.argpartition(scores, -10)[-10:]
            return int(top[np.argmax(scores[top])])

        engines: dict[str, Callable[[Any], int]] = {"matrix": ours, "numpy": plain} | _peers(rows)
        found[str(size)] = {name: _timed(engine, probes, mates) for name, engine in engines.items()}
        found[str(size)]["memory_mb"] = round(rows.nbytes / 1e6)
    return found


def _peers(rows: Any) -> dict[str, Callable[[Any], int]]:
    """Other engines, where they are installed."""
    made: dict[str, Callable[[Any], int]] = {}
    if importlib.util.find_spec("faiss") is not None:
        faiss = importlib.import_module("faiss")
        faiss.omp_set_num_threads(1)
        flat = faiss.IndexFlatIP(rows.shape[1])
        flat.add(rows)
        made["faiss-flat"] = lambda probe: int(flat.search(probe[None], 10)[1][0][0])
    if importlib.util.find_spec("usearch") is not None:
        exact = importlib.import_module("usearch.index").search
        made["usearch-exact"] = lambda probe: int(exact(rows, probe, 10, "ip", exact=True, threads=1).keys[0])
    return made


def _timed(engine: Callable[[Any], int], probes: Any, mates: Any) -> dict[str, Any]:
    right, took = 0, []
    for probe, mate in zip(probes, mates, strict=True):
        began = time.perf_counter()
        right += engine(probe) == mate
        took.append((time.perf_counter() - began) * 1e3)
    return percentiles(took) | {"mates_found": right / len(mates)}


def resident() -> dict[str, Any]:
    """Memory of the process with an empty gallery, and how long it takes to be ready."""

    async def story() -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            async with _office(Path(folder), pictures=False):
                return _standing()

    return asyncio.run(story())


def _standing() -> dict[str, Any]:
    ready_s = time.time() - float(os.environ.get("EDGE_BEGAN", time.time()))
    return {"rss_mb": round(memory_kb(os.getpid())["rss"] / 1024, 1), "ready_s": round(ready_s, 2)}


def full() -> dict[str, Any]:
    """The same with a full gallery, and verify and identify in it."""

    async def story() -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            filled = [sys.executable, "-c", f"from edge.bench.iavs import fill; fill({folder!r})"]
            subprocess.run(filled, check=True)  # noqa: ASYNC221 -- nothing else runs yet
            os.environ["EDGE_BEGAN"] = str(time.time())
            async with _office(Path(folder)) as ask:
                found: dict[str, Any] = {"people": _MANY, "templates_mb": round(_MANY * _WIDE * 4 / 1e6)} | _standing()
                given = {"subjectID": "p1", "bir": _sample(1), "galleryID": "staff", "identityClaim": "badge"}
                option = [{"key": "duplicates", "value": "allow"}]
                began = time.perf_counter()
                enrolled = {"processingOptions": {"option": option}, "inputData": given}
                found["enrol, ms"] = {"status": await ask("POST", "/enrol", enrolled)}
                found["enrol, ms"]["ms"] = round((time.perf_counter() - began) * 1e3, 1)
                for name, (path, body) in _asked("badge").items():
                    found[f"{name}, 1 client, ms"] = await _at_once(ask, path, body, 1)
                began = time.perf_counter()
                await ask("DELETE", "/deleteSubject?subjectID=p1", {})
                found["delete, ms"] = round((time.perf_counter() - began) * 1e3, 1)
        return found

    return asyncio.run(story())


def fill(folder: str) -> None:
    """A gallery of people who were never painted."""
    import numpy as np

    from edge.iavs.gallery import Gallery
    from edge.iavs.vault import Vault
    from edge.iavs.view import Item, View

    random = np.random.default_rng(1)

    async def recorded(_: None) -> None:
        pass

    def some(view: View, first: int) -> None:
        for at in range(first, first + 5_000):
            vector = random.normal(size=_WIDE).astype(np.float32)
            subject = view.make_subject(f"stranger-{at}")
            vector /= np.linalg.norm(vector)
            view.put(subject, Item("biometric", "Face", {"info": {"type": ["Face"]}}, ("paint-1", vector)))
            view.join("staff", subject, "", subject)

    async def story() -> None:
        gallery = Gallery(Path(folder) / "gallery.db", Vault(_KEY), ("staff",))
        await gallery.open()
        for first in range(0, _MANY, 5_000):
            await gallery.change(partial(some, first=first), recorded)
        await gallery.close()

    asyncio.run(story())


def requests() -> dict[str, Any]:
    """Milliseconds of requests end to end, and enrolments per second."""
    return asyncio.run(_requests())


def _sample(who: int, *, large: bool = False) -> dict[str, Any]:
    from base64 import b64encode

    import cv2
    import numpy as np

    from edge.vision.simulated import paint

    noise = np.random.default_rng(1).integers(80, 140, (640, 640, 3), np.uint8)
    canvas = noise if large else np.full((240, 240, 3), 60, np.uint8)
    paint(canvas, who, (canvas.shape[1] // 2, canvas.shape[0] // 2 - 20), 60)
    raw = cv2.imencode(".png" if large else ".jpg", canvas)[1].tobytes()
    record = {"birInfo": {"integrity": False}, "bdbInfo": {"type": ["Face"]}, "bdb": b64encode(raw).decode()}
    return {"formatOwner": 257, "formatType": 11, "bir": {"json": record}}


def _asked(claim: str) -> dict[str, tuple[str, dict[str, Any]]]:
    return {
        "verify": ("/verifySubject", {"inputBIR": _sample(1), "identityClaim": claim, "galleryID": "staff"}),
        "identify": ("/identifySubject", {"bir": _sample(1), "galleryID": "staff", "maxListSize": 3}),
    }


async def _requests() -> dict[str, Any]:
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        async with _office(Path(folder)) as ask:
            began, count = time.perf_counter(), 100
            for at in range(count):
                given = {"subjectID": f"p{at}", "bir": _sample(at % 8), "galleryID": "staff"}
                option = [{"key": "duplicates", "value": "allow"}]
                await ask("POST", "/enrol", {"processingOptions": {"option": option}, "inputData": given})
            found["enrolments_per_s"] = round(count / (time.perf_counter() - began), 1)
            for name, (path, body) in _asked("p1").items():
                for clients in _CLIENTS:
                    found[f"{name}, {clients} clients, ms"] = await _at_once(ask, path, body, clients)
            found["1 MB"] = await _sent(ask, {"bir": _sample(1, large=True)})
            found["too large"] = await _sent(ask, {"bir": "x" * 2_200_000})
    return found


async def _at_once(ask: Callable[..., Awaitable[int]], path: str, body: dict[str, Any], clients: int) -> Any:
    took: list[float] = []

    async def client() -> None:
        for _ in range(max(5, 80 // clients)):
            began = time.perf_counter()
            status = await ask("POST", path, body)
            if status != 200:
                raise RuntimeError(f"{path}: {status}")
            took.append((time.perf_counter() - began) * 1e3)

    await asyncio.gather(*(client() for _ in range(clients)))
    return percentiles(took)


async def _sent(ask: Callable[..., Awaitable[int]], body: dict[str, Any]) -> dict[str, Any]:
    took, status = [], 0
    for _ in range(9):
        began = time.perf_counter()
        status = await ask("POST", "/checkQuality", body)
        took.append((time.perf_counter() - began) * 1e3)
    return {"status": status, "bytes": len(json.dumps(body))} | percentiles(took)


def _wide() -> Any:
    """Painted faces with templates of as many numbers as the standard set's."""
    from dataclasses import replace

    import numpy as np

    from edge.vision.simulated import PaintSessions

    rows = np.random.default_rng(2).normal(size=(8, _WIDE)).astype(np.float32)

    class Wide:
        name = "paint-1"

        def embed(self, image: Any, landmarks: Any) -> Any:
            row = rows[int(plain.embedder.embed(image, landmarks).argmax())]
            return row / np.linalg.norm(row)

    plain = PaintSessions()
    return replace(plain, embedder=Wide())  # type: ignore[arg-type]  # stands where PaintEmbedder stands


def _office(folder: Path, *, pictures: bool = True) -> Any:
    """Services on a port of this machine, over a real log, with painted faces; yields how to ask."""
    from contextlib import asynccontextmanager

    from edge.app.recorder import record
    from edge.devices.journal import SqliteJournal
    from edge.iavs.access import Loopback, Rate
    from edge.iavs.bir import Reader
    from edge.iavs.catalogue import catalogue
    from edge.iavs.desk import Desk, Options
    from edge.iavs.forgetting import settle
    from edge.iavs.gallery import Gallery
    from edge.iavs.neighbours import Eye, Pen
    from edge.iavs.server import Port, serve
    from edge.iavs.services import Services
    from edge.iavs.vault import Vault

    @asynccontextmanager
    async def office() -> Any:
        from edge.bench.log import _Clock

        journal = SqliteJournal.open(folder / "journal.db", "urn:gate:bench:here:one", "one", _Clock())
        vault = Vault(_KEY)
        gallery = Gallery(folder / "gallery.db", vault, ("staff",))
        await gallery.open()
        settle()
        eye, pen = Eye(folder / "s"), Pen(folder / "r")
        options = Options(encounters=False, fmr=0.001, fpir=0.01)
        desk = Desk(gallery, vault, eye, pen, Reader(catalogue()), options, lambda *_: 0.5)
        services = Services(desk, Loopback(Rate(10**9)))
        ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        parts = [asyncio.create_task(record(folder / "r", journal))]
        if pictures:
            from edge.vision.stills import Stills

            parts.append(asyncio.create_task(Stills(_wide).run(folder / "s")))
        parts.append(asyncio.create_task(serve(services.door, Port("127.0.0.1", 0), ready)))
        port = await ready
        await asyncio.sleep(0.1)
        try:
            yield _asker(port)
        finally:
            for part in reversed(parts):
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
            eye.close()
            pen.close()
            await gallery.close()
            journal.close()

    return office()


def _asker(port: int) -> Callable[..., Awaitable[int]]:
    async def ask(method: str, path: str, body: dict[str, Any]) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        raw = json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {len(raw)}\r\n\r\n"
        try:
            writer.write(head.encode() + raw)
            line = await reader.readline()
            await reader.read()
            return int(line.split()[1])
        except ConnectionError:
            return 0
        finally:
            writer.close()

    return ask
