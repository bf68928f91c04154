"""Trust in, as an operator publishes it and a gate takes it: over a real broker, or as a bundle on a stick."""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge.demo.broker import PUBLISHER
from edge.devices.trusted import Trusted
from edge.devices.truststore import TrustReader, TrustStore
from edge.errors import Refusal
from edge.sync import bundle
from edge.sync.book import OfficeError
from edge.sync.connection import Connection, Message
from edge.sync.metadata import TIMESTAMP, Fetch
from edge.sync.office import Office
from edge.sync.sender import Pace, Sender, pinned
from edge.sync.updates import PREFIX, Haste, Keeper, Updates, offer
from edge.trust.cose import signer
from edge.trust.list import write_list

GATE = "demo/lobby/gate-1"
ISS, OTHER = "https://id.example", "https://other.example"
FAST = Pace(connect_s=0.05, connect_most_s=0.4, retry_s=0.3, retry_most_s=1.0, state_s=0.1)
HASTE = Haste(spread_s=0, least_s=0, absent_s=0.15, again_s=0.1, again_most_s=0.3)
PATIENT = replace(HASTE, absent_s=5.0)
ROOT = Path(__file__).resolve().parents[2]
Files = dict[str, bytes]


def until(true: Callable[[], object], within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


def public(key: Any) -> str:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def an_issuer(kid: str = "k1") -> dict[str, Any]:
    return {"keys": [{"public": public(ed25519.Ed25519PrivateKey.generate()), "kids": [kid]}]}


class Gate:
    """Both sides of a gate: what edge-sync keeps, and what edge-gate believes."""

    def __init__(self, folder: Path, office: Office, now: datetime | None = None) -> None:
        self.folder, self.now = folder, now or datetime.now(UTC)
        self.anchor, self._roots = office.anchor(), [office.list_key()]
        self.store = folder / "trust.db"
        self.trusted = self.restarted()

    def restarted(self) -> Trusted:
        self.trusted = Trusted(TrustReader(self.store), self._roots, self.folder / "floors", site="lobby")
        return self.trusted

    def keeper(self) -> Keeper:
        return Keeper(TrustStore(self.store), self.anchor, lambda: self.now)

    def take(self, fetch: Fetch) -> bool:
        keeper = self.keeper()
        try:
            return keeper.take(fetch)
        finally:
            keeper.close()

    def issuers(self) -> set[str]:
        self.trusted.reload()
        found = self.trusted.current
        return set() if found is None else {issuer.name for issuer in found.issuers}


@pytest.fixture
def office(tmp_path: Path) -> Office:
    made = Office.begin(tmp_path / "office", "demo")
    made.book.add_issuer(ISS, an_issuer())
    made.publish()
    return made


@pytest.fixture
def gate(office: Office, tmp_path: Path) -> Gate:
    folder = tmp_path / "gate"
    folder.mkdir()
    return Gate(folder, office)


class Way:
    """The way over a real broker: who publishes, and a gate's connection that asks."""

    def __init__(self, site: Any) -> None:
        self._site = site
        self.repository = f"r{time.monotonic_ns()}"
        self.out = Connection(site.link(PUBLISHER), PUBLISHER)
        self.out.open()
        self.inward = Connection(site.link(GATE), GATE)
        self.inward.open()

    def put(self, files: Files) -> None:
        """Whoever holds the publisher's certificate may write anything."""
        for path, data in files.items():
            self.out.publish(Message(f"{PREFIX}/{self.repository}/{path}", data, retain=True))
            while self.out.in_flight:
                self.out.turn(0.05)

    def offer(self, files: Files) -> None:
        offer(self.out, self.repository, dict(files))

    def take(self, gate: Gate) -> bool:
        """One look of the gate; raises as an update does.

        A message that comes late counts as absent: where a look brings nothing, a patient one says whether that was it.
        """
        took, _ = self._look(gate, HASTE)
        if not took:
            took, trouble = self._look(gate, PATIENT)
            assert not trouble
        return took

    def refuses(self, gate: Gate, why: str) -> None:
        before = gate.issuers()
        _, trouble = self._look(gate, HASTE)
        if not re.search(why, trouble):
            _, trouble = self._look(gate, PATIENT)
        assert re.search(why, trouble), trouble
        assert gate.issuers() == before

    def _look(self, gate: Gate, haste: Haste) -> tuple[bool, str]:
        updates = Updates(self.repository, gate.keeper, haste)
        updates.hear()
        updates.serve(self.inward)
        updates.close()
        return updates.taken == 1, updates.trouble

    def close(self) -> None:
        self.out.close()
        self.inward.close()


@pytest.fixture
def way(site: Any) -> Iterator[Way]:
    made = Way(site)
    yield made
    made.close()


def test_d01_a_gate_from_the_factory_takes_the_first_list(way: Way, office: Office, gate: Gate) -> None:
    way.offer(office.publish())
    assert way.take(gate)
    assert gate.issuers() == {ISS}
    assert gate.restarted() is gate.trusted
    assert gate.issuers() == {ISS}


def test_d02_a_new_issuer_arrives_and_a_removed_one_goes(way: Way, office: Office, gate: Gate) -> None:
    way.offer(office.publish())
    way.take(gate)
    office.book.add_issuer(OTHER, an_issuer("k2"))
    way.offer(office.publish())
    assert way.take(gate)
    assert gate.issuers() == {ISS, OTHER}
    office.book.remove_issuer(ISS)
    way.offer(office.publish())
    assert way.take(gate)
    assert gate.issuers() == {OTHER}


def test_d03_an_older_state_is_not_taken_back(way: Way, office: Office, gate: Gate) -> None:
    old = office.publish()
    office.book.add_issuer(OTHER, an_issuer())
    way.offer(office.publish())
    way.take(gate)
    way.put(old)
    way.refuses(gate, "BadVersionNumber")
    gate.restarted()
    assert gate.issuers() == {ISS, OTHER}


def test_d04_parts_of_two_states_are_not_mixed(way: Way, office: Office, gate: Gate) -> None:
    old = office.publish()
    new = office.publish()
    way.put({path: data for path, data in old.items() if path != TIMESTAMP})
    snapshot = next(path for path in new if path.endswith(".snapshot.json"))
    older = next(path for path in old if path.endswith(".snapshot.json"))
    way.put({**new, snapshot: old[older]})
    way.refuses(gate, "BadVersionNumber|UnsignedMetadata")


def test_d05_an_altered_list_leaves_the_whole_old_state_in_force(way: Way, office: Office, gate: Gate) -> None:
    way.offer(office.publish())
    way.take(gate)
    office.book.add_issuer(OTHER, an_issuer())
    new = office.publish()
    target = next(path for path in new if path.endswith("main.cose") and "issuers" in path)
    way.put({**new, target: new[target][:-1] + b"\0"})
    way.refuses(gate, "LengthOrHashMismatch")
    way.offer(new)
    assert way.take(gate)
    assert gate.issuers() == {ISS, OTHER}


def test_d06_the_broker_the_live_key_and_one_targets_key_add_nobody(way: Way, office: Office, gate: Gate) -> None:
    way.offer(office.publish())
    way.take(gate)
    for number in (2, 3):
        (office.folder / "keys" / f"targets-{number}.pem").unlink()
    (office.folder / "keys" / "targets-2.pem").write_bytes((office.folder / "keys" / "live.pem").read_bytes())
    office.book.add_issuer(OTHER, an_issuer())
    way.offer(office.publish())
    way.refuses(gate, "UnsignedMetadata")


def test_d07_a_gate_two_roots_behind_follows_them_one_by_one(way: Way, office: Office, gate: Gate) -> None:
    way.offer(office.publish())
    way.take(gate)
    office.rotate("root")
    office.rotate("targets")
    office.book.add_issuer(OTHER, an_issuer())
    way.offer(office.publish())
    assert way.take(gate)
    assert gate.issuers() == {ISS, OTHER}


def test_d08_a_root_that_one_of_three_signed_is_none(way: Way, office: Office, gate: Gate) -> None:
    way.offer(office.publish())
    way.take(gate)
    rogue = Office.begin(office.folder.parent / "rogue", "demo")
    (rogue.folder / "keys" / "root-1.pem").write_bytes((office.folder / "keys" / "root-1.pem").read_bytes())
    rogue.publish()
    rogue.rotate("targets")
    way.put({path: data for path, data in rogue.publish().items() if path != "m/1.root.json"})
    way.refuses(gate, "UnsignedMetadata")


def test_d09_endless_files_are_cut_off(way: Way, office: Office, gate: Gate) -> None:
    way.offer(office.publish())
    way.put({TIMESTAMP: b"{" + b" " * 200_000})
    way.refuses(gate, "DownloadLengthMismatch")


@pytest.mark.parametrize(
    "noise", [b"\xff\xfe", b"{}", b'{"signed": {"_type": "timestamp"}, "signatures": []}', b"[" * 5000]
)
def test_d10_noise_is_no_trust(way: Way, office: Office, gate: Gate, noise: bytes) -> None:
    way.offer(office.publish())
    way.take(gate)
    way.put({TIMESTAMP: noise})
    way.refuses(gate, "Deserialization|malformed|Repository")


def test_d11_a_frozen_repository_is_noticed_and_thawed(way: Way, office: Office, gate: Gate) -> None:
    way.offer(office.publish())
    way.take(gate)
    gate.now += timedelta(days=22)
    way.refuses(gate, "Expired")
    way.offer(office.publish(gate.now))
    assert way.take(gate)


def test_d12_a_clock_far_behind_takes_new_lists_and_keeps_its_floor(way: Way, office: Office, gate: Gate) -> None:
    gate.now -= timedelta(days=3650)
    old = office.publish()
    way.offer(office.publish())
    assert way.take(gate)
    way.put(old)
    way.refuses(gate, "BadVersionNumber")


def test_d12_a_lower_bound_far_ahead_refuses_until_it_is_right_again(way: Way, office: Office, gate: Gate) -> None:
    way.offer(office.publish())
    right, gate.now = gate.now, gate.now + timedelta(days=3650)
    way.refuses(gate, "Expired")
    gate.now = right
    assert way.take(gate)


def test_d13_killed_inside_the_commit_the_old_state_stands(way: Way, office: Office, gate: Gate) -> None:
    way.offer(office.publish())
    way.take(gate)
    office.book.add_issuer(OTHER, an_issuer())
    new = office.publish()
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from edge.devices.truststore import TrustStore\n"
        "from edge.trust.stored import Stored\n"
        "class Dying(dict):\n"
        "    def items(self):\n"
        "        yield 'one', b'half'\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "store = TrustStore(Path(sys.argv[1]))\n"
        "store.commit(Stored(99, b'', {}, Dying(), 0))\n"
    )
    died = subprocess.run([sys.executable, "-c", script, str(gate.store)], cwd=ROOT, check=False)
    assert died.returncode == -signal.SIGKILL
    gate.restarted()
    assert gate.issuers() == {ISS}
    way.offer(new)
    assert way.take(gate)
    assert gate.issuers() == {ISS, OTHER}


def test_d13_the_same_state_comes_on_a_stick(office: Office, gate: Gate, tmp_path: Path) -> None:
    stick = tmp_path / f"june{bundle.SUFFIX}"
    stick.write_bytes(bundle.pack(office.publish()))
    assert gate.take(bundle.fetch_from(bundle.read(stick)))
    assert gate.issuers() == {ISS}
    assert not gate.take(bundle.fetch_from(bundle.read(stick)))


def test_a_stick_with_an_older_state_than_the_broker_brought_is_refused(way: Way, office: Office, gate: Gate) -> None:
    old = office.publish()
    way.offer(office.publish())
    way.take(gate)
    with pytest.raises(Refusal, match="BadVersionNumber"):
        gate.take(bundle.fetch_from(old))


def test_a_missing_root_in_between_leaves_the_old_state(way: Way, office: Office, gate: Gate) -> None:
    way.offer(office.publish())
    way.take(gate)
    office.rotate("root")
    office.rotate("root")
    new = office.publish()
    way.put({path: data for path, data in new.items() if path != "m/2.root.json"})
    assert way.take(gate)  # the live key is the same: newer confirmations count, under the root that is known
    assert json.loads(new["m/3.root.json"])["signed"]["version"] == 3
    way.put({"m/2.root.json": new["m/2.root.json"]})
    assert way.take(gate)


def test_a_missing_file_leaves_the_old_state(way: Way, office: Office, gate: Gate) -> None:
    way.offer(office.publish())
    way.take(gate)
    new = office.publish()
    target = next(path for path in new if path.endswith("confirmation.cose"))
    way.put({path: data for path, data in new.items() if path != target})
    way.refuses(gate, "is not there")


def test_the_live_key_cannot_sign_a_trust_list(way: Way, office: Office, gate: Gate) -> None:
    way.offer(office.publish())
    way.take(gate)
    files = {"issuers/main.cose": b"forged", "live/confirmation.cose": b"x"}
    from edge.sync.metadata import Repository

    repository = Repository.read(office.published())
    live = office._live()
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(days=9)
    repository.put("live", files)
    repository.sign("live", live, later)
    repository.collect()
    repository.sign("snapshot", live, later)
    repository.stamp()
    repository.sign("timestamp", live, later)
    way.put(repository.published({**office.lists.files(), **files}))
    way.take(gate)
    assert gate.issuers() == {ISS}


def test_a_broken_network_process_cannot_add_an_issuer(office: Office, gate: Gate) -> None:
    """What edge-sync puts into the store is verified again under the pinned list key."""
    gate.take(bundle.fetch_from(office.publish()))
    assert gate.issuers() == {ISS}
    now = int(time.time())
    forged = {"version": 99, "issued_at": now, "expires": now + 9999, "issuers": [{"iss": OTHER, **an_issuer()}]}
    store = TrustStore(gate.store)
    kept = store.load()
    rogue = write_list(forged, signer(ec.generate_private_key(ec.SECP256R1())))
    store.commit(replace(kept, generation=kept.generation + 1, files={**kept.files, "issuers/main.cose": rogue}))
    store.close()
    assert not gate.trusted.reload()
    assert "bad-signature" in gate.trusted.detail or "not signed" in gate.trusted.detail
    assert gate.issuers() == {ISS}


def test_a_card_that_goes_back_in_time_is_noticed_by_the_gate(office: Office, gate: Gate) -> None:
    """Another copy of the store, older than what was in force, under a gate that remembers."""
    old = office.publish()
    office.book.add_issuer(OTHER, an_issuer())
    gate.take(bundle.fetch_from(office.publish()))
    assert gate.issuers() == {ISS, OTHER}
    gate.store.unlink()
    for suffix in ("-wal", "-shm"):
        gate.store.with_name(gate.store.name + suffix).unlink(missing_ok=True)
    gate.take(bundle.fetch_from(old))
    gate.restarted()
    assert gate.issuers() == set()
    assert "older" in gate.trusted.detail


def test_d18_ten_thousand_junk_topics_have_no_effect(fragile_site: Any, office: Office, gate: Gate) -> None:
    way = Way(fragile_site)
    way.out.close()
    way.out = Connection(fragile_site.link(PUBLISHER), PUBLISHER, queue=400)
    way.out.open()
    for number in range(10_000):
        way.out.publish(Message(f"{PREFIX}/{way.repository}/t/junk/{number}", b"junk", retain=True))
        while way.out.in_flight > 200:
            way.out.turn(0.05)
    way.offer(office.publish())
    assert way.take(gate)
    assert gate.issuers() == {ISS}
    assert len(way.inward.take()) == 0
    way.close()


def test_d18_a_giant_object_costs_one_connection_and_then_a_pause(site: Any, office: Office, gate: Gate) -> None:
    way = Way(site)
    way.inward.close()
    files = office.publish()
    target = next(path for path in files if path.endswith("confirmation.cose"))
    way.put({**files, target: bytes(250_000)})
    updates = Updates(way.repository, gate.keeper, HASTE)
    log = site.log(GATE, 50)
    site.collector()
    sender = Sender(
        site.address(GATE),
        site.link(GATE),
        pinned(site.broker.collector_key),
        log,
        log,
        site.folder / "sync.db",
        updates=updates,
        pace=FAST,
    )
    sender.start()
    until(lambda: sender.position.acked == 50)
    until(lambda: updates.trouble)
    log.grow(50)
    until(lambda: sender.position.acked == 100)
    way.offer(files)
    until(lambda: gate.issuers() == {ISS})
    sender.stop()
    way.close()


def test_entries_and_trust_share_one_connection(site: Any, office: Office, gate: Gate) -> None:
    way = Way(site)
    way.inward.close()
    updates = Updates(way.repository, gate.keeper, HASTE)
    log = site.log(GATE, 300)
    site.collector()
    key = pinned(site.broker.collector_key)
    sender = Sender(
        site.address(GATE), site.link(GATE), key, log, log, site.folder / "sync.db", updates=updates, pace=FAST
    )
    sender.start()
    until(lambda: sender.position.acked == 300)
    way.offer(office.publish())
    until(lambda: gate.issuers() == {ISS})
    office.book.add_issuer(OTHER, an_issuer())
    way.offer(office.publish())
    log.grow(500)
    until(lambda: gate.issuers() == {ISS, OTHER})
    until(lambda: sender.position.acked == 800)
    until(lambda: sender.condition() == "")
    sender.stop()
    way.close()


def test_a_gate_may_not_write_trust(site: Any) -> None:
    connection = Connection(site.link(GATE), GATE)
    connection.open()
    connection.publish(Message(f"{PREFIX}/demo/{TIMESTAMP}", b"mine", retain=True))
    while connection.in_flight:
        connection.turn(0.05)
    assert "Not authorized" in connection.refused
    connection.close()


def test_a_key_that_is_not_here_is_named(office: Office) -> None:
    for number in (1, 2):
        (office.folder / "keys" / f"targets-{number}.pem").unlink()
    office.publish()  # nothing but the live key is needed every day
    office.book.add_issuer(OTHER, an_issuer())
    with pytest.raises(OfficeError, match="targets-1, targets-2, targets-3"):
        office.publish()


def test_opening_an_update_collects_no_garbage_and_leaves_none(office: Office, gate: Gate) -> None:
    """A collection stops every thread, the one that holds the relay too; what was in force goes without one."""
    for number in range(150):
        office.book.add_issuer(f"https://issuer-{number}.example", an_issuer())
    gate.take(bundle.fetch_from(office.publish()))
    gate.trusted.reload()
    before = weakref.ref(gate.trusted.whole)
    office.book.add_issuer(OTHER, an_issuer())
    gate.take(bundle.fetch_from(office.publish()))
    collected: list[str] = []

    def note(phase: str, _told: dict[str, int]) -> None:
        collected.append(phase)

    gc.collect()
    gc.callbacks.append(note)
    try:
        assert gate.trusted.reload()
    finally:
        gc.callbacks.remove(note)
    assert (len(collected), gc.isenabled(), before()) == (0, True, None)


def test_a_damaged_store_is_put_aside_and_said(office: Office, gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    gate.take(bundle.fetch_from(office.publish()))
    gate.store.write_bytes(os.urandom(8192))
    gate.take(bundle.fetch_from(office.publish()))
    assert "damaged" in caplog.text
    assert gate.issuers() == {ISS}


def test_what_a_gate_would_not_take_never_comes_into_the_book(office: Office) -> None:
    before = list(office.book.issuers)
    for entry in ({"keys": [{"public": "noise"}]}, {"keys": [7]}, {"profile": {"unknown": 1}}, {"aliases": [ISS]}):
        with pytest.raises((ValueError, OfficeError)):
            office.book.add_issuer(OTHER, entry)
    with pytest.raises(ValueError, match="two issuers"):
        office.book.add_issuer(ISS.upper(), an_issuer())
    assert office.book.issuers == before
    office.publish()
