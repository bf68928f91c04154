"""A real PostgreSQL server for tests and measurements, in a folder of its own, reached by a socket in that folder."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

from edge.errors import DeviceError

_READY_S = 20.0


def programs() -> Path | None:
    """Where the newest server's programs are; None where there is none."""
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


class Database:
    """One server; ``where`` is its address.

    Raises:
        DeviceError: PostgreSQL is missing or does not start.
    """

    def __init__(self) -> None:
        found = programs()
        if found is None:
            raise DeviceError("collection", "PostgreSQL is not installed")
        self._programs = found
        self.folder = Path(tempfile.mkdtemp(prefix="edge-pg-"))
        self.where = f"postgresql://edge@/postgres?host={self.folder}"
        self._as: list[str] = []
        if os.geteuid() == 0:  # it refuses to be root
            user = pwd.getpwnam("postgres")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._as = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        made = [*self._as, str(found / "initdb"), "-D", str(self.folder / "base"), "-A", "trust", "-U", "edge"]
        subprocess.run([*made, "--no-sync"], check=True, capture_output=True, cwd="/")
        self.start()

    def start(self) -> None:
        """Start it and return when it answers.

        Raises:
            DeviceError: it does not.
        """
        options = ["-D", str(self.folder / "base"), "-k", str(self.folder), "-h", ""]
        server = [*self._as, str(self._programs / "postgres"), *options]
        self._running = subprocess.Popen(server, stderr=subprocess.DEVNULL, cwd="/")
        ready = [str(self._programs / "pg_isready"), "-q", "-h", str(self.folder), "-U", "edge"]
        deadline = time.monotonic() + _READY_S
        while subprocess.run(ready, check=False).returncode:
            if time.monotonic() > deadline:
                raise DeviceError("collection", "PostgreSQL does not start")
            time.sleep(0.05)

    def kill(self) -> None:
        """Stop at once, as a power cut does."""
        self._running.send_signal(signal.SIGQUIT)
        self._running.wait(60)

    def close(self) -> None:
        """Stop, and remove its folder."""
        self._running.send_signal(signal.SIGINT)
        self._running.wait(60)
        shutil.rmtree(self.folder)

    def __enter__(self) -> Database:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
