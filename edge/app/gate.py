"""edge-gate: decision, GPIO, journal. No network, no camera, no token."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge.accesspoint import AccessPoint, Verify
from edge.app.commands import Commands
from edge.app.keeping import keep
from edge.app.manifest import manifest_of
from edge.app.recorder import record
from edge.app.service import credential_path, keep_alive, notify, place_for, secret
from edge.audit.checkpoint import Checkpoint
from edge.audit.entry import Event, Kind, LogError, Value
from edge.audit.tail import recipient
from edge.biometric.manifest import Manifest
from edge.biometric.values import Hint, ReferenceKind
from edge.credential import Credential, verify
from edge.decision import Policy, card_of, pseudonym
from edge.devices.acknowledged import acknowledged
from edge.devices.checkpoints import CheckpointReader
from edge.devices.clock import SystemClock
from edge.devices.follower import Follower
from edge.devices.gate import GpioGate, drop_relay
from edge.devices.journal import LastHead, SqliteJournal
from edge.devices.simulated import SimulatedGate
from edge.devices.trusted import Trusted
from edge.devices.trustfile import TrustFile
from edge.devices.truststore import TrustReader
from edge.devices.vision import VisionClient
from edge.doorway import Doorway
from edge.errors import DeviceError, Refusal
from edge.passage import Indication
from edge.ports import Panel
from edge.settings import Settings, SettingsError, profile, read_toml
from edge.sync.batch import verify as verify_ack
from edge.trust.charter import Charter
from edge.trust.encryption import content_keys
from edge.trust.interval import Interval
from edge.trust.keys import public_from
from edge.trust.list import TrustList
from edge.trust.withdrawn import UNLISTED, CardStatus, Found
from edge.watch import Watch
from edge.wire import Carried, Health, Hinted, Message, Shown, WireError, decode, ear, encode

_log = logging.getLogger("edge.gate")
_STEP_S = 60.0
_LOOKED_BACK = 5_000
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
        doorway = Doorway(
            gate, panel, gate, journal, clock, release_s=settings.gate.release_s, held_s=settings.gate.held_s
        )
        opening = doorway if settings.gate.remote_unlock else None
        commands = Commands(settings.site.origin, standing.charter, journal, clock, opening, folder / "commands")
        vision = VisionClient(settings.paths.vision_socket, hinted=panel.hint)
        await journal.append(
            Event(Kind.CONFIGURATION, {"profile": policy.name, "fmr": str(policy.fmr)}, digests=(policy.digest,))
        )
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
        )
        try:
            async with asyncio.TaskGroup() as parts:
                parts.create_task(doorway.run())
                parts.create_task(watch.run())
                parts.create_task(hear(place_for(settings.paths.health_socket), watch, commands))
                parts.create_task(look_round(standing, clock, journal, watch, panel, Witness(settings)))
                parts.create_task(point.run())
                if settings.iavs.enabled:
                    parts.create_task(record(place_for(settings.paths.record_socket), journal))
                parts.create_task(keep_alive(lambda: not journal.lost))
                parts.create_task(keep(settings.log.keep_days, journal, follower, checkpoints, clock, elsewhere))
                notify("READY=1")
        finally:
            doorway.stop()
            await vision.close()
            with contextlib.suppress(DeviceError):
                await asyncio.shield(journal.append(Event(Kind.SHUTDOWN)))


def lock(path: Path) -> None:
    """Drive the relay off; nothing else, and with nothing more of the configuration than the pin.

    Raises:
        SettingsError: the configuration does not say which pin.
        DeviceError: the pin cannot be driven.
    """
    table = read_toml(path).get("gate")
    pins = table if isinstance(table, dict) else {}
    pin = pins.get("lock_pin")
    if type(pin) is not int:
        raise SettingsError(f"{path}: gate.lock_pin should be a whole number")
    if pins.get("kind") != "simulated":
        drop_relay(pin)


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


def logged_trust(follower: Follower) -> int:
    """The newest version of the trust list that the end of the log tells of."""
    size = follower.size()
    entries = follower.entries(max(0, size - _LOOKED_BACK), _LOOKED_BACK)
    versions = (entry.fields.get("version") for entry in entries if entry.kind is Kind.TRUST_UPDATE)
    return max((version for version in versions if isinstance(version, int)), default=0)


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


def policy_of(settings: Settings) -> Policy:
    """The profile of this site.

    Raises:
        SettingsError: it is not there, or a key is wrong.
    """
    policy = profile(settings.site.profile, Policy, settings.source)
    if policy.attack_detection != "required" and policy.name != "pilot":
        raise SettingsError(
            f"profile {policy.name}: only pilot may run with attack_detection = {policy.attack_detection!r}"
        )
    return policy


def trust_of(settings: Settings, folder: Path) -> TrustFile | Trusted:
    """Where the trust list comes from: by way of edge-sync, or one signed file."""
    if settings.trust.anchor == Path():
        return TrustFile(settings.trust.list, settings.trust.roots, folder / "trust-version")
    reader = TrustReader(settings.paths.trust)
    return Trusted(reader, settings.trust.roots, folder / "trust-floors", site=settings.site.site)


def sent(settings: Settings, epoch: int) -> int:
    """How many entries of an epoch may go, as far as sending is concerned: those that the collector has."""
    if not settings.mqtt.enabled:
        return 1 << 62
    return acknowledged(settings.paths.outbox, settings.site.origin, epoch)


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


def _threshold(manifest: Manifest, fmr: float, model: str, kind: ReferenceKind) -> float:
    return manifest.threshold(model, kind, fmr)


class GateStanding:
    """What the gate knows before anybody comes: trust and seal, looked at in the background."""

    def __init__(
        self, trust: TrustFile | Trusted, follower: Follower, checkpoints: CheckpointReader, clock: SystemClock
    ) -> None:
        self.trustfile = trust
        self._follower = follower
        self._checkpoints = checkpoints
        self._clock = clock
        self._unsealed: tuple[int, float] | None = None

    def trust(self) -> TrustList | None:
        """The trust list in force."""
        return self.trustfile.current

    def withdrawn(self, site_key: bytes, credential: Credential, now: Interval) -> Found:
        """What the lists of withdrawn cards say about a card."""
        whole = self.trustfile.whole if isinstance(self.trustfile, Trusted) else None
        if whole is not None:
            return whole.withdrawn.about(card_of(credential), now, site_key)
        return UNLISTED if credential.claims.status is None else Found(CardStatus.UNKNOWN)

    def charter(self) -> Charter:
        """Who may command what."""
        whole = self.trustfile.whole if isinstance(self.trustfile, Trusted) else None
        return Charter() if whole is None else whole.charter

    def unsealed(self) -> tuple[int, float] | None:
        """Entries that wait for the token, and the age of the oldest in seconds; None when that cannot be told."""
        return self._unsealed

    def look(self) -> None:
        """Count what waits for the token. A count that fails is no count: it does not stay as it was."""
        try:
            last = self._checkpoints.last()
            size, epoch = self._follower.size(), self._follower.epoch()
            sealed = last.head.size if last is not None and last.head.epoch == epoch else 0
            oldest = self._follower.entries(sealed, 1)
        except DeviceError:
            self._unsealed = None
            return
        age_s = self._clock.now().lower.timestamp() - oldest[0].wall_ms / 1000 if oldest else 0.0
        self._unsealed = (size - sealed, max(0.0, age_s))


class ToldPanel:
    """The gate's lights, and the same word to the kiosk page: a datagram at each change and once a second."""

    def __init__(self, panel: Panel, ear: Path) -> None:
        self._panel = panel
        self._ear = str(ear)
        self._shown = Indication.OUT_OF_SERVICE
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._channel.setblocking(False)

    def show(self, indication: Indication) -> None:
        """Show it and tell it."""
        self._panel.show(indication)
        if indication is not self._shown:
            self._shown = indication
            self.tell()

    def tell(self) -> None:
        """Say what is shown; nobody listening is no matter."""
        self._send(Shown(self._shown))

    def hint(self, hint: Hint) -> None:
        """Say what would help the person to be seen."""
        self._send(Hinted(hint))

    def _send(self, message: Message) -> None:
        with contextlib.suppress(OSError):
            self._channel.sendto(encode(message), self._ear)


async def hear(path: Path, watch: Watch, commands: Commands) -> None:
    """Hear from the other processes how their devices are, and which commands came, until cancelled."""
    async for message in _datagrams(path):
        match message:
            case Health(device, ok, detail):
                watch.heard(device, ok, detail)
            case Carried(signed):
                try:
                    await commands.hear(signed)
                except DeviceError as error:
                    watch.lost(error.device, error.message)


async def _datagrams(path: Path) -> AsyncIterator[Health | Carried]:
    loop = asyncio.get_running_loop()
    with ear(path) as listening:
        while True:
            body = await loop.sock_recv(listening, 8192)
            try:
                message = decode(body)
            except WireError as error:
                _log.warning("health: %s", error)
                continue
            if isinstance(message, Health | Carried):
                yield message


class Witness:
    """The time that the collector signed, as edge-sync keeps it for us; verified here under the pinned key."""

    def __init__(self, settings: Settings) -> None:
        self._path = settings.paths.witnessed
        self._origin = settings.site.origin
        self._key = settings.mqtt.collector_key if settings.mqtt.enabled else None
        self._seen = 0

    def signed_at(self) -> datetime | None:
        """A moment that was not known yet, or None."""
        if self._key is None:
            return None
        try:
            seen = self._path.stat().st_mtime_ns
            if seen == self._seen:
                return None
            self._seen = seen
            with self._path.open("rb") as file:
                ack = verify_ack(file.read(4096), _p256(self._key))
        except (OSError, Refusal, ValueError) as error:
            if not isinstance(error, FileNotFoundError):
                _log.warning("the collector's time is not believed: %s", error)
            return None
        return datetime.fromtimestamp(ack.at_s, UTC) if ack.origin == self._origin and ack.at_s else None


def time_sealed(settings: Settings, sealed: Checkpoint | None, clock: SystemClock) -> None:
    """Take the time from the last checkpoint, if the token signed it."""
    if sealed is None:
        return
    try:
        key = _p256(settings.token.public_key)
        sealed.verify(key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))
    except (OSError, ValueError) as error:
        _log.warning("the time of the last checkpoint is not believed: %s", error)
        return
    clock.raise_floor(datetime.fromtimestamp(sealed.head.at_s, UTC))


def _p256(path: Path) -> ec.EllipticCurvePublicKey:
    """The P-256 key in a PEM file.

    Raises:
        OSError, ValueError: there is none.
    """
    key = public_from(path.read_bytes())
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.key_size != 256:
        raise ValueError(f"{path} is not on P-256")
    return key


async def time_told(witness: Witness, clock: SystemClock, journal: SqliteJournal) -> None:
    """Take the time from what the collector signed; a step of a minute or more is an entry."""
    told = witness.signed_at()
    if told is None:
        return
    step = (told - clock.now().lower).total_seconds()
    clock.raise_floor(told)
    if step >= _STEP_S:
        fields: dict[str, Value] = {"floor": int(told.timestamp()), "by": "collector", "seconds": int(step)}
        await journal.append(Event(Kind.CLOCK_STEP, fields))


async def trust_changed(
    standing: GateStanding, clock: SystemClock, journal: SqliteJournal, before: TrustList | None
) -> None:
    """Something else is believed now: write down what, and take the time from what was signed."""
    trust = standing.trust()
    if trust is None:
        return
    fields: dict[str, Value] = {"version": trust.version, "digest": trust.digest, "issuers": len(trust.issuers)}
    signed_at = trust.issued_at
    if isinstance(standing.trustfile, Trusted) and (whole := standing.trustfile.whole) is not None:
        signed_at = whole.signed_at
        fields["files"] = len(whole.opened)
        fields["faults"] = len(whole.faults)
    if signed_at is not None and signed_at > clock.now().lower:
        clock.raise_floor(signed_at)
        fields["floor"] = int(signed_at.timestamp())
    kind = Kind.STATUS_UPDATE if before is not None and before.digest == trust.digest else Kind.TRUST_UPDATE
    await journal.append(Event(kind, fields))


async def look_round(
    standing: GateStanding,
    clock: SystemClock,
    journal: SqliteJournal,
    watch: Watch,
    panel: ToldPanel,
    witness: Witness,
) -> None:
    """Once a second: trust list, seal, clock; each change is an entry."""
    while True:
        try:
            before = standing.trust()
            if await asyncio.to_thread(standing.trustfile.reload):
                await trust_changed(standing, clock, journal, before)
            await time_told(witness, clock, journal)
            if step := clock.stepped():
                await journal.append(Event(Kind.CLOCK_STEP, {"seconds": round(step)}))
        except DeviceError as error:
            watch.lost(error.device, error.message)
        if standing.trust() is None:
            watch.lost("trust", standing.trustfile.detail)
        else:
            watch.back("trust")
        await asyncio.to_thread(standing.look)
        await asyncio.to_thread(clock.keep_now_and_then)
        panel.tell()
        await asyncio.sleep(1.0)
