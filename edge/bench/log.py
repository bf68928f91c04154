"""What the log costs: commits, proofs, opening, verifying and sealing, at a million entries.

one each     entries per second with one commit each, and how long a commit takes to reach the disk
batches      the same with several entries in one commit
million      proofs, memory, opening after an unclean stop, and verification at 1,000,000 entries
sealing      a token that takes 250 ms: sealing by policy beside a signature per entry
"""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.audit.entry import Event, Kind
from edge.audit.sealing import SealingPolicy
from edge.devices.checkpoints import SqliteCheckpoints
from edge.devices.journal import Follower, SqliteJournal
from edge.devices.simulated_token import SimulatedToken
from edge.devices.token import to_pem
from edge.sealer import Sealer
from edge.trust.interval import Interval

if TYPE_CHECKING:
    from rich.console import Console

_TOP = Path(__file__).parents[2]
_ORIGIN = "urn:gate:bench:here:log"
_MILLION = 1_000_000
_EVENT = Event(
    Kind.DENIED,
    {"reason": "no-match", "profile": "bench", "facts": {"score": 9123, "threshold": 9300, "tries": 0}},
    subject=bytes(16),
    issuer=bytes(8),
    trust=(7, 7, 7),
    digests=(bytes(32), bytes(32), bytes(32)),
)


class _Clock:
    """The system's."""

    def now(self) -> Interval:
        return Interval.exactly(datetime.now(UTC))

    def raise_floor(self, moment: datetime) -> None:
        pass

    def monotonic(self) -> float:
        return time.monotonic()


def measure(
    console: Console | None = None, entries: int = _MILLION, folder: Path | None = None, seconds: float = 6.0
) -> dict[str, Any]:
    """All figures, and the targets beside them.

    Args:
        console: told what is being measured.
        entries: of the large log.
        folder: on the disk to measure; None for one of its own in the present directory's file system.
        seconds: of each way of sealing.
    """

    def say(line: str) -> None:
        if console is not None:
            console.print(line)

    with tempfile.TemporaryDirectory(dir=folder or Path.cwd()) as place:
        here = Path(place)
        say("one entry per commit …")
        found: dict[str, Any] = {"one_each": asyncio.run(_one_each(here / "one.db"))}
        say("batches …")
        found["batches_per_s"] = asyncio.run(_batches(here / "batch.db"))
        say(f"{entries:,} entries …")
        found["million"] = asyncio.run(_large(here, entries))
        say("sealing with a token of 250 ms …")
        for name in ("each", "policy"):
            (here / name).mkdir()
        found["sealing"] = asyncio.run(_sealing(here, seconds))
    found["targets"] = _targets(found)
    return found


async def _one_each(path: Path, count: int = 1000) -> dict[str, float]:
    journal = SqliteJournal.open(path, _ORIGIN, "bench", _Clock())
    try:
        for _ in range(20):
            await journal.append(_EVENT)
        written, began = _written(), time.perf_counter()
        took = sorted([(await journal.append(_EVENT)).commit_us for _ in range(count)])
        seconds = time.perf_counter() - began
        return {
            "entries_per_s": round(count / seconds, 1),
            "p50_ms": took[count // 2] / 1000,
            "p99_ms": took[count * 99 // 100] / 1000,
            "bytes_written_per_entry": round((_written() - written) / count),
        }
    finally:
        journal.close()


async def _batches(path: Path) -> dict[str, float]:
    journal = SqliteJournal.open(path, _ORIGIN, "bench", _Clock())
    try:
        found: dict[str, float] = {}
        for size in (4, 16, 64, 256):
            rounds, began = max(10, 2000 // size), time.perf_counter()
            for _ in range(rounds):
                await journal.append_all([_EVENT] * size)
            found[str(size)] = round(size * rounds / (time.perf_counter() - began))
        return found
    finally:
        journal.close()


async def _large(folder: Path, entries: int) -> dict[str, float]:
    path, clock, token = folder / "journal.db", _Clock(), SimulatedToken(_ORIGIN)
    journal = SqliteJournal.open(path, _ORIGIN, "bench", clock)
    resident = _resident_mb()
    for _ in range(entries // 1000):
        await journal.append_all([_EVENT] * 1000)
    grown = _resident_mb() - resident
    log, checkpoints = Follower(path), SqliteCheckpoints(folder / "checkpoints.db")
    await Sealer(_ORIGIN, SealingPolicy(), log, checkpoints, token, clock).seal()
    chance = random.Random(1)  # noqa: S311 -- which proofs are timed
    included = _median_us(lambda: log.inclusion(chance.randrange(entries), entries))
    consistent = _median_us(lambda: log.consistency(chance.randrange(1, entries), entries))
    unclean = folder / "unclean"
    unclean.mkdir()
    for part in (path, path.with_name(path.name + "-wal")):
        shutil.copy(part, unclean / part.name)
    for closing in (log, journal, checkpoints):
        closing.close()
    began = time.perf_counter()
    again = SqliteJournal.open(unclean / path.name, _ORIGIN, "bench", clock)
    opened = time.perf_counter() - began
    again.close()
    return {
        "entries": entries,
        "file_mb": round(path.stat().st_size / 2**20, 1),
        "resident_growth_mb": round(grown, 1),
        "inclusion_proof_us": included,
        "consistency_proof_us": consistent,
        "open_after_unclean_stop_s": round(opened, 3),
        "verify_log_s": _verified_s(folder, token),
    }


def _verified_s(folder: Path, token: SimulatedToken) -> float:
    """Seconds that the independent verifier takes."""
    (folder / "key.pem").write_bytes(to_pem(token.enrolled))
    command = [sys.executable, "-I", str(_TOP / "scripts" / "verify_log.py"), "--journal", str(folder / "journal.db")]
    command += ["--checkpoints", str(folder / "checkpoints.db"), "--key", str(folder / "key.pem")]
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return round(time.perf_counter() - began, 2)


async def _sealing(folder: Path, seconds: float, token_s: float = 0.25) -> dict[str, float]:
    """Entries sealed per second, a signature each and by policy."""
    each = await _sealed_per_s(folder / "each", token_s, seconds, one_each=True)
    policy = await _sealed_per_s(folder / "policy", token_s, seconds, one_each=False)
    return {
        "token_ms": token_s * 1000,
        "signature_each_per_s": round(each, 2),
        "policy_per_s": round(policy, 1),
        "times": round(policy / each, 1),
    }


async def _sealed_per_s(folder: Path, token_s: float, seconds: float, *, one_each: bool) -> float:
    clock, token = _Clock(), SimulatedToken(_ORIGIN)
    token.slow_down(token_s)
    journal = SqliteJournal.open(folder / "journal.db", _ORIGIN, "bench", clock)
    log, checkpoints = Follower(folder / "journal.db", poll_s=0.01), SqliteCheckpoints(folder / "checkpoints.db")
    policy = SealingPolicy(entries=1 if one_each else 64, after_s=60.0, not_within_s=0.0)
    sealer = Sealer(_ORIGIN, policy, log, checkpoints, token, clock)
    began = time.perf_counter()

    async def write() -> None:
        while time.perf_counter() - began < seconds:
            await journal.append(_EVENT)
            if one_each:
                await sealer.seal()

    if one_each:
        await write()
    else:
        sealing = asyncio.create_task(sealer.run())
        await write()
        sealing.cancel()
    last, took = checkpoints.last(), time.perf_counter() - began
    for part in (log, journal, checkpoints):
        part.close()
    return (last.head.size if last else 0) / took


def _targets(found: dict[str, Any]) -> list[dict[str, Any]]:
    million = found["million"]
    least = (
        ("entries per second, one commit each", found["one_each"]["entries_per_s"], 200),
        ("sealing by policy beside a signature each, times", found["sealing"]["times"], 50),
    )
    most = (
        ("inclusion proof, us", million["inclusion_proof_us"], 100),
        ("consistency proof, us", million["consistency_proof_us"], 100),
        ("open after an unclean stop, s", million["open_after_unclean_stop_s"], 1.0),
        ("resident growth, MB", million["resident_growth_mb"], 64),
    )
    rows = [{"name": name, "least": goal, "found": value, "met": value >= goal} for name, value, goal in least]
    return rows + [{"name": name, "most": goal, "found": value, "met": value <= goal} for name, value, goal in most]


def _median_us(do: Any, times: int = 2000) -> float:
    took = []
    for _ in range(times):
        began = time.perf_counter()
        do()
        took.append(time.perf_counter() - began)
    return round(sorted(took)[times // 2] * 1e6, 1)


def _written() -> int:
    """Bytes that this process has had written to disk."""
    for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines():
        if line.startswith("write_bytes:"):
            return int(line.split()[1])
    return 0


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 2**20
