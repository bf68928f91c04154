"""What the gate knows before anybody comes: trust, seal and time, looked at once a second beside the visits."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge.app.told import ToldPanel
from edge.audit.checkpoint import Checkpoint
from edge.audit.entry import Event, Kind, Value
from edge.credential import Credential
from edge.decision import card_of
from edge.devices.checkpoints import CheckpointReader
from edge.devices.clock import FOLLOWED, SystemClock
from edge.devices.follower import Follower
from edge.devices.journal import SqliteJournal
from edge.devices.trusted import Trusted
from edge.devices.trustfile import TrustFile
from edge.devices.truststore import TrustReader
from edge.errors import DeviceError, Refusal
from edge.settings import Settings, SettingsError
from edge.sync.batch import verify as verify_ack
from edge.trust.charter import Charter
from edge.trust.interval import ClockState, Interval
from edge.trust.keys import pinned, public_from
from edge.trust.list import TrustList
from edge.trust.withdrawn import UNLISTED, CardStatus, Found
from edge.watch import Watch

_log = logging.getLogger("edge.gate")
FLOORS, FALSE_TIMES = "trust-floors", "false-times"
_REMEDY = "edge audit anew --time"
_STEP_S = 60.0
_LOOKED_BACK = 5_000


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


def logged_trust(follower: Follower) -> int:
    """The newest version of the trust list that the end of the log tells of."""
    size = follower.size()
    entries = follower.entries(max(0, size - _LOOKED_BACK), _LOOKED_BACK)
    versions = (entry.fields.get("version") for entry in entries if entry.kind is Kind.TRUST_UPDATE)
    return max((version for version in versions if isinstance(version, int)), default=0)


def trust_of(settings: Settings, folder: Path) -> TrustFile | Trusted:
    """Where the trust list comes from: by way of edge-sync, or one signed file.

    Raises:
        SettingsError: a pinned root is not a usable key.
    """
    for number, root in enumerate(settings.trust.roots):
        try:
            pinned(public_from(root))
        except ValueError as error:
            raise SettingsError(f"{settings.source}: trust.roots[{number}]: {error}") from error
    if settings.trust.anchor == Path():
        place, version = settings.trust.list, folder / "trust-version"
        return TrustFile(place, settings.trust.roots, version, false_times=false_times(folder))
    reader = TrustReader(settings.paths.trust)
    site, false = settings.site.site, false_times(folder)
    return Trusted(reader, settings.trust.roots, folder / FLOORS, site=site, false_times=false)


def false_times(folder: Path) -> frozenset[int]:
    """When a person said that it was not then (``edge audit anew --time``): seconds of issue of signed statements.

    Raises:
        SettingsError: it cannot be told.
    """
    try:
        return frozenset(map(int, json.loads((folder / FALSE_TIMES).read_text(encoding="utf-8"))))
    except FileNotFoundError:
        return frozenset()
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(f"{folder / FALSE_TIMES} cannot be read: {type(error).__name__}") from error


class Witness:
    """The time that the collector signed, as edge-sync keeps it for us; verified here under the pinned key."""

    def __init__(self, settings: Settings) -> None:
        self._path = settings.paths.witnessed
        self._origin = settings.site.origin
        self._key = settings.mqtt.collector_key if settings.mqtt.enabled else None
        self._seen = 0

    def signed_at(self, epoch: int = 0) -> datetime | None:
        """A moment that was not known yet, or None; what was signed about epochs before this one is not new."""
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
        ours = ack.origin == self._origin and ack.epoch >= epoch
        return datetime.fromtimestamp(ack.at_s, UTC) if ours and ack.at_s else None


def time_sealed(
    settings: Settings, sealed: Checkpoint | None, clock: SystemClock, follower: Follower | None = None
) -> Event | None:
    """Take the time from the last checkpoint, if the token signed it.

    It is our own clock of then. Where the system clock is believed now and is behind it, that one was wrong: what the
    token says to it is an entry, and no floor. Nor is it one after time was set anew with an epoch (``anew.py``).
    """
    if sealed is None or (follower is not None and _set_anew(follower, sealed)):
        return None
    try:
        key = _p256(settings.token.public_key)
        sealed.verify(key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))
    except (OSError, ValueError) as error:
        _log.warning("the time of the last checkpoint is not believed: %s", error)
        return None
    moment, now = datetime.fromtimestamp(sealed.head.at_s, UTC), clock.now()
    if now.state is ClockState.SYNCED and now.upper is not None and moment > now.upper + FOLLOWED:
        seconds = int((moment - now.lower).total_seconds())
        return Event(Kind.CLOCK_STEP, {"refused": sealed.head.at_s, "by": "checkpoint", "seconds": seconds})
    clock.raise_floor(moment, own=True)
    return None


def _set_anew(follower: Follower, sealed: Checkpoint) -> bool:
    """Whether a person told the time after this checkpoint."""
    first = follower.entries(0, 1) if follower.epoch() > sealed.head.epoch else []
    return bool(first) and first[0].kind is Kind.EPOCH_OPEN and "time" in first[0].fields


def _p256(path: Path) -> ec.EllipticCurvePublicKey:
    """The P-256 key in a PEM file.

    Raises:
        OSError, ValueError: there is none.
    """
    key = public_from(path.read_bytes())
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.key_size != 256:
        raise ValueError(f"{path} is not on P-256")
    return key


async def time_told(witness: Witness, clock: SystemClock, journal: SqliteJournal, watch: Watch) -> None:
    """Take the time from what the collector signed, unless it is absurd; a step of a minute or more is an entry."""
    told = witness.signed_at(journal.epoch)
    if told is None:
        return
    if clock.absurd(told):
        remedy = f"set the collector's clock, or if that is right: {_REMEDY}"
        watch.lost("clock", f"the collector says {told:%Y-%m-%d}, which is not believed; {remedy}")
        return
    if not watch.conditions().get("clock", (True, ""))[0]:
        watch.back("clock")
    step = (told - clock.now().lower).total_seconds()
    clock.raise_floor(told)
    if step >= _STEP_S:
        fields: dict[str, Value] = {"floor": int(told.timestamp()), "by": "collector", "seconds": int(step)}
        await journal.append(Event(Kind.CLOCK_STEP, fields))


def time_of_trust(standing: GateStanding, clock: SystemClock, watch: Watch) -> None:
    """Say it as long as trust was signed further ahead than is believed: the gate, or who signs, has the time wrong."""
    signed_at = standing.trustfile.signed_at
    if signed_at is not None and clock.absurd(signed_at):
        watch.lost("trust-time", far_ahead(signed_at))
    elif not watch.conditions().get("trust-time", (True, ""))[0]:
        watch.back("trust-time")
        if signed_at is not None:
            clock.raise_floor(signed_at)


def far_ahead(signed_at: datetime) -> str:
    """What is told of a time that is not believed, and what helps."""
    return f"trust says {signed_at:%Y-%m-%d}, which is too far ahead to be believed; if it is right: {_REMEDY}"


async def trust_changed(
    standing: GateStanding, clock: SystemClock, journal: SqliteJournal, before: TrustList | None
) -> None:
    """Something else is believed now: write down what, and take the time from what was signed."""
    trust = standing.trust()
    if trust is None:
        return
    fields: dict[str, Value] = {"version": trust.version, "digest": trust.digest, "issuers": len(trust.issuers)}
    if before is None:
        fields["start"] = True
    if trust.issued_at is not None:
        fields["issued"] = int(trust.issued_at.timestamp())
    if isinstance(standing.trustfile, Trusted) and (whole := standing.trustfile.whole) is not None:
        if (oldest := whole.withdrawn.oldest) is not None:
            fields["status_issued"] = int(oldest.timestamp())
        fields["files"] = len(whole.opened)
        fields["faults"] = len(whole.faults)
    signed_at = standing.trustfile.signed_at
    if signed_at is not None and signed_at > clock.now().lower:
        clock.raise_floor(signed_at)
        if clock.now().lower >= signed_at:
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
            await time_told(witness, clock, journal, watch)
            time_of_trust(standing, clock, watch)
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
