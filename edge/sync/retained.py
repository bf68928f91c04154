"""What the operator's desk has put onto a broker as retained messages, so that it can be taken away again.

Rules:

1. A file stays for one publication after the last that named it: a gate may be fetching what the one before named.
   With the second it is cleared, its pieces too. Only what went out from this folder is cleared.
2. Roots are never cleared: a gate that was away for years follows them one by one.
3. What is about to go out is noted before it does. So nothing is forgotten when it did not all arrive; such a
   publication clears nothing and does not count. A note that cannot be read is begun anew: no publication waits for it.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_ROOT = re.compile(r"m/\d+\.root\.json(/\d+)?")
_KEPT = 2


class Retained:
    """The note about one broker, in a file for all of them."""

    def __init__(self, path: Path, broker: str) -> None:
        """Set up.

        Args:
            path: of the file.
            broker: its address.
        """
        self._path, self._broker = path, broker

    def begins(self, names: Iterable[str]) -> None:
        """A publication of these is about to go out."""
        told, here = self._read()
        here["named"] |= {name: here["publications"] + 1 for name in names if not _ROOT.fullmatch(name)}
        self._write(told)

    def over(self) -> list[str]:
        """It is out: what is to be cleared now."""
        told, here = self._read()
        here["publications"] += 1
        self._write(told)
        return sorted(name for name, last in here["named"].items() if last <= here["publications"] - _KEPT)

    def cleared(self, names: Iterable[str]) -> None:
        """These are not there any more."""
        told, here = self._read()
        for name in names:
            del here["named"][name]
        self._write(told)

    def _read(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What is noted of all brokers, and of this one."""
        told: dict[str, Any] = {}
        with contextlib.suppress(FileNotFoundError, ValueError):
            told = json.loads(self._path.read_text(encoding="utf-8"))
        return told, told.setdefault(self._broker, {"publications": 0, "named": {}})

    def _write(self, told: dict[str, Any]) -> None:
        new = self._path.with_name(self._path.name + ".new")
        new.write_text(json.dumps(told), encoding="utf-8")
        new.replace(self._path)
