"""The world of the demo: a private directory in RAM with a gate's configuration, token, broker and collector around it.

Rules:

1. Everything is below one directory that only its owner may enter, in RAM where the machine has a RAM disk.
2. The five processes are the real ones, started with a configuration file as a site's are. Only the devices behind the
   ports are simulated: footage instead of a camera, SoftHSM instead of a smartcard, mock pins instead of GPIO.
3. Whatever ends the demo, nothing of it stays: see ``keeper.py``.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import edge
from edge.audit.entry import Kind
from edge.biometric.manifest import parse
from edge.demo import broker, configuration, desk, keeper, people, processes
from edge.demo.cards import Issuers
from edge.demo.guard import Guard
from edge.demo.office import GALLERY, Office
from edge.demo.port import free_port
from edge.demo.processes import Processes
from edge.demo.token import SoftToken
from edge.devices.follower import Follower
from edge.devices.token import enrolled_point
from edge.settings import Models, Mqtt, Settings, read_toml
from edge.sync.collector import Collector, signing_key
from edge.sync.connection import Link
from edge.sync.sender import Pace
from edge.vision.sessions import present

ROOT = Path(edge.__file__).resolve().parents[1]
_NEEDED = 656 * 1024 * 1024  # bytes: clips of two visits, and what the gallery leaves free
_SYNC_KEY = "mqtt-key"
_FILL_PIN = 12
_TRUST_S = 60.0
PASSAGES: Mapping[str, Mapping[str, Any]] = {
    "benefit": {"passage": "dispenser", "portion_pin": 13, "fault_pin": 18},
    "egate": {"passage": "interlock", "exit_pin": 27, "exit_door_pin": 6},
}
"""What stands at the sites of these profiles; a turnstile at all others."""
_TASK_S = 5.0  # that somebody takes for one thing that is asked


@dataclass(frozen=True)
class Wanted:
    """What the demo is asked for.

    Attributes:
        models: name of the model set.
        profile: name of the site's profile.
        folder: of models and portraits.
        capture_s: how long the gate waits for a face at most; a demo has less patience than a site. None: as the
            profile says.
        fps: of the camera.
        light: whether the gate has a fill light.
        enrolled: whose portraits are in the gallery of identity services; empty: there are no such services.
    """

    models: Literal["best", "default", "standard"] = "best"
    profile: str = "pilot"
    folder: Path = ROOT / "models"
    capture_s: float | None = 8.0
    fps: float = configuration.FPS
    light: bool = False
    enrolled: tuple[str, ...] = ()

    @property
    def portraits(self) -> Path:
        """Where the portraits are."""
        return self.folder / "portraits"


class Stage:
    """One run's world. Use it as a context: everything is there inside, nothing after."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self._leaving = ExitStack()

    def __enter__(self) -> Stage:
        try:
            self._build()
        except BaseException:
            self._leaving.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.close()

    def _build(self) -> None:
        self.folder, self.in_ram = _private_directory()
        self._leaving.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self._leaving.callback(_kept(self.folder).communicate)
        os.environ[keeper.VARIABLE] = str(self.folder)  # whatever is started from now on carries the mark
        self._leaving.callback(os.environ.pop, keeper.VARIABLE, None)
        self.scene = self.folder / "scene"
        for name in ("scene", "run", "state", "credentials"):
            (self.folder / name).mkdir(mode=0o700)
        self.token = SoftToken(self.folder)
        self.environment = processes.environment(self.folder, self.token.configuration)
        self.token.make(self.environment, sys.executable, self.folder / "token.pem")
        self.issuers = Issuers(self.wanted.portraits)
        (self.folder / "trust.cbor").write_bytes(self.issuers.trust_list(datetime.now(UTC)))
        self.broker = self._broker()
        self.office = self._office() if self.wanted.enrolled else None
        self._programme = _programme(self.wanted.profile)
        self.settings = self._settings()
        self._write_configuration()
        web = self.settings.web
        self.guard = Guard(self.folder / "edge.toml", self.environment, web.host, web.port)
        self.log = Follower(self.settings.paths.journal)
        self._leaving.callback(self.log.close)
        self.collector = self._collector()
        self.collector.start()
        self._leaving.callback(self.collector.stop)
        self.processes = Processes(self.folder / "run", self.folder / "edge.toml", self.environment)
        self._leaving.callback(self.processes.stop)

    def start(self) -> None:
        """Start the five processes and wait until all are ready.

        Raises:
            NotReady: one is not, in time.
        """
        self.processes.start()
        if self._programme:
            self._await_trust()
        if self.office is not None:
            self.office.await_ready()
            for portrait in self.wanted.enrolled:
                picture = (self.wanted.portraits / people.PORTRAITS[portrait].file).read_bytes()
                self.issuers.faces.append(picture)
                self.office.enrol(portrait, picture, self.issuers.claim(portrait))

    @property
    def pages(self) -> str:
        """Address of the operator's page."""
        return f"http://{self.settings.web.host}:{self.settings.web.port}/"

    def play(self, clip: str, how: str = "loop") -> None:
        """Have the camera see this clip from its first frame on."""
        _replace(self.scene / "playing", f"{clip}.npy {how}\n")

    def unplug_camera(self) -> None:
        """Have the camera see nothing: it is gone."""
        _replace(self.scene / "playing", "gone\n")

    def kill_gate(self) -> None:
        """End the process that decides and opens, as a fault would; it is started again."""
        (self.scene / "panel").unlink(missing_ok=True)  # lights go out with their process
        os.kill(self.processes.pids()["gate"], signal.SIGKILL)

    def person(self, does: str) -> None:
        """What the next person does when the gate unlocks."""
        _replace(self.scene / "person", f"{does}\n")

    def panel(self) -> str:
        """What the lights show."""
        try:
            return (self.scene / "panel").read_text(encoding="ascii").strip()
        except OSError:
            return ""

    def received(self) -> int:
        """How many entries of this gate the collector has."""
        sizes = self.collector.figures.sizes
        return sum(size for (origin, _), size in sizes.items() if origin == self.settings.site.origin)

    def _broker(self) -> broker.Broker:
        started = broker.start(self.folder / "broker", (configuration.NAME,))
        self._leaving.callback(started.stop)
        return started

    def _office(self) -> Office:
        return Office(self.folder / "office", self.broker.authority, self.folder / "credentials", free_port())

    def _settings(self) -> Settings:
        site = self.broker.identities[configuration.NAME]
        mqtt = Mqtt(
            enabled=True,
            host=self.broker.host,
            port=self.broker.port,
            ca=self.broker.ca,
            certificate=site.certificate,
            key=_SYNC_KEY,
            collector_key=self.broker.collector_key,
            spread_s=0.0,
        )
        made = configuration.settings(
            self.folder,
            profile=self.wanted.profile,
            models=Models(self.wanted.models, self.wanted.folder, threads=1),
            root=self.issuers.root,
            module=self.token.module,
            mqtt=mqtt,
            port=free_port(),
            fps=self.wanted.fps,
        )
        if self.office is not None:
            made = replace(made, iavs=self.office.settings)
        if self._programme:
            made = replace(made, trust=desk.published(self.folder, self.issuers, made.site.site, self._programme))
        fill_pin = _FILL_PIN if self.wanted.light else 0
        return replace(made, gate=replace(made.gate, fill_pin=fill_pin, **PASSAGES.get(self.wanted.profile, {})))

    def _await_trust(self) -> None:
        """Wait until what the desk published is in force at the gate.

        Raises:
            NotReady: it is not, in time.
        """
        end = time.monotonic() + _TRUST_S
        while not any(entry.kind is Kind.TRUST_UPDATE for entry in self.log.entries(0, 100)):
            if time.monotonic() > end:
                raise processes.NotReady(f"nothing of the desk came to the gate:\n{self.processes.last_words('sync')}")
            time.sleep(0.1)

    def _write_configuration(self) -> None:
        """Configuration, profiles and secrets, as an installation has them."""
        (self.folder / "edge.toml").write_text(configuration.text(self.settings), encoding="utf-8")
        profiles = self.folder / "profiles"
        profiles.mkdir()
        for profile in (ROOT / "config" / "profiles").glob("*.toml"):
            (profiles / profile.name).write_text(self._own(profile.read_text(encoding="utf-8")), encoding="utf-8")
        credentials = self.settings.paths.credentials
        (credentials / "site-key").write_bytes(secrets.token_bytes(32))
        (credentials / "iavs-key").write_bytes(secrets.token_bytes(32))
        (credentials / "gallery-key").write_bytes(secrets.token_bytes(32))
        (credentials / "pkcs11-pin").write_text(configuration.PIN, encoding="ascii")
        (credentials / _SYNC_KEY).write_bytes(self.broker.identities[configuration.NAME].key.read_bytes())

    def _own(self, profile: str) -> str:
        """A profile as the demo has it: its gallery, if people are enrolled."""
        if self.office is not None:
            profile = re.sub(r'^gallery = ""', f'gallery = "{GALLERY}"', profile, flags=re.MULTILINE)
        return self._impatient(profile)

    def _impatient(self, profile: str) -> str:
        """A profile with no more patience than the demo has."""
        most = self.wanted.capture_s
        if most is None:
            return profile
        most += _TASK_S * tomllib.loads(profile).get("tasks", 0)

        def shorter(found: re.Match[str]) -> str:
            return f"capture_s = {min(most, float(found[1]))}"

        return re.sub(r"^capture_s *= *([0-9.]+)", shorter, profile, flags=re.MULTILINE)

    def _collector(self) -> Collector:
        identity = self.broker.identities[broker.COLLECTOR]
        link = Link(self.broker.host, self.broker.port, self.broker.ca, identity.certificate, identity.key)
        point = enrolled_point((self.folder / "token.pem").read_bytes())
        pace = replace(Pace(), connect_s=0.5, connect_most_s=4.0)
        return Collector(
            link,
            signing_key(self.broker.signing_key),
            {configuration.NAME: point},
            self.folder / "received.db",
            pace=pace,
        )


def _programme(profile: str) -> str:
    """The benefit that this profile hands out; empty for none."""
    rules = read_toml(ROOT / "config" / "profiles" / f"{profile}.toml").get("rules", {})
    return str(rules.get("programme", ""))


def models_of(wanted: Wanted) -> tuple[str, bool]:
    """The set that is going to look, and whether it has an attack detector.

    Raises:
        DeviceError: there is no such set.
    """
    manifest = parse(read_toml(wanted.folder / "models.toml"))
    name = present(manifest, wanted.folder, wanted.models)
    return name, any(role.startswith("attack") for role in manifest.sets[name].models)


def _private_directory() -> tuple[Path, bool]:
    """A new directory for this run alone, and whether it is in RAM."""
    ram = Path("/dev/shm")  # noqa: S108 -- mkdtemp makes an unguessable private directory in it
    roomy = ram.is_dir() and os.access(ram, os.W_OK) and shutil.disk_usage(ram).free > _NEEDED
    folder = tempfile.mkdtemp(prefix="edge-demo-", dir=ram if roomy else None)
    return Path(folder), roomy


def _kept(folder: Path) -> subprocess.Popen[bytes]:
    """The keeper of this directory; it acts when its standard input ends."""
    return subprocess.Popen(
        [sys.executable, "-m", "edge.demo.keeper", str(folder)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )


def _replace(path: Path, text: str) -> None:
    """Write a file at once: whoever reads it sees the old or the new."""
    part = path.with_name(path.name + ".new")
    part.write_text(text, encoding="ascii")
    part.replace(path)
