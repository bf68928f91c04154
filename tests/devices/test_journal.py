"""The journal: durable, checked at every start, never repaired."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge.audit.entry import Event, Kind, Quality
from edge.audit.tree import EMPTY, leaf_hash, root_of_entries, verify_consistency, verify_inclusion
from edge.devices.journal import Follower, LastHead, SqliteJournal
from edge.devices.simulated import SimulatedJournal
from edge.errors import DeviceError
from edge.ports import Receipt
from edge.trust.interval import ClockState, Interval

ORIGIN = "urn:gate:test:site:gate"
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


class StoppedClock:
    """It is always noon."""

    def now(self) -> Interval:
        return Interval(NOON, None, ClockState.FLOOR)

    def raise_floor(self, moment: datetime) -> None:
        pass

    def monotonic(self) -> float:
        return 7.5


def opened(path: Path, last: LastHead | None = None) -> SqliteJournal:
    return SqliteJournal.open(path, ORIGIN, "gate", StoppedClock(), last)


def write(journal: SqliteJournal, count: int) -> None:
    for number in range(count):
        asyncio.run(journal.append(Event(Kind.DENIED, {"reason": "expired", "number": number})))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def written(path: Path) -> Path:
    """A log of 20 entries, closed."""
    journal = opened(path)
    write(journal, 20)
    journal.close()
    return path


@pytest.fixture
def follower(path: Path) -> Iterator[Follower]:
    follower = Follower(path, poll_s=0.01)
    yield follower
    follower.close()


def head_of(path: Path, size: int) -> LastHead:
    follower = Follower(path)
    try:
        return LastHead(follower.epoch(), size, follower.root(size), bytes(32))
    finally:
        follower.close()


def test_an_entry_has_its_place_and_time(path: Path, follower: Follower) -> None:
    journal = opened(path)
    assert asyncio.run(journal.append(Event(Kind.BOOT))).index == 0
    receipt = asyncio.run(journal.append(Event(Kind.GRANTED, {"score": 9876})))
    journal.close()
    assert receipt.index == 1
    assert receipt.commit_us > 0
    _, entry = follower.entries(0, 10)
    assert (entry.index, entry.epoch, entry.boot, entry.gate, entry.kind) == (1, 1, 1, "gate", Kind.GRANTED)
    assert (entry.wall_ms, entry.quality, entry.monotonic_ms) == (int(NOON.timestamp() * 1000), Quality.FLOOR, 7500)
    assert entry.fields == {"score": 9876}


def test_followers_prove_what_they_read(written: Path, follower: Follower) -> None:
    entries = follower.read(0, 100)
    assert len(entries) == follower.size() == 20
    root = root_of_entries(entries)
    assert follower.root(20) == root
    for index, entry in enumerate(entries):
        verify_inclusion(index, 20, leaf_hash(entry), follower.inclusion(index, 20), root)
    for older in range(21):
        verify_consistency(older, 20, root_of_entries(entries[:older]), root, follower.consistency(older, 20))


def test_the_log_goes_on_after_a_restart(written: Path, follower: Follower) -> None:
    journal = opened(written, head_of(written, 20))
    assert (journal.epoch, journal.boot) == (1, 2)
    assert asyncio.run(journal.append(Event(Kind.BOOT))).index == 20
    journal.close()
    assert follower.entries(20, 1)[0].boot == 2
    assert follower.root(21) == root_of_entries(follower.read(0, 100))


def test_a_batch_is_written_in_one_commit_or_not_at_all(path: Path, follower: Follower) -> None:
    journal = opened(path)
    receipts = asyncio.run(journal.append_all([Event(Kind.DENIED)] * 5))
    assert [receipt.index for receipt in receipts] == [0, 1, 2, 3, 4]
    with pytest.raises(DeviceError):
        asyncio.run(journal.append_all([Event(Kind.DENIED), Event(Kind.DENIED, {"score": 0.5})]))  # type: ignore[dict-item]
    assert asyncio.run(journal.append(Event(Kind.DENIED))).index == 5
    journal.close()
    assert follower.size() == 6


def test_there_is_no_log_before_the_gate_ran(follower: Follower) -> None:
    assert (follower.epoch(), follower.size(), follower.read(0, 5)) == (0, 0, [])
    with pytest.raises(DeviceError):
        follower.root(0)


def test_followers_hear_of_new_entries(path: Path, follower: Follower) -> None:
    async def story() -> list[int]:
        journal = opened(path)
        await journal.append(Event(Kind.BOOT))
        heard = []

        async def listen() -> None:
            async for entry in follower.follow(0):
                heard.append(entry.index)
                if len(heard) == 5:
                    return

        listening = asyncio.create_task(listen())
        for _ in range(4):
            await journal.append(Event(Kind.DENIED))
        await asyncio.wait_for(listening, 60)
        journal.close()
        return heard

    assert asyncio.run(story()) == [0, 1, 2, 3, 4]


def test_absurd_numbers_of_epochs_keep_no_gate_from_starting(path: Path) -> None:
    path.with_name(f"journal.epoch-{10**30}.0.db").touch()
    journal = opened(path)
    write(journal, 3)
    journal.close()
    with sqlite3.connect(path) as file:
        file.execute("UPDATE log SET epoch = 9223372036854775807")
        file.execute("UPDATE leaf SET entry = x'00' WHERE ix = 1")
    file.close()
    again = opened(path, LastHead(1, 2, bytes(32), bytes(32)))
    assert again.epoch == 2
    again.close()


def test_pruning_goes_on_behind_entries_that_are_never_pruned(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A benefit point's ledger stays: it must not hide what comes after it."""
    monkeypatch.setattr("edge.devices.journal._PRUNED_AT_ONCE", 10)
    journal = opened(path)
    asyncio.run(journal.append_all([Event(Kind.COMMIT, {"visit": 1})] * 35))
    write(journal, 12)

    async def pruned() -> list[int]:
        found = []
        while (receipt := await journal.prune(below=47, sealed=47)) is not None:
            found.append(receipt.index)
        return found

    assert asyncio.run(pruned()) == [47, 48]
    log = Follower(path)
    assert [index for index, (entry, _) in enumerate(log.rows(0, 49)) if entry is None] == list(range(35, 47))
    asyncio.run(journal.append_all([Event(Kind.DENIED)] * 3))
    assert asyncio.run(journal.prune(below=52, sealed=52)) is not None
    assert log.read(49, 3) == []
    log.close()
    journal.close()


def test_a_follower_goes_on_behind_what_was_pruned(written: Path, follower: Follower) -> None:
    journal = opened(written)
    assert asyncio.run(journal.prune(below=18, sealed=20)) is not None

    async def story() -> list[int]:
        heard = []
        async for entry in follower.follow(0):
            heard.append(entry.index)
            if len(heard) == 3:
                return heard
        return heard

    assert asyncio.run(asyncio.wait_for(story(), 60)) == [18, 19, 20]
    journal.close()


def damage_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096)


def change_entry(path: Path) -> None:
    with sqlite3.connect(path) as file:
        file.execute("UPDATE leaf SET entry = CAST(replace(entry, 'expired', 'granted') AS BLOB) WHERE ix = 19")
    file.close()


def delete_entry(path: Path) -> None:
    with sqlite3.connect(path) as file:
        file.execute("DELETE FROM leaf WHERE ix = 10")
    file.close()


def not_a_database(path: Path) -> None:
    path.write_bytes(b"hello" * 5000)


def truncated(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(6000)


@pytest.mark.parametrize("harm", [damage_page, change_entry, delete_entry, not_a_database, truncated])
def test_a_damaged_log_is_kept_and_a_new_epoch_names_the_last_head(harm, written: Path, follower: Follower) -> None:  # type: ignore[no-untyped-def]
    last = head_of(written, 20)
    harm(written)
    evidence = written.read_bytes()
    journal = opened(written, last)
    assert journal.epoch == 2
    journal.close()
    (kept,) = written.parent.glob("journal.epoch-*.db")
    assert len(kept.read_bytes()) == len(evidence)
    (entry,) = follower.entries(0, 5)
    assert entry.kind is Kind.EPOCH_OPEN
    assert (entry.fields["size"], entry.fields["root"], entry.fields["kept"]) == (20, last.root, kept.name)


def test_a_log_older_than_its_last_checkpoint_opens_a_new_epoch(written: Path, follower: Follower) -> None:
    older = written.with_name("older")
    shutil.copy(written, older)
    journal = opened(written)
    write(journal, 5)
    journal.close()
    last = head_of(written, 25)
    shutil.copy(older, written)
    journal = opened(written, last)
    assert journal.epoch == 2
    journal.close()
    assert "older" in str(follower.entries(0, 1)[0].fields["why"])


def test_a_log_rewritten_below_its_last_checkpoint_opens_a_new_epoch(written: Path, follower: Follower) -> None:
    journal = opened(written, LastHead(1, 20, EMPTY, bytes(32)))
    assert journal.epoch == 2
    journal.close()
    assert "rewritten" in str(follower.entries(0, 1)[0].fields["why"])


def test_a_deleted_log_opens_a_new_epoch(written: Path) -> None:
    last = head_of(written, 20)
    written.unlink()
    journal = opened(written, last)
    assert journal.epoch == 2
    journal.close()


def test_a_follower_notices_a_new_epoch(written: Path, follower: Follower) -> None:
    assert follower.epoch() == 1
    last = head_of(written, 20)
    not_a_database(written)
    journal = opened(written, last)
    journal.close()
    assert (follower.epoch(), follower.size()) == (2, 1)


def test_the_log_of_another_gate_is_refused(written: Path) -> None:
    with pytest.raises(DeviceError, match="is the log of"):
        SqliteJournal.open(written, "urn:gate:test:site:other", "other", StoppedClock())


def test_a_full_disk_stops_the_gate_and_space_lets_it_go_on(path: Path, follower: Follower) -> None:
    journal = opened(path)
    write(journal, 3)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    wal = path.with_name(path.name + "-wal")
    resource.setrlimit(resource.RLIMIT_FSIZE, (wal.stat().st_size, limits[1]))
    try:
        for _ in range(3):
            with pytest.raises(DeviceError) as caught:
                asyncio.run(journal.append(Event(Kind.DENIED)))
            assert caught.value.device == "journal"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert asyncio.run(journal.append(Event(Kind.DENIED))).index == 3
    journal.close()
    assert follower.root(4) == root_of_entries(follower.read(0, 10))


def test_a_log_that_disappears_is_not_made_anew_behind_the_gate(written: Path) -> None:
    journal = opened(written)
    journal._drop()
    written.unlink()
    for _ in range(2):
        with pytest.raises(DeviceError, match="missing"):
            asyncio.run(journal.append(Event(Kind.DENIED)))
    journal.close()
    assert not written.exists()


def test_a_place_that_cannot_be_written_is_a_device_error(tmp_path: Path) -> None:
    with pytest.raises(DeviceError):
        opened(tmp_path / "absent" / "journal.db")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DeviceError):
        opened(tmp_path / "folder")


WRITER = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import importlib.util
spec = importlib.util.spec_from_file_location("helper", sys.argv[3])
helper = importlib.util.module_from_spec(spec); spec.loader.exec_module(helper)
from edge.audit.entry import Event, Kind
async def run():
    journal = helper.opened(Path(sys.argv[1]))
    while True:
        receipt = await journal.append(Event(Kind.DENIED))
        print(receipt.index, flush=True)
asyncio.run(run())
"""


def test_nothing_acknowledged_is_lost_when_the_writer_is_killed(path: Path, follower: Follower) -> None:
    root = str(Path(__file__).parents[2])
    for _ in range(3):
        command = [sys.executable, "-c", WRITER, str(path), root, __file__]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        acknowledged = [int(writer.stdout.readline()) for _ in range(25)][-1]
        os.kill(writer.pid, signal.SIGKILL)
        rest, _ = writer.communicate()
        acknowledged = max([acknowledged, *(int(line) for line in rest.splitlines())])
        assert follower.size() > acknowledged
    journal = opened(path)
    assert journal.epoch == 1
    journal.close()
    size = follower.size()
    assert [entry.index for entry in follower.entries(0, size)] == list(range(size))
    assert follower.root(size) == root_of_entries(follower.read(0, size))


def test_only_a_journal_says_that_an_entry_is_on_disk() -> None:
    """The lock opens for a receipt of a grant; nobody else may make one."""
    for seal in (None, object()):
        with pytest.raises(TypeError):
            Receipt(0, 0, Kind.GRANTED, seal)
    with pytest.raises(ValueError, match="seal"):
        replace(SimulatedJournal().written(Event(Kind.DENIED)), kind=Kind.GRANTED)  # type: ignore[call-arg] # that is what must not work
    root = Path(__file__).resolve().parents[2]
    using = {str(path.relative_to(root)) for path in root.glob("edge/**/*.py") if "COMMITTED" in path.read_text()}
    assert using == {"edge/ports.py", "edge/devices/journal.py", "edge/devices/simulated.py"}
