"""edge-gate: decision, GPIO, journal. No network, no camera, no token."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from edge.accesspoint import AccessPoint, Verify
from edge.app.acts import Acts
from edge.app.calibrated import calibrated, calibration_of
from edge.app.commands import Commands
from edge.app.controlling import controller_of, mind
from edge.app.counter import attend
from edge.app.keeping import keep, keep_bodies
from edge.app.manifest import manifest_of
from edge.app.operators import Operators
from edge.app.recorder import record
from edge.app.service import credential_path, keep_alive, notify, place_for, secret
from edge.app.site import checked, premises_of, tend
from edge.app.standing import GateStanding, Witness, logged_trust, look_round, time_sealed, trust_of
from edge.app.starting import say_started
from edge.app.telling import SiteTelling
from edge.app.told import ToldPanel, hear
from edge.audit.entry import Entry, Event, Kind, LogError, Value
from edge.audit.tail import recipient
from edge.biometric.calibration import Calibration
from edge.biometric.gallery import fmr_for
from edge.biometric.manifest import Manifest
from edge.biometric.values import ReferenceKind
from edge.credential import verify
from edge.decision import Facts, Policy, facts_of, overruled, pseudonym, recognised
from edge.devices.acknowledged import acknowledged
from edge.devices.bodies import SqliteBodies
from edge.devices.checkpoints import CheckpointReader
from edge.devices.clock import SystemClock
from edge.devices.controller import Controlled
from edge.devices.follower import Follower
from edge.devices.gate import GpioGate, drop_relay
from edge.devices.journal import LastHead, SqliteJournal
from edge.devices.simulated import SimulatedGate
from edge.devices.supervised import channels_of
from edge.devices.trustfile import TrustFile
from edge.devices.vision import VisionClient
from edge.doorway import Doorway
from edge.errors import DeviceError
from edge.fill import Fill
from edge.lane import Lane
from edge.passage import DISPENSER, INTERLOCK, PLANS, Plan
from edge.ports import Receipt
from edge.settings import Settings, SettingsError, profile, read_toml
from edge.trust.encryption import content_keys
from edge.watch import Watch

_log = logging.getLogger("edge.gate")
# The thread that opens an update gives way to the loop after so long; Python's own 5 ms would be felt at the lock.
_SWITCH_S = 0.0005


async def run(settings: Settings) -> None:
    """Serve the entrance until cancelled; locked on the way out."""
    sys.setswitchinterval(_SWITCH_S)
    policy = policy_of(settings)
    manifest = manifest_of(settings)
    site_key = secret(settings.paths, "site-key", least=16)
    folder = settings.paths.journal.parent
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as closing:
        closing.enter_context(alone(folder / "lock"))
        clock = SystemClock(settings.clock, folder / "clock-floor")
        gate = gate_of(settings)
        closing.callback(gate.close)
        closing.callback(gate.lock)
        checkpoints = CheckpointReader(settings.paths.checkpoints)
        journal = SqliteJournal.open(
            settings.paths.journal,
            settings.site.origin,
            settings.site.gate,
            clock,
            LastHead.of(checkpoints.last()),
            collector=collector_of(settings),
        )
        closing.callback(journal.close)
        closing.callback(clock.keep)
        time_sealed(settings, checkpoints.last(), clock)
        trust = trust_of(settings, folder)
        follower = Follower(settings.paths.journal)
        closing.callback(follower.close)
        if isinstance(trust, TrustFile):
            trust.know(await asyncio.to_thread(logged_trust, follower))
        standing = GateStanding(trust, follower, checkpoints, clock)
        await asyncio.to_thread(standing.look)
        elsewhere = partial(sent, settings)
        watch = Watch(journal, clock)
        panel = ToldPanel(gate, settings.paths.panel_socket)
        controller = controller_of(settings, gate)
        if controller is not None:
            closing.callback(controller.close)
        doorway = Doorway(
            gate if controller is None else Controlled(gate, controller, longest_s(settings, policy)),
            panel,
            gate,
            journal,
            clock,
            release_s=settings.gate.release_s,
            held_s=settings.gate.held_s,
            plan=plan_of(settings),
        )
        told = settings.paths.told_socket
        telling = SiteTelling(site_key, settings.site.origin, journal.boot, told, clock.monotonic)
        around = (site_key, standing, follower, journal, clock, doorway, telling.silent_s)
        premises = telling.premises = await asyncio.to_thread(premises_of, settings, policy, *around)
        opening = doorway if settings.gate.remote_unlock and not policy.rules.programme else None
        commands = Commands(settings.site.origin, standing.charter, journal, clock, opening, folder / "commands")

        async def through(receipt: Receipt, refused: Entry) -> Kind:
            told = refused.fields.get("facts")
            facts = facts_of(told) if isinstance(told, dict) else Facts()
            known = (refused.subject, facts, clock.now())
            return await premises.open(doorway, receipt, *known, lost=watch.lost)

        acts = Acts(
            follower,
            journal,
            clock,
            doorway,
            doorway.is_clear,
            commands,
            panel.show,
            stands=partial(overruled, policy),
            through=through,
        )
        kept = folder / "operators"
        operators = Operators(settings.site.gate, kept, journal, clock, acts.do, commands.locked_down, watch.conditions)
        bodies = bodies_of(settings, site_key, clock)
        closing.callback(bodies.close)
        vision = VisionClient(settings.paths.vision_socket, hinted=panel.hint)
        await say_started(journal, follower, folder / "machine-boot")
        await journal.append(configuration(policy, calibration_of(settings)))
        point = AccessPoint(
            vision,
            vision,
            journal,
            clock,
            panel,
            doorway,
            watch,
            standing,
            policy,
            partial(_threshold, manifest, policy.fmr),
            partial(pseudonym, site_key),
            withdrawn=partial(standing.withdrawn, site_key),
            locked_down=commands.locked_down,
            verified=verifier_of(settings),
            lane=lane_of(policy, manifest, site_key),
            fill=Fill(gate if settings.gate.fill_pin else None, clock),
            bodies=bodies if settings.log.bodies else None,
            premises=premises,
        )
        try:
            async with asyncio.TaskGroup() as parts:
                parts.create_task(doorway.run())
                parts.create_task(watch.run())
                parts.create_task(hear(place_for(settings.paths.health_socket), watch, commands, telling.hear))
                parts.create_task(look_round(standing, clock, journal, watch, panel, Witness(settings)))
                parts.create_task(point.run())
                if controller is not None:
                    parts.create_task(mind(controller, watch))
                parts.create_task(tend(premises, clock, watch))
                if settings.mqtt.tell:
                    parts.create_task(telling.run())
                parts.create_task(
                    attend(place_for(settings.paths.operators_socket), settings.paths.console_socket, operators)
                )
                if settings.iavs.enabled:
                    parts.create_task(record(place_for(settings.paths.record_socket), journal))
                parts.create_task(keep_alive(lambda: not journal.lost))
                parts.create_task(keep(settings.log.keep_days, journal, follower, checkpoints, clock, elsewhere))
                parts.create_task(keep_bodies(settings.log, bodies, journal))
                notify("READY=1")
        finally:
            doorway.stop()
            await vision.close()
            with contextlib.suppress(DeviceError):
                await asyncio.shield(journal.append(Event(Kind.SHUTDOWN)))


def lock(path: Path, drop: Callable[[int], None] = drop_relay) -> None:
    """Drive the relays off; nothing else, and with nothing more of the configuration than their pins.

    Raises:
        SettingsError: the configuration does not say which pin.
        DeviceError: the pin cannot be driven.
    """
    table = read_toml(path).get("gate")
    pins = table if isinstance(table, dict) else {}
    lock_pin, exit_pin = pins.get("lock_pin"), pins.get("exit_pin", 0)
    if type(lock_pin) is not int or type(exit_pin) is not int:
        raise SettingsError(f"{path}: gate.lock_pin and gate.exit_pin should be whole numbers")
    if pins.get("kind") == "simulated":
        return
    with contextlib.ExitStack() as both:  # the second also when the first cannot be driven
        for pin in filter(None, (exit_pin, lock_pin)):
            both.callback(drop, pin)


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Be the only edge-gate of this log.

    Raises:
        DeviceError: another one is running.
    """
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DeviceError("gate", "another edge-gate is running on this log") from error
        yield


def verifier_of(settings: Settings) -> Verify:
    """How cards are verified here: audience, prefixes, and the content keys if this gate was given any.

    Raises:
        SettingsError: a content key is none.
    """
    cards, keys = settings.credential, ""
    if credential_path(settings.paths, "content-keys").exists():
        keys = secret(settings.paths, "content-keys").decode("ascii", "replace")
    try:
        opened = content_keys(keys)
    except ValueError as error:
        raise SettingsError(f"credential content-keys: {error}") from error
    return partial(verify, content_keys=opened, audience=cards.audience or None, prefixes=cards.prefixes)


def lane_of(policy: Policy, manifest: Manifest, site_key: bytes) -> Lane | None:
    """What a lane without cards needs; None at a gate for cards."""
    if policy.lane == "card":
        return None

    def threshold(model: str, among: int) -> float:
        rate = min(policy.fmr, fmr_for(policy.fpir, among))  # among few, no comparison errs more often than with a card
        return manifest.threshold(model, ReferenceKind.GALLERY, rate)

    return Lane(threshold, partial(recognised, site_key))


def configuration(policy: Policy, calibration: Calibration | None) -> Event:
    """Which rules are in force from now on, as it is written down."""
    fields: dict[str, Value] = {"profile": policy.name, "fmr": str(policy.fmr), "lane": policy.lane}
    if calibration is None:
        return Event(Kind.CONFIGURATION, fields, digests=(policy.digest,))
    fields |= {"attack_threshold": str(policy.attack_threshold), "calibrated": calibration.made_at}
    return Event(Kind.CONFIGURATION, fields, digests=(policy.digest, calibration.digest))


def policy_of(settings: Settings) -> Policy:
    """The profile of this site, with the threshold of its camera where somebody calibrated.

    Raises:
        SettingsError: it is not there, or a key is wrong.
    """
    policy = profile(settings.site.profile, Policy, settings.source)
    if policy.attack_detection != "required" and policy.name != "pilot":
        raise SettingsError(
            f"profile {policy.name}: only pilot may run with attack_detection = {policy.attack_detection!r}"
        )
    if policy.lane == "gallery" and not policy.gallery:
        raise SettingsError(f"profile {policy.name}: a lane without cards needs a gallery")
    return checked(calibrated(policy, settings), settings)


def sent(settings: Settings, epoch: int) -> int:
    """How many entries of an epoch may go, as far as sending is concerned: those that the collector has."""
    if not settings.mqtt.enabled:
        return 1 << 62
    return acknowledged(settings.paths.outbox, settings.site.origin, epoch)


def bodies_of(settings: Settings, site_key: bytes, clock: SystemClock) -> SqliteBodies:
    """What this site keeps about people beside the log; where it was turned off, what is still there goes in time."""
    told, path, origin = settings.log, settings.paths.bodies, settings.site.origin
    return SqliteBodies(path, origin, site_key, clock, told.bodies, refused_only=told.bodies_of == "refused")


def collector_of(settings: Settings) -> bytes | None:
    """Who may check the tags of entries that wait for the token; without a collector there are no tags."""
    if not settings.mqtt.enabled:
        return None
    try:
        return recipient(settings.mqtt.collector_key.read_bytes())
    except (OSError, LogError) as error:
        _log.warning("unsealed entries carry no tags: %s: %s", settings.mqtt.collector_key, error)
        return None


def gate_of(settings: Settings) -> GpioGate:
    """The gate's pins, real or simulated."""
    match settings.gate.kind:
        case "gpio":
            return GpioGate(settings.gate)
        case "simulated":
            stage = Path(settings.camera.source) if settings.camera.kind == "footage" else None
            return SimulatedGate(settings.gate, stage)


def longest_s(settings: Settings, policy: Policy) -> float:
    """How long the release may be on for one person who is slow and then stands in the gate."""
    return settings.gate.release_s + policy.rules.slow_s + settings.gate.held_s


def plan_of(settings: Settings) -> Plan:
    """The kind of passage, with the pins that it cannot do without.

    Raises:
        SettingsError: one of them is missing.
    """
    plan, pins = PLANS[settings.gate.passage], settings.gate
    try:
        channels_of(pins.supervised)
    except ValueError as error:
        raise SettingsError(f"{settings.source}: gate.supervised: {error}") from error
    needed = {DISPENSER.name: ("portion_pin",), INTERLOCK.name: ("exit_pin", "exit_door_pin")}.get(plan.name, ())
    for name in needed:
        if not getattr(pins, name):
            raise SettingsError(f"{settings.source}: a passage of kind {plan.name} needs gate.{name}")
    return plan


def _threshold(manifest: Manifest, fmr: float, model: str, kind: ReferenceKind) -> float:
    return manifest.threshold(model, kind, fmr)
