"""A new epoch because a person asks for it: after an old card, lost checkpoints, or a time that was signed wrongly."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from edge.app import anew, backup
from edge.app.check import clock_of, trust_known
from edge.app.gate import alone
from edge.app.ground import Chosen, ground, last_of
from edge.app.seal import take_time
from edge.app.standing import GateStanding, Witness, time_sealed, trust_changed, trust_of
from edge.audit.checkpoint import Checkpoint, key_id
from edge.audit.entry import Entry, Event, Kind
from edge.audit.sealing import Guard, SealingPolicy
from edge.devices.checkpoints import SqliteCheckpoints
from edge.devices.clock import BUILT_AT, SystemClock
from edge.devices.journal import Follower, LastHead, SqliteJournal
from edge.devices.simulated_token import SimulatedToken
from edge.devices.token import to_pem
from edge.devices.truststore import TrustStore
from edge.errors import DeviceError
from edge.sealer import Sealer
from edge.settings import Clock, Gate, Settings, load
from edge.sync.batch import Ack, Batch, sign
from edge.sync.office import Office
from edge.sync.received import Received
from edge.trust.stored import Stored
from edge.trust.whole import MAIN

ROOT = Path(__file__).parents[2]
VERIFIED, INCOMPLETE = 0, 2


class House:
    """A gate's log, checkpoints and token, as its processes open them at each start; and a collector."""

    def __init__(self, folder: Path) -> None:
        base = load(ROOT / "config" / "edge.toml")
        self.settings: Settings = replace(
            base,
            paths=replace(base.paths, state=folder / "state"),
            token=replace(base.token, public_key=folder / "token.pem"),
        )
        self.folder, self.origin = folder, self.settings.site.origin
        self.token = SimulatedToken(self.origin)
        self.settings.token.public_key.write_bytes(to_pem(self.token.enrolled))
        for place in (self.settings.paths.journal, self.settings.paths.checkpoints):
            place.parent.mkdir(parents=True, exist_ok=True)
        self.collector = Received(folder / "received.db")
        self.start()

    def start(self, clock: SystemClock | None = None, sealing: SystemClock | None = None) -> None:
        """Both processes, each with what is on disk."""
        paths = self.settings.paths
        self.clock = clock or SystemClock(self.settings.clock, paths.journal.parent / "clock-floor")
        self.checkpoints = SqliteCheckpoints(paths.checkpoints)
        last = last_of(self.checkpoints)
        self.journal = SqliteJournal.open(paths.journal, self.origin, "gate", self.clock, LastHead.of(last))
        self.log = Follower(paths.journal)
        self.token._guard = Guard(self.origin, key_id(self.token.enrolled))
        if last is not None:
            self.token._guard.resume(last.head.epoch, last.head.size, last.digest)
        parts = (self.log, self.checkpoints, self.token, sealing or self.clock)
        self.sealer = Sealer(self.origin, SealingPolicy(), *parts)

    def stop(self) -> None:
        for part in (self.log, self.journal, self.checkpoints):  # the last one out leaves one file
            part.close()

    async def write(self, count: int) -> None:
        for _ in range(count):
            await self.journal.append(Event(Kind.DENIED))

    async def lived(self, count: int) -> None:
        """So many entries, sealed in order, and remembered."""
        await self.write(count)
        await self.sealer.finish()

    async def seal(self) -> Checkpoint:
        sealed = await self.sealer.seal()
        assert sealed is not None
        return sealed

    def give(self, first: int = 0) -> int:
        """Send what is there to the collector; returns how many entries of this epoch it has now."""
        epoch, entries = self.log.epoch(), tuple(self.log.read(first, 200))
        after = self.checkpoints.after(epoch, first, 99)
        batch = Batch(self.origin, epoch, first, entries, tuple(head.encode() for head in after))
        with self.collector.committed():
            return self.collector.take(batch, self.token.enrolled).known.tree.size

    async def begin(self, why: str = "somebody looked", **more: int | datetime) -> int:
        """What the technician types, with the gate stopped; it runs again afterwards."""
        self.stop()
        recall: Callable[[], Awaitable[bytes | None]] = self.token.recall
        epoch = await anew.begin(self.settings, why, recall, **more)  # type: ignore[arg-type]
        self.start()
        return epoch

    def opening(self) -> Entry:
        (first,) = self.log.entries(0, 1)
        assert first.kind is Kind.EPOCH_OPEN
        return first

    def verified(self, *journals: Path) -> subprocess.CompletedProcess[str]:
        """What the independent verifier says."""
        paths = self.settings.paths
        logs = [part for path in (*journals, paths.journal) for part in ("--journal", path)]
        command = [*logs, "--checkpoints", paths.checkpoints, "--key", self.settings.token.public_key]
        script = [sys.executable, "-I", ROOT / "scripts" / "verify_log.py", *command]
        return subprocess.run([*map(str, script)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("remembered", [True, False])
def test_a_backup_that_is_put_back_begins_a_new_epoch_that_is_sealed_and_received(
    tmp_path: Path, remembered: bool
) -> None:
    async def story() -> None:
        house = House(tmp_path)
        await house.lived(5)
        house.give()
        backup.take(house.settings, tmp_path / "copy", backup.new_key(tmp_path / "key"))
        await house.write(20)
        await (house.sealer.finish() if remembered else house.seal())
        house.give(5)
        house.stop()
        shutil.rmtree(tmp_path / "state")  # the card died
        backup.put_back(house.settings, tmp_path / "copy", (tmp_path / "key").read_bytes())
        house.start()
        await house.write(3)
        assert house.journal.epoch > 10  # numbers are left out: an epoch may have been opened since
        assert house.opening().fields["why"] == "a copy of the log was put back"
        assert house.opening().fields["size"] == 5
        kept = house.settings.paths.journal.with_name("journal.epoch-1.0.db")
        assert kept.exists()
        if remembered:
            with pytest.raises(DeviceError, match=r"25 entries that the token remembers is not among them.*audit anew"):
                await house.seal()
            before = house.journal.epoch
            assert await house.begin("the card died") > before
            assert house.opening().fields["why"] == "the card died"
            told = house.opening().fields["remembered"]
            assert isinstance(told, dict)
            assert (told["epoch"], told["size"]) == (1, 25)
        await house.seal()
        assert house.give() == house.log.size()
        found = house.verified(kept)
        assert found.returncode == VERIFIED, found.stderr
        assert ("the token remembered 25 entries of epoch 1" in found.stdout) is remembered
        house.stop()

    asyncio.run(story())


@pytest.mark.parametrize("planted", [None, 1500])
def test_yesterdays_card_is_not_sealed_because_a_new_epoch_was_provoked(tmp_path: Path, planted: int | None) -> None:
    async def story() -> None:
        house = House(tmp_path)
        await house.lived(5)
        house.stop()
        shutil.copytree(tmp_path / "state", tmp_path / "yesterday")
        house.start()
        await house.lived(20)
        house.stop()
        shutil.rmtree(tmp_path / "state")
        (tmp_path / "yesterday").rename(tmp_path / "state")
        journal = house.settings.paths.journal
        journal.write_bytes(b"damaged" * 1000)
        if planted is not None:
            journal.with_name(f"journal.epoch-{planted}.0.db").touch()
        house.start()
        await house.write(3)
        with pytest.raises(DeviceError, match="25 entries that the token remembers"):
            await house.seal()
        house.stop()

    asyncio.run(story())


def test_a_new_epoch_that_knows_less_than_its_checkpoints_is_not_sealed(tmp_path: Path) -> None:
    """Opened over yesterday's checkpoints, and today's laid beside it afterwards."""

    async def story() -> None:
        house = House(tmp_path)
        await house.lived(5)
        house.stop()
        today, paths = tmp_path / "today.db", house.settings.paths
        shutil.copy(paths.checkpoints, tmp_path / "yesterday.db")
        house.start()
        await house.lived(20)
        house.stop()
        shutil.move(paths.checkpoints, today)
        shutil.move(tmp_path / "yesterday.db", paths.checkpoints)
        paths.journal.write_bytes(b"damaged" * 1000)
        house.start()
        house.stop()
        shutil.move(today, paths.checkpoints)
        house.start()
        with pytest.raises(DeviceError, match="its epoch 2 does not come up to the 25 entries"):
            await house.seal()
        house.stop()

    asyncio.run(story())


@pytest.mark.parametrize("how", ["damaged", "removed"])
def test_lost_checkpoints_keep_no_gate_from_starting_and_a_new_epoch_goes_on(tmp_path: Path, how: str) -> None:
    async def story() -> None:
        house = House(tmp_path)
        await house.lived(10)
        house.give()
        house.stop()
        path = house.settings.paths.checkpoints
        if how == "damaged":
            path.write_bytes(b"damaged" * 2000)
        else:
            path.unlink()
        house.start()
        await house.write(5)
        with pytest.raises(DeviceError, match="edge audit anew"):
            await house.seal()
        assert await house.begin() == 2
        fields = house.opening().fields
        assert (fields["epoch"], fields["size"], fields["root"]) == (
            1,
            10,
            house.collector.known(house.origin, 1).sealed.root(),
        )
        assert path.with_name("checkpoints.epoch-0.0.db").exists() is (how == "damaged")
        sealed = await house.seal()
        assert sealed.head.previous_digest == fields["digest"]
        assert house.give() == house.log.size()
        found = house.verified(house.settings.paths.journal.with_name("journal.epoch-1.0.db"))
        assert (found.returncode, "checkpoints of that epoch are missing" in found.stderr) == (INCOMPLETE, True)
        house.stop()
        house.start()  # and so on at the next start
        await house.lived(1)
        house.stop()

    asyncio.run(story())


def test_edge_gate_stands_over_damaged_checkpoints_and_counts_nothing_as_sealed(
    tmp_path: Path, pins: Gate, run: Callable[[Coroutine[Any, Any, Any]], Any]
) -> None:
    """Its exit, its alarms and its pages go on; who may go in is decided as where nobody can tell what is sealed."""
    base = load(ROOT / "config" / "edge.toml")
    paths = replace(base.paths, state=tmp_path / "state", run=tmp_path / "run", credentials=tmp_path)
    settings = replace(base, paths=paths, models=replace(base.models, folder=ROOT / "models"), gate=pins)
    (tmp_path / "site-key").write_bytes(bytes(range(32)))
    for place in (paths.journal, paths.checkpoints):
        place.parent.mkdir(parents=True)
    paths.checkpoints.write_bytes(b"damaged" * 2000)

    async def story() -> None:
        with ExitStack() as closing:
            on = await ground(Chosen.of(settings), closing)
            assert on.journal.epoch == 1
            assert on.standing.unsealed() is None

    run(story())


def test_older_checkpoints_under_a_log_of_today_are_not_gone_on_with(tmp_path: Path) -> None:
    async def story() -> None:
        house = House(tmp_path)
        await house.lived(5)
        house.stop()
        path = house.settings.paths.checkpoints
        shutil.copy(path, tmp_path / "older.db")
        house.start()
        await house.lived(5)
        house.stop()
        shutil.copy(tmp_path / "older.db", path)
        house.start()
        await house.write(1)
        with pytest.raises(DeviceError, match="10 entries that the token remembers is not among them"):
            await house.seal()
        assert await house.begin() == 2
        await house.seal()
        found = house.verified(house.settings.paths.journal.with_name("journal.epoch-1.0.db"))
        assert found.returncode == VERIFIED, found.stderr
        house.stop()

    asyncio.run(story())


def test_the_first_checkpoint_of_an_epoch_is_remembered_at_once(tmp_path: Path) -> None:
    """Else a card that dies in its first hour could have the number used again."""

    async def story() -> None:
        house = House(tmp_path)
        await house.lived(5)
        house.log.close()
        house.journal.close()
        house.settings.paths.journal.write_bytes(b"damaged" * 1000)
        last = LastHead.of(house.checkpoints.last())
        house.journal = SqliteJournal.open(house.settings.paths.journal, house.origin, "gate", house.clock, last)
        await house.seal()  # by the same process as before
        note = await house.token.recall()
        assert note is not None
        assert note[:8] == (2).to_bytes(8)
        house.stop()

    asyncio.run(story())


def test_a_number_that_is_in_use_elsewhere_is_left_out(tmp_path: Path) -> None:
    async def story() -> None:
        house = House(tmp_path)
        await house.lived(5)
        assert await house.begin(after=7) == 8
        await house.seal()
        house.stop()

    asyncio.run(story())


def test_no_epoch_is_begun_while_the_gate_runs(tmp_path: Path) -> None:
    house = House(tmp_path)
    with alone(house.settings.paths.journal.parent / "lock"), pytest.raises(DeviceError, match="is running"):
        asyncio.run(anew.begin(house.settings, "why", house.token.recall))
    assert house.journal.epoch == 1
    house.stop()


def test_what_root_begins_anew_on_a_card_that_was_put_back_belongs_to_the_gate(tmp_path: Path) -> None:
    """The copy holds no lock: a gate that may not open root's never starts again."""
    if os.geteuid():
        pytest.skip("owners are given away by root alone")
    house = House(tmp_path)
    house.stop()
    state, nobody = house.settings.paths.state, 65534
    for path in (state, *state.rglob("*")):
        os.chown(path, nobody, nobody)
    shutil.rmtree(house.settings.paths.checkpoints.parent)
    house.settings.paths.checkpoints.parent.mkdir()
    os.chown(house.settings.paths.checkpoints.parent, nobody, nobody)
    told = {"after": 3, "time": TODAY}
    asyncio.run(anew.begin(house.settings, "the card died", house.token.recall, **told))  # type: ignore[arg-type]
    SqliteCheckpoints(house.settings.paths.checkpoints).last()
    assert {path.name: path.stat().st_uid for path in state.rglob("*") if path.stat().st_uid != nobody} == {}
    assert (house.settings.paths.journal.parent / "lock").exists()


class Machine:
    """The clock of one process of a machine: what the system clock says, and a floor on disk."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def boot(self, wall: datetime) -> SystemClock:
        return SystemClock(
            Clock("system", 5.0), self.folder / "clock-floor", wall=wall.timestamp, stopwatch=lambda: 0.0
        )


TODAY = BUILT_AT + timedelta(days=100)
WRONG = TODAY + timedelta(days=390)


def test_a_time_that_the_system_clock_had_wrongly_once_does_not_come_back_with_the_checkpoint(tmp_path: Path) -> None:
    async def story() -> None:
        house = House(tmp_path)
        house.stop()
        gate, seal = (Machine(part.parent) for part in (house.settings.paths.journal, house.settings.paths.checkpoints))
        (gate.folder / "clock-floor").write_text(f"{TODAY.timestamp():.0f}\n")
        (seal.folder / "clock-floor").write_text(f"{TODAY.timestamp():.0f}\n")
        house.start(gate.boot(WRONG), seal.boot(WRONG))
        await house.lived(3)
        house.stop()
        clock, sealing = gate.boot(TODAY), seal.boot(TODAY)
        house.start(clock, sealing)
        take_time(house.log, sealing)
        last = house.checkpoints.last()
        assert last is not None
        assert last.head.at_s > TODAY.timestamp() + 389 * 86400
        refused = time_sealed(house.settings, last, clock, house.log)
        assert refused is not None
        assert (refused.kind, refused.fields["refused"]) == (Kind.CLOCK_STEP, last.head.at_s)
        for one in (clock, sealing):
            assert one.now().lower < TODAY + timedelta(minutes=1)
        house.stop()

    asyncio.run(story())


def test_a_gate_that_lost_its_floor_takes_the_time_back_from_its_own_checkpoint(tmp_path: Path) -> None:
    """Also when that is years after the program was made."""

    async def story() -> None:
        house = House(tmp_path)
        late = BUILT_AT + timedelta(days=900)
        house.clock.raise_floor(late, own=True)
        await house.lived(1)
        house.stop()
        (house.settings.paths.journal.parent / "clock-floor").unlink()
        house.start()
        assert time_sealed(house.settings, house.checkpoints.last(), house.clock, house.log) is None
        assert house.clock.now().lower >= late
        house.stop()

    asyncio.run(story())


def test_time_is_set_anew_with_an_epoch_and_no_older_checkpoint_takes_it_back(tmp_path: Path) -> None:
    async def story() -> None:
        house = House(tmp_path)
        house.clock.raise_floor(WRONG, own=True)
        await house.lived(3)
        last = house.checkpoints.last()
        assert last is not None
        assert await house.begin("false time", time=TODAY) == 2
        assert house.opening().fields["time"] == int(TODAY.timestamp())
        assert house.opening().wall_ms < (TODAY + timedelta(minutes=1)).timestamp() * 1000
        assert time_sealed(house.settings, last, house.clock, house.log) is None
        assert house.clock.now().lower < TODAY + timedelta(minutes=1)
        seal = SystemClock(house.settings.clock, house.settings.paths.checkpoints.parent / "clock-floor")
        assert seal.now().lower < TODAY + timedelta(minutes=1)
        sealed = await house.seal()
        assert sealed.head.at_s < TODAY.timestamp() + 60
        time_sealed(house.settings, sealed, house.clock, house.log)
        assert house.clock.now().lower < TODAY + timedelta(minutes=1)
        with pytest.raises(DeviceError, match="made later than that"):
            await house.begin("a slip", time=BUILT_AT - timedelta(days=1))
        house.start()
        house.stop()

    asyncio.run(story())


@pytest.mark.parametrize("confirmed", [True, False])
def test_a_false_time_that_trust_said_does_not_come_back_with_it(tmp_path: Path, confirmed: bool) -> None:
    """Neither from what lies at a gate that is offline, nor as a floor under what is signed rightly afterwards."""
    house, office = House(tmp_path), Office.begin(tmp_path / "office", "demo")
    trust = replace(house.settings.trust, anchor=tmp_path / "root.json", roots=(office.list_key(),))
    settings = house.settings = replace(house.settings, trust=trust)
    before, false, right = (TODAY + timedelta(days=days) for days in (-1, 60, 1))
    store, gate = TrustStore(settings.paths.trust), settings.paths.journal.parent
    office.publish(before)

    def signed(generation: int, at: datetime) -> None:
        """Only the confirmation is signed each day; a list when something in it changes."""
        if not confirmed:
            public = ed25519.Ed25519PrivateKey.generate().public_key()
            pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            office.book.add_issuer(f"https://{generation}.example", {"keys": [{"public": pem.decode(), "kids": ["k"]}]})
        office.publish(at)
        files = office.lists.files()
        store.commit(Stored(generation, files=files if confirmed else {MAIN: files[MAIN]}))

    def opened() -> datetime | None:
        """When the gate takes its trust to have been signed, after a start."""
        standing = GateStanding(trust_of(settings, gate), house.log, house.checkpoints, house.clock)
        assert standing.trustfile.reload()
        asyncio.run(trust_changed(standing, house.clock, house.journal, None))
        known = standing.trust()
        assert known is not None
        return known.issued_at

    house.clock.raise_floor(TODAY)
    signed(1, false)
    assert opened() == false
    assert house.clock.now().lower >= false
    asyncio.run(house.begin("false time", time=TODAY))
    assert opened() == (before if confirmed else None)
    assert house.clock.now().lower < TODAY + timedelta(minutes=10)
    said = "signed with a false time" if confirmed else "issued at a time that was called false"
    assert any(said in found.said for found in trust_known(settings))
    signed(2, right)
    assert opened() == right
    assert right <= house.clock.now().lower < right + timedelta(minutes=10)
    store.close()
    house.stop()


def test_what_the_collector_signed_before_time_was_set_anew_is_not_new(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.stop()
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "collector.pem").write_bytes(public)
    mqtt = replace(house.settings.mqtt, enabled=True, collector_key=tmp_path / "collector.pem")
    settings = replace(house.settings, mqtt=mqtt)
    settings.paths.witnessed.parent.mkdir(parents=True, exist_ok=True)
    ack = Ack(house.origin, 1, 3, bytes(32), 0, b"x", int(WRONG.timestamp()))
    settings.paths.witnessed.write_bytes(sign(ack, key))
    assert Witness(settings).signed_at(1) == WRONG
    assert Witness(settings).signed_at(2) is None


@pytest.mark.parametrize(("source", "said"), [("system", "edge audit anew --time"), ("floor", "clock.source = system")])
def test_a_technician_is_told_what_helps_a_clock_that_is_not_believed(
    tmp_path: Path, source: Literal["system", "floor"], said: str
) -> None:
    house = House(tmp_path)
    house.clock.raise_floor(datetime.now(UTC) + timedelta(days=3650), own=True)
    house.stop()
    (finding,) = clock_of(replace(house.settings, clock=Clock(source, 5.0)))
    assert "only a floor" in finding.said
    assert said in finding.remedy
