"""Trust in: asks the broker, or a bundle, for what is newest, has it verified, commits it at once.

Rules:

1. One way for both: whoever brings the files is asked for one after the other by name, and nothing else is taken. So a
   broker full of junk costs nothing: what was not asked for never arrives, and only one file waits in memory. Large
   files come in pieces (``pieces``).
2. Verified in RAM as a whole, then one commit. What was wrong changes nothing, is said once, and is tried again later
   and later, so that a hostile broker cannot keep the entries from going out.
3. A new timestamp is looked at within a random part of ``spread_s``: a hundred thousand gates do not ask at once.
4. On a connection other messages come in between; they are handed on, as many as ``_ASIDE`` and ``_ASIDE_BYTES`` hold.
   What comes beyond that is dropped and counted: who has something to say says it again.
"""

from __future__ import annotations

import hashlib
import logging
import random
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from edge.errors import DeviceError, Refusal
from edge.sync import bundle
from edge.sync.connection import Connection, Message
from edge.sync.metadata import TIMESTAMP, Fetch, verify
from edge.sync.pieces import PIECE, cut, whole
from edge.sync.retained import Retained
from edge.trust.stored import Stored

PREFIX = "trust/v1"
_PATH = re.compile(r"[mt]/[A-Za-z0-9._%/-]{1,200}")
_AT_ONCE_S = 15.0
_PIECE_S = 1.0
_ASIDE = 256
_ASIDE_BYTES = 4 << 20
_log = logging.getLogger("edge.sync")


@dataclass(frozen=True)
class Haste:
    """How soon things are tried, in seconds.

    Attributes:
        spread_s: within which a new timestamp is looked at.
        least_s: between two looks, whatever is announced.
        absent_s: how long nothing at all may come before a retained message counts as not there.
        again_s, again_most_s: pause after a failure, doubled from the first to the second.
        bundles_s: between two looks at the folder of bundles.
    """

    spread_s: float = 600.0
    least_s: float = 5.0
    absent_s: float = 1.0
    again_s: float = 30.0
    again_most_s: float = 3600.0
    bundles_s: float = 2.0


class Store(Protocol):
    """Where a verified state is kept."""

    def load(self) -> Stored:
        """What was committed last."""
        ...

    def commit(self, stored: Stored) -> None:
        """Put a complete state in the place of the one before; it is on disk on return."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class Keeper:
    """One verified state after the other, whoever brings it."""

    def __init__(
        self,
        store: Store,
        anchor: bytes,
        now: Callable[[], datetime],
        scratch: Path | None = None,
        alone: threading.Lock | None = None,
    ) -> None:
        """Set up.

        Args:
            store: where it is kept.
            anchor: the root metadata that was pinned when the gate was set up.
            now: the lower bound of now.
            scratch: a directory in RAM.
            alone: held by whoever takes, where two bring to the same store.
        """
        self._store, self._anchor, self._now, self._scratch = store, anchor, now, scratch
        self._alone = alone or threading.Lock()
        self._mark = hashlib.sha256(anchor).digest()

    def take(self, fetch: Fetch) -> bool:
        """Bring what is newest into force; whether anything changed.

        Raises:
            Refusal: no-trust; nothing changed.
            DeviceError: it cannot be kept, or the way to it broke.
        """
        with self._alone:
            return self._taken(fetch)

    def _taken(self, fetch: Fetch) -> bool:
        stored = self._store.load()
        if stored.anchor != self._mark:  # never set up, or set up anew with another root
            stored = Stored(generation=stored.generation)
        found = verify(fetch, self._anchor, stored.metadata, stored.files, self._now(), self._scratch)
        if found.metadata == stored.metadata and found.files == stored.files:
            return False
        expires = int(found.expires.timestamp())
        self._store.commit(Stored(stored.generation + 1, self._mark, found.metadata, found.files, expires))
        _log.info(
            "trust: versions %s of root, timestamp, snapshot, targets; %d files", found.versions, len(found.files)
        )
        return True

    def close(self) -> None:
        """Let go of the store."""
        self._store.close()


class Updates:
    """Trust in over a connection that has other things to do as well; used by the thread that owns it."""

    def __init__(self, repository: str, keeper: Callable[[], Keeper], haste: Haste | None = None) -> None:
        """Set up.

        Args:
            repository: its name in topics.
            keeper: opens the store, in the thread that uses it.
            haste: how soon things are tried.
        """
        self._prefix = f"{PREFIX}/{repository}/"
        self._open, self._haste = keeper, haste or Haste()
        self._keeper: Keeper | None = None
        self._due: float | None = None
        self._last = self._until = float("-inf")
        self._failures = 0
        self._trying = False
        self._aside: list[Message] = []
        self.trouble = ""
        self.taken = self.dropped = 0

    @property
    def topic(self) -> str:
        """Where a new timestamp is announced."""
        return f"{self._prefix}{TIMESTAMP}"

    def connected(self) -> None:
        """A connection begins. One that broke while we asked counts as a failure of what we asked for."""
        if self._trying:
            self._failed("the connection broke while trust was fetched")

    def hear(self) -> None:
        """A timestamp was announced: look at it soon."""
        if self._due is None:
            spread = self._haste.spread_s if self.taken else 0.0
            soon = time.monotonic() + random.uniform(0, spread)  # noqa: S311 -- spreads load, keeps no secret
            self._due = max(soon, self._last + self._haste.least_s)

    def serve(self, connection: Connection) -> list[Message]:
        """Look at what was announced, if it is time; messages about other things that came meanwhile.

        Raises:
            DeviceError: the connection broke.
        """
        if self._due is not None and time.monotonic() >= self._due:
            self._due = None
            self._attempt(connection)
        aside, self._aside = self._aside, []
        return aside

    def close(self) -> None:
        """Let go of the store."""
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None

    def _attempt(self, connection: Connection) -> None:
        self._trying = True
        self._last = time.monotonic()
        self._until = self._last + _AT_ONCE_S
        try:
            self._keeper = self._keeper or self._open()
            if self._keeper.take(lambda path, limit: self._fetched(connection, path, limit)):
                self.taken += 1
        except Refusal as refusal:
            self._failed(refusal.detail)
        except DeviceError as error:
            if error.device == "broker":
                raise
            self._failed(str(error))
        else:
            self._trying, self._failures, self.trouble = False, 0, ""

    def _failed(self, why: str) -> None:
        self._trying = False
        self._failures += 1
        if why != self.trouble:
            _log.warning("trust not taken: %s", why)
        self.trouble = why
        pause = min(self._haste.again_most_s, self._haste.again_s * 2 ** min(self._failures - 1, 20))
        self._due = time.monotonic() + random.uniform(pause / 2, pause)  # noqa: S311 -- as above

    def _fetched(self, connection: Connection, path: str, limit: int) -> bytes | None:
        """A file, in as many pieces as it has."""
        if not _PATH.fullmatch(path) or ".." in path:
            return None
        return whole(lambda piece: self._asked(connection, piece), path, limit)

    def _asked(self, connection: Connection, path: str) -> bytes | None:
        """Ask for one retained message by its exact topic; whatever else comes is not ours.

        Raises:
            DeviceError: the connection broke, or it takes too long.
        """
        topic, found = f"{self._prefix}{path}", None
        connection.subscribe(topic)
        asked = time.monotonic()
        while found is None and time.monotonic() - max(asked, connection.heard_at) < self._haste.absent_s:
            if time.monotonic() > self._until:
                raise DeviceError("trust", "the broker brings the files too slowly")
            connection.turn(0.02)
            for message in connection.take():
                if message.topic == topic:
                    found = message.payload
                else:
                    self._keep(message)
        if topic != self.topic:
            connection.unsubscribe(topic)
        if found is not None and len(found) == PIECE:
            self._until += _PIECE_S  # large files may take longer
        return found

    def _keep(self, message: Message) -> None:
        """Rule 4."""
        if len(self._aside) < _ASIDE and sum(len(one.payload) for one in self._aside) < _ASIDE_BYTES:
            self._aside.append(message)
            return
        if not self.dropped:
            _log.warning("messages dropped: too many came while trust was fetched")
        self.dropped += 1


class Bundles:
    """Trust in from files that somebody puts into a folder."""

    def __init__(self, folder: Path, keeper: Keeper) -> None:
        self._folder, self._keeper = folder, keeper
        self._seen: dict[str, tuple[int, int]] = {}
        self.trouble = ""

    def look(self) -> bool:
        """Take new bundles, newest name last; whether anything changed.

        Raises:
            DeviceError: it cannot be kept.
        """
        changed = False
        for path in sorted(self._folder.glob(f"*{bundle.SUFFIX}"))[-16:]:
            try:
                stat = path.stat()
                seen = (stat.st_mtime_ns, stat.st_size)
                if self._seen.get(path.name) == seen:
                    continue
                self._seen[path.name] = seen
                changed |= self._keeper.take(bundle.fetch_from(bundle.read(path)))
                self.trouble = ""
            except OSError as error:
                self.trouble = f"{path.name}: {error.strerror}"
            except Refusal as refusal:
                self.trouble = f"{path.name}: {refusal.detail}"
                _log.warning("trust not taken: %s", self.trouble)
        return changed


def offer(
    connection: Connection,
    repository: str,
    files: Mapping[str, bytes],
    within_s: float = 60.0,
    retained: Retained | None = None,
) -> int:
    """Put published files onto a broker as retained messages, the timestamp last; how many files.

    Args:
        connection: of whoever may publish.
        repository: its name in topics.
        files: by path.
        within_s: how long the broker may take for one message.
        retained: what lies there from before; what is over is cleared when all is out. None clears nothing.

    Raises:
        DeviceError: the broker does not take them.
    """
    before = [each for path, data in files.items() if path != TIMESTAMP for each in cut(path, data)]
    if retained is not None:
        retained.begins(path for path, _ in [*before, (TIMESTAMP, b"")])
    for wave in (before, [(TIMESTAMP, files[TIMESTAMP])]):
        _put(connection, repository, wave, within_s)
    if retained is not None:
        over = retained.over()
        _put(connection, repository, [(path, b"") for path in over], within_s)
        retained.cleared(over)
    return len(files)


def _put(connection: Connection, repository: str, wave: Sequence[tuple[str, bytes]], within_s: float) -> None:
    """Retained messages, and all of them taken."""
    for path, data in wave:
        connection.publish(Message(f"{PREFIX}/{repository}/{path}", data, retain=True))
        _taken(connection, 4, within_s)
    _taken(connection, 0, within_s)
    if connection.refused:
        raise DeviceError("broker", f"does not take the files: {connection.refused}")


def _taken(connection: Connection, most: int, within_s: float) -> None:
    """Wait until no more than ``most`` messages are on their way.

    Raises:
        DeviceError: the broker takes too long.
    """
    deadline = time.monotonic() + within_s
    while connection.in_flight > most:
        connection.turn(0.05)
        if time.monotonic() > deadline:
            raise DeviceError("broker", "does not take the files in time")
