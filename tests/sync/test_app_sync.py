"""edge-sync as it runs: a stick in the folder becomes trust in the gate, with and without a broker."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge.app import sync
from edge.app.standing import trust_of
from edge.demo.broker import PUBLISHER
from edge.settings import Settings, SettingsError, load
from edge.sync import bundle
from edge.sync.connection import Connection
from edge.sync.office import Office
from edge.sync.updates import offer

ROOT = Path(__file__).resolve().parents[2]
ISS, OTHER = "https://id.example", "https://other.example"


def an_issuer() -> dict[str, Any]:
    public = ed25519.Ed25519PrivateKey.generate().public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return {"keys": [{"public": pem, "kids": ["k"]}]}


def gate_settings(folder: Path, office: Office, site: Any | None = None) -> Settings:
    base = load(ROOT / "config" / "edge.toml")
    anchor, bundles = folder / "anchor.json", folder / "bundles"
    anchor.write_bytes(office.anchor())
    bundles.mkdir(exist_ok=True)
    mqtt = base.mqtt
    if site is not None:
        identity = site.broker.identities["demo/lobby/gate-1"]
        mqtt = replace(mqtt, enabled=True, host=site.broker.host, port=site.broker.port, ca=site.broker.ca)
        mqtt = replace(mqtt, certificate=identity.certificate, key=identity.key.name)
        mqtt = replace(mqtt, collector_key=site.broker.collector_key, spread_s=0.0)
        folder = folder / "with-broker"
    credentials = folder if site is None else site.broker.ca.parent
    return replace(
        base,
        site=replace(base.site, tenant="demo", site="lobby", gate="gate-1"),
        paths=replace(base.paths, state=folder / "state", run=folder / "run", credentials=credentials),
        trust=replace(base.trust, roots=(office.list_key(),), anchor=anchor, repository=office.name, bundles=bundles),
        mqtt=mqtt,
    )


def trusted(settings: Settings) -> set[str]:
    """What edge-gate believes."""
    folder = settings.paths.journal.parent
    folder.mkdir(parents=True, exist_ok=True)
    trust = trust_of(settings, folder)
    trust.reload()
    return set() if trust.current is None else {issuer.name for issuer in trust.current.issuers}


async def while_it_runs(settings: Settings, wanted: set[str], within_s: float = 60) -> None:
    running = asyncio.ensure_future(sync.run(settings))
    deadline = time.monotonic() + within_s
    try:
        while trusted(settings) != wanted:
            assert time.monotonic() < deadline, "it did not come to that"
            assert not running.done(), running
            await asyncio.sleep(0.05)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


@pytest.fixture
def office(tmp_path: Path) -> Office:
    made = Office.begin(tmp_path / "office", f"r{time.monotonic_ns()}")
    made.book.add_issuer(ISS, an_issuer())
    made.publish()
    return made


def test_a_stick_is_enough(office: Office, tmp_path: Path) -> None:
    settings = gate_settings(tmp_path, office)
    (settings.trust.bundles / f"one{bundle.SUFFIX}").write_bytes(bundle.pack(office.current()))
    asyncio.run(while_it_runs(settings, {ISS}))


def test_broker_and_stick_write_the_same_store(site: Any, office: Office, tmp_path: Path) -> None:
    settings = gate_settings(tmp_path, office, site)
    connection = Connection(site.link(PUBLISHER), PUBLISHER)
    connection.open()
    offer(connection, office.name, office.current())
    asyncio.run(while_it_runs(settings, {ISS}))
    office.book.add_issuer(OTHER, an_issuer())
    office.publish()
    (settings.trust.bundles / f"two{bundle.SUFFIX}").write_bytes(bundle.pack(office.current()))
    asyncio.run(while_it_runs(settings, {ISS, OTHER}))
    connection.close()


def test_a_missing_anchor_is_said(office: Office, tmp_path: Path) -> None:
    settings = gate_settings(tmp_path, office)
    settings.trust.anchor.unlink()
    with pytest.raises(SettingsError, match=r"trust\.anchor"):
        asyncio.run(sync.run(settings))
