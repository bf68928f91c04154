"""Weeks without a network: the gate goes on by its profile, loses nothing, and then sends everything."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge.devices.clock import BUILT_AT
from edge.devices.follower import Follower
from edge.devices.truststore import TrustStore
from edge.sync import bundle
from edge.sync.collector import Collector, signing_key
from edge.sync.office import Office
from edge.sync.received import counted
from edge.sync.sender import Pace, Sender, pinned
from edge.sync.simulated import SimulatedLog
from edge.sync.updates import Keeper

HERE = Path(__file__).resolve().parent
GATE, ORIGIN = "demo/lobby/gate-1", "urn:gate:demo:lobby:gate-1"
FAST = Pace(connect_s=0.05, connect_most_s=0.4, retry_s=1.0, retry_most_s=3.0)


def weeks(site: Any, folder: Path, days: int, a_day: int) -> None:
    office = Office.begin(folder / "office", "demo")
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    office.book.add_issuer("https://id.example", {"keys": [{"public": pem, "kids": ["k"]}]})
    office.publish(BUILT_AT)
    keeper = Keeper(TrustStore(folder / "trust.db"), office.anchor(), lambda: BUILT_AT)
    assert keeper.take(bundle.fetch_from(office.current()))
    keeper.close()
    (folder / "roots").write_text(office.list_key())
    before = 0.0
    for cut in range(2 * days):
        command = [sys.executable, str(HERE / "offline_gate.py"), str(folder), str(a_day // 2)]
        ran = subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True, check=False, env=ENVIRONMENT)
        assert ran.returncode == -signal.SIGKILL, ran.stderr
        told = json.loads(ran.stdout)
        assert told["began"] >= before - 600 * 10  # a power cut costs minutes of the floor, never the day before it
        before = told["lower"]
        day = (cut + 1) / 2
        assert told["decided"]["turnstile"] == "GRANTED", day
        assert told["decided"]["benefit"] == "GRANTED", day
        old = "REFERRED" if day <= 7 else "NO_TRUST"  # the list: to the officer after a day, to nobody after a week
        assert told["decided"]["egate"] in (("TIME_UNSURE",) if day <= 1 else (old, "TIME_UNSURE")), day
    assert before > (BUILT_AT + timedelta(days=days - 1)).timestamp()
    assert datetime.fromtimestamp(before, UTC) <= BUILT_AT + timedelta(days=days, hours=1)
    sends_everything(site, folder, days * a_day)


ENVIRONMENT = {"PYTHONPATH": str(HERE.parents[1]), "PATH": "/usr/bin:/bin"}


def sends_everything(site: Any, folder: Path, written: int) -> None:
    log = Follower(folder / "journal.db")
    size = log.size()
    assert size >= written
    key = signing_key(site.broker.signing_key)
    collector = Collector(
        site.link("collector"), key, {GATE: SimulatedLog(ORIGIN).point}, folder / "received.db", pace=FAST
    )
    sealed = SimulatedLog(ORIGIN)  # has no checkpoints of this log: entries go out all the same
    sender = Sender(
        site.address(GATE), site.link(GATE), pinned(site.broker.collector_key), log, sealed, folder / "s.db", pace=FAST
    )
    collector.start()
    sender.start()
    deadline = time.monotonic() + 100
    while sender.position.acked < size and time.monotonic() < deadline:
        time.sleep(0.02)
    sender.stop()
    collector.stop()
    assert sender.position.acked == size
    assert sender.position.root == log.root(size)
    assert counted(folder / "received.db") == {ORIGIN: size}
    log.close()


def test_three_days_offline_and_then_everything_arrives(site: Any, tmp_path: Path) -> None:
    weeks(site, tmp_path, 3, 200)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_three_weeks_offline_and_then_everything_arrives(site: Any, tmp_path: Path) -> None:
    weeks(site, tmp_path, 21, 5000)
