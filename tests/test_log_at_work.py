"""The log of the real processes: the token is away, gate and sealer are killed at any step; nothing is lost.

Ten rounds of killing run with all tests. The full campaign: ``pytest tests/test_log_at_work.py -m slow``.
"""

from __future__ import annotations

import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from edge.audit.entry import Entry, Kind, decode
from edge.audit.tail import evolved, opened, tag
from edge.audit.tree import leaf_hash
from edge.demo import footage, prop
from edge.demo.footage import Hold, Stand
from edge.demo.planned import Card
from edge.demo.stage import Stage, Wanted
from edge.devices.checkpoints import CheckpointReader
from edge.errors import Reason
from edge.passage import Indication

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 25.0
ROUNDS, CAMPAIGN = 10, 200


class Lobby:
    """A stage at work, with one visit prepared: a holder with card and face in view at once."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.checkpoints = CheckpointReader(stage.settings.paths.checkpoints)
        text = stage.issuers.text(Card(side_px=64, picture_bytes=800), datetime.now(UTC))
        paper = prop.card(text, "REPUBLIC OF EXAMPLE", (prop.IDENTITY_CARD,), (220, 225, 230))
        hold = Hold(module_px=3.0, turn=(6.0, -5.0, 2.0), at=(430.0, 480.0), glare=0.25)
        stand = Stand("obama2", eyes_px=92.0, at=(800.0, 190.0))
        portraits = stage.wanted.portraits
        footage.write(stage.scene / "visit.npy", footage.both_clip(portraits, paper, hold, stand, seed=1))
        footage.write(stage.scene / "nobody.npy", footage.face_clip(portraits, (), seed=0))
        stage.play("nobody")

    def entries(self, first: int = 0) -> list[Entry]:
        return self.stage.log.entries(first, self.stage.log.size() - first)

    def until(self, done: Callable[[], bool], within_s: float = 90.0, what: str = "") -> None:
        end = time.monotonic() + within_s
        while not done():
            assert time.monotonic() < end, f"waited in vain: {what}; {self.stage.processes.last_words('gate', 5)}"
            time.sleep(0.01)

    def told(self, kind: Kind, device: str, first: int) -> bool:
        return any(entry.kind is kind and entry.fields.get("device") == device for entry in self.entries(first))

    def visited(self, kind: Kind, at_once: Callable[[], object] = lambda: None) -> Entry:
        """Somebody comes, right after something else happened; the first entry of this kind about it.

        They come again where it was not: a code counts again when it was gone for a second of frames without a gap,
        which a busy machine may not see, and a face has its time.
        """
        end = time.monotonic() + 150
        while True:
            self.stage.play("nobody")
            self.until(lambda: self.stage.panel() == Indication.READY.value, what="ready")
            time.sleep(3.2)
            first = self.stage.log.size()
            at_once()
            at_once = lambda: None  # noqa: E731 -- once is enough
            self.stage.play("visit")
            tried = time.monotonic() + 20
            while time.monotonic() < tried:
                for entry in self.entries(first):
                    if entry.kind is kind:
                        self.stage.play("nobody")
                        return entry
                time.sleep(0.01)
            assert time.monotonic() < end, f"waited in vain: {kind.name}; {self.stage.processes.last_words('gate', 5)}"

    def sealed(self) -> int:
        last = self.checkpoints.last()
        return 0 if last is None else last.head.size


@pytest.fixture
def patient() -> Iterator[Lobby]:
    """A gate as a site has it."""
    with Stage(Wanted()) as stage:
        here = Lobby(stage)
        stage.start()
        yield here


@pytest.fixture
def lobby() -> Iterator[Lobby]:
    """A gate whose profile has little patience with an absent token."""
    with Stage(Wanted()) as stage:
        profile = stage.folder / "profiles" / "pilot.toml"
        short = re.sub(r"^unsealed_h = .*$", f"unsealed_h = {LIMIT_S / 3600}", profile.read_text(), flags=re.MULTILINE)
        profile.write_text(short)
        here = Lobby(stage)
        stage.start()
        yield here


def tags(journal: Path) -> list[tuple[bytes, bytes | None]]:
    with sqlite3.connect(journal) as file:
        return file.execute("SELECT entry, tag FROM leaf ORDER BY ix").fetchall()


@pytest.mark.timeout(400)
def test_without_its_token_the_gate_goes_on_then_locks_and_seals_all_of_it_on_return(lobby: Lobby) -> None:
    lobby.visited(Kind.TAKEN)
    lobby.until(lambda: lobby.sealed() == lobby.stage.log.size(), what="all sealed")
    pulled = lobby.stage.log.size()
    lobby.visited(Kind.TAKEN, lobby.stage.token.pull)  # buffering: as usual
    lobby.until(lambda: lobby.told(Kind.DEVICE_LOST, "token", pulled), what="token lost")
    time.sleep(LIMIT_S)
    # Once more where a busy machine was too slow for a face: that is a reason too
    tried = (lobby.visited(Kind.DENIED) for _ in range(4))
    denied = next((one for one in tried if one.fields["reason"] == Reason.UNSEALED_TOO_LONG.value), None)
    assert denied is not None
    assert not any(entry.kind is Kind.GRANTED for entry in lobby.entries(denied.index))
    assert lobby.sealed() <= pulled
    back = lobby.stage.log.size()
    lobby.stage.token.plug()
    lobby.until(lambda: lobby.told(Kind.DEVICE_BACK, "token", back), what="token back")
    lobby.until(lambda: lobby.sealed() > back, what="all of it sealed")
    lobby.visited(Kind.TAKEN)
    lobby.until(lambda: lobby.sealed() == lobby.stage.log.size(), what="all sealed")
    gate_made_the_tags(lobby)
    verifies(lobby)


def gate_made_the_tags(lobby: Lobby) -> None:
    """Each entry carries the tag that only the collector can make again."""
    collector = load_pem_private_key(lobby.stage.broker.signing_key.read_bytes(), None)
    entries, key, seen = lobby.entries(), b"", 0
    rows = tags(lobby.stage.settings.paths.journal)
    for entry, (encoded, kept) in zip(entries, rows, strict=False):
        if entry.kind is Kind.TAIL_KEY:
            key = opened(entry.fields, collector, lobby.stage.settings.site.origin)  # type: ignore[arg-type]
            assert kept is None
            continue
        if key:
            assert kept == tag(key, leaf_hash(encoded))
            key, seen = evolved(key), seen + 1
    assert seen > 10


def replays(lobby: Lobby) -> None:
    """Every decision is made again from the export alone; another limit in the profile is noticed."""
    told, profile = lobby.stage.folder / "edge.toml", lobby.stage.folder / "profiles" / "pilot.toml"
    out, before = lobby.stage.folder / "log.cborseq", profile.read_text()

    def edge(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "edge", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=lobby.stage.environment)

    exported = edge("audit", "export", out, "--config", told)
    assert exported.returncode == 0, exported.stderr
    same = edge("replay", out, "--all", "--policy", profile)
    assert same.returncode == 0, same.stdout + same.stderr
    profile.write_text(before.replace("unsealed_entries = 20000", "unsealed_entries = 19999"))
    other = edge("replay", out, "--all", "--policy", profile)
    profile.write_text(before)
    assert other.returncode == 1, other.stdout


def verifies(lobby: Lobby) -> None:
    settings = lobby.stage.settings
    said = subprocess.run(
        [
            sys.executable,
            ROOT / "scripts" / "verify_log.py",
            *("--journal", settings.paths.journal, "--checkpoints", settings.paths.checkpoints),
            *("--key", settings.token.public_key),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stdout + said.stderr


class Campaign:
    """Kills gate and sealer at drawn moments, and holds the log against what was seen of it before."""

    STEPS = ("start", "reading", "look", "granted", "taken", "any")

    def __init__(self, lobby: Lobby, seed: int) -> None:
        self.lobby, self.chance = lobby, random.Random(seed)
        self.seen: list[bytes] = []
        self.checkpoint = 0
        self.kills: Counter[str] = Counter()

    def round(self) -> None:
        """One visit, and somebody killed during it."""
        lobby, stage = self.lobby, self.lobby.stage
        lobby.until(lambda: stage.panel() == Indication.READY.value, what="ready")
        first, step = stage.log.size(), self.chance.choice(self.STEPS)
        whom = self.chance.choice((("gate",), ("gate",), ("seal",), ("gate", "seal"), ("seal", "gate")))
        stage.play("visit")
        self._await(step, first)
        if "seal" in whom:
            time.sleep(self.chance.choice((0.0, self.chance.uniform(0, 0.1), self.chance.uniform(0, 2.5))))
        starts = {name: stage.processes.parts[name].starts for name in whom}
        for name in whom:
            os.kill(stage.processes.pids()[name], signal.SIGKILL)
            self.kills[f"{name} at {step}"] += 1
        size = stage.log.size()
        stage.play("nobody")
        lobby.until(lambda: all(stage.processes.parts[name].starts > before for name, before in starts.items()))
        if "gate" in whom:
            lobby.until(lambda: stage.log.size() > size, what="the gate again")
        else:
            time.sleep(3.2)
        self.held()

    def _await(self, step: str, first: int) -> None:
        """Until the visit has come so far, or for as long as such a visit takes at most."""
        shown = {"reading": ("reading", "look", "welcome"), "look": ("look", "welcome")}
        kind = {"granted": Kind.GRANTED, "taken": Kind.TAKEN}.get(step)
        end = time.monotonic() + (8.0 if step != "any" else self.chance.uniform(0, 3))
        while time.monotonic() < end and step != "start":
            if self.lobby.stage.panel() in shown.get(step, ()):
                return
            if kind is not None and any(entry.kind is kind for entry in self.lobby.entries(first)):
                return
            time.sleep(0.002)

    def held(self) -> None:
        """Nothing that could be read before is gone or changed; the relay moved for grants on disk only, once each."""
        stage = self.lobby.stage
        relay = stage.scene / "relay"  # first: what it moved for is in the log that is read after it
        moved = [int(line) for line in relay.read_text().split()] if relay.exists() else []
        now = stage.log.read(0, stage.log.size())
        assert now[: len(self.seen)] == self.seen
        assert stage.log.epoch() == 1
        assert self.lobby.sealed() >= self.checkpoint
        self.seen, self.checkpoint = now, self.lobby.sealed()
        entries = [decode(entry) for entry in now]
        assert [entry.index for entry in entries] == list(range(len(entries)))
        assert len(moved) == len(set(moved))
        assert {entries[index].kind for index in moved} <= {Kind.GRANTED}


def killed(lobby: Lobby, seed: int, rounds: int) -> str:
    """A campaign; afterwards service is as usual, all is sealed, sent and verified."""
    campaign = Campaign(lobby, seed)
    for _ in range(rounds):
        campaign.round()
    lobby.visited(Kind.TAKEN)
    lobby.until(lambda: lobby.sealed() == lobby.stage.log.size(), what="all sealed")
    lobby.until(lambda: lobby.stage.received() == lobby.stage.log.size(), what="all sent")
    campaign.held()
    verifies(lobby)
    replays(lobby)
    kills = ", ".join(f"{count} {what}" for what, count in sorted(campaign.kills.items()))
    return f"{rounds} rounds, {campaign.kills.total()} kills, {len(campaign.seen)} entries, all verified ({kills})"


@pytest.mark.timeout(600)
def test_gate_and_sealer_killed_during_visits_lose_nothing(patient: Lobby) -> None:
    assert killed(patient, 20261122, ROUNDS).startswith("10 rounds")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_hundred_rounds_of_killing_lose_nothing(patient: Lobby, capsys: pytest.CaptureFixture[str]) -> None:
    said = killed(patient, 5, CAMPAIGN)
    with capsys.disabled():
        sys.stdout.write(f"\nkill -9: {said}\n")
