"""The key of the ledger on disk: the oldest cycle's that may still be asked about. Older ones were overwritten.

Rules:

1. The file is edge-gate's alone. It is replaced whole and is on disk before anything is done that needs it.
2. A key goes forward only. When the dispute windows of all older cycles are over, for sure, theirs are destroyed here;
   on a card or disk that keeps old blocks they are gone when the block is.
3. A file that cannot be read stops handing out, not the gate: a new key would not find who received already.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from edge.devices import kept
from edge.errors import DeviceError
from edge.policy.ledger import LedgerKey

_KEY = re.compile(r"[0-9a-f]{64}")


class KeptLedgerKey:
    """The file."""

    def __init__(self, path: Path, first: bytes) -> None:
        """Read it.

        Args:
            path: of the file.
            first: key of the first cycle, where there is no file yet.
        """
        self._path = path
        self._found = self._read() or (LedgerKey(1, first), 0)

    @property
    def key(self) -> LedgerKey:
        """The oldest that is there."""
        return self._found[0]

    @property
    def opened(self) -> int:
        """The highest number of a cycle that was open here."""
        return self._found[1]

    def open(self, number: int) -> None:
        """Note that this cycle is open here."""
        self._keep(self.key, max(self.opened, number))

    def forget(self, disputed: Mapping[int, datetime], now_at_least: datetime) -> bool:
        """Destroy the keys of cycles whose dispute window is over for sure; whether one was.

        Args:
            disputed: end of the dispute window by number of the cycle, of all that the log tells of.
            now_at_least: the lower bound of now.
        """
        running = [number for number, until in disputed.items() if until > now_at_least]
        oldest = min(running, default=max(disputed, default=0) + 1)
        if oldest <= self.key.number:
            return False
        self._keep(self.key.at(oldest), self.opened)
        return True

    def _read(self) -> tuple[LedgerKey, int] | None:
        try:
            told = json.loads(self._path.read_text(encoding="ascii"))
            number, key, opened = told["number"], told["key"], told["opened"]
            if not (type(number) is int and number > 0 and type(opened) is int and _KEY.fullmatch(key)):
                raise ValueError("not a key")
            return LedgerKey(number, bytes.fromhex(key)), opened
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DeviceError("ledger", f"{self._path.name} cannot be read: {type(error).__name__}") from error

    def _keep(self, key: LedgerKey, opened: int) -> None:
        told = {"number": key.number, "key": key.key.hex(), "opened": opened}
        try:
            kept.keep(self._path, json.dumps(told), private=True)
        except OSError as error:
            raise DeviceError("ledger", f"{self._path.name} cannot be written: {error.strerror}") from error
        self._found = (key, opened)
