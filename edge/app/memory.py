"""Memory that is overwritten when it is given back: a process that has held faces does not keep them by accident.

glibc fills what is freed once its cache for each thread is off, and Python lets it have its small objects too. Both are
told by the environment at the start of a process only; one that was begun without begins again, once.
"""

from __future__ import annotations

import os
import sys

WANTED = {"PYTHONMALLOC": "malloc", "GLIBC_TUNABLES": "glibc.malloc.perturb=90:glibc.malloc.tcache_count=0"}


def forgetful() -> None:
    """Make sure of it; does not return where the process has to begin again."""
    if any(os.environ.get(name) != wanted for name, wanted in WANTED.items()):
        os.execve(sys.executable, sys.orig_argv, os.environ | WANTED)  # noqa: S606 -- itself, as it was begun
