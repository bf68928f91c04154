"""Old entries go by the site's policy, and nothing that is not sealed, and elsewhere; proofs and log stay good."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge.app import keeping
from edge.audit.checkpoint import Checkpoint
from edge.audit.entry import Event, Kind
from edge.audit.sealing import SealingPolicy
from edge.audit.tree import leaf_hash, verify_inclusion
from edge.devices.acknowledged import acknowledged
from edge.devices.checkpoints import SqliteCheckpoints
from edge.devices.follower import Follower
from edge.devices.journal import SqliteJournal
from edge.devices.simulated import SimulatedClock
from edge.devices.simulated_token import SimulatedToken
from edge.devices.token import to_pem
from edge.sealer import Sealer
from edge.sync.outbox import Outbox, Position

ROOT = Path(__file__).resolve().parents[1]
ORIGIN = "urn:gate:test:site:gate"
KEPT_DAYS = 30.0


class Site:
    """A log of which the first half is forty days old."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = SimulatedClock(datetime(2026, 10, 1, tzinfo=UTC))
        self.journal = SqliteJournal.open(folder / "journal.db", ORIGIN, "gate", self.clock)
        self.log = Follower(folder / "journal.db")
        self.checkpoints = SqliteCheckpoints(folder / "checkpoints.db")
        self.token = SimulatedToken(ORIGIN)
        self.sealer = Sealer(ORIGIN, SealingPolicy(), self.log, self.checkpoints, self.token, self.clock)

    async def write(self, count: int) -> None:
        for _ in range(count):
            await self.journal.append(Event(Kind.DENIED, {"reason": "expired"}))

    async def filled(self) -> Checkpoint:
        await self.write(20)
        self.clock.go(timedelta(days=40).total_seconds())
        await self.write(20)
        sealed = await self.sealer.seal()
        assert sealed is not None
        return sealed

    async def prune(self, elsewhere: int = 10**9) -> int:
        return await keeping.prune(
            KEPT_DAYS, self.journal, self.log, self.checkpoints, self.clock, lambda epoch: elsewhere
        )

    def gone(self) -> list[int]:
        return [index for index, (entry, _) in enumerate(self.log.rows(0, self.log.size())) if entry is None]

    def close(self) -> None:
        for part in (self.journal, self.log, self.checkpoints):
            part.close()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "_BETWEEN_S", 0.0)


def test_what_is_old_goes_and_the_log_says_so(tmp_path: Path) -> None:
    async def story() -> None:
        with closing(Site(tmp_path)) as site:
            sealed = await site.filled()
            proofs = {index: (site.log.read(index, 1)[0], site.log.inclusion(index, 40)) for index in (0, 7, 19, 39)}
            assert await site.prune() == 1
            assert site.gone() == list(range(20))
            (told,) = site.log.entries(40, 1)
            assert told.kind is Kind.PRUNED
            assert told.fields == {"first": 0, "last": 19, "count": 20}
            for index, (entry, path) in proofs.items():
                verify_inclusion(index, 40, leaf_hash(entry), path, sealed.head.root)
                assert site.log.inclusion(index, 40) == path
            assert await site.prune() == 0
            await site.sealer.seal()
            (tmp_path / "gate.pem").write_bytes(to_pem(site.token.enrolled))

    asyncio.run(story())
    command = [sys.executable, str(ROOT / "scripts" / "verify_log.py"), "--journal", str(tmp_path / "journal.db")]
    command += ["--checkpoints", str(tmp_path / "checkpoints.db"), "--key", str(tmp_path / "gate.pem")]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    assert "20 entries were pruned" in said.stdout


def test_what_the_collector_has_not_signed_for_stays(tmp_path: Path) -> None:
    async def story() -> None:
        with closing(Site(tmp_path)) as site:
            await site.filled()
            outbox = tmp_path / "sync.db"
            assert acknowledged(outbox, ORIGIN, 1) == 0
            with closing(Outbox(outbox)) as position:
                position.move(ORIGIN, 1, Position(12, bytes(32), 0))
            assert acknowledged(outbox, ORIGIN, 1) == 12
            assert acknowledged(outbox, ORIGIN, 2) == 0
            await site.prune(acknowledged(outbox, ORIGIN, 1))
            assert site.gone() == list(range(12))

    asyncio.run(story())


def test_what_is_not_sealed_stays_however_old(tmp_path: Path) -> None:
    async def story() -> None:
        with closing(Site(tmp_path)) as site:
            await site.write(5)
            await site.sealer.seal()
            await site.write(5)
            site.clock.go(timedelta(days=400).total_seconds())
            await site.prune()
            assert site.gone() == list(range(5))

    asyncio.run(story())


def test_without_a_policy_nothing_goes(tmp_path: Path) -> None:
    async def story() -> None:
        with closing(Site(tmp_path)) as site:
            await site.filled()
            await keeping.keep(0, site.journal, site.log, site.checkpoints, site.clock, lambda epoch: 10**9)
            assert site.gone() == []

    asyncio.run(story())
