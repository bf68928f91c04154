"""What is found, and where a machine tells of itself."""

from __future__ import annotations

import fcntl
import importlib.util
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge.errors import DeviceError

_PATIENCE_S = 20.0


@dataclass(frozen=True)
class Finding:
    """How one device is; ``remedy`` is what the technician can do, empty when all is well."""

    device: str
    well: bool
    said: str
    remedy: str = ""


@dataclass(frozen=True)
class Machine:
    """This machine: its files and programs below ``root``, its kernel by ``ioctl``, Python packages by ``package``."""

    root: Path = Path("/")
    ioctl: Callable[[int, int, bytearray], object] = fcntl.ioctl
    package: Callable[[str], object] = importlib.util.find_spec

    @property
    def store(self) -> Path:
        """Where systemd finds encrypted credentials."""
        return self.at("etc/credstore.encrypted")

    @property
    def installed(self) -> bool:
        """Whether this is a gate in service, and not a bench, a container or a laptop."""
        return (
            self.at("etc/systemd/system/edge-gate.service").exists() and not self.at("run/systemd/container").exists()
        )

    def at(self, place: str) -> Path:
        """A file of this machine."""
        return self.root / place

    def read(self, place: str) -> str:
        """What a file of this machine says; empty where there is none."""
        try:
            return self.at(place).read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return ""

    def ask(self, device: str, program: str, *words: str) -> bytes:
        """What a program of this machine answers.

        Raises:
            DeviceError: it is not there, or fails; in its own words, as a matter of ``device``.
        """
        command = [str(self.at(f"usr/bin/{program}")), *words]
        try:
            done = subprocess.run(command, capture_output=True, check=False, timeout=_PATIENCE_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise DeviceError(device, f"{program}: {error}") from error
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise DeviceError(device, f"{program}: {said[-200:] or f'exit status {done.returncode}'}")
        return done.stdout


HERE = Machine()


def answers(path: Path) -> bool:
    """Whether a process listens there: it turns us away, but it is there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        try:
            channel.connect(str(path))
        except OSError:
            return False
    return True
