"""The keys of a JWK set on disk, as it stands now: a key that was taken off the list is worth nothing from then on.

Rules:

1. The file is looked at before each signature is judged, and read when it is another one.
2. One that cannot be read, or is no JWK set, is said once; what stood there before goes on.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from edge.iavs.jose import Invalid, Keys

log = logging.getLogger(__name__)


class KeyFile(Keys):
    """Keys that may be replaced while they are used."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            OSError: it cannot be read.
            Invalid: it is no JWK set.
        """
        super().__init__({})
        self._path = path
        self._seen = _state(path)
        self._take(Keys.of(path.read_bytes()))

    def verify(self, token: str, detached: bytes | None = None) -> tuple[dict[str, Any], bytes]:
        """As ``Keys``, with the keys of this moment."""
        state = _state(self._path)
        if state != self._seen:
            self._seen = state
            self._read()
        return super().verify(token, detached)

    def _read(self) -> None:
        try:
            self._take(Keys.of(self._path.read_bytes()))
        except (OSError, Invalid) as error:
            log.error("%s: %s; the keys of before are taken", self._path, error)
        else:
            log.info("%s: %d keys", self._path, len(self))

    def _take(self, keys: Keys) -> None:
        self._keys, self._issuers = keys._keys, keys._issuers


def _state(path: Path) -> tuple[int, int, int]:
    try:
        stat = path.stat()
    except OSError:
        return 0, 0, 0
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
