"""What edge-gate stands on before anybody comes: locked pins, the log, the time, whom to trust, and a watch."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from pathlib import Path

from edge.app.chosen import collector_of, gate_of, policy_of
from edge.app.manifest import manifest_of
from edge.app.service import secret
from edge.app.standing import GateStanding, logged_trust, time_sealed, trust_of
from edge.app.told import ToldPanel
from edge.app.wiring import persisting, wired
from edge.audit.checkpoint import Checkpoint
from edge.biometric.manifest import Manifest
from edge.decision import Policy
from edge.devices.checkpoints import CheckpointReader
from edge.devices.clock import SystemClock
from edge.devices.follower import Follower
from edge.devices.gate import GpioGate
from edge.devices.journal import LastHead, SqliteJournal
from edge.devices.readonly import Corrupt
from edge.devices.trustfile import TrustFile
from edge.settings import Settings
from edge.watch import Watch

_log = logging.getLogger("edge.gate")


def fitting(settings: Settings) -> Policy:
    """The rules, of a configuration with which a gate starts; where no relay moves, nothing need be wired right.

    Raises:
        SettingsError: a gate does not start with it.
    """
    if settings.gate.kind == "gpio":
        wired(settings)
    return policy_of(settings)


@dataclass(frozen=True)
class Chosen:
    """What was configured, read before anything is touched."""

    settings: Settings
    policy: Policy
    manifest: Manifest
    site_key: bytes = field(repr=False)

    @classmethod
    def of(cls, settings: Settings) -> Chosen:
        """Read it.

        Raises:
            SettingsError: something in it is wrong.
        """
        return cls(settings, fitting(settings), manifest_of(settings), secret(settings.paths, "site-key", least=16))

    @property
    def folder(self) -> Path:
        """Where edge-gate keeps what is its own."""
        return self.settings.paths.journal.parent


@dataclass(frozen=True)
class Ground:
    """What it stands on."""

    clock: SystemClock
    gate: GpioGate
    checkpoints: CheckpointReader
    journal: SqliteJournal
    follower: Follower
    standing: GateStanding
    watch: Watch
    panel: ToldPanel


async def ground(chosen: Chosen, closing: contextlib.ExitStack) -> Ground:
    """Lay it; what is opened is closed by ``closing``, the lock last.

    Raises:
        DeviceError: a device does not do its part.
    """
    settings = chosen.settings
    clock = SystemClock(settings.clock, chosen.folder / "clock-floor")
    gate = gate_of(settings)
    closing.callback(gate.close)
    closing.callback(gate.lock)
    checkpoints = CheckpointReader(settings.paths.checkpoints)
    journal = SqliteJournal.open(
        settings.paths.journal,
        settings.site.origin,
        settings.site.gate,
        clock,
        LastHead.of(last := last_of(checkpoints)),
        collector=collector_of(settings),
    )
    closing.callback(journal.close)
    closing.callback(clock.keep)
    follower = Follower(settings.paths.journal)
    closing.callback(follower.close)
    if (refused := time_sealed(settings, last, clock, follower)) is not None:
        await journal.append(refused)
    trust = trust_of(settings, chosen.folder)
    if isinstance(trust, TrustFile):
        trust.know(await asyncio.to_thread(logged_trust, follower))
    standing = GateStanding(trust, follower, checkpoints, clock)
    await asyncio.to_thread(standing.look)
    watch = Watch(journal, clock)
    if settings.gate.kind == "gpio":
        say_persisting(watch, persisting())
    panel = ToldPanel(gate, settings.paths.panel_socket)
    closing.callback(panel.close)
    return Ground(clock, gate, checkpoints, journal, follower, standing, watch, panel)


def last_of(checkpoints: CheckpointReader) -> Checkpoint | None:
    """The newest checkpoint; none where their file is damaged.

    A gate that ended here would end at every start. Without its checkpoints nobody is admitted for long: what waits for
    its seal cannot be counted, and ``edge-seal`` signs nothing before somebody has looked.
    """
    try:
        return checkpoints.last()
    except Corrupt as damage:
        _log.error("%s", damage)
        return None


def say_persisting(watch: Watch, drivers: tuple[str, ...]) -> None:
    """Say once, and to whoever looks, that the kernel keeps outputs.

    Service goes on: after any exit systemd's last act drops the relay, and the timer behind the relay bounds the rest.
    A gate that stayed out of service after an update of its kernel would leave people outside instead.
    """
    for driver in drivers:
        watch.lost("pins", f"{driver} keeps outputs after a crash; dtparam=strict_gpiod in config.txt, then reboot")
