"""The trust list as a signed file: verified, then swapped whole; a worse one changes nothing.

Who writes the file does not matter (an installer, a USB stick, edge-sync): its signature does. The version that was
last in force is kept on disk, so that an older list is not taken after a restart either.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from edge.errors import Refusal
from edge.trust.list import TrustList, open_list

_LIMIT = 1024 * 1024
_log = logging.getLogger("edge.trust")


class TrustFile:
    """Looks at the file now and then; ``current`` is the list in force."""

    def __init__(self, path: Path, roots: Sequence[str], kept_version: Path, *, keep: bool = True) -> None:
        self._path = path
        self._roots = tuple(roots)
        self._kept_version = kept_version
        self._keep = keep
        self._seen: tuple[int, int, int] | None = None
        self.current: TrustList | None = None
        self.detail = "no trust list yet"

    def reload(self) -> bool:
        """Look at the file; whether another list is in force now."""
        try:
            stat = self._path.stat()
            seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if seen == self._seen:
                return False
            self._seen = seen
            if stat.st_size > _LIMIT:
                self.detail = f"{self._path.name} has {stat.st_size} bytes"
                return False
            data = self._path.read_bytes()
        except OSError as error:
            self.detail = f"{self._path}: {error.strerror}"
            return False
        return self._take(data)

    def _take(self, data: bytes) -> bool:
        known = self._known_version()
        try:
            offered = open_list(data, self._roots, known)
        except Refusal as refusal:
            self.detail = f"{self._path.name} refused: {refusal.detail or refusal.reason.code}"
            _log.error("trust list %s", self.detail)
            return False
        if self.current is not None and offered.digest == self.current.digest:
            return False
        self.current, self.detail = offered, ""
        if self._keep:
            self._keep_version(offered.version)
        _log.info("trust list version %d with %d issuers in force", offered.version, len(offered.issuers))
        return True

    def _known_version(self) -> int:
        on_disk = 0
        try:
            on_disk = int(self._kept_version.read_text(encoding="ascii"))
        except FileNotFoundError:
            pass
        except (OSError, ValueError):
            _log.error("%s unreadable", self._kept_version.name)
        return max(on_disk, 0 if self.current is None else self.current.version)

    def _keep_version(self, version: int) -> None:
        new = self._kept_version.with_suffix(".new")
        try:
            new.write_text(f"{version}\n", encoding="ascii")
            new.replace(self._kept_version)
        except OSError as error:
            _log.error("trust list version not kept: %s", error.strerror)
