"""Three gates as they run at a site: gate, sealer and network process each, real tokens, one real broker."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from edge.audit.entry import Entry, Kind
from edge.demo import configuration, processes
from edge.demo.broker import Broker
from edge.demo.broker import start as start_broker
from edge.demo.token import SoftToken, softhsm
from edge.devices.checkpoints import CheckpointReader
from edge.devices.follower import Follower
from edge.errors import DeviceError
from edge.settings import Models, Mqtt, Seal, Settings

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("north", "south", "west")
PARTS = ("seal", "sync", "gate")
SITE_KEY = os.urandom(32)
FORGET = """
import sys, pkcs11
module, label, pin = sys.argv[1:]
with pkcs11.lib(module).get_token(token_label=label).open(rw=True, user_pin=pin) as session:
    for note in list(session.get_objects({pkcs11.Attribute.CLASS: pkcs11.ObjectClass.DATA})):
        note.destroy()
"""


class Gate:
    """One gate's three processes, and what they have on disk."""

    def __init__(self, folder: Path, broker: Broker, name: str) -> None:
        self.folder, self.name = folder / name, name
        for part in ("state", "run", "credentials", "scene"):
            (self.folder / part).mkdir(parents=True)
        self.token = SoftToken(self.folder)
        self.environment = processes.environment(self.folder, self.token.configuration)
        self.token.make(self.environment, sys.executable, folder / f"{name}.token.pem")
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (folder / f"{name}.witness.pem").write_bytes(public)
        self.settings = self._settings(folder, broker)
        (self.folder / "edge.toml").write_text(configuration.text(self.settings))
        shutil.copytree(ROOT / "config" / "profiles", self.folder / "profiles")
        identity = broker.identities[f"demo/lobby/{name}"]
        secrets = self.folder / "credentials"
        (secrets / "site-key").write_bytes(SITE_KEY)
        (secrets / "pkcs11-pin").write_text(configuration.PIN)
        (secrets / "mqtt-key").write_bytes(identity.key.read_bytes())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (secrets / "witness-key").write_bytes(pem)
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.log, self.checkpoints = (
            Follower(self.settings.paths.journal),
            CheckpointReader(self.settings.paths.checkpoints),
        )

    def _settings(self, folder: Path, broker: Broker) -> Settings:
        identity = broker.identities[f"demo/lobby/{self.name}"]
        mqtt = Mqtt(True, broker.host, broker.port, broker.ca, identity.certificate, "mqtt-key", broker.collector_key)
        root = ed25519.Ed25519PrivateKey.generate().public_key()
        der = base64.b64encode(root.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
        made = configuration.settings(
            self.folder,
            profile="pilot",
            models=Models("default", ROOT / "models", threads=1),
            root=der,
            module=softhsm(),
            mqtt=replace(mqtt, witnesses=folder / "witnesses.toml", spread_s=0.0, tell=True),
            port=8080,
        )
        token = replace(made.token, public_key=folder / f"{self.name}.token.pem")
        return replace(made, site=replace(made.site, gate=self.name), token=token, seal=Seal(1, 1.0, 0.2))

    def start(self) -> None:
        for part in PARTS:
            command = [sys.executable, "-m", "edge", "run", part, "--config", str(self.folder / "edge.toml")]
            with (self.folder / f"{part}.said").open("ab") as said:
                self.running[part] = subprocess.Popen(command, env=self.environment, stdout=said, stderr=said)

    def stop(self) -> None:
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        for process in self.running.values():
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.running.clear()

    def sealed(self) -> int:
        last = self.checkpoints.last()
        return 0 if last is None else last.head.size

    def entries(self) -> list[Entry]:
        try:
            return self.log.entries(0, self.log.size())
        except DeviceError:
            return []

    def says(self, word: str) -> bool:
        """Whether its log tells that its neighbours' logs are not well."""
        told = [e for e in self.entries() if e.kind is Kind.FORK]
        return any(word in str(entry.fields) for entry in told)

    def last_words(self) -> str:
        return "\n".join((self.folder / f"{part}.said").read_text()[-600:] for part in PARTS)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[list[Gate]]:
    with start_broker(tmp_path / "broker", [f"demo/lobby/{name}" for name in NAMES]) as broker:
        gates = [Gate(tmp_path, broker, name) for name in NAMES]
        keys = ", ".join(f'"{name}.witness.pem"' for name in NAMES)
        logs = "\n".join(f'"{gate.settings.site.origin}" = "{gate.name}.token.pem"' for gate in gates)
        (tmp_path / "witnesses.toml").write_text(f"quorum = 2\nkeys = [{keys}]\n\n[logs]\n{logs}\n")
        try:
            for gate in gates:
                gate.start()
            yield gates
        finally:
            for gate in gates:
                gate.stop()
                gate.log.close()
                gate.checkpoints.close()


def until(gate: Gate, holds: Callable[[], bool], what: str, within_s: float = 120.0) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, f"waited in vain at {gate.name}: {what}\n{gate.last_words()}"
        time.sleep(0.1)


def verified(gate: Gate, folder: Path) -> subprocess.CompletedProcess[str]:
    """An export of this gate, as an auditor takes it, with two of three witnesses asked for."""
    out = folder / "log.cborseq"
    command = [sys.executable, "-m", "edge", "audit", "export", str(out), "--config", str(gate.folder / "edge.toml")]
    subprocess.run(command, env=gate.environment, check=True, capture_output=True)
    key, policy = folder / f"{gate.name}.token.pem", folder / "witnesses.toml"
    script = [sys.executable, "-I", str(ROOT / "scripts" / "verify_log.py"), "--export", str(out)]
    return subprocess.run(
        [*script, "--key", str(key), "--witnesses", str(policy)], capture_output=True, text=True, check=False
    )


@pytest.mark.timeout(600)
def test_what_is_deleted_at_one_gate_is_in_the_logs_of_its_neighbours(site: list[Gate], tmp_path: Path) -> None:
    north, south, west = site
    for gate in site:
        until(gate, lambda gate=gate: gate.sealed() > 0, "a seal")  # type: ignore[misc] # bound at once
    until(north, lambda: verified(north, tmp_path).returncode == 0, "two receipts for the newest checkpoint")
    before = north.sealed()
    north.stop()
    # By another process: one that closes a file which it reads through SQLite too lets go of SQLite's locks on it
    subprocess.run(["cp", "-a", north.folder / "state", tmp_path / "yesterday"], check=True)
    for _ in range(2):  # two starts and ends: a dozen entries more
        north.start()
        size = north.sealed()
        until(north, lambda size=size: north.sealed() > size, "more entries")  # type: ignore[misc] # as above
        until(north, lambda: verified(north, tmp_path).returncode == 0, "receipts for these")
        north.stop()
    assert north.sealed() > before
    assert not any(gate.says("") for gate in site)  # nothing is said of honest gates
    shutil.rmtree(north.folder / "state")  # whoever has disk, token and PIN puts yesterday back
    shutil.copytree(tmp_path / "yesterday", north.folder / "state")
    module = str(north.settings.token.module)
    wiping = [sys.executable, "-c", FORGET, module, configuration.LABEL, configuration.PIN]
    subprocess.run(wiping, env=north.environment, check=True, capture_output=True)
    north.start()
    for neighbour in (south, west):
        until(neighbour, lambda gate=neighbour: gate.says("north"), "word of the deletion")  # type: ignore[misc] # as above
    until(north, lambda: north.says("north"), "its own word of it")
    for gate in site:  # one of them with the log of yesterday
        assert "is not believed" not in (gate.folder / "gate.said").read_text(), "what neighbours tell"
