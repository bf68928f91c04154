"""edge-gate: decision, GPIO, journal. No network, no camera, no token."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edge.accesspoint import AccessPoint
from edge.app.acts import Acts
from edge.app.calibrated import calibration_of
from edge.app.chosen import (
    bodies_of,
    configuration,
    lane_of,
    longest_s,
    plan_of,
    sent,
    thresholds_of,
    verifier_of,
)
from edge.app.commands import Commands
from edge.app.controlling import controller_of, mind
from edge.app.counter import attend
from edge.app.ground import Chosen, Ground, ground
from edge.app.keeping import keep, keep_bodies
from edge.app.operators import Operators
from edge.app.recorder import record
from edge.app.service import beat, keep_alive, notify, place_for
from edge.app.site import lacking_until, premises_of, tend
from edge.app.standing import Witness, look_round
from edge.app.starting import say_started, say_stopped
from edge.app.telling import SiteTelling, remember
from edge.app.told import hear
from edge.audit.entry import Entry, Kind
from edge.decision import Facts, facts_of, overruled, pseudonym
from edge.devices.bodies import SqliteBodies
from edge.devices.controller import Controlled, Told
from edge.devices.gate import drop_relay
from edge.devices.heard import HeardFile
from edge.devices.logfile import left_by_owner
from edge.devices.vision import VisionClient
from edge.doorway import Doorway
from edge.errors import DeviceError
from edge.fill import Fill
from edge.ports import Receipt
from edge.premises import Premises
from edge.settings import Settings, SettingsError, read_toml
from edge.turn import Turn

# The thread that opens an update gives way to the loop after so long; Python's own 5 ms would be felt at the lock.
_SWITCH_S = 0.0005


@dataclass(frozen=True)
class Entrance:
    """What serves people on that ground."""

    controller: Told | None
    doorway: Doorway
    telling: SiteTelling
    premises: Premises
    heard: HeardFile
    commands: Commands
    operators: Operators
    bodies: SqliteBodies
    vision: VisionClient
    point: AccessPoint


async def run(settings: Settings) -> None:
    """Serve the entrance until cancelled; locked on the way out."""
    sys.setswitchinterval(_SWITCH_S)
    chosen = Chosen.of(settings)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as closing:
        closing.enter_context(alone(chosen.folder / "lock"))
        on = await ground(chosen, closing)
        entrance = await entrance_of(chosen, on, closing)
        try:
            await serve(settings, on, entrance)
        finally:
            entrance.doorway.stop()
            await entrance.vision.close()
            await asyncio.shield(say_stopped(on.journal, entrance.doorway.unused))


async def entrance_of(chosen: Chosen, on: Ground, closing: contextlib.ExitStack) -> Entrance:
    """Put together what serves people, and write down with which rules it does.

    Raises:
        DeviceError: a device does not do its part.
    """
    settings, policy = chosen.settings, chosen.policy
    controller = controller_of(settings, on.gate)
    if controller is not None:
        closing.callback(controller.close)
    doorway = Doorway(
        on.gate if controller is None else Controlled(on.gate, controller, longest_s(settings, policy)),
        on.panel,
        on.gate,
        on.journal,
        on.clock,
        release_s=settings.gate.release_s,
        held_s=settings.gate.held_s,
        plan=plan_of(settings),
    )
    told, origin = settings.paths.told_socket, settings.site.origin
    telling = SiteTelling(chosen.site_key, origin, told, on.clock)
    heard = HeardFile(chosen.folder / "neighbours.db")
    closing.callback(heard.close)
    around = (chosen.site_key, on.standing, on.follower, on.journal, on.clock, doorway, telling.silent_s, heard)
    premises = telling.premises = await asyncio.to_thread(premises_of, settings, policy, *around)
    opening = doorway if settings.gate.remote_unlock and not policy.rules.programme else None
    turn, kept = Turn(), chosen.folder / "commands"
    commands = Commands(origin, on.standing.charter, on.journal, on.clock, opening, kept, doorway.shut, turn)
    operators = operators_of(chosen, on, doorway, premises, commands, turn)
    bodies = bodies_of(settings, chosen.site_key, on.clock)
    closing.callback(bodies.close)
    vision = VisionClient(settings.paths.vision_socket, hinted=on.panel.hint)
    await say_started(on.journal, on.follower, chosen.folder / "machine-boot")
    await on.journal.append(configuration(policy, calibration_of(settings)))
    point = AccessPoint(
        vision,
        vision,
        on.journal,
        on.clock,
        on.panel,
        doorway,
        on.watch,
        on.standing,
        policy,
        thresholds_of(policy, chosen.manifest),
        partial(pseudonym, chosen.site_key),
        withdrawn=partial(on.standing.withdrawn, chosen.site_key),
        locked_down=commands.locked_down,
        verified=verifier_of(settings),
        lane=lane_of(policy, chosen.manifest, chosen.site_key),
        fill=Fill(on.gate if settings.gate.fill_pin else None, on.clock),
        bodies=bodies if settings.log.bodies else None,
        premises=premises,
        turn=turn,
    )
    return Entrance(controller, doorway, telling, premises, heard, commands, operators, bodies, vision, point)


def operators_of(
    chosen: Chosen, on: Ground, doorway: Doorway, premises: Premises, commands: Commands, turn: Turn
) -> Operators:
    """Who may look after this gate, and what their orders come to."""

    async def through(receipt: Receipt, refused: Entry) -> Kind:
        told = refused.fields.get("facts")
        facts = facts_of(told) if isinstance(told, dict) else Facts()
        known = (refused.subject, facts, on.clock.now())
        return await premises.open(doorway, receipt, *known, lost=on.watch.lost)

    def begun() -> None:
        premises.refused = None

    acts = Acts(
        on.follower,
        on.journal,
        on.clock,
        doorway,
        doorway.is_clear,
        commands,
        on.panel.show,
        stands=partial(overruled, chosen.policy),
        through=through,
        begun=begun,
        later=on.watch.later,
        within_s=chosen.policy.rules.overrule.within_s,
        turn=turn,
        alarmed=lambda: doorway.alarmed,
    )
    kept, gate = chosen.folder / "operators", chosen.settings.site.gate
    return Operators(gate, kept, on.journal, on.clock, acts.do, commands.locked_down, on.watch.conditions)


async def serve(settings: Settings, on: Ground, entrance: Entrance) -> None:
    """All parts, until one that the gate cannot do without ends."""
    paths, watch, journal = settings.paths, on.watch, on.journal
    async with asyncio.TaskGroup() as parts:
        parts.create_task(entrance.doorway.run())
        parts.create_task(watch.run())
        parts.create_task(hear(place_for(paths.health_socket), watch, entrance.commands, entrance.telling.hear))
        parts.create_task(look_round(on.standing, on.clock, journal, watch, on.panel, Witness(settings)))
        parts.create_task(entrance.point.run())
        if entrance.controller is not None:
            parts.create_task(mind(entrance.controller, watch))
        lacking = await asyncio.to_thread(lacking_until, on.follower, entrance.point.policy.rules)
        parts.create_task(tend(entrance.premises, on.clock, watch, lacking))
        parts.create_task(remember(entrance.premises, entrance.heard, on.clock, watch))
        if settings.mqtt.tell:
            parts.create_task(entrance.telling.run())
        parts.create_task(attend(place_for(paths.operators_socket), paths.console_socket, entrance.operators))
        if settings.iavs.enabled:
            parts.create_task(record(place_for(paths.record_socket), journal))
        parts.create_task(keep_alive(lambda: not journal.lost))
        if settings.gate.heartbeat_pin:
            parts.create_task(beat(lambda: not journal.lost, on.gate.beat))
        elsewhere = partial(sent, settings)
        parts.create_task(keep(settings.log.keep_days, journal, on.follower, on.checkpoints, on.clock, elsewhere))
        parts.create_task(keep_bodies(settings.log, entrance.bodies, journal))
        notify("READY=1")


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
    """Be the only edge-gate of this log; commands that root types leave the lock to the gate.

    Raises:
        DeviceError: another one is running.
    """
    with path.open("w") as file:
        left_by_owner(path)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DeviceError("gate", "another edge-gate is running on this log") from error
        yield
