"""The power goes at any moment: nothing acknowledged is lost, and the log goes on.

The journal and the checkpoints write through a file system layer that notes every write, truncation and flush. Then
the power goes after an operation drawn by a seed: what was flushed is there; of the rest nothing, a beginning, a mix of
512-byte sectors, or all. Each such disk is opened as the gate would open it after the power is back.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import pytest

from edge.audit.entry import Entry, Event, Kind, decode
from edge.audit.sealing import SealingPolicy
from edge.audit.tree import Frontier, consistency, leaf_hash, root_of
from edge.devices.checkpoints import SqliteCheckpoints
from edge.devices.journal import Follower, LastHead, SqliteJournal
from edge.devices.leaves import nodes
from edge.devices.simulated_token import SimulatedToken
from edge.ports import Log
from edge.sealer import Sealer
from edge.trust.interval import ClockState, Interval

apsw = pytest.importorskip("apsw")

ORIGIN = "urn:gate:test:site:gate"
IMAGES = 2000
SECTOR = 512
ENTRIES = 90


class FloorClock:
    """A second passes with every look."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 5, 4, 12, tzinfo=UTC)

    def now(self) -> Interval:
        self.moment += timedelta(seconds=1)
        return Interval(self.moment, None, ClockState.FLOOR)

    def raise_floor(self, moment: datetime) -> None:
        pass

    def monotonic(self) -> float:
        return self.moment.timestamp() % 10000


@dataclass
class Disk:
    """What was done to the files, in order: (file, operation, place, bytes)."""

    done: list[tuple[str, str, int, bytes]] = field(default_factory=list)
    acknowledged: list[tuple[int, int]] = field(default_factory=list)  # after so many operations, so many entries
    sealed: list[tuple[int, int]] = field(default_factory=list)

    def note(self, name: str, operation: str, place: int = 0, content: bytes = b"") -> None:
        if not name.endswith("-shm"):
            self.done.append((Path(name).name, operation, place, content))


def recording(disk: Disk, name: str) -> Any:
    """A file system layer that passes everything on and notes it."""

    class NotedFile(apsw.VFSFile):  # type: ignore[misc, name-defined]
        def __init__(self, path: Any, flags: Any) -> None:
            self.path = path.filename() if isinstance(path, apsw.URIFilename) else path
            super().__init__("", path, flags)

        def xWrite(self, content: bytes, place: int) -> None:  # noqa: N802 -- SQLite's name
            super().xWrite(content, place)
            disk.note(self.path, "write", place, bytes(content))

        def xTruncate(self, size: int) -> None:  # noqa: N802 -- SQLite's name
            super().xTruncate(size)
            disk.note(self.path, "truncate", size)

        def xSync(self, flags: int) -> None:  # noqa: N802 -- SQLite's name
            super().xSync(flags)
            disk.note(self.path, "sync")

    class NotedDisk(apsw.VFS):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__(name, base="")

        def xOpen(self, path: Any, flags: list[int]) -> Any:  # noqa: N802 -- SQLite's name
            return NotedFile(path, flags)

        def xDelete(self, path: str, sync_directory: bool) -> None:  # noqa: N802 -- SQLite's name
            super().xDelete(path, sync_directory)
            disk.note(path, "delete")

    return NotedDisk()


class SameFile:
    """The log for the sealer, over the journal's own connection: two SQLite libraries must not share a file."""

    def __init__(self, journal: SqliteJournal) -> None:
        self.journal = journal

    def epoch(self) -> int:
        return self.journal.epoch

    def size(self) -> int:
        return self.journal._frontier.size

    def entries(self, first: int, count: int) -> list[Entry]:
        assert self.journal._file is not None
        query = "SELECT entry FROM leaf WHERE ix >= ? AND ix < ? ORDER BY ix"
        return [decode(row[0]) for row in self.journal._file.execute(query, (first, first + count))]

    def root(self, size: int) -> bytes:
        assert self.journal._file is not None
        return root_of(size, nodes(self.journal._file))

    def consistency(self, older: int, newer: int) -> tuple[bytes, ...]:
        assert self.journal._file is not None
        return consistency(older, newer, nodes(self.journal._file))


@dataclass
class Recorded:
    """One run: what reached the disk, and the root of the tree at each size."""

    disk: Disk
    roots: list[bytes]


def record(folder: Path, synchronous: str) -> Recorded:
    """Write, seal and restart on a noted disk."""
    disk = Disk()
    layer = recording(disk, f"noted-{synchronous}")

    def connect(path: Path) -> sqlite3.Connection:
        file = apsw.Connection(str(path), vfs=f"noted-{synchronous}")
        file.execute("PRAGMA wal_autocheckpoint = 12")
        return cast(sqlite3.Connection, file)

    async def told() -> None:
        clock, token = FloorClock(), SimulatedToken(ORIGIN)
        checkpoints = SqliteCheckpoints(folder / "checkpoints.db", connect)
        count = 0
        for boot in range(3):
            last = LastHead.of(checkpoints.last())
            journal = SqliteJournal.open(folder / "journal.db", ORIGIN, "gate", clock, last, connect)
            assert journal._file is not None
            if synchronous != "FULL":  # what the product sets is what is tested
                journal._file.execute(f"PRAGMA synchronous = {synchronous}")
            log = cast(Log, SameFile(journal))
            sealer = Sealer(ORIGIN, SealingPolicy(), log, checkpoints, token, clock)
            while count < (boot + 1) * ENTRIES // 3:
                batch = 1 if count % 10 else 3
                receipts = await journal.append_all([Event(Kind.DENIED, {"n": count})] * batch)
                count = receipts[-1].index + 1
                disk.acknowledged.append((len(disk.done), count))
                if count % 7 == 0:
                    await sealer.seal()
                    disk.sealed.append((len(disk.done), count))
            journal.close()
        checkpoints.close()

    asyncio.run(told())
    frontier, roots = Frontier(), [Frontier().root()]
    follower = Follower(folder / "journal.db")
    for entry in follower.read(0, 1000):
        frontier, _ = frontier.append(leaf_hash(entry))
        roots.append(frontier.root())
    follower.close()
    del layer
    return Recorded(disk, roots)


class Platter:
    """The files as they are on the disk for sure, and what may or may not have reached it."""

    def __init__(self) -> None:
        self.flushed: dict[str, bytearray] = {}
        self.waiting: dict[str, list[tuple[str, int, bytes]]] = {}

    def do(self, name: str, operation: str, place: int, content: bytes) -> None:
        if operation == "sync":
            for waiting in self.waiting.pop(name, []):
                self.apply(self.flushed, name, *waiting)
            self.flushed.setdefault(name, bytearray())
        elif operation == "delete":
            self.flushed.pop(name, None)
            self.waiting.pop(name, None)
        else:
            self.waiting.setdefault(name, []).append((operation, place, content))

    @staticmethod
    def apply(files: dict[str, bytearray], name: str, operation: str, place: int, content: bytes) -> None:
        file = files.setdefault(name, bytearray())
        if operation == "truncate":
            del file[place:]
            return
        if len(file) < place:
            file.extend(bytes(place - len(file)))
        file[place : place + len(content)] = content

    def after_the_cut(self, chance: random.Random) -> dict[str, bytearray]:
        """One disk that the power cut may leave behind."""
        files = {name: bytearray(content) for name, content in self.flushed.items()}
        for name, waiting in self.waiting.items():
            how = chance.choice(["none", "beginning", "sectors", "all"])
            kept = waiting[: chance.randint(0, len(waiting))] if how == "beginning" else waiting
            for operation, place, content in kept if how != "none" else ():
                if how != "sectors" or operation == "truncate":
                    self.apply(files, name, operation, place, content)
                    continue
                for start in range(0, len(content), SECTOR):
                    if chance.random() < 0.5:
                        self.apply(files, name, operation, place + start, content[start : start + SECTOR])
        return files


def crashes(recorded: Recorded, images: int, seed: int) -> Iterator[tuple[int, dict[str, bytearray]]]:
    """So many disks, with the number of operations before the cut."""
    chance = random.Random(seed)
    cuts = sorted(chance.randint(1, len(recorded.disk.done)) for _ in range(images))
    platter, done = Platter(), 0
    for cut in cuts:
        for step in recorded.disk.done[done:cut]:
            platter.do(*step)
        done = cut
        yield cut, platter.after_the_cut(chance)


def found_after(cut: int, files: dict[str, bytearray], recorded: Recorded, folder: Path) -> str:
    """Open the disk as the gate does, and say in a word how it is."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    acknowledged = max((size for at, size in recorded.disk.acknowledged if at <= cut), default=0)
    sealed = max((size for at, size in recorded.disk.sealed if at <= cut), default=0)
    checkpoints = SqliteCheckpoints(folder / "checkpoints.db")
    journal = None
    try:
        last = checkpoints.last()
        if (last.head.size if last else 0) < sealed:
            return "lost a checkpoint"
        journal = SqliteJournal.open(folder / "journal.db", ORIGIN, "gate", FloorClock(), LastHead.of(last))
        if journal.epoch != 1:
            return "damaged"
        if journal._frontier.size < acknowledged:
            return "lost acknowledged entries"
        if journal._frontier.root() != recorded.roots[journal._frontier.size]:
            return "changed"
        receipt = journal._append([Event(Kind.BOOT)], 0.0)[0]
        return "good" if receipt.index + 1 == journal._frontier.size else "cannot go on"
    finally:
        if journal is not None:
            journal.close()
        checkpoints.close()


def outcomes(tmp_path: Path, synchronous: str, images: int, seed: int = 20260504) -> Counter[str]:
    recorded = record(tmp_path, synchronous)
    counted: Counter[str] = Counter()
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as place:
        for number, (cut, files) in enumerate(crashes(recorded, images, seed)):
            folder = Path(place) / str(number)
            folder.mkdir()
            counted[found_after(cut, files, recorded, folder)] += 1
            shutil.rmtree(folder)
    return counted


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    def said(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{line}\n")

    return said


def test_no_power_cut_loses_an_acknowledged_entry(tmp_path: Path, say: Callable[[str], None]) -> None:
    counted = outcomes(tmp_path, "FULL", IMAGES)
    say(f"power cut, synchronous=FULL: {dict(counted)}")
    assert counted == {"good": IMAGES}


def test_the_same_power_cuts_show_that_normal_is_not_enough(tmp_path: Path, say: Callable[[str], None]) -> None:
    counted = outcomes(tmp_path, "NORMAL", 200)
    say(f"power cut, synchronous=NORMAL: {dict(counted)}")
    assert counted["lost acknowledged entries"] > 0
    assert counted["good"] < 200
