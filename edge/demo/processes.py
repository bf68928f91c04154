"""Starts the five processes of the gate as systemd would: readiness by datagram, again when one ends, all stopped."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

NAMES = ("vision", "seal", "sync", "web", "gate")
_AGAIN_S = 0.5
_END_S = 6.0


class NotReady(Exception):  # noqa: N818 -- a finding, not a fault of ours
    """A process did not get ready; the message is its last words."""


@dataclass
class Part:
    """One process and how it came up.

    Attributes:
        name: of the process, as ``edge run`` calls it.
        ready_s: from start to readiness, the first time.
        starts: how often it was started.
    """

    name: str
    running: subprocess.Popen[bytes]
    notify: socket.socket = field(repr=False)
    since: float
    ready_s: float | None = None
    starts: int = 1


class Processes:
    """The five processes of one stage. ``start`` them, and ``stop`` them in any case."""

    def __init__(self, folder: Path, configuration: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._configuration = configuration
        self._environment = environment
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._ended: set[str] = set()
        self._watcher: threading.Thread | None = None
        self.parts: dict[str, Part] = {}

    def start(self, deadline_s: float = 60.0) -> None:
        """Start all of them and wait until each has said that it is ready.

        Raises:
            NotReady: one is not, in time.
        """
        for name in NAMES:
            self.parts[name] = self._started(name)
        end = time.monotonic() + deadline_s
        self._await_ready(end)
        self._watcher = threading.Thread(target=self._watch, name="processes", daemon=True)
        self._watcher.start()

    def pids(self) -> dict[str, int]:
        """Process ids by name."""
        with self._lock:
            return {name: part.running.pid for name, part in self.parts.items()}

    def last_words(self, name: str, lines: int = 40) -> str:
        """The end of what a process wrote to its standard error."""
        with contextlib.suppress(OSError):
            said = (self._folder / f"{name}.log").read_text(encoding="utf-8", errors="replace").splitlines()
            return "\n".join(said[-lines:])
        return ""

    def stop_one(self, name: str) -> None:
        """End one in order, and leave it ended."""
        with self._lock:
            self._ended.add(name)
            part = self.parts[name]
        _ask(part.running, signal.SIGTERM)
        _wait(part.running, _END_S)

    def stop(self) -> None:
        """End all of them: asked first, then forced. Harmless when they are gone."""
        self._stopping.set()
        if self._watcher is not None:
            self._watcher.join(_END_S)
        with self._lock:
            parts = list(self.parts.values())
        for part in reversed(parts):  # the gate first: its last entry still finds a sealer
            _ask(part.running, signal.SIGTERM)
            if part.name == "gate":
                _wait(part.running, _END_S)
        for part in parts:
            if not _wait(part.running, _END_S):
                _ask(part.running, signal.SIGKILL)
                _wait(part.running, _END_S)
            part.notify.close()

    def _started(self, name: str) -> Part:
        address = self._folder / f"{name}.notify"
        address.unlink(missing_ok=True)
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        notify.bind(str(address))
        return Part(name, self._popen(name, address), notify, time.monotonic())

    def _popen(self, name: str, address: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "edge", "run", name, "--config", str(self._configuration)]
        with (self._folder / f"{name}.log").open("ab") as said:
            return subprocess.Popen(
                command,
                env={**self._environment, "NOTIFY_SOCKET": str(address)},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,  # Ctrl-C in the terminal is for the demo; it stops them in order
            )

    def _await_ready(self, end: float) -> None:
        waiting = dict(self.parts)
        while waiting:
            heard, _, _ = select.select([part.notify for part in waiting.values()], [], [], 0.05)
            now = time.monotonic()
            for name, part in list(waiting.items()):
                if part.notify in heard and b"READY=1" in part.notify.recv(4096).split(b"\n"):
                    part.ready_s = now - part.since
                    del waiting[name]
                elif part.running.poll() is not None:
                    raise NotReady(f"edge-{name} ended with {part.running.returncode}:\n{self.last_words(name)}")
                elif now > end:
                    raise NotReady(f"edge-{name} did not say that it is ready:\n{self.last_words(name)}")

    def _watch(self) -> None:
        """Start again whoever ended, after a moment, as the units do."""
        while not self._stopping.wait(0.1):
            for part in self.parts.values():
                _drain(part.notify)
                if part.running.poll() is None or self._stopping.wait(_AGAIN_S):
                    continue
                with self._lock:
                    if part.name in self._ended:
                        continue
                    part.running = self._popen(part.name, self._folder / f"{part.name}.notify")
                    part.starts += 1


def environment(stage: Path, softhsm: Path) -> dict[str, str]:
    """What the processes find in their environment: enough to run, and the mark that they belong to the stage."""
    from edge.demo.keeper import VARIABLE

    kept = {
        name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL", "EDGE_MODELS_DIR") if name in os.environ
    }
    return {**kept, VARIABLE: str(stage), "SOFTHSM2_CONF": str(softhsm), "PYTHONUNBUFFERED": "1"}


def _drain(notify: socket.socket) -> None:
    """Take what the process said meanwhile, so that its socket does not fill up."""
    with contextlib.suppress(BlockingIOError, TimeoutError):
        while notify.recv(4096, socket.MSG_DONTWAIT):
            pass


def _ask(process: subprocess.Popen[bytes], sign: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(sign)


def _wait(process: subprocess.Popen[bytes], timeout_s: float) -> bool:
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return False
    return True
