"""edge-vision's place in an emulated machine (``scripts/vm-test`` without /dev/kvm), where one look takes minutes.

It answers on the same socket, says that it is ready and alive, and is killed and hung like the real one. What it says
it sees is made up: while the stage plays ``visit``, the card and its holder. Nothing about faces is tested with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from pathlib import Path

from edge import wire
from edge.app.manifest import manifest_of
from edge.app.service import keep_alive, notify, place_for, report_health
from edge.biometric.manifest import Manifest
from edge.biometric.values import Comparison, ModelSet, Probe, ReferenceKind
from edge.ports import Code
from edge.settings import load

SCENE = Path("/var/lib/edge-vm/scene")
_LOOK_S = 0.2


class Eye:
    """Sees what the stage says."""

    def __init__(self, manifest: Manifest) -> None:
        chosen = manifest.sets["default"].models
        self._models = ModelSet(
            "default", {role: (name, manifest.models[name].asset.sha256) for role, name in chosen.items()}
        )
        self._embedder = chosen["embedder"]
        self._card = (SCENE / "card.txt").read_text(encoding="ascii")
        self._frames, self._probes = itertools.count(1), itertools.count(1)

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the gate until it goes."""
        with contextlib.suppress(EOFError, ConnectionError), contextlib.closing(writer):
            while True:
                await wire.send(writer, await self._answer(await wire.receive(reader)))

    async def _answer(self, question: wire.Message) -> wire.Message:
        match question:
            case wire.AskCode(deadline_s):
                return await self._code(deadline_s)
            case wire.AskModels():
                return self._models
            case wire.AskProbe(newer_than=newer_than):
                frame = max(next(self._frames), newer_than + 1)
                return Probe(next(self._probes), frame, time.monotonic(), 90.0, 100.0, 120.0, None, {"detect": 1_000})
            case wire.AskComparison(probe=probe):
                return Comparison(probe, 0.99, self._embedder, ReferenceKind.SMALL, {"compare": 1_000})
            case _:
                return wire.Done()

    async def _code(self, deadline_s: float) -> wire.Message:
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            if (SCENE / "playing").read_text(encoding="ascii").startswith("visit"):
                return Code(self._card, next(self._frames), time.monotonic(), 1_000)
            await asyncio.sleep(_LOOK_S)
        return wire.Done()


async def run(config: Path) -> None:
    """Answer until told to stop."""
    settings = load(config)
    eye = Eye(manifest_of(settings))
    place = place_for(settings.paths.vision_socket)
    server = await asyncio.start_unix_server(eye.meet, place, limit=wire.LIMIT)
    place.chmod(0o660)
    notify("READY=1")
    async with server, asyncio.TaskGroup() as parts:
        parts.create_task(keep_alive(lambda: True))
        parts.create_task(report_health(settings.paths.health_socket, lambda: {"camera": "", "models": ""}))


if __name__ == "__main__":
    asyncio.run(run(Path("/etc/edge-gate/edge.toml")))
