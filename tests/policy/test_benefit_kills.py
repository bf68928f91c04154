"""A benefit point is killed at every step of handing out, seeded: nobody receives twice, and no reservation is lost.

One process forks a point for each life and kills it before the n-th thing that it does: a statement to SQLite, a look
at the dispenser's count, its lock, a portion on its way out. The dispenser also jams, is opened, and gives late; what
is stuck stays stuck through any number of kills, and comes loose when somebody mends it.
Portions fall outside of what can be killed: into a file of the test. A dispenser without a count of its own is killed
too: nobody receives twice, and what nobody is sure of says so.

In full, 1,000 kills: ``pytest tests/policy/test_benefit_kills.py -m slow``.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from edge.audit.entry import Event, Kind
from edge.benefit import Benefit
from edge.devices.journal import Follower, SqliteJournal
from edge.doorway import Doorway
from edge.errors import DeviceError
from edge.passage import DISPENSER, Indication, Sensed
from edge.policy.ledger import Ledger, LedgerKey
from edge.ports import Receipt
from edge.trust.cycles import Cycle
from edge.trust.interval import ClockState, Interval

ROOT = Path(__file__).resolve().parents[2]
ORIGIN = "urn:gate:test:site:point"
LIVES = 100
"""Kills on one log; then a new one, so that reading it stays quick."""
PEOPLE = [f"person {number}".encode() for number in range(150)]
CYCLE = Cycle("rice", "2026-11", 3, 1, datetime(2027, 1, 1, tzinfo=UTC))
KEY = LedgerKey(1, bytes(32))
MARKS = {KEY.mark(person, CYCLE): person for person in PEOPLE}
STEPS = 150
LOOSE = (Sensed.PORTION, Sensed.FAULT_OVER)
STORIES: dict[str, tuple[tuple[float, Sensed], ...]] = {
    "gives": ((0.0, Sensed.PORTION),),
    "gives late": ((0.008, Sensed.PORTION),),
    "gives nothing": (),
    "jams": ((0.0, Sensed.FAULT), (0.02, Sensed.FAULT_OVER)),
    "jams, and it falls": ((0.0, Sensed.FAULT), (0.005, Sensed.PORTION), (0.006, Sensed.FAULT_OVER)),
    "jams and is well again, and it falls": ((0.0, Sensed.FAULT), (0.002, Sensed.FAULT_OVER), (0.005, Sensed.PORTION)),
    "jams late, and it falls": ((0.006, Sensed.FAULT), (0.008, Sensed.PORTION), (0.009, Sensed.FAULT_OVER)),
    "jams, and it falls when somebody clears it": ((0.0, Sensed.FAULT), *((0.03, end) for end in LOOSE)),
    "jams late, and it falls when somebody clears it": ((0.006, Sensed.FAULT), *((0.03, end) for end in LOOSE)),
    "is opened": ((0.0, Sensed.DOOR_OPEN), (0.02, Sensed.DOOR_CLOSED)),
    "is opened, and it falls": ((0.0, Sensed.DOOR_OPEN), (0.005, Sensed.PORTION), (0.006, Sensed.DOOR_CLOSED)),
}
"""What the dispenser does when it is enabled, and so many seconds later; the held time is 0.012 s."""


class FloorClock:
    """A second passes with every look."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 11, 4, 12, tzinfo=UTC)

    def now(self) -> Interval:
        self.moment += timedelta(seconds=1)
        return Interval(self.moment, None, ClockState.FLOOR)

    def raise_floor(self, moment: datetime) -> None:
        pass

    def monotonic(self) -> float:
        return self.moment.timestamp() % 10000


class Doom:
    """Counts steps, and kills this process at the one that was drawn."""

    def __init__(self, at: int) -> None:
        self.left = at

    def step(self, _: object = None) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def connect(self, path: Path) -> sqlite3.Connection:
        file = sqlite3.connect(path, timeout=2.0, isolation_level=None, check_same_thread=False)
        file.set_trace_callback(self.step)
        return file


class World:
    """The dispenser behind a doorway: what fell out of it, and to whom, is in a file; its own count is their number.

    It is the doorway's lock, panel and sensors. What it does when it is enabled is one of ``STORIES``.
    """

    def __init__(self, place: Path, doom: Doom, blind: bool) -> None:
        self._blind = blind
        self._file = os.open(place, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        self._place, self._doom = place, doom
        self.before_it, self.story = b"", "gives"
        self.happened: Callable[[Sensed], None] = lambda _: None
        self._stuck = place.with_name("stuck")

    def counted(self) -> int | None:
        self._doom.step()
        return None if self._blind else len(self._place.read_bytes().splitlines())

    def unlock(self, receipt: Receipt) -> None:
        assert receipt.kind is Kind.GRANTED
        self._doom.step()
        loop = asyncio.get_running_loop()
        for after_s, sensed in STORIES[self.story]:
            loop.call_later(after_s, self._tell, sensed)

    def starts(self) -> None:
        """What is stuck since another life is told at once, and cleared a little later."""
        if self._stuck.exists():
            self.before_it = self._stuck.read_bytes()
            self.happened(Sensed.FAULT)
            for end in LOOSE:
                asyncio.get_running_loop().call_later(0.05, self._tell, end)

    def _tell(self, sensed: Sensed) -> None:
        if sensed is Sensed.FAULT and any(each is Sensed.PORTION for _, each in STORIES[self.story]):
            self._stuck.write_bytes(self.before_it)
        if sensed is Sensed.PORTION:
            os.write(self._file, self.before_it + b"\n")
            self._stuck.unlink(missing_ok=True)
        self._doom.step()
        self.happened(sensed)

    def lock(self) -> None:
        self._doom.step()

    def show(self, indication: Indication) -> None:
        pass

    async def sensed(self) -> AsyncIterator[Sensed]:
        await asyncio.Event().wait()
        yield Sensed.FAULT

    def unlock_exit(self, receipt: Receipt) -> None:
        raise AssertionError("there is no second door")

    lock_exit = free_exit = lock


async def serve(folder: Path, doom: Doom, chance: random.Random, visits: list[bytes], tell: int, blind: bool) -> None:
    """One life of the point: what is unfinished, then a few people. Each reservation is told when it is on disk."""
    journal = SqliteJournal.open(folder / "journal.db", ORIGIN, "point", FloorClock(), None, doom.connect)
    world = World(folder / "portions", doom, blind)
    door = Doorway(world, world, world, journal, FloorClock(), release_s=0.004, held_s=0.012, plan=DISPENSER)
    world.happened = door.happened
    log = Follower(folder / "journal.db")
    benefit = Benefit(journal, world, door, lambda: Ledger(log.entries(0, 1 << 20)))
    world.starts()
    while not await mended(benefit) or door.alarmed:  # noqa: ASYNC110 -- somebody mends it
        await asyncio.sleep(0.002)
    for person in visits:
        mark = KEY.mark(person, CYCLE)
        if (await benefit.ledger()).benefit(mark) != "free":
            continue
        grant = await journal.append(Event(Kind.GRANTED, {"reason": None}))
        world.before_it, world.story = person, chance.choice(["gives"] * 5 + [*STORIES])
        outcome = await benefit.hand_out(grant, mark, CYCLE)
        os.write(tell, b"1")
        await journal.append(Event(outcome, {"visit": grant.index}))
        while not door.is_clear():  # noqa: ASYNC110 -- somebody mends it
            await asyncio.sleep(0.002)


async def mended(benefit: Benefit) -> bool:
    """Whether the point may finish what is unfinished, and serve."""
    try:
        await benefit.opened(CYCLE)
    except DeviceError:
        return False
    return True


def one_life(
    folder: Path, chance: random.Random, at: int, visits: list[bytes], blind: bool = False
) -> tuple[int, bool]:
    """Fork, let it serve, see it killed; how many visits it finished, and whether it was killed."""
    seed = chance.random()
    seeing, telling = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(seeing)
        asyncio.run(serve(folder, Doom(at), random.Random(seed), visits, telling, blind))
        os._exit(0)
    os.close(telling)
    _, status = os.waitpid(child, 0)
    told = b""
    while more := os.read(seeing, 4096):
        told += more
    os.close(seeing)
    return len(told), os.WIFSIGNALED(status)


def portions(folder: Path) -> Counter[bytes]:
    """Who got how many."""
    place = folder / "portions"
    return Counter(place.read_bytes().splitlines()) if place.exists() else Counter()


def one_log(folder: Path, chance: random.Random, lives: int) -> tuple[int, int]:
    """Many lives on one log, then one that nobody kills; kills and finished visits."""
    kills = finished = 0
    for _ in range(lives):
        told, killed = one_life(folder, chance, chance.randint(1, STEPS), chance.sample(PEOPLE, 6))
        kills, finished = kills + killed, finished + told
        assert max(portions(folder).values(), default=0) <= 1, "somebody received twice"
    one_life(folder, chance, 0, [])
    fallen, log = portions(folder), Follower(folder / "journal.db")
    entries = log.entries(0, 1 << 20)
    log.close()
    reserved = {entry.index for entry in entries if entry.kind is Kind.RESERVATION}
    ends = Counter(entry.fields["reservation"] for entry in entries if entry.kind in (Kind.COMMIT, Kind.RELEASE))
    assert set(ends) == reserved and set(ends.values()) <= {1}, "a reservation is lost, or ends twice"
    assert len(reserved) >= finished, "an acknowledged visit is not in the log"
    received = [MARKS[bytes(e.fields["mark"])] for e in entries if e.kind is Kind.COMMIT]  # type: ignore[arg-type] # bytes
    assert Counter(received) == fallen, "the ledger and the dispenser disagree"
    for _ in range(40):  # everybody who turned back or was interrupted still gets it, once
        one_life(folder, chance, 0, PEOPLE)
        if set(portions(folder)) == set(PEOPLE):
            break
    assert portions(folder) == Counter(PEOPLE), "a benefit is lost"
    return kills, finished


def blind_log(folder: Path, chance: random.Random, lives: int) -> str:
    """The same with a dispenser that has no count: who is not sure to have received is in the log as just that."""
    kills = sum(
        one_life(folder, chance, chance.randint(1, STEPS), chance.sample(PEOPLE, 6), True)[1] for _ in range(lives)
    )
    one_life(folder, chance, 0, [], True)
    fallen, log = portions(folder), Follower(folder / "journal.db")
    commits = [entry for entry in log.entries(0, 1 << 20) if entry.kind is Kind.COMMIT]
    log.close()
    assert max(fallen.values()) <= 1, "somebody received twice"
    marked = {MARKS[bytes(e.fields["mark"])]: e.fields["sure"] for e in commits}  # type: ignore[arg-type] # bytes
    assert set(fallen) <= set(marked), "a portion that the ledger does not know"
    assert all(sure is False for person, sure in marked.items() if person not in fallen), "sure without a portion"
    unsure = sum(sure is False for sure in marked.values())
    return f"{kills} kills without a count, {len(fallen)} portions, {unsure} unsure, 0 double benefits"


def run_rounds(place: Path, seed: int, wanted: int) -> str:
    """Until so many were killed; returns a sentence."""
    chance, kills, finished, logs = random.Random(seed), 0, 0, 0
    while kills < wanted:
        folder = place / str(logs)
        folder.mkdir()
        more, done = one_log(folder, chance, min(LIVES, wanted - kills))
        kills, finished, logs = kills + more, finished + done, logs + 1
    folder = place / "blind"
    folder.mkdir()
    blind = blind_log(folder, chance, min(LIVES, wanted // 2))
    return f"{blind}; {kills} kills on {logs} logs, {finished} visits finished, 0 double benefits, 0 lost reservations"


def campaign(wanted: int, within_s: float) -> str:
    """A process of its own: threads of other tests do not survive a fork."""
    with TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as place:
        done = subprocess.run(
            [sys.executable, str(Path(__file__)), place, str(wanted)],
            capture_output=True,
            text=True,
            timeout=within_s,
            cwd=ROOT,
        )
    assert done.returncode == 0, done.stderr
    sys.stdout.write(f"\nbenefit: {done.stdout.strip()}\n")
    return done.stdout


def test_killed_at_every_step_nobody_receives_twice_and_nobody_is_forgotten() -> None:
    assert ", 0 double benefits, 0 lost" in campaign(40, 280)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_same_a_thousand_times() -> None:
    assert ", 0 double benefits, 0 lost" in campaign(1000, 880)


if __name__ == "__main__":
    sys.stdout.write(run_rounds(Path(sys.argv[1]), 20261122, int(sys.argv[2])) + "\n")
