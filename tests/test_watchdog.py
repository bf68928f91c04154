"""A token that hangs for ever: the watchdog ends edge-seal and nobody else, and the next edge-seal seals it all.

F05 of the token's table, with the real processes. The part of systemd is played here: one socket for READY and
WATCHDOG, and SIGABRT for a process that has said nothing for as long as its unit allows.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.audit.entry import Kind
from edge.demo import footage
from edge.demo.stage import Stage, Wanted
from edge.devices.checkpoints import CheckpointReader
from edge.passage import Indication

SOURCE = Path(__file__).parent / "devices" / "token_shim.c"
PATIENCE_S = 10.0  # a machine that is busy for seconds is no token that hangs


class Supervised:
    """edge-seal as a unit with WatchdogSec runs it."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.address = stage.folder / "run" / "seal.watched"
        self.ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self.ear.bind(str(self.address))
        self.ear.setblocking(False)
        self.ended_with: list[int] = []
        self.start()

    def start(self) -> None:
        watched = {"NOTIFY_SOCKET": str(self.address), "WATCHDOG_USEC": str(int(PATIENCE_S * 1e6))}
        with (self.stage.folder / "run" / "seal.watched.log").open("ab") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edge", "run", "seal", "--config", str(self.stage.folder / "edge.toml")],
                env={**self.stage.environment, **watched},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        self.ready, self.heard_s = False, time.monotonic()

    def look(self) -> None:
        """What systemd does all the time."""
        with contextlib.suppress(BlockingIOError):
            while told := self.ear.recv(4096):
                self.ready |= b"READY=1" in told
                self.heard_s = time.monotonic() if b"WATCHDOG=1" in told or b"READY=1" in told else self.heard_s
        if self.ready and time.monotonic() - self.heard_s > PATIENCE_S:
            self.process.send_signal(signal.SIGABRT)
            self.ended_with.append(self.process.wait(60))
            self.start()

    def close(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(60)
        self.ear.close()


class Shim:
    """Between edge-seal and SoftHSM; does what the control file says."""

    def __init__(self, stage: Stage) -> None:
        compiler = shutil.which("gcc") or shutil.which("cc")
        if compiler is None:
            pytest.fail("a C compiler is needed to build the token shim; scripts/setup dev installs gcc")
        module, self.control = stage.folder / "token_shim.so", stage.folder / "control"
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-Wall", "-o", module, SOURCE, "-ldl"], check=True)
        real = str(stage.settings.token.module)
        told = stage.folder / "edge.toml"
        told.write_text(told.read_text().replace(f'"{real}"', f'"{module}"'))
        stage.environment.update(TOKEN_SHIM_MODULE=real, TOKEN_SHIM_CONTROL=str(self.control))

    def do(self, order: str) -> None:
        new = self.control.with_suffix(".new")
        new.write_text(order)
        new.replace(self.control)


@pytest.fixture
def stage() -> Iterator[Stage]:
    with Stage(Wanted()) as here:
        footage.write(here.scene / "nobody.npy", footage.face_clip(here.wanted.portraits, (), seed=0))
        here.play("nobody")
        yield here


@pytest.mark.timeout(300)
def test_a_token_that_hangs_ends_the_sealer_and_nobody_else(stage: Stage) -> None:
    shim = Shim(stage)
    stage.start()
    stage.processes.stop_one("seal")
    checkpoints = CheckpointReader(stage.settings.paths.checkpoints)
    supervised = Supervised(stage)

    def until(done: Callable[[], bool], what: str, within_s: float = 120.0) -> None:
        end = time.monotonic() + within_s
        while not done():
            assert time.monotonic() < end, f"waited in vain: {what}"
            supervised.look()
            time.sleep(0.05)

    def told(kind: Kind) -> bool:
        return any(entry.kind is kind and entry.fields.get("device") == "token" for entry in stage.log.entries(0, 9999))

    def sealed() -> int:
        last = checkpoints.last()
        return 0 if last is None else last.head.size

    try:
        until(lambda: stage.panel() == Indication.READY.value and sealed() == stage.log.size() > 0, "all sealed")
        others = {name: pid for name, pid in stage.processes.pids().items() if name != "seal"}
        before = sealed()
        shim.do("hang 1\n")
        stage.unplug_camera()  # an entry, so that there is something to sign
        until(lambda: stage.log.size() > before, "an entry")
        stage.play("nobody")
        until(lambda: told(Kind.DEVICE_LOST), "token lost")
        until(lambda: bool(supervised.ended_with), "the watchdog")
        assert supervised.ended_with == [-signal.SIGABRT]
        assert sealed() == before
        until(lambda: stage.panel() == Indication.READY.value, "in service as before")
        shim.do("")
        until(lambda: told(Kind.DEVICE_BACK), "token back")
        until(lambda: sealed() == stage.log.size() > before, "all sealed again")
        assert {name: pid for name, pid in stage.processes.pids().items() if name != "seal"} == others
        for pid in others.values():
            os.kill(pid, 0)
    finally:
        supervised.close()
        checkpoints.close()
