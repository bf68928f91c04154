"""What the configuration chooses for edge-gate: rules, kind of passage, pins, what is kept. What is wrong is named."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

from edge.accesspoint import Thresholds, Verify
from edge.app.calibrated import calibrated
from edge.app.service import credential_path, secret
from edge.app.site import checked
from edge.audit.entry import Event, Kind, LogError, Value
from edge.audit.tail import recipient
from edge.biometric.calibration import Calibration
from edge.biometric.gallery import fmr_for
from edge.biometric.manifest import Manifest
from edge.biometric.values import ReferenceKind
from edge.credential import verify
from edge.decision import Policy, recognised
from edge.devices.acknowledged import acknowledged
from edge.devices.bodies import SqliteBodies
from edge.devices.clock import SystemClock
from edge.devices.gate import GpioGate
from edge.devices.simulated import SimulatedGate
from edge.devices.supervised import channels_of
from edge.lane import Lane
from edge.passage import DISPENSER, INTERLOCK, PLANS, Plan
from edge.policy.rules import people
from edge.settings import Settings, SettingsError, profile
from edge.trust.encryption import content_keys

_log = logging.getLogger("edge.gate")
_NEEDED = {
    DISPENSER.name: ("portion_pin", "door_pin"),  # its door is how somebody says that they have looked
    INTERLOCK.name: ("exit_pin", "exit_door_pin", "door_pin", "beam_1_pin", "beam_2_pin"),  # beam 1 counts people
}


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
    fields |= {"trust_warn_s": round(policy.trust_warn_h * 3600), "overrule_s": policy.rules.overrule.within_s}
    fields |= {"version": policy.version, "people": people(policy.rules)}
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
    return settings.gate.release_s + settings.gate.held_s + 2 * policy.rules.slow_s


def plan_of(settings: Settings) -> Plan:
    """The kind of passage, with the pins that it cannot do without.

    Raises:
        SettingsError: one of them is missing.
    """
    plan, pins = PLANS[settings.gate.passage], settings.gate
    try:
        supervised = {name.replace("-", "_") + "_pin" for name in channels_of(pins.supervised)}
    except ValueError as error:
        raise SettingsError(f"{settings.source}: gate.supervised: {error}") from error
    for name in _NEEDED.get(plan.name, ()):
        if name not in supervised and not getattr(pins, name):
            raise SettingsError(f"{settings.source}: a passage of kind {plan.name} needs gate.{name}")
    return plan


def thresholds_of(policy: Policy, manifest: Manifest) -> Thresholds:
    """Score to reach for a model and a kind of reference, at the profile's false match rate."""

    def threshold(model: str, kind: ReferenceKind) -> float:
        return manifest.threshold(model, kind, policy.fmr)

    return threshold
