"""``edge check``: device by device, what works and what to do about the rest."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from edge.app.calibrated import calibration_of
from edge.app.checks.credentials import secrets_of
from edge.app.checks.finding import HERE, Finding, Machine, answers
from edge.app.checks.identity import services_of
from edge.app.checks.machine import memory_of, watchdog_of
from edge.app.checks.pages import pages_of
from edge.app.checks.pins import LOOKS
from edge.app.checks.told import broker_of, controller_of
from edge.app.chosen import policy_of
from edge.app.ground import fitting
from edge.app.manifest import manifest_of
from edge.app.service import credential_path
from edge.app.site import count_left, lists_missing
from edge.app.standing import FALSE_TIMES, FLOORS, far_ahead, trust_of
from edge.decision import Policy
from edge.devices.checkpoints import CheckpointReader
from edge.devices.clock import SystemClock
from edge.devices.follower import Follower
from edge.devices.storage import selftest
from edge.devices.trusted import Trusted
from edge.errors import DeviceError
from edge.settings import Settings, SettingsError
from edge.trust.interval import ClockState
from edge.trust.whole import ENDED
from edge.web import fitting as pages

_LEAST_FREE = 0.10
_SLOW = "an industrial card or an SSD; each entry waits for the disk, and the person at the gate with it"


def check_storage(settings: Settings) -> Finding:
    """How long a durable entry takes where the log is, measured with a log that is thrown away; for commissioning."""
    folder = next(part for part in (settings.paths.journal.parent, *settings.paths.journal.parents) if part.is_dir())
    try:
        storage = selftest(folder)
    except DeviceError as error:
        return Finding("storage", False, error.message, "check that the data partition is mounted and writable")
    return Finding("storage", storage.good, str(storage), "" if storage.good else _SLOW)


def check_settings(settings: Settings) -> Finding:
    """Whether gate and pages start with this configuration: after an update, before they are started again."""
    try:
        policy = fitting(settings)
        pages.fitting(settings.web)
    except SettingsError as error:
        return Finding("settings", False, str(error), "mend it before the gate starts again")
    return Finding("settings", True, f"profile {policy.name}, {settings.gate.kind} gate: it starts with it")


def check(settings: Settings, machine: Machine = HERE) -> Iterator[Finding]:
    """All findings, in the order of the configuration."""
    looks: tuple[tuple[str, Iterator[Finding]], ...] = (
        ("profile", _profile(settings)),
        ("rules", rules_of(settings, machine)),
        ("secrets", secrets_of(settings, machine)),
        ("trust", trust_known(settings)),
        ("clock", clock_of(settings)),
        ("camera", _camera(settings)),
        ("models", _models(settings)),
        ("gallery", gallery_of(settings)),
        ("iavs", services_of(settings)),
        *((name, look(settings, machine)) for name, look in LOOKS),
        ("watchdog", watchdog_of(settings, machine)),
        ("memory", memory_of(settings, machine)),
        ("controller", controller_of(settings, machine)),
        ("journal", _journal(settings)),
        ("token", _token(settings)),
        ("broker", broker_of(settings, machine)),
        ("pages", pages_of(settings, machine)),
    )
    for name, findings in looks:
        try:
            yield from findings
        except (DeviceError, SettingsError, OSError) as error:
            yield Finding(name, False, str(error), _REMEDIES.get(name, "read the message; then edge check again"))


_REMEDIES = {
    "profile": "set site.profile to the name of a file in profiles/",
    "secrets": "as root, sudo edge check; else edge provision secret NAME",
    "trust": "trust.roots takes public keys, each as base64 of its SubjectPublicKeyInfo",
    "models": "edge models pull, then edge models selftest",
    "camera": "check the ribbon or USB cable and camera.kind and camera.source; rpicam-hello shows a Pi camera",
    "pins": "check that this is a board with pins, and add the user to group gpio; gpiodetect lists the chips",
    "controller": "check controller.device, and edge provision secret osdp-key; systemd/README.md opens the line",
    "journal": "check that the data partition is mounted and writable; edge audit verify shows its state",
    "token": "plug the token in; check token.module, token.label and token.key_id",
    "pages": "mend it in [web], or edge provision secret web-tls-key: the screen stays dark until then",
    "broker": "the gate works without it; as root, check mqtt.host, the network and the certificates",
}
_BY_FILE = "copy a signed trust list to trust.list; pin its root in trust.roots"
_BY_SYNC = (
    "put a *.trustbundle into trust.bundles, or wait for the broker's; edge-sync must run, its root be in trust.roots"
)


def _profile(settings: Settings) -> Iterator[Finding]:
    policy = policy_of(settings)
    yield Finding("profile", True, f"{policy.name}, FMR {policy.fmr}, attack detection {policy.attack_detection}")
    if (calibration := calibration_of(settings)) is not None:
        said = f"attack_threshold {policy.attack_threshold} for {calibration.camera}, made {calibration.made_at}"
        yield Finding("calibration", True, said)


def rules_of(settings: Settings, machine: Machine = HERE) -> Iterator[Finding]:
    """What the rules of the site need of this machine, and whether they find it.

    Lists that are missing keep everybody out: that is said of the profile, so that an update which brings it goes back.
    """
    rules = policy_of(settings).rules
    if rules.passback.kind != "off" and rules.passback.silent_s and not settings.mqtt.tell:
        told = "rules.passback.silent_s waits for other gates, and this one hears none"
        yield Finding("rules", False, told, "set mqtt.tell = true at every gate of the site, or silent_s = 0")
    else:
        yield Finding("rules", True, "what they ask of other gates is told here")
    if told := lists_missing(settings, rules):
        yield Finding("profile", False, told, "edge policy enlist, then edge trust publish")
    if rules.programme and (told := count_left(settings)):
        yield Finding("dispenser", False, told, "name the file in gate.counter, or take it away")
    kept = settings.paths.journal.parent / "ledger-key"
    given = credential_path(settings.paths, "ledger-key").exists() or (machine.store / "edge-gate.ledger-key").exists()
    if rules.programme and not kept.exists() and not given:
        told = "the ledger's key will be made of the site key: who received can be found as long as that is kept"
        yield Finding(
            "ledger", False, told, "give every point of the site the same credential ledger-key, 32 random bytes"
        )
    elif rules.programme and kept.exists() and given:
        told = "the key of the first cycle is still here as the credential ledger-key"
        yield Finding("ledger", False, told, "take the credential away; the point keeps the key it needs")


def trust_known(settings: Settings) -> Iterator[Finding]:
    """What edge-gate would believe now: opened as it opens it, with what was in force last; nothing is written."""
    folder = settings.paths.journal.parent
    with tempfile.TemporaryDirectory() as name:
        for known in ("trust-version", FLOORS, FALSE_TIMES):
            if (folder / known).exists():
                shutil.copyfile(folder / known, Path(name) / known)
        trust = trust_of(settings, Path(name))
        trust.reload()
    if trust.current is None:
        yield Finding("trust", False, trust.detail, _BY_FILE if settings.trust.anchor == Path() else _BY_SYNC)
        return
    issued = trust.current.issued_at
    when = "at a time that was called false" if issued is None else f"{issued:%Y-%m-%d}"
    said = f"version {trust.current.version}, {len(trust.current.issuers)} issuers, issued {when}"
    yield Finding("trust", True, said, "publish it again, now that the time is right" if issued is None else "")
    for fault in trust.whole.faults if isinstance(trust, Trusted) and trust.whole is not None else ():
        ended = ENDED in fault
        remedy = "it ages from there: sign it again" if ended else "publish that file again; the rest is in force"
        yield Finding("trust-end" if ended else "trust", False, fault, remedy)
    clock = SystemClock(settings.clock, folder / "clock-floor")
    if (signed_at := trust.signed_at) is not None and clock.absurd(signed_at):
        told = f"{far_ahead(signed_at)}; until then it is {clock.now().lower:%Y-%m-%d} here, and ended cards are let in"
        yield Finding(
            "trust-time", False, told, "set the system clock and clock.source, or stop edge.target, then that"
        )


def clock_of(settings: Settings) -> Iterator[Finding]:
    """What time it is for this gate, and what helps where it only knows when it is not."""
    now = SystemClock(settings.clock, settings.paths.journal.parent / "clock-floor").now()
    if now.state is ClockState.SYNCED:
        yield Finding("clock", True, f"{now.lower:%Y-%m-%d %H:%M} UTC, from the system clock")
        return
    remedy = "NTS server in /etc/chrony/sources.d/site.sources, or a clock battery; then clock.source = system"
    if settings.clock.source == "system":
        remedy = (
            f"the system clock says {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, which is not believed: set it. Where it "
            "is right, a false time was signed once: stop edge.target, then edge audit anew --time"
        )
    yield Finding("clock", True, f"only a floor: not before {now.lower:%Y-%m-%d %H:%M} UTC", remedy)


def _camera(settings: Settings) -> Iterator[Finding]:
    if answers(settings.paths.vision_socket):
        yield Finding("camera", True, "edge-vision is running and has it; see device entries in the log")
        return
    from edge.vision.camera import camera

    eye = camera(settings.camera)()
    try:
        shot = eye.read()
    finally:
        eye.close()
    height, width = shot.y.shape
    yield Finding("camera", True, f"{settings.camera.kind} gives {width}x{height}")


def _models(settings: Settings) -> Iterator[Finding]:
    from edge.vision import selftest
    from edge.vision.sessions import ModelSessions

    manifest, policy = manifest_of(settings), policy_of(settings)
    sessions = ModelSessions.open(manifest, settings.models.folder, settings.models.set, settings.models.threads)
    selftest.run(sessions, manifest, settings.models.folder)
    yield Finding("models", True, f"set {sessions.models.name}, self-test passed")
    yield _attacks(policy, sessions.models.detects_attacks)


def gallery_of(settings: Settings) -> Iterator[Finding]:
    """Whether the gallery that the profile asks is handed to this gate."""
    policy, chosen = policy_of(settings), settings.iavs
    if not policy.gallery:
        return
    key, handed = ("lanes", chosen.lanes) if policy.lane == "gallery" else ("at_gate", chosen.at_gate)
    if not chosen.enabled or policy.gallery not in handed:
        remedy = f"set iavs.enabled, and name {policy.gallery} in iavs.{key}"
        yield Finding("gallery", False, f"nobody hands gallery {policy.gallery} to this gate", remedy)
        return
    use = "its people pass without a card" if policy.lane == "gallery" else "it stands in for missing photos"
    yield Finding("gallery", True, f"{policy.gallery}: {use}; a template lies at the gate, no picture")


def _attacks(policy: Policy, detected: bool) -> Finding:
    if detected:
        return Finding("attacks", True, "photos and screens are looked for")
    said = "attacks by photo or screen are NOT detected"
    if policy.attack_detection == "optional":
        return Finding("attacks", True, said, "edge models pull --set standard, then a profile other than pilot")
    return Finding(
        "attacks", False, f"{said}, and profile {policy.name} asks for it", "edge models pull --set standard"
    )


def _journal(settings: Settings) -> Iterator[Finding]:
    folder = settings.paths.state
    usage = shutil.disk_usage(folder)
    log = Follower(settings.paths.journal)
    last = CheckpointReader(settings.paths.checkpoints).last()
    size, sealed = log.size(), 0 if last is None else last.head.size
    log.close()
    said = f"{size} entries, {sealed} sealed, {usage.free / usage.total:.0%} free"
    well = usage.free / usage.total >= _LEAST_FREE
    yield Finding(
        "journal", well, said, "" if well else "free space on the data partition; the gate locks when it is full"
    )


def _token(settings: Settings) -> Iterator[Finding]:
    from edge.devices.token import TokenPlace, find, load

    place = TokenPlace(settings.token.module, settings.token.label, settings.token.serial, settings.token.key_id)
    token = find(load(place.module), place)
    yield Finding("token", True, f"{token.label} is in, serial {bytes(token.serial).decode(errors='replace').strip()}")
