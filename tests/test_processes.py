"""The five real processes, killed, hung and starved at each step of a visit: locked, nothing lost, back at work."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge.audit.entry import Entry, Kind
from edge.demo import footage, prop
from edge.demo.footage import Hold, Stand
from edge.demo.planned import Card
from edge.demo.stage import Stage, Wanted
from edge.passage import Indication

ROOT = Path(__file__).resolve().parents[1]
READY = Indication.READY.value
HOLD = Hold(module_px=3.0, turn=(6.0, -5.0, 2.0), at=(430.0, 480.0), glare=0.25)
STAND = Stand("obama2", eyes_px=92.0, at=(800.0, 190.0))


class Lobby:
    """A stage at work, with one visit prepared: a holder with card and face in view at once."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        text = stage.issuers.text(Card(side_px=64, picture_bytes=800), datetime.now(UTC))
        paper = prop.card(text, "REPUBLIC OF EXAMPLE", (prop.IDENTITY_CARD,), (220, 225, 230))
        portraits = stage.wanted.portraits
        footage.write(stage.scene / "visit.npy", footage.both_clip(portraits, paper, HOLD, STAND, seed=1))
        footage.write(stage.scene / "nobody.npy", footage.face_clip(portraits, (), seed=0))
        stage.play("nobody")

    def entries(self, first: int = 0) -> list[Entry]:
        return self.stage.log.entries(first, self.stage.log.size() - first)

    def kinds(self, first: int = 0) -> list[int]:
        return [entry.kind for entry in self.entries(first)]

    def devices(self, kind: Kind, first: int = 0) -> list[object]:
        return [entry.fields.get("device") for entry in self.entries(first) if entry.kind is kind]

    def kill(self, name: str, sign: signal.Signals = signal.SIGKILL) -> None:
        os.kill(self.stage.processes.pids()[name], sign)

    def until(self, done: Callable[[], bool], within_s: float = 90.0, what: str = "") -> None:
        end = time.monotonic() + within_s
        while not done():
            assert time.monotonic() < end, f"waited in vain: {what}; {self.words()}"
            time.sleep(0.01)

    def words(self) -> str:
        names = ("gate", "vision", "seal", "sync", "web")
        return "\n".join(f"[{name}] {self.stage.processes.last_words(name, 5)}" for name in names)

    def ready(self) -> None:
        self.stage.play("nobody")
        self.until(lambda: self.stage.panel() == READY, what="ready")

    def comes(self, begun: Callable[[int], bool], what: str) -> int:
        """The holder comes, and again until this has begun; the size of the log before.

        A code counts again when it was gone for a second of frames without a gap, which a busy machine may not see,
        and a face has its time.
        """
        end = time.monotonic() + 150
        while True:
            self.ready()
            time.sleep(3.2)
            before = self.stage.log.size()
            self.stage.play("visit")
            tried = time.monotonic() + 20
            while time.monotonic() < tried:
                if begun(before):
                    return before
                time.sleep(0.01)
            assert time.monotonic() < end, f"waited in vain: {what}; {self.words()}"

    def admitted(self) -> None:
        """Service as usual: a holder comes, passes and is written down."""
        self.comes(lambda before: Kind.TAKEN in self.kinds(before), "a passage")
        self.stage.play("nobody")

    def movements(self) -> list[int]:
        """Indices of the entries that the relay moved for."""
        relay = self.stage.scene / "relay"
        return [int(line) for line in relay.read_text().split()] if relay.exists() else []

    def sound(self) -> None:
        """The relay moved for grants on disk only, the log has no gap, and somebody else agrees."""
        moved = self.movements()  # first: what it moved for is in the log that is read after it
        entries = self.entries()
        assert [entry.index for entry in entries] == list(range(len(entries)))
        grants = [entry.index for entry in entries if entry.kind is Kind.GRANTED]
        assert set(moved) <= set(grants)
        assert len(moved) == len(set(moved))
        settings = self.stage.settings
        verified = subprocess.run(
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
        assert verified.returncode == 0, verified.stdout + verified.stderr


@pytest.fixture(scope="module")
def lobby() -> Iterator[Lobby]:
    with Stage(Wanted()) as stage:
        here = Lobby(stage)
        stage.start()
        yield here
        here.sound()


STEPS = ("reading", "look", "granted", "passing")


def reached(lobby: Lobby, step: str, before: int) -> bool:
    match step:
        case "granted":
            return Kind.GRANTED in lobby.kinds(before)
        case "passing":
            return bool(lobby.movements()) and Kind.GRANTED in lobby.kinds(before) and len(lobby.movements()) > 0
        case _:
            shown = {"reading": ("reading", "look", "welcome"), "look": ("look", "welcome")}[step]
            return lobby.stage.panel() in shown or Kind.GRANTED in lobby.kinds(before)


@pytest.mark.parametrize(
    ("name", "step"),
    [(name, step) for name in ("gate", "vision", "seal", "sync", "web") for step in STEPS],
)
def test_a_process_killed_during_a_visit_leaves_the_gate_locked_and_comes_back(
    lobby: Lobby, name: str, step: str
) -> None:
    starts = lobby.stage.processes.parts[name].starts
    lobby.comes(lambda before: reached(lobby, step, before), step)
    lobby.kill(name)
    lobby.stage.play("nobody")
    lobby.until(lambda: lobby.stage.processes.parts[name].starts > starts, what=f"edge-{name} again")
    lobby.admitted()
    lobby.sound()


def test_a_hung_vision_denies_and_stays_locked(lobby: Lobby) -> None:
    lobby.ready()
    moved, before = len(lobby.movements()), lobby.stage.log.size()
    lobby.kill("vision", signal.SIGSTOP)
    lobby.stage.play("visit")
    try:
        lobby.until(lambda: "camera" in lobby.devices(Kind.DEVICE_LOST, before), what="camera lost")
        lobby.until(lambda: lobby.stage.panel() == Indication.OUT_OF_SERVICE.value, what="out of service")
        assert len(lobby.movements()) == moved
    finally:
        lobby.stage.play("nobody")
        lobby.kill("vision", signal.SIGCONT)
    lobby.admitted()
    assert "camera" in lobby.devices(Kind.DEVICE_BACK, before)


@pytest.mark.parametrize("how", ["freeze", "gone"])
def test_a_frozen_or_missing_camera_is_an_entry_and_out_of_service(lobby: Lobby, how: str) -> None:
    lobby.ready()
    moved, before = len(lobby.movements()), lobby.stage.log.size()
    if how == "freeze":
        lobby.stage.play("visit", "freeze")
    else:
        lobby.stage.unplug_camera()
    lobby.until(lambda: "camera" in lobby.devices(Kind.DEVICE_LOST, before), what="camera lost")
    lobby.until(lambda: lobby.stage.panel() == Indication.OUT_OF_SERVICE.value, what="out of service")
    if how == "gone":
        assert len(lobby.movements()) == moved
    lobby.admitted()
    assert "camera" in lobby.devices(Kind.DEVICE_BACK, before)


def test_a_full_disk_opens_nothing_and_is_written_down_when_there_is_room(lobby: Lobby) -> None:
    lobby.ready()
    moved, before, gate = len(lobby.movements()), lobby.stage.log.size(), lobby.stage.processes.pids()["gate"]
    limits = resource.prlimit(gate, resource.RLIMIT_FSIZE)
    resource.prlimit(gate, resource.RLIMIT_FSIZE, (64, limits[1]))
    try:
        lobby.comes(lambda _: lobby.stage.panel() == Indication.OUT_OF_SERVICE.value, "out of service")
        assert len(lobby.movements()) == moved
        assert Kind.GRANTED not in lobby.kinds(before)
    finally:
        lobby.stage.play("nobody")
        resource.prlimit(gate, resource.RLIMIT_FSIZE, limits)
    lobby.until(lambda: "journal" in lobby.devices(Kind.DEVICE_BACK, before), what="journal back")
    assert "journal" in lobby.devices(Kind.DEVICE_LOST, before)
    lobby.admitted()


def test_edge_check_says_device_by_device_what_works(lobby: Lobby) -> None:
    lobby.ready()
    said = subprocess.run(
        [sys.executable, "-m", "edge", "check", "--config", lobby.stage.folder / "edge.toml"],
        capture_output=True,
        text=True,
        check=False,
        env=lobby.stage.environment,
    )
    assert said.returncode == 0, said.stdout + said.stderr
    for device in ("profile", "secrets", "trust", "clock", "camera", "models", "gate", "journal", "token", "broker"):
        assert f"ok   {device}" in said.stdout


def test_edge_check_names_what_is_wrong_and_the_remedy(lobby: Lobby) -> None:
    lobby.ready()
    lobby.stage.token.pull()
    try:
        said = subprocess.run(
            [sys.executable, "-m", "edge", "check", "--config", lobby.stage.folder / "edge.toml"],
            capture_output=True,
            text=True,
            check=False,
            env=lobby.stage.environment,
        )
    finally:
        lobby.stage.token.plug()
    assert said.returncode == 1
    assert "BAD  token" in said.stdout
    assert "plug the token in" in said.stdout


def test_edge_gate_makes_only_unix_sockets_from_its_first_instruction_on(lobby: Lobby, tmp_path: Path) -> None:
    strace = shutil.which("strace")
    assert strace is not None, "scripts/setup installs strace"
    stage, traced = lobby.stage, tmp_path / "network"
    told = (stage.folder / "edge.toml").read_text()
    (tmp_path / "run").mkdir()
    for name in ("state", "run"):
        told = told.replace(str(stage.folder / name), str(tmp_path / name))
    (tmp_path / "edge.toml").write_text(told)
    shutil.copytree(stage.folder / "profiles", tmp_path / "profiles")
    command: list[str | Path] = [sys.executable, "-m", "edge", "run", "gate", "--config", tmp_path / "edge.toml"]
    with subprocess.Popen(
        [strace, "-f", "-e", "trace=network", "-o", traced, *command],
        env=stage.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        lobby.until((tmp_path / "run" / "gate" / "health.sock").exists, what="the traced gate at work")
        time.sleep(2)
        gate = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0]
        os.kill(int(gate), signal.SIGTERM)
        assert process.wait(60) == 0
    calls = traced.read_text()
    assert "AF_UNIX" in calls
    for family in ("AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET"):
        assert family not in calls


def test_edge_gate_holds_only_unix_sockets_after_a_visit(lobby: Lobby) -> None:
    lobby.admitted()
    descriptors = Path(f"/proc/{lobby.stage.processes.pids()['gate']}/fd").iterdir()
    held = {target for link in descriptors if (target := str(link.readlink())).startswith("socket:")}
    unix = {f"socket:[{line.split()[6]}]" for line in Path("/proc/net/unix").read_text().splitlines()[1:]}
    assert held
    assert held <= unix
