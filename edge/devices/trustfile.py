"""The trust list as a signed file: verified, then swapped whole; a worse one changes nothing.

Who writes the file does not matter (an installer, a USB stick, edge-sync): its signature does. The version that was
last in force is kept on disk, so that an older list is not taken after a restart either.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path

from edge.devices import kept
from edge.errors import Reason, Refusal
from edge.trust.list import TrustList, open_list, told

_LIMIT = 1024 * 1024
_log = logging.getLogger("edge.trust")


class TrustFile:
    """Looks at the file now and then; ``current`` is the list in force."""

    def __init__(
        self, path: Path, roots: Sequence[str], kept_version: Path, *, false_times: Collection[int] = ()
    ) -> None:
        self._false = false_times
        self._path = path
        self._roots = tuple(roots)
        self._kept_version = kept_version
        self._seen: tuple[int, int, int] | None = None
        self.current: TrustList | None = None
        self.detail = "no trust list yet"
        self._least = 0

    @property
    def signed_at(self) -> datetime | None:
        """When the list in force was signed."""
        return None if self.current is None else self.current.issued_at

    def reload(self) -> bool:
        """Look at the file; whether another list is in force now."""
        try:
            stat = self._path.stat()
            seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if seen == self._seen:
                return False
            if stat.st_size > _LIMIT:
                self._seen, self.detail = seen, f"{self._path.name} has {stat.st_size} bytes"
                return False
            data = self._path.read_bytes()
            self._seen = seen
        except OSError as error:
            self.detail = f"{self._path}: {error.strerror}"
            return False
        return self._take(data)

    def know(self, version: int) -> None:
        """Note from elsewhere (the log) that this version was in force: an older one is not taken."""
        self._least = max(self._least, version)

    def _take(self, data: bytes) -> bool:
        try:
            offered = self._better(data)
        except Refusal as refusal:
            self.detail = f"{self._path.name} refused: {refusal.detail or refusal.reason.code}"
            _log.error("trust list %s", self.detail)
            return False
        if self.current is not None and offered.digest == self.current.digest:
            return False
        self.current, self.detail = offered, ""
        self._keep_version(offered)
        _log.info("trust list version %d with %d issuers in force", offered.version, len(offered.issuers))
        return True

    def _better(self, data: bytes) -> TrustList:
        """The list in these bytes.

        Raises:
            Refusal: it is not one, or an older one, or another one under the same version.
        """
        version, digest = self._known()
        offered = open_list(data, self._roots, max(version, self._least))
        if offered.version == version and digest not in ("", offered.digest.hex()):
            raise Refusal(Reason.NO_TRUST, f"another list than before calls itself version {version}")
        return told(offered, self._false)

    def _known(self) -> tuple[int, str]:
        """Version and digest of the newest list that was in force.

        Raises:
            Refusal: that cannot be told.
        """
        if self.current is not None:
            return self.current.version, self.current.digest.hex()
        try:
            version, _, digest = self._kept_version.read_text(encoding="ascii").strip().partition(" ")
            return int(version), digest
        except FileNotFoundError:
            return 0, ""
        except (OSError, ValueError) as error:
            raise Refusal(Reason.NO_TRUST, f"{self._kept_version.name} is unreadable") from error

    def _keep_version(self, trust: TrustList) -> None:
        try:
            kept.keep(self._kept_version, f"{trust.version} {trust.digest.hex()}\n")
        except OSError as error:
            _log.error("trust list version not kept: %s", error.strerror)
