"""``edge check``: device by device, what works and what to do about the rest."""

from __future__ import annotations

import shutil
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.app.calibrated import calibration_of
from edge.app.chosen import policy_of
from edge.app.manifest import manifest_of
from edge.app.service import credential_path, secret
from edge.app.wiring import wrong
from edge.decision import Policy
from edge.devices.checkpoints import CheckpointReader
from edge.devices.clock import SystemClock
from edge.devices.follower import Follower
from edge.devices.storage import selftest
from edge.devices.trustfile import TrustFile
from edge.errors import DeviceError
from edge.settings import Settings, SettingsError
from edge.trust.interval import ClockState

_LEAST_FREE = 0.10
_SLOW = "an industrial card or an SSD; each entry waits for the disk, and the person at the gate with it"
_STORE = Path("/etc/credstore.encrypted")
_PERSIST = ("pinctrl_bcm2835", "pinctrl_rp1")


@dataclass(frozen=True)
class Finding:
    """How one device is; ``remedy`` is what the technician can do, empty when all is well."""

    device: str
    well: bool
    said: str
    remedy: str = ""


Check = Callable[[Settings], Iterator[Finding]]


def check_storage(settings: Settings) -> Finding:
    """How long a durable entry takes where the log is, measured with a log that is thrown away; for commissioning."""
    folder = next(part for part in (settings.paths.journal.parent, *settings.paths.journal.parents) if part.is_dir())
    try:
        storage = selftest(folder)
    except DeviceError as error:
        return Finding("storage", False, error.message, "check that the data partition is mounted and writable")
    return Finding("storage", storage.good, str(storage), "" if storage.good else _SLOW)


def check(settings: Settings) -> Iterator[Finding]:
    """All findings, in the order of the configuration."""
    for name, look in (
        ("profile", _profile),
        ("rules", rules_of),
        ("secrets", _secrets),
        ("trust", _trust),
        ("clock", _clock),
        ("camera", _camera),
        ("models", _models),
        ("gallery", gallery_of),
        ("gate", _gate),
        ("journal", _journal),
        ("token", _token),
        ("broker", _broker),
    ):
        try:
            yield from look(settings)
        except (DeviceError, SettingsError, OSError) as error:
            yield Finding(name, False, str(error), _REMEDIES.get(name, "read the message; then edge check again"))


_REMEDIES = {
    "profile": "set site.profile to the name of a file in profiles/",
    "secrets": "put the credential where the units look for it: systemd-creds encrypt, or paths.credentials",
    "models": "edge models pull, then edge models selftest",
    "camera": "check the ribbon or USB cable and camera.kind and camera.source; rpicam-hello shows a Pi camera",
    "gate": "install lgpio (python3-lgpio on Raspberry Pi OS) and add the user to group gpio",
    "journal": "check that the data partition is mounted and writable; edge audit verify shows its state",
    "token": "plug the token in; check token.module, token.label and token.key_id",
    "broker": "the gate works without it; check mqtt.host, the network and the certificates",
}


def _profile(settings: Settings) -> Iterator[Finding]:
    policy = policy_of(settings)
    yield Finding("profile", True, f"{policy.name}, FMR {policy.fmr}, attack detection {policy.attack_detection}")
    if (calibration := calibration_of(settings)) is not None:
        said = f"attack_threshold {policy.attack_threshold} for {calibration.camera}, made {calibration.made_at}"
        yield Finding("calibration", True, said)


def rules_of(settings: Settings) -> Iterator[Finding]:
    """What the rules of the site need of this machine and do not find; nothing where they find everything."""
    rules = policy_of(settings).rules
    if rules.passback.kind != "off" and rules.passback.silent_s and not settings.mqtt.tell:
        told = "rules.passback.silent_s waits for other gates, and this one hears none"
        yield Finding("rules", False, told, "set mqtt.tell = true at every gate of the site, or silent_s = 0")
    kept = settings.paths.journal.parent / "ledger-key"
    given = credential_path(settings.paths, "ledger-key").exists() or (_STORE / "edge-gate.ledger-key").exists()
    if rules.programme and not kept.exists() and not given:
        told = "the ledger's key will be made of the site key: who received can be found as long as that is kept"
        yield Finding(
            "ledger", False, told, "give every point of the site the same credential ledger-key, 32 random bytes"
        )
    elif rules.programme and kept.exists() and given:
        told = "the key of the first cycle is still here as the credential ledger-key"
        yield Finding("ledger", False, told, "take the credential away; the point keeps the key it needs")


def _secrets(settings: Settings) -> Iterator[Finding]:
    names = ["site-key", "pkcs11-pin", *([settings.mqtt.key] if settings.mqtt.enabled else [])]
    names += ["gallery-key"] if policy_of(settings).gallery else []
    sealed = [name for name in names if (_STORE / f"edge-gate.{name}").exists()]
    for name in names:
        if name not in sealed:
            secret(settings.paths, name)
    kept = f"{len(sealed)} are encrypted for their processes alone, " if sealed else ""
    yield Finding("secrets", True, f"{kept}{len(names) - len(sealed)} credentials can be read")


def _trust(settings: Settings) -> Iterator[Finding]:
    known = settings.paths.journal.parent / "trust-version"
    trust = TrustFile(settings.trust.list, settings.trust.roots, known, keep=False)
    trust.reload()
    if trust.current is None:
        yield Finding(
            "trust", False, trust.detail, "copy a signed trust list to trust.list; pin its root in trust.roots"
        )
        return
    issued = trust.current.issued_at
    said = f"version {trust.current.version}, {len(trust.current.issuers)} issuers, issued {issued:%Y-%m-%d}"
    yield Finding("trust", True, said)


def _clock(settings: Settings) -> Iterator[Finding]:
    now = SystemClock(settings.clock, settings.paths.journal.parent / "clock-floor").now()
    if now.state is ClockState.SYNCED:
        yield Finding("clock", True, f"{now.lower:%Y-%m-%d %H:%M} UTC, from the system clock")
    else:
        remedy = "fit a clock battery or set authenticated time, then clock.source = system"
        yield Finding("clock", True, f"only a floor: not before {now.lower:%Y-%m-%d %H:%M} UTC", remedy)


def _camera(settings: Settings) -> Iterator[Finding]:
    if _answers(settings.paths.vision_socket):
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


def _gate(settings: Settings) -> Iterator[Finding]:
    for fault in wrong(settings):
        yield Finding("gate", False, fault, "edge wiring draws what hangs where; change the key, then the wire")
    if settings.gate.kind == "simulated":
        yield Finding("gate", True, "simulated: no relay moves")
        return
    for module in _PERSIST:
        kept = Path(f"/sys/module/{module}/parameters/persist_gpio_outputs")
        if kept.exists() and kept.read_text(encoding="ascii").strip() in ("Y", "1"):
            remedy = "add dtparam=strict_gpiod to config.txt and reboot"
            yield Finding("gate", False, f"{module} keeps outputs after a crash: the relay could stay on", remedy)
    yield Finding("gate", True, f"relay on BCM {settings.gate.lock_pin}")


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


def _broker(settings: Settings) -> Iterator[Finding]:
    mqtt = settings.mqtt
    if not mqtt.enabled:
        yield Finding("broker", True, "switched off: entries stay on the device")
        return
    context = ssl.create_default_context(cafile=mqtt.ca)
    context.load_cert_chain(mqtt.certificate, credential_path(settings.paths, mqtt.key))
    with (
        socket.create_connection((mqtt.host, mqtt.port), timeout=5) as raw,
        context.wrap_socket(raw, server_hostname=mqtt.host) as secured,
    ):
        yield Finding("broker", True, f"{mqtt.host}:{mqtt.port} answers with {secured.version()}")


def _answers(path: Path) -> bool:
    """Whether a process listens there: it turns us away, but it is there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        try:
            channel.connect(str(path))
        except OSError:
            return False
    return True
