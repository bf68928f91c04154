"""Leaves nothing behind: a small process that outlives the demo by a moment, whatever ends it.

``python -m edge.demo.keeper DIRECTORY`` waits until its standard input ends, which happens when the demo closes it or
dies, by ``kill -9`` too. Then it ends every process that still carries the directory's name in its environment
(``EDGE_STAGE``) and removes the directory.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

VARIABLE = "EDGE_STAGE"
_PATIENCE_S = 5.0


def belonging_to(stage: str) -> list[int]:
    """Processes that were started for this stage, without ourselves."""
    mark = f"{VARIABLE}={stage}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:  # gone meanwhile, or another user's
            continue
    return found


def clear(stage: str) -> None:
    """End what belongs to the stage and remove it."""
    end = time.monotonic() + _PATIENCE_S
    while (left := belonging_to(stage)) and time.monotonic() < end:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.02)
    shutil.rmtree(stage, ignore_errors=True)


def main() -> int:
    """Wait for the demo to end, then clear up."""
    os.setsid()
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, signal.SIG_IGN)
    os.environ.pop(VARIABLE, None)
    while sys.stdin.buffer.read(4096):
        pass
    clear(sys.argv[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
