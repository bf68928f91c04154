"""The sections of config/edge.toml, in the order of the file."""

from __future__ import annotations

import typing
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Site:
    """Where this gate stands."""

    tenant: str
    site: str
    gate: str
    profile: str

    @property
    def origin(self) -> str:
        """Name of this gate's log."""
        return f"urn:gate:{self.tenant}:{self.site}:{self.gate}"


@dataclass(frozen=True)
class Paths:
    """Where things are kept.

    Each socket lies in a directory that only the process behind it can write to, so that no other process, broken into,
    can sit in its place.
    """

    state: Path
    run: Path
    credentials: Path

    @property
    def journal(self) -> Path:
        """The log: written by edge-gate, read by the others."""
        return self.state / "gate" / "journal.db"

    @property
    def bodies(self) -> Path:
        """What the site keeps about people beside the log, if it does: edge-gate's alone."""
        return self.state / "gate" / "bodies.db"

    @property
    def checkpoints(self) -> Path:
        """Signed tree heads: written by edge-seal, read by the others."""
        return self.state / "seal" / "checkpoints.db"

    @property
    def outbox(self) -> Path:
        """How far the entries have gone out: written by edge-sync."""
        return self.state / "sync" / "sync.db"

    @property
    def neighbours(self) -> Path:
        """What was seen of other gates' logs, and what they cosigned of ours: written by edge-sync."""
        return self.state / "sync" / "neighbours.db"

    @property
    def trust(self) -> Path:
        """What was verified on its way in: written by edge-sync."""
        return self.state / "sync" / "trust.db"

    @property
    def witnessed(self) -> Path:
        """The collector's newest signature with its time: written by edge-sync."""
        return self.state / "sync" / "witnessed.cose"

    @property
    def vision_socket(self) -> Path:
        """Where edge-vision answers edge-gate, and nobody else may ask."""
        return self.run / "vision" / "vision.sock"

    @property
    def health_socket(self) -> Path:
        """Where edge-gate hears how the others are."""
        return self.run / "gate" / "health.sock"

    @property
    def panel_socket(self) -> Path:
        """Where edge-web hears what the panel shows."""
        return self.run / "web" / "panel.sock"

    @property
    def gallery(self) -> Path:
        """Enrolled people: written by edge-web."""
        return self.state / "iavs" / "gallery.db"

    @property
    def faces(self) -> Path:
        """Sealed templates that galleries hand to the gate: written by edge-web, read by edge-vision."""
        return self.state / "faces"

    @property
    def stills_socket(self) -> Path:
        """Where edge-vision looks at pictures that were handed over."""
        return self.run / "stills" / "stills.sock"

    @property
    def record_socket(self) -> Path:
        """Where edge-gate writes down what is done to the gallery."""
        return self.run / "gate" / "record.sock"

    @property
    def told_socket(self) -> Path:
        """Where edge-sync hears what edge-gate tells the other gates of the site."""
        return self.run / "sync" / "told.sock"

    @property
    def operators_socket(self) -> Path:
        """Where edge-gate hears what an operator's page asks."""
        return self.run / "gate" / "operators.sock"

    @property
    def console_socket(self) -> Path:
        """Where edge-gate hears who shall be enrolled; for its own user and root alone."""
        return self.run / "gate" / "console.sock"


@dataclass(frozen=True)
class Trust:
    """Which lists the gate believes.

    ``anchor`` empty: the list is one signed file, ``list``; otherwise it comes by way of edge-sync, with everything
    else that is published: over the broker from ``repository``, and from ``bundles``, a folder.
    """

    list: Path
    roots: tuple[str, ...]
    anchor: Path = Path()
    repository: str = ""
    bundles: Path = Path()


@dataclass(frozen=True)
class Clock:
    """How far the system clock may be believed."""

    source: typing.Literal["system", "floor"]
    uncertainty_s: float


@dataclass(frozen=True)
class Camera:
    """The eye."""

    kind: typing.Literal["picamera2", "opencv", "footage"]
    source: str
    width: int
    height: int
    fps: float
    frozen_s: float


@dataclass(frozen=True)
class Models:
    """Which models look."""

    set: typing.Literal["best", "default", "standard"]
    folder: Path
    threads: int


@dataclass(frozen=True)
class Gate:
    """Relay, lights and sensors: BCM numbers, seconds; 0 for a pin that this kind of passage has not."""

    kind: typing.Literal["gpio", "simulated"]
    lock_pin: int
    red_pin: int
    green_pin: int
    amber_pin: int
    buzzer_pin: int
    door_pin: int
    beam_1_pin: int
    beam_2_pin: int
    exit_request_pin: int
    fire_pin: int
    tamper_pin: int
    release_s: float
    held_s: float
    remote_unlock: bool = False
    into: str = "inside"
    passage: typing.Literal["turnstile", "dispenser", "interlock"] = "turnstile"
    exit_pin: int = 0
    exit_door_pin: int = 0
    portion_pin: int = 0
    fault_pin: int = 0
    supervised: tuple[str, ...] = ()
    fill_pin: int = 0
    heartbeat_pin: int = 0
    counter: Path = Path()


@dataclass(frozen=True)
class Token:
    """The HSM or smartcard that signs checkpoints."""

    module: Path
    label: str
    serial: str
    key_id: str
    public_key: Path


@dataclass(frozen=True)
class Seal:
    """When checkpoints are signed. ``receipts``: refusals at once, so that the kiosk can show a receipt of one."""

    entries: int
    after_s: float
    not_within_s: float
    receipts: bool = False


@dataclass(frozen=True)
class Mqtt:
    """Where entries go out. ``spread_s``: within which it connects, so that a thousand gates do not come at once."""

    enabled: bool
    host: str
    port: int
    ca: Path
    certificate: Path
    key: str
    collector_key: Path
    witnesses: Path = Path()
    spread_s: float = 60.0
    tell: bool = False


@dataclass(frozen=True)
class Web:
    """Operator and kiosk pages.

    ``names``: host names under which they may be asked for, beside the address and localhost.
    ``languages``: of the kiosk, the one shown largest first. ``sound``: short tones of the kiosk, beside its screens.
    ``speech``: its sentences are also spoken. ``readers``: who may read the operator page. ``certificate``: of the port
    ``tls_port``, which others than this machine then use. ``kiosk``: who is shown the kiosk page, only this machine or
    the network.
    """

    host: str
    port: int
    names: tuple[str, ...] = ()
    languages: tuple[str, ...] = ("en",)
    sound: bool = False
    speech: bool = False
    readers: typing.Literal["operators", "anyone"] = "operators"
    certificate: Path = Path()
    tls_port: int = 8444
    kiosk: typing.Literal["here", "network"] = "here"


@dataclass(frozen=True)
class Cards:
    """How cards are read at this gate, beside what the trust list says of their issuers.

    ``audience``: who this gate is; a card for somebody else is refused. ``prefixes``: what may stand before a code.
    """

    audience: str = ""
    prefixes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Iavs:
    """Identity services over the gallery.

    ``galleries``: all there are; they are not made by callers. ``fmr``: of one comparison. ``fpir``: how often a
    stranger may be taken for anybody in the whole gallery. ``signed_only``: samples without a valid signature are
    refused. ``per_minute``: requests of one caller. ``at_gate``: galleries that know the faces of cards without one;
    ``lanes``: galleries that a lane without cards searches.
    """

    enabled: bool = False
    host: str = "127.0.0.1"
    port: int = 8443
    certificate: Path = Path()
    ca: Path = Path()
    crl: Path = Path()
    issuers: Path = Path()
    signers: Path = Path()
    audience: str = ""
    model: typing.Literal["person", "encounter"] = "person"
    galleries: tuple[str, ...] = ("staff",)
    fmr: float = 0.001
    fpir: float = 0.01
    keep_pictures: bool = True
    signed_only: bool = False
    per_minute: int = 600
    at_gate: tuple[str, ...] = ()
    lanes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Controller:
    """An existing door controller, beside the gate's own relay.

    ``kind``: whether we switch an output of an OSDP device, are an OSDP reader, or speak Wiegand. ``facility`` and
    ``card``: the fixed card that a reader shows for a grant. Pins: BCM. ``data_driver``: what pulls the wires low.
    """

    kind: typing.Literal["none", "osdp-output", "osdp-reader", "wiegand"] = "none"
    device: Path = Path()
    baud: int = 9600
    address: int = 1
    output: int = 0
    facility: int = 0
    card: int = 0
    data_0_pin: int = 0
    data_1_pin: int = 0
    data_driver: typing.Literal["transistor", "buffer"] = "transistor"


@dataclass(frozen=True)
class Log:
    """How long entries are kept; ``keep_days`` 0: for ever.

    ``bodies``: what is kept about people beside the log, encrypted; of whom; and for how long.
    """

    keep_days: float = 0.0
    bodies: tuple[typing.Literal["identifier", "name"], ...] = ()
    bodies_of: typing.Literal["refused", "all"] = "refused"
    bodies_days: float = 30.0


@dataclass(frozen=True)
class Settings:
    """The whole file."""

    site: Site
    paths: Paths
    trust: Trust
    clock: Clock
    camera: Camera
    models: Models
    gate: Gate
    token: Token
    seal: Seal
    mqtt: Mqtt
    web: Web
    credential: Cards = field(default_factory=Cards)
    iavs: Iavs = field(default_factory=Iavs)
    log: Log = field(default_factory=Log)
    controller: Controller = field(default_factory=Controller)
    source: Path = field(default=Path())
