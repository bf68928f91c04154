"""The time that the collector signs reaches the gate, and nothing else that calls itself time does."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from edge.app.standing import Witness
from edge.app.sync import Kept
from edge.settings import load
from edge.sync.batch import Ack, sign, verify
from edge.sync.collector import signing_key
from edge.sync.sender import Pace, Sender, pinned

GATE = "demo/lobby/gate-1"
ROOT = Path(__file__).resolve().parents[2]
ROOT_HASH = bytes(32)


def test_an_acknowledgement_says_when_it_was_signed_or_nothing() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    for at_s in (0, 1_800_000_000):
        ack = Ack("urn:gate:a:b:c", 1, 5, ROOT_HASH, 0, b"x", at_s)
        assert verify(sign(ack, key), key.public_key()) == ack


def test_the_collectors_time_reaches_the_gate(site: Any, tmp_path: Path) -> None:
    kept = tmp_path / "state" / "sync" / "witnessed.cose"
    kept.parent.mkdir(parents=True)
    log = site.log(GATE, 10)
    site.collector()
    key = pinned(site.broker.collector_key)
    pace = Pace(connect_s=0.05, connect_most_s=0.4, retry_s=0.3, state_s=0.1)
    sender = Sender(
        site.address(GATE), site.link(GATE), key, log, log, tmp_path / "sync.db", pace=pace, witness=Kept(kept, 0)
    )
    sender.start()
    deadline = time.monotonic() + 60
    while not kept.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    sender.stop()
    witness = Witness(settings(site, tmp_path))
    told = witness.signed_at()
    assert told is not None
    assert abs(told.timestamp() - time.time()) < 60
    assert witness.signed_at() is None  # nothing new


def settings(site: Any, folder: Path) -> Any:
    base = load(ROOT / "config" / "edge.toml")
    return replace(
        base,
        site=replace(base.site, tenant="demo", site="lobby", gate="gate-1"),
        paths=replace(base.paths, state=folder / "state"),
        mqtt=replace(base.mqtt, enabled=True, collector_key=site.broker.collector_key),
    )


@pytest.mark.parametrize("how", ["another key", "another gate", "noise", "no time"])
def test_nothing_else_moves_the_clock(site: Any, tmp_path: Path, how: str) -> None:
    right = signing_key(site.broker.signing_key)
    ack = Ack("urn:gate:demo:lobby:gate-1", 1, 5, ROOT_HASH, 0, b"x", 1_900_000_000)
    forged = {
        "another key": sign(ack, ec.generate_private_key(ec.SECP256R1())),
        "another gate": sign(replace(ack, origin="urn:gate:demo:lobby:gate-2"), right),
        "noise": b"noise",
        "no time": sign(replace(ack, at_s=0), right),
    }[how]
    kept = tmp_path / "state" / "sync" / "witnessed.cose"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(forged)
    assert Witness(settings(site, tmp_path)).signed_at() is None


def test_the_gate_loads_neither_the_network_nor_the_framework() -> None:
    script = "import sys, edge.app.gate; sys.exit(bool({'tuf', 'securesystemslib', 'paho'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0
