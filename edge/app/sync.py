"""edge-sync: entries out over MQTT. Network, no devices."""

from __future__ import annotations

import asyncio
from pathlib import Path

from edge import __version__
from edge.app.service import credential_path, keep_alive, notify, report_health
from edge.devices.checkpoints import CheckpointReader
from edge.devices.follower import Follower
from edge.settings import Settings
from edge.sync.connection import Link
from edge.sync.sender import Sender, pinned
from edge.sync.topics import Address


async def run(settings: Settings) -> None:
    """Send what the log holds until cancelled."""
    if not settings.mqtt.enabled:
        await _idle()
        return
    mqtt, site = settings.mqtt, settings.site
    settings.paths.outbox.parent.mkdir(parents=True, exist_ok=True)
    log, checkpoints = Follower(settings.paths.journal), CheckpointReader(settings.paths.checkpoints)
    key: Path = credential_path(settings.paths, mqtt.key)
    link = Link(mqtt.host, mqtt.port, mqtt.ca, mqtt.certificate, key)
    sender = Sender(
        Address(site.tenant, site.site, site.gate),
        link,
        pinned(mqtt.collector_key),
        log,
        checkpoints,
        settings.paths.outbox,
        facts=lambda: {"software": __version__},
    )
    sender.start()
    try:
        async with asyncio.TaskGroup() as parts:
            parts.create_task(report_health(settings.paths.health_socket, lambda: {"broker": sender.condition()}))
            parts.create_task(keep_alive(lambda: True))
            notify("READY=1")
    finally:
        await asyncio.to_thread(sender.stop)
        log.close()
        checkpoints.close()


async def _idle() -> None:
    """A site without a broker: nothing to do, and nothing wrong with that."""
    notify("READY=1")
    await keep_alive(lambda: True)
    await asyncio.Event().wait()
