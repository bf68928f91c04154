"""An entrance over a real log on disk: locked while the token is away too long, and what it keeps about people."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from edge.accesspoint import AccessPoint
from edge.app.chosen import bodies_of
from edge.app.seal import policy_of
from edge.app.standing import GateStanding
from edge.audit.entry import Entry, Kind
from edge.audit.proof import prove
from edge.audit.receipt import read, text_of
from edge.credential.issue import SPEC_EXAMPLE, issue
from edge.decision import Policy, pseudonym
from edge.devices.bodies import SqliteBodies, told_by
from edge.devices.checkpoints import SqliteCheckpoints
from edge.devices.follower import Follower
from edge.devices.journal import SqliteJournal
from edge.devices.simulated import SimulatedClock, SimulatedGate, SimulatedVision
from edge.devices.simulated_token import SimulatedToken
from edge.devices.token import to_pem
from edge.doorway import Doorway
from edge.errors import DeviceError, Reason
from edge.sealer import Sealer
from edge.settings import Gate, Log, Seal, Settings, load, profile
from edge.trust.cose import signer
from edge.trust.keys import pinned
from edge.trust.list import Issuer, TrustList
from edge.watch import Watch

Run = Callable[[Coroutine[Any, Any, Any]], Any]
ROOT = Path(__file__).resolve().parents[1]
ISSUER, NUMBER, NAME = "https://issuer.example", "7412589630", "Amina Example"
KEY = ed25519.Ed25519PrivateKey.generate()
SECRET = bytes(range(32))


class Standing(GateStanding):
    """The gate's own, with a trust list that is there."""

    def __init__(self, clock: SimulatedClock, log: Follower, checkpoints: SqliteCheckpoints) -> None:
        keys = (pinned(KEY.public_key(), None, ["k-1"]),)
        self.list = TrustList((Issuer((ISSUER,), keys),), 7, clock.moment, None, bytes(32))
        super().__init__(None, log, checkpoints, clock)  # type: ignore[arg-type] # trust is told below

    def trust(self) -> TrustList:
        return self.list


class Entrance:
    """Real journal, checkpoints, sealer and bodies; the rest simulated."""

    def __init__(self, folder: Path, pins: Gate, settings: Settings, *, unsealed_h: float = 24.0) -> None:
        self.folder, origin = folder, settings.site.origin
        self.clock = SimulatedClock()
        self.journal = SqliteJournal.open(settings.paths.journal, origin, "gate", self.clock)
        self.log, self.checkpoints = Follower(settings.paths.journal), SqliteCheckpoints(settings.paths.checkpoints)
        self.token = SimulatedToken(origin)
        policy = replace(policy_of(settings.seal), not_within_s=0.0)
        self.sealer = Sealer(origin, policy, self.log, self.checkpoints, self.token, self.clock)
        self.gate, self.vision = SimulatedGate(pins), SimulatedVision(self.clock.monotonic)
        self.standing = Standing(self.clock, self.log, self.checkpoints)
        self.doorway = Doorway(
            self.gate, self.gate, self.gate, self.journal, self.clock, release_s=pins.release_s, held_s=pins.held_s
        )
        self.bodies: SqliteBodies = bodies_of(settings, SECRET, self.clock)  # type: ignore[arg-type] # a simulated clock
        self.point = AccessPoint(
            self.vision,
            self.vision,
            self.journal,
            self.clock,
            self.gate,
            self.doorway,
            Watch(self.journal, self.clock),
            self.standing,
            replace(profile("pilot", Policy, ROOT / "config" / "edge.toml"), unsealed_h=unsealed_h),
            lambda model, kind: 0.93,
            partial(pseudonym, SECRET),
            result_s=0.05,
            bodies=self.bodies if settings.log.bodies else None,
        )

    def card(self, **claims: Any) -> str:
        now = self.clock.moment
        told: dict[str, Any] = {"iss": ISSUER, "iat": now - timedelta(days=30), "exp": now + timedelta(days=300)}
        told |= {"id": NUMBER, "full_name": NAME, "face": b"RIFF\x24\0\0\0WEBPVP8 not really a picture", **claims}
        return issue(told, signer(KEY, "k-1"), SPEC_EXAMPLE)

    def entries(self, *kinds: Kind) -> list[Entry]:
        return [entry for entry in self.log.entries(0, self.log.size()) if not kinds or entry.kind in kinds]

    async def visit(self, text: str) -> Entry:
        """Show a card and wait for the decision."""
        seen = len(self.entries(Kind.GRANTED, Kind.DENIED))
        self.standing.look()
        self.vision.shown.put_nowait(text)
        return (await self.until(seen + 1, Kind.GRANTED, Kind.DENIED))[-1]

    async def until(self, count: int, *kinds: Kind) -> list[Entry]:
        while len(found := self.entries(*kinds)) < count:  # noqa: ASYNC110 -- the log is in a file
            await asyncio.sleep(0.01)
        return found

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[Entrance]:
        parts = [asyncio.ensure_future(part) for part in (self.doorway.run(), self.point.run())]
        try:
            yield self
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
            for device in (self.gate, self.bodies, self.log, self.journal, self.checkpoints):
                device.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = load(ROOT / "config" / "edge.toml")
    made = replace(made, paths=replace(made.paths, state=tmp_path / "state"), seal=Seal(64, 60, 5, receipts=True))
    for file in (made.paths.journal, made.paths.checkpoints):
        file.parent.mkdir(parents=True)
    return made


@pytest.fixture
def go(run: Run, pins: Gate, tmp_path: Path) -> Callable[..., None]:
    patient = replace(pins, release_s=30.0, held_s=30.0)  # so that no stall of the machine is somebody who stands there

    def told(settings: Settings, story: Callable[[Entrance], Awaitable[None]], **more: Any) -> None:
        async def whole() -> None:
            async with Entrance(tmp_path, patient, settings, **more).at_work() as entrance:
                await story(entrance)

        run(whole())

    return told


def test_locked_for_whoever_comes_and_open_for_whoever_leaves(
    go: Callable[..., None], settings: Settings, pins: Gate
) -> None:
    """The token is away longer than the profile allows: entry is denied, egress asks nobody, the relay never moves."""

    async def story(here: Entrance) -> None:
        assert (await here.visit(here.card())).kind is Kind.GRANTED
        await here.until(1, Kind.TAKEN, Kind.NOT_TAKEN)
        await here.sealer.seal()
        here.token.unplug()
        assert (await here.visit(here.card())).kind is Kind.GRANTED  # for a while, as ever
        await here.until(2, Kind.TAKEN, Kind.NOT_TAKEN)
        with pytest.raises(DeviceError):
            await here.sealer.seal()
        here.clock.go(5 * 3600)
        denied = await here.visit(here.card())
        assert denied.fields["reason"] == Reason.UNSEALED_TOO_LONG.value
        unlocks = here.gate.unlocks
        here.gate.sense(pins.exit_request_pin, broken=False)  # the button inside is pressed: hardware opens, we write
        await here.until(1, Kind.EXIT_REQUEST)
        here.gate.sense(pins.exit_request_pin, broken=True)
        for pin in (pins.beam_2_pin, pins.beam_1_pin):  # somebody leaves: the inner beam first
            here.gate.sense(pin, broken=True)
            await asyncio.sleep(0.05)
        for pin in (pins.beam_2_pin, pins.beam_1_pin):
            here.gate.sense(pin, broken=False)
            await asyncio.sleep(0.05)
        assert await here.visit(here.card()) != denied  # served, and denied again
        assert here.entries()[-1].fields["reason"] == Reason.UNSEALED_TOO_LONG.value
        alarms = (Kind.DOOR_FORCED, Kind.TAILGATE, Kind.TAMPER, Kind.DOOR_HELD)
        assert here.entries(*alarms) == []
        assert here.gate.unlocks == unlocks
        assert not here.gate.unlocked
        here.token.plug()
        await here.sealer.seal()
        assert (await here.visit(here.card())).kind is Kind.GRANTED

    go(settings, story, unsealed_h=4.0)


def disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_with_the_switch_off_nothing_personal_exists(go: Callable[..., None], settings: Settings) -> None:
    async def story(here: Entrance) -> None:
        granted = await here.visit(here.card())
        await here.until(1, Kind.TAKEN, Kind.NOT_TAKEN)
        here.vision.score = 0.1
        denied = await here.visit(here.card())
        assert (denied.kind, granted.kind) == (Kind.DENIED, Kind.GRANTED)
        assert denied.body is None
        assert granted.body is None
        assert not settings.paths.bodies.exists()
        written = disk(here.folder)
        assert ISSUER.encode() in written  # so the looking works
        assert NUMBER.encode() not in written
        assert NAME.encode() not in written

    assert settings.log.bodies == ()
    go(settings, story)


def test_with_the_switch_on_refused_people_can_be_found_again_and_nobody_else(
    go: Callable[..., None], settings: Settings
) -> None:
    on = replace(settings, log=Log(bodies=("identifier",)))

    async def story(here: Entrance) -> None:
        unknown = await here.visit("nonsense")
        granted = await here.visit(here.card())
        await here.until(1, Kind.TAKEN, Kind.NOT_TAKEN)
        here.vision.score = 0.1
        denied = await here.visit(here.card())
        assert denied.fields["reason"] == Reason.NO_MATCH.value
        assert unknown.body is None
        assert granted.body is None
        assert denied.body is not None
        told = told_by(settings.paths.bodies, settings.site.origin, SECRET, denied.body)
        assert told == {"issuer": ISSUER, "identifier": NUMBER}
        written = disk(here.folder)
        assert NUMBER.encode() not in written
        assert NAME.encode() not in written

    go(on, story)


def test_a_refused_person_s_receipt_is_there_at_once_and_proves_it(
    go: Callable[..., None], settings: Settings, tmp_path: Path
) -> None:
    async def story(here: Entrance) -> None:
        sealing = asyncio.ensure_future(here.sealer.run())
        here.vision.score = 0.1
        first, second = await here.visit(here.card()), await here.visit(here.card())
        assert first.subject == second.subject is not None  # the log knows that it was the same person
        texts = []
        for entry in (first, second):
            while (covering := here.checkpoints.covering(1, entry.index)) is None:  # noqa: ASYNC110 -- another process
                await asyncio.sleep(0.01)
            (encoded,), path = here.log.read(entry.index, 1), here.log.inclusion(entry.index, covering.head.size)
            texts.append(text_of(prove(entry.index, encoded, path, covering, blind=True)))
            assert read(texts[-1]).verify(here.token.enrolled) is None
        sealing.cancel()
        leaves = [read(text).leaf for text in texts]
        assert leaves[0] != leaves[1]  # nobody else does
        for entry in (first, second):
            salt = entry.fields["salt"]
            assert isinstance(salt, bytes)
            assert len(salt) == 16
        (tmp_path / "gate.pem").write_bytes(to_pem(here.token.enrolled))
        script = [sys.executable, "-I", str(ROOT / "scripts" / "verify_log.py"), "--key", str(tmp_path / "gate.pem")]
        files = ["--journal", str(settings.paths.journal), "--checkpoints", str(settings.paths.checkpoints)]
        for more in ([], files):
            command = [*script, *more, "--receipt", texts[1]]
            said = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
            assert said.returncode == 0, said.stderr
        assert "reason no-match" in said.stdout

    go(settings, story)
