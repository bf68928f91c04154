"""The operator's walk-through of the README, as it stands there: from nothing to a gate that trusts a new issuer."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge.demo.broker import PUBLISHER
from edge.devices.trusted import Trusted
from edge.devices.truststore import TrustReader, TrustStore
from edge.sync.sender import Pace, Sender, pinned
from edge.sync.updates import Bundles, Haste, Keeper, Updates

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "edge" / "sync" / "README.md").read_text(encoding="utf-8")
GATE = "demo/lobby/gate-1"
FAST = Pace(connect_s=0.05, connect_most_s=0.4, retry_s=0.3, retry_most_s=1.0, state_s=0.1)
HASTE = Haste(spread_s=0, least_s=0, absent_s=0.15, again_s=0.1, again_most_s=0.3)


def steps(name: str) -> list[str]:
    """The commands of one part of the walk-through."""
    (found,) = re.findall(rf"<!-- walk: {name} -->\n+```\n(.*?)```", README, re.DOTALL)
    return [line for line in found.replace("\\\n", " ").splitlines() if line.strip()]


def walk(name: str, folder: Path, **instead: str) -> str:
    """Run them in a folder; what they said."""
    out = ""
    for line in steps(name):
        words = shlex.split(line)
        assert words[:2] == ["edge", "trust"], line
        given = [instead.get(word, word) for word in words[1:]]
        ran = subprocess.run(
            [sys.executable, "-m", "edge", *given],
            cwd=folder,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, f"{line}\n{ran.stderr}"
        out += ran.stdout
    return out


def until(true: Callable[[], object], within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


class Gate:
    """Both sides of a gate, set up with what ``edge trust init`` and ``export`` said."""

    def __init__(self, folder: Path, roots: str, anchor: Path) -> None:
        self.store, self.anchor = folder / "gate" / "trust.db", anchor.read_bytes()
        self.trusted = Trusted(TrustReader(self.store), [roots], folder / "floors", site="lobby")

    def keeper(self) -> Keeper:
        from datetime import UTC, datetime

        return Keeper(TrustStore(self.store), self.anchor, lambda: datetime.now(UTC))

    def root_version(self) -> int:
        store = TrustStore(self.store)
        try:
            version: int = json.loads(store.load().metadata["root"])["signed"]["version"]
        finally:
            store.close()
        return version

    def revoked(self, iss: str) -> bool:
        """Whether one of the issuer's keys is compromised since some day."""
        self.trusted.reload()
        found = self.trusted.current.issuer(iss) if self.trusted.current is not None else None
        return found is not None and any(key.compromised_since is not None for key in found.keys)

    def trusts(self, iss: str) -> bool:
        self.trusted.reload()
        found = self.trusted.current
        return found is not None and found.issuer(iss) is not None


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """The operator's desk, with what issuers sent."""
    public = ed25519.Ed25519PrivateKey.generate().public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "issuer-key.pem").write_bytes(pem)
    return tmp_path


def test_from_nothing_to_a_trusted_issuer_over_the_broker(site: Any, desk: Path) -> None:
    said = walk("begin", desk)
    roots = re.findall(r'roots = \["([^"]+)"\]', said)[0]
    gate = Gate(desk, roots, desk / "anchor.json")
    updates = Updates("example", gate.keeper, HASTE)
    log, key = site.log(GATE, 10), pinned(site.broker.collector_key)
    sender = Sender(site.address(GATE), site.link(GATE), key, log, log, desk / "sync.db", pace=FAST, updates=updates)
    sender.start()
    identity = site.broker.identities[PUBLISHER]
    files = {
        "broker.example": site.broker.host,
        "8883": str(site.broker.port),
        "ca.pem": str(site.broker.ca),
        "publisher.pem": str(identity.certificate),
        "publisher.key": str(identity.key),
    }
    try:
        walk("broker", desk, **files)
        until(lambda: gate.trusts("https://id.example"))
        walk("revoke", desk)
        walk("broker again", desk, **files)
        until(lambda: gate.revoked("https://id.example"))
        before = gate.root_version()
        walk("rotate", desk)
        walk("broker again", desk, **files)
        until(lambda: gate.root_version() == before + 4)
        assert gate.trusts("https://id.example")
        walk("withdraw", desk)
        walk("broker again", desk, **files)
        until(lambda: not gate.trusts("https://id.example"))
    finally:
        sender.stop()


def test_from_nothing_to_a_trusted_issuer_on_a_stick(desk: Path) -> None:
    said = walk("begin", desk)
    roots = re.findall(r'roots = \["([^"]+)"\]', said)[0]
    gate = Gate(desk, roots, desk / "anchor.json")
    stick = desk / "stick"
    stick.mkdir()
    bundles = Bundles(stick, gate.keeper())
    assert not bundles.look()
    walk("stick", desk)
    assert bundles.look()
    assert gate.trusts("https://id.example")
    assert not bundles.look()
    walk("revoke", desk)
    walk("rotate", desk)
    walk("again on the stick", desk)
    assert bundles.look()
    assert gate.revoked("https://id.example")
    assert gate.root_version() == 5
