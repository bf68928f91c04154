"""Journal and sealer are killed at every step, seeded, 200 times: the log verifies, without a gap and without a double.

One process forks a writer or a sealer for each round and kills it: before the n-th statement that it gives to SQLite,
before or after the token signs, or after a while. What was acknowledged before must be there.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from edge.audit.entry import Event, Kind
from edge.audit.sealing import SealingPolicy
from edge.devices.checkpoints import SqliteCheckpoints
from edge.devices.journal import Follower, LastHead, SqliteJournal
from edge.devices.simulated_token import SimulatedToken
from edge.devices.token import to_pem
from edge.sealer import Sealer
from edge.trust.interval import ClockState, Interval

ROOT = Path(__file__).resolve().parents[2]
ORIGIN = "urn:gate:test:site:gate"
KEY = ec.derive_private_key(12345, ec.SECP256R1())
ROUNDS = 200


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


class DoomedToken(SimulatedToken):
    """Counts the moments before and after each signature too."""

    def __init__(self, doom: Doom) -> None:
        super().__init__(ORIGIN, KEY)
        self.doom = doom

    async def sign(self, statement: bytes) -> bytes:
        self.doom.step()
        signature = await super().sign(statement)
        self.doom.step()
        return signature


async def write(folder: Path, doom: Doom, tell: Callable[[int], None], count: int) -> None:
    """The gate's part: each entry is told after its receipt came."""
    checkpoints = SqliteCheckpoints(folder / "checkpoints.db")
    last = LastHead.of(checkpoints.last())
    journal = SqliteJournal.open(folder / "journal.db", ORIGIN, "gate", FloorClock(), last, doom.connect)
    for number in range(count):
        doom.step()
        receipt = await journal.append(Event(Kind.DENIED, {"n": number}))
        tell(receipt.index + 1)


async def seal(folder: Path, doom: Doom, tell: Callable[[int], None]) -> None:
    """The sealer's part: each checkpoint is told after it was kept."""
    checkpoints = SqliteCheckpoints(folder / "checkpoints.db", doom.connect)
    log, token = Follower(folder / "journal.db"), DoomedToken(doom)
    sealed = await Sealer(ORIGIN, SealingPolicy(), log, checkpoints, token, FloorClock()).seal()
    if sealed is not None:
        tell(sealed.head.size)


def one_life(folder: Path, chance: random.Random, role: str) -> tuple[int, bool]:
    """Fork, let it work, see it killed; returns the last thing it told, and whether it was killed."""
    at, wait_s = chance.randint(1, 70 if role == "gate" else 14), chance.choice([None, None, chance.uniform(0, 0.02)])
    seeing, telling = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(seeing)
        doom = Doom(at if wait_s is None else 0)

        def tell(size: int) -> None:
            os.write(telling, size.to_bytes(4))

        asyncio.run(write(folder, doom, tell, 12) if role == "gate" else seal(folder, doom, tell))
        os._exit(0)
    os.close(telling)
    if wait_s is not None:
        time.sleep(wait_s)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    told = b""
    while more := os.read(seeing, 4096):
        told += more
    os.close(seeing)
    return int.from_bytes(told[-4:]), os.WIFSIGNALED(status)


def run_rounds(folder: Path, seed: int, rounds: int) -> str:
    """All rounds; returns a sentence."""
    chance, acknowledged, sealed, kills = random.Random(seed), 0, 0, 0
    for number in range(rounds):
        role = chance.choice(["gate", "gate", "seal"]) if number else "gate"
        told, killed = one_life(folder, chance, role)
        kills += killed
        if role == "gate":
            acknowledged = max(acknowledged, told)
        else:
            sealed = max(sealed, told)
        log, checkpoints = Follower(folder / "journal.db"), SqliteCheckpoints(folder / "checkpoints.db")
        size, last = log.size(), checkpoints.last()
        assert size >= acknowledged, f"round {number}: {size} entries, {acknowledged} acknowledged"
        assert (last.head.size if last else 0) >= sealed, f"round {number}: a checkpoint is lost"
        assert log.epoch() in (0, 1), f"round {number}: a new epoch"
        log.close()
        checkpoints.close()
    asyncio.run(seal(folder, Doom(0), lambda size: None))
    return f"{rounds} rounds, {kills} kills, {acknowledged} entries acknowledged, {size} in the log"


def test_killed_at_every_step_the_log_still_verifies(capsys: pytest.CaptureFixture[str]) -> None:
    with TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as place:
        folder = Path(place)
        # A process of its own: threads of other tests do not survive a fork.
        done = subprocess.run(
            [sys.executable, str(Path(__file__)), place], capture_output=True, text=True, timeout=200, cwd=ROOT
        )
        assert done.returncode == 0, done.stderr
        (folder / "gate.pem").write_bytes(to_pem(SimulatedToken(ORIGIN, KEY).enrolled))
        command = [sys.executable, "-I", str(ROOT / "scripts" / "verify_log.py"), "--journal", f"{place}/journal.db"]
        command += ["--checkpoints", f"{place}/checkpoints.db", "--key", f"{place}/gate.pem"]
        verified = subprocess.run(command, capture_output=True, text=True, timeout=90)
        with capsys.disabled():
            sys.stdout.write(f"\nkill -9: {done.stdout.strip()}; {verified.stdout.splitlines()[-1]}\n")
        assert (verified.returncode, verified.stderr) == (0, "")
        assert ", 0 not sealed yet" in verified.stdout


if __name__ == "__main__":
    sys.stdout.write(run_rounds(Path(sys.argv[1]), 20260504, ROUNDS) + "\n")
