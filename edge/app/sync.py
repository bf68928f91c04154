"""edge-sync: trust in, entries out. Network, no devices."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from edge.app.passing import Passing
from edge.app.service import credential_path, keep_alive, notify, report_health, secret
from edge.app.stated import Listening, Stated
from edge.devices.checkpoints import CheckpointReader
from edge.devices.clock import SystemClock
from edge.devices.follower import Follower
from edge.devices.truststore import TrustStore
from edge.errors import DeviceError
from edge.settings import Settings, SettingsError
from edge.sync.connection import Link
from edge.sync.sender import Pace, Sender, pinned
from edge.sync.telling import Company, Telling, Together
from edge.sync.topics import Address
from edge.sync.updates import Bundles, Haste, Keeper, Updates
from edge.sync.witnessing import Neighbours, neighbourhood, witness_key

_SCRATCH = Path("/dev/shm")  # noqa: S108 -- memory, not a disk; a directory of its own is made in it


async def run(settings: Settings) -> None:
    """Bring trust in and send what the log holds, until cancelled."""
    settings.paths.outbox.parent.mkdir(parents=True, exist_ok=True)
    keeper = _keeper(settings)
    async with asyncio.TaskGroup() as parts:
        if settings.mqtt.enabled:
            parts.create_task(_send(settings, keeper))
        if keeper is not None and settings.trust.bundles != Path():
            parts.create_task(_carry(settings, keeper))
        parts.create_task(keep_alive(lambda: True))
        notify("READY=1")
        await asyncio.Event().wait()


async def _send(settings: Settings, keeper: Callable[[], Keeper] | None) -> None:
    """The connection to the broker."""
    mqtt, site, trust = settings.mqtt, settings.site, settings.trust
    log, checkpoints = Follower(settings.paths.journal), CheckpointReader(settings.paths.checkpoints)
    key: Path = credential_path(settings.paths, mqtt.key)
    link = Link(mqtt.host, mqtt.port, mqtt.ca, mqtt.certificate, key)
    heard = Follower(settings.paths.journal)
    passing = Passing(settings.paths.health_socket, heard, site.origin)
    updates = Updates(trust.repository, keeper) if keeper is not None and trust.repository else None
    neighbours, listening = _neighbours(settings, checkpoints), Listening()
    parts: list[Company] = [] if neighbours is None else [neighbours]
    if mqtt.tell:
        address = Address(site.tenant, site.site, site.gate)
        parts.append(Telling(address, settings.paths.told_socket, settings.paths.health_socket))
    sender = Sender(
        Address(site.tenant, site.site, site.gate),
        link,
        pinned(mqtt.collector_key),
        log,
        checkpoints,
        settings.paths.outbox,
        pace=Pace(first_s=mqtt.spread_s),
        facts=Stated(log, listening.away),
        commands=passing,
        updates=updates,
        witness=Kept(settings.paths.witnessed),
        neighbours=Together(*parts),
    )

    def conditions() -> dict[str, str]:
        told = {"broker": sender.condition()}
        if updates is not None:
            told["trust-delivery"] = updates.trouble
        if neighbours is not None:
            told["witnesses"] = neighbours.condition()
        return told

    sender.start()
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(passing.run())
            tasks.create_task(report_health(settings.paths.health_socket, conditions, listening.note))
    finally:
        await asyncio.to_thread(sender.stop)
        heard.close()
        log.close()
        checkpoints.close()


def _neighbours(settings: Settings, checkpoints: CheckpointReader) -> Neighbours | None:
    """Gates of this site that cosign each other's checkpoints; None where the site has no policy for it."""
    site = settings.site
    if settings.mqtt.witnesses == Path():
        return None
    policy, key = neighbourhood(settings.mqtt.witnesses), witness_key(secret(settings.paths, "witness-key"))
    return Neighbours(Address(site.tenant, site.site, site.gate), policy, key, checkpoints, settings.paths.neighbours)


class Kept:
    """The newest acknowledgement that says when it was signed, on disk for edge-gate to see, now and then."""

    def __init__(self, path: Path, every_s: float = 600.0) -> None:
        self._path, self._every_s, self._at = path, every_s, float("-inf")

    def __call__(self, signed: bytes) -> None:
        """Keep it, unless one was kept a moment ago."""
        if time.monotonic() - self._at < self._every_s:
            return
        self._at = time.monotonic()
        new = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):
            new.write_bytes(signed)
            new.replace(self._path)


async def _carry(settings: Settings, keeper: Callable[[], Keeper]) -> None:
    """The folder of bundles, looked at by a thread of its own."""
    ended, told = threading.Event(), {"bundles": ""}

    def look() -> None:
        keeping: Keeper | None = None
        bundles: Bundles | None = None
        try:
            while not ended.wait(Haste.bundles_s):
                try:
                    keeping = keeping or keeper()
                    bundles = bundles or Bundles(settings.trust.bundles, keeping)
                    bundles.look()
                    told["bundles"] = bundles.trouble
                except DeviceError as error:
                    told["bundles"] = error.message
        finally:
            if keeping is not None:
                keeping.close()

    looking = asyncio.ensure_future(asyncio.to_thread(look))
    reporting = asyncio.ensure_future(report_health(settings.paths.health_socket, lambda: told))
    try:
        await asyncio.wait((looking, reporting), return_when=asyncio.FIRST_COMPLETED)
        await looking
    finally:
        ended.set()
        reporting.cancel()
        await asyncio.wait((looking,))


def _keeper(settings: Settings) -> Callable[[], Keeper] | None:
    """Opens the store in the thread that uses it; None where trust is one file.

    Raises:
        SettingsError: there is no anchor where the configuration says.
    """
    if settings.trust.anchor == Path():
        return None
    try:
        anchor = settings.trust.anchor.read_bytes()
    except OSError as error:
        raise SettingsError(f"trust.anchor {settings.trust.anchor}: {error.strerror}") from error
    clock = SystemClock(settings.clock, settings.paths.outbox.parent / "clock-floor")
    gates_floor = settings.paths.journal.parent / "clock-floor"

    def now() -> datetime:
        with contextlib.suppress(OSError, ValueError, OverflowError):
            clock.raise_floor(datetime.fromtimestamp(int(gates_floor.read_text(encoding="ascii")), UTC))
        return clock.now().lower

    alone = threading.Lock()
    scratch = _SCRATCH if _SCRATCH.is_dir() else None
    return lambda: Keeper(TrustStore(settings.paths.trust), anchor, now, scratch, alone)
