"""The token is away: the real processes go on, lock by the limit of the profile, and seal all of it on return."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from edge.audit.entry import Entry, Kind
from edge.audit.tail import evolved, opened, tag
from edge.audit.tree import leaf_hash
from edge.demo import footage, prop
from edge.demo.footage import Hold, Stand
from edge.demo.stage import Stage, Wanted
from edge.demo.visits import Card
from edge.devices.checkpoints import CheckpointReader
from edge.errors import Reason
from edge.passage import Indication

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 12.0


class Lobby:
    """A stage whose profile has little patience with an absent token."""

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

    def until(self, done: Callable[[], bool], within_s: float = 30.0, what: str = "") -> None:
        end = time.monotonic() + within_s
        while not done():
            assert time.monotonic() < end, f"waited in vain: {what}; {self.stage.processes.last_words('gate', 5)}"
            time.sleep(0.01)

    def told(self, kind: Kind, device: str, first: int) -> bool:
        return any(entry.kind is kind and entry.fields.get("device") == device for entry in self.entries(first))

    def visited(self, kind: Kind) -> Entry:
        """Somebody comes; the first entry of this kind about it."""
        self.stage.play("nobody")
        self.until(lambda: self.stage.panel() == Indication.READY.value, what="ready")
        time.sleep(2.2)  # a code held up counts once until it was gone for two seconds
        first = self.stage.log.size()
        self.stage.play("visit")
        self.until(lambda: any(entry.kind is kind for entry in self.entries(first)), what=f"{kind.name}")
        self.stage.play("nobody")
        return next(entry for entry in self.entries(first) if entry.kind is kind)

    def sealed(self) -> int:
        last = self.checkpoints.last()
        return 0 if last is None else last.head.size


@pytest.fixture
def lobby() -> Iterator[Lobby]:
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


@pytest.mark.timeout(150)
def test_without_its_token_the_gate_goes_on_then_locks_and_seals_all_of_it_on_return(lobby: Lobby) -> None:
    lobby.visited(Kind.TAKEN)
    lobby.until(lambda: lobby.sealed() == lobby.stage.log.size(), what="all sealed")
    pulled = lobby.stage.log.size()
    lobby.stage.token.pull()
    lobby.until(lambda: lobby.told(Kind.DEVICE_LOST, "token", pulled), what="token lost")
    lobby.visited(Kind.TAKEN)  # buffering: as usual
    time.sleep(LIMIT_S)
    denied = lobby.visited(Kind.DENIED)
    assert denied.fields["reason"] == Reason.UNSEALED_TOO_LONG.value
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
