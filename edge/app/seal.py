"""edge-seal: the token signs checkpoints. No network, no devices but the token."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

from edge.app.service import keep_alive, notify, report_health, secret
from edge.audit.entry import CRITICAL, Kind, Quality
from edge.audit.sealing import SealingPolicy
from edge.devices.checkpoints import SqliteCheckpoints
from edge.devices.clock import FOLLOWED, SystemClock
from edge.devices.follower import Follower
from edge.devices.token import Pkcs11Token, TokenPlace, enrolled_point
from edge.errors import DeviceError
from edge.sealer import Sealer
from edge.settings import Seal, Settings
from edge.trust.interval import ClockState

_BEHIND = timedelta(minutes=1)
_LOOK_S = 10.0
_log = logging.getLogger("edge.seal")


async def run(settings: Settings) -> None:
    """Seal the log by the policy until cancelled; once more on the way out."""
    folder = settings.paths.checkpoints.parent
    folder.mkdir(parents=True, exist_ok=True)
    log = Follower(settings.paths.journal)
    checkpoints = SqliteCheckpoints(settings.paths.checkpoints)
    pin = secret(settings.paths, "pkcs11-pin").decode().strip()
    place = TokenPlace(settings.token.module, settings.token.label, settings.token.serial, settings.token.key_id)
    enrolled = enrolled_point(await asyncio.to_thread(settings.token.public_key.read_bytes))
    token = Pkcs11Token(place, pin, enrolled, settings.site.origin, folder / "pin-refused")
    token.resume(checkpoints.last())
    policy = policy_of(settings.seal, sending=settings.mqtt.enabled)
    clock = SystemClock(settings.clock, folder / "clock-floor")
    take_time(log, clock)
    sealer = Sealer(settings.site.origin, policy, log, checkpoints, token, clock)
    try:
        async with asyncio.TaskGroup() as parts:
            parts.create_task(sealer.run())
            parts.create_task(follow_time(log, clock))
            parts.create_task(report_health(settings.paths.health_socket, lambda: {"token": sealer.condition()}))
            parts.create_task(keep_alive(lambda: not token.stuck))
            notify("READY=1")
    finally:
        try:
            async with asyncio.timeout(5.0):
                await sealer.finish()
        except (DeviceError, TimeoutError) as error:
            _log.warning("not sealed at the end: %s", error)
        token.close()
        checkpoints.close()
        log.close()


def policy_of(seal: Seal, *, sending: bool = False) -> SealingPolicy:
    """When the token signs at this site.

    Args:
        seal: what the site asks for.
        sending: entries go out as they come: what was gathered while the token had to rest is sealed then, so that
            whoever receives it does not wait a minute for the proof that it is genuine.
    """
    at_once = CRITICAL | {Kind.DENIED} if seal.receipts else CRITICAL
    after_s = min(seal.after_s, seal.not_within_s) if sending else seal.after_s
    return SealingPolicy(seal.entries, after_s, seal.not_within_s, at_once)


def take_time(log: Follower, clock: SystemClock) -> None:
    """A checkpoint is not older than the entries under it: go by the newest when our clock is behind it.

    Unless that was the system clock of then, and the one of now is believed: one of them was wrong, and not this one.
    """
    try:
        newest = log.entries(max(0, log.size() - 1), 1)
    except DeviceError:
        return
    for entry in newest:
        moment = datetime.fromtimestamp(entry.wall_ms / 1000, UTC)
        now = clock.now()
        synced = now.state is ClockState.SYNCED and entry.quality is Quality.SYNCED
        if synced and now.upper is not None and moment > now.upper + FOLLOWED:
            continue
        if moment - now.lower > _BEHIND:
            clock.raise_floor(moment)


async def follow_time(log: Follower, clock: SystemClock) -> None:
    """Take the time from the log now and then."""
    while True:
        await asyncio.sleep(_LOOK_S)
        await asyncio.to_thread(take_time, log, clock)
