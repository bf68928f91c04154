"""The sealer: signs by the policy, waits for the token, never signs a log that was rewritten."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge.audit.checkpoint import Checkpoint
from edge.audit.entry import Event, Kind
from edge.audit.sealing import SealingPolicy, Tail, due_in
from edge.devices.checkpoints import CheckpointReader, SqliteCheckpoints
from edge.devices.journal import Follower, LastHead, SqliteJournal
from edge.devices.simulated_token import SimulatedToken
from edge.errors import DeviceError
from edge.sealer import Sealer
from edge.trust.interval import Interval

ORIGIN = "urn:gate:test:site:gate"
POLICY = SealingPolicy(entries=4, after_s=0.3, not_within_s=0.05)


class RunningClock:
    """The clock of somebody who knows the time."""

    def now(self) -> Interval:
        return Interval.exactly(datetime.now(UTC))

    def raise_floor(self, moment: datetime) -> None:
        pass

    def monotonic(self) -> float:
        return time.monotonic()


async def until(holds: Callable[[], bool], within_s: float = 60.0) -> None:
    """Wait until it holds."""
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, f"not within {within_s} s"
        await asyncio.sleep(0.01)


class Site:
    """A journal, a token and a sealer between them."""

    def __init__(self, folder: Path, policy: SealingPolicy = POLICY) -> None:
        self.folder = folder
        self.clock = RunningClock()
        self.checkpoints = SqliteCheckpoints(folder / "checkpoints.db")
        self.journal = self.open_journal()
        self.log = Follower(folder / "journal.db", poll_s=0.01)
        self.token = SimulatedToken(ORIGIN)
        self.said: list[str] = []
        self.policy = policy
        self.sealer = self.sealer_with(self.token)

    def sealer_with(self, token: SimulatedToken) -> Sealer:
        return Sealer(ORIGIN, self.policy, self.log, self.checkpoints, token, self.clock, self.said.append)

    def open_journal(self) -> SqliteJournal:
        last = LastHead.of(self.checkpoints.last())
        return SqliteJournal.open(self.folder / "journal.db", ORIGIN, "gate", self.clock, last)

    async def write(self, count: int, kind: Kind = Kind.DENIED) -> None:
        for _ in range(count):
            await self.journal.append(Event(kind))

    async def sealed(self, size: int, within_s: float = 60.0) -> Checkpoint:
        await until(lambda: (last := self.checkpoints.last()) is not None and last.head.size >= size, within_s)
        last = self.checkpoints.last()
        assert last is not None
        last.verify(self.token.enrolled)
        return last

    def close(self) -> None:
        self.journal.close()
        self.log.close()
        self.checkpoints.close()


@asynccontextmanager
async def site(folder: Path, policy: SealingPolicy = POLICY) -> AsyncIterator[Site]:
    """A site whose sealer runs."""
    here = Site(folder, policy)
    running = asyncio.create_task(here.sealer.run())
    try:
        yield here
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        here.close()


def story(told: Callable[[], object]) -> None:
    asyncio.run(told())  # type: ignore[arg-type]


def test_a_full_batch_is_sealed_before_its_time(tmp_path: Path) -> None:
    async def told() -> None:
        async with site(tmp_path, replace(POLICY, after_s=3600)) as here:
            await here.write(3)
            await until(lambda: here.sealer.unsealed() == 3)
            await asyncio.sleep(0.2)
            assert here.checkpoints.last() is None
            await here.write(1)
            checkpoint = await here.sealed(4)
            assert (checkpoint.head.size, checkpoint.head.epoch, checkpoint.head.boot) == (4, 1, 1)
            assert checkpoint.head.root == here.log.root(4)

    story(told)


def test_a_few_entries_are_sealed_when_their_time_comes(tmp_path: Path) -> None:
    async def told() -> None:
        async with site(tmp_path) as here:
            await here.write(1)
            await here.sealed(1)
            assert here.token.signatures == 1

    story(told)


def test_a_forced_door_is_sealed_at_once(tmp_path: Path) -> None:
    async def told() -> None:
        async with site(tmp_path, replace(POLICY, after_s=3600)) as here:
            await here.write(1, Kind.DOOR_FORCED)
            await here.sealed(1)

    story(told)


def test_the_token_is_not_asked_too_often(tmp_path: Path) -> None:
    async def told() -> None:
        async with site(tmp_path, replace(POLICY, not_within_s=0.5)) as here:
            began = time.monotonic()
            for _ in range(10):
                await here.write(4)
                await asyncio.sleep(0.05)
            await here.sealed(40)
            assert here.token.signatures <= 1 + (time.monotonic() - began) / 0.5

    story(told)


def test_each_checkpoint_continues_the_one_before(tmp_path: Path) -> None:
    async def told() -> None:
        async with site(tmp_path) as here:
            for size in (4, 8, 12, 16):
                await here.write(4)
                await here.sealed(size)
            previous = None
            for checkpoint in here.checkpoints.after(0, 0, 100):
                checkpoint.follows(previous)
                previous = checkpoint
            assert previous is not None
            assert previous.head.previous_size > 0
            covering = here.checkpoints.covering(1, 5)
            assert covering is not None
            assert covering.head.size > 5

    story(told)


def test_everything_waits_for_the_token_and_one_signature_covers_it(tmp_path: Path) -> None:
    async def told() -> None:
        async with site(tmp_path) as here:
            here.token.unplug()
            await here.write(50)
            await until(lambda: here.sealer.condition() != "")
            assert "not plugged in" in here.sealer.condition()
            here.token.plug()
            checkpoint = await here.sealed(50)
            assert (here.token.signatures, checkpoint.head.longest_tail) == (1, 50)
            await until(lambda: here.sealer.condition() == "")
            assert len(here.said) == 2

    story(told)


def test_an_unplugged_token_is_noticed_while_nobody_comes(tmp_path: Path) -> None:
    async def told() -> None:
        async with site(tmp_path) as here:
            here.token.unplug()
            await until(lambda: here.sealer.condition() != "")

    story(told)


def test_shutdown_seals_what_waits(tmp_path: Path) -> None:
    async def told() -> None:
        here = Site(tmp_path)
        assert await here.sealer.seal() is None
        await here.write(2)
        checkpoint = await here.sealer.seal()
        assert checkpoint is not None
        assert checkpoint.head.size == 2
        assert await here.sealer.seal() is None
        here.close()

    story(told)


def test_a_shortened_log_is_not_sealed(tmp_path: Path) -> None:
    async def told() -> None:
        here = Site(tmp_path)
        await here.write(5)
        await here.sealer.seal()
        here.close()
        (tmp_path / "journal.db").unlink()
        (tmp_path / "checkpoints.db").rename(tmp_path / "hidden.db")
        again = Site(tmp_path)
        await again.write(3)
        again.close()
        (tmp_path / "hidden.db").rename(tmp_path / "checkpoints.db")
        checkpoints = SqliteCheckpoints(tmp_path / "checkpoints.db")
        log = Follower(tmp_path / "journal.db")
        sealer = Sealer(ORIGIN, POLICY, log, checkpoints, again.token, again.clock)
        with pytest.raises(DeviceError, match="older than its last checkpoint"):
            await sealer.seal()
        log.close()
        checkpoints.close()

    story(told)


def test_a_rewritten_log_is_not_sealed(tmp_path: Path) -> None:
    async def told() -> None:
        here = Site(tmp_path)
        await here.write(5)
        await here.sealer.seal()
        here.close()
        for name in ("journal.db", "checkpoints.db"):
            (tmp_path / name).rename(tmp_path / f"hidden-{name}")
        again = Site(tmp_path)
        await again.write(9)
        again.close()
        (tmp_path / "checkpoints.db").unlink()
        (tmp_path / "hidden-checkpoints.db").rename(tmp_path / "checkpoints.db")
        checkpoints = SqliteCheckpoints(tmp_path / "checkpoints.db")
        log = Follower(tmp_path / "journal.db")
        sealer = Sealer(ORIGIN, POLICY, log, checkpoints, here.token, again.clock)
        with pytest.raises(DeviceError, match="rewritten"):
            await sealer.seal()
        log.close()
        checkpoints.close()

    story(told)


def test_an_older_card_is_noticed_because_the_token_remembers(tmp_path: Path) -> None:
    async def told() -> None:
        here = Site(tmp_path)
        await here.write(5)
        await here.sealer.seal()
        here.log.close()
        here.journal.close()
        here.checkpoints.close()
        yesterday = tmp_path.with_name(tmp_path.name + "-yesterday")
        shutil.copytree(tmp_path, yesterday)
        again = Site(tmp_path)
        again.token, again.sealer = here.token, again.sealer_with(here.token)
        await again.write(3)
        await again.sealer.finish()
        again.close()
        older = Site(yesterday)
        older.sealer = older.sealer_with(here.token)
        await older.write(1)
        with pytest.raises(DeviceError, match="older than the head of 8 entries that the token remembers"):
            await older.sealer.seal()
        await older.write(9)
        with pytest.raises(DeviceError, match="rewritten below the 8 entries"):
            await older.sealer.seal()
        older.close()

    story(told)


def test_a_new_epoch_is_sealed_and_names_the_old_head(tmp_path: Path) -> None:
    async def told() -> None:
        here = Site(tmp_path)
        await here.write(5)
        first = await here.sealer.seal()
        here.log.close()  # the last one out plays the write-ahead log into the file
        here.journal.close()
        (tmp_path / "journal.db").write_bytes(b"damaged" * 1000)
        here.journal = here.open_journal()
        second = await here.sealer.seal()
        assert first is not None
        assert second is not None
        assert (second.head.epoch, second.head.size) == (2, 1)
        second.follows(first)
        here.close()

    story(told)


def test_a_checkpoint_that_could_not_be_kept_is_kept_before_the_next(tmp_path: Path) -> None:
    async def told() -> None:
        here = Site(tmp_path)
        await here.write(2)

        class Full(SqliteCheckpoints):
            full = True

            def add(self, checkpoint: Checkpoint) -> None:
                if self.full:
                    raise DeviceError("checkpoints", "disk full")
                super().add(checkpoint)

        store = Full(tmp_path / "checkpoints.db")
        sealer = Sealer(ORIGIN, POLICY, here.log, store, here.token, here.clock)
        for _ in range(2):
            with pytest.raises(DeviceError, match="disk full"):
                await sealer.seal()
        store.full = False
        await here.write(1)
        assert await sealer.seal() is not None
        assert [checkpoint.head.size for checkpoint in store.after(0, 0, 9)] == [2, 3]
        store.close()
        here.close()

    story(told)


def test_a_reader_sees_no_checkpoints_before_there_are_any(tmp_path: Path) -> None:
    reader = CheckpointReader(tmp_path / "checkpoints.db")
    assert reader.last() is None
    assert reader.after(0, 0, 10) == []
    reader.close()


def test_when_sealing_is_due() -> None:
    policy = SealingPolicy(entries=64, after_s=60, not_within_s=5)
    assert due_in(policy, Tail(0, 0, critical=False), None, 100) is None
    assert due_in(policy, Tail(1, 100, critical=False), None, 100) == 60
    assert due_in(policy, Tail(1, 100, critical=False), None, 161) == 0
    assert due_in(policy, Tail(64, 100, critical=False), None, 100) == 0
    assert due_in(policy, Tail(1, 100, critical=True), None, 100) == 0
    assert due_in(policy, Tail(64, 100, critical=True), 99, 100) == 4
