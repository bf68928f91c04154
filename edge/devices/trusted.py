"""What the gate believes: verified once more by the gate itself, then swapped whole; a worse state changes nothing.

The files come from edge-sync through its store, or, at a site without one, the trust list lies as one signed file
(``trustfile``). Opening is done in a thread of its own; the loop only puts one value in the place of another.

The loop is never made to wait for it: collecting garbage and letting go of a thousand issuers at once would each stop
every thread for many milliseconds, so the one waits and the other is done one by one.

Rules:

1. What was in force last is kept on disk, file by file, before it comes into force: an older one is not taken after a
   restart either.
2. Only the thread that calls ``reload`` opens; everybody else reads ``current``, one reference.
"""

from __future__ import annotations

import gc
import json
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from edge.devices import kept
from edge.devices.truststore import TrustReader
from edge.errors import DeviceError, Refusal
from edge.trust.list import TrustList
from edge.trust.stored import Stored
from edge.trust.whole import Whole, open_whole

_log = logging.getLogger("edge.trust")


class Trusted:
    """Looks at the store now and then; ``whole`` is what is in force."""

    def __init__(
        self,
        store: TrustReader,
        roots: Sequence[str],
        floors: Path,
        *,
        site: str = "",
        false_times: Collection[int] = (),
    ) -> None:
        """Set up.

        Args:
            store: where edge-sync keeps what it verified.
            roots: pinned keys of the trust list.
            floors: file for what was in force last.
            site: whose own list of denied cards is ours.
            false_times: seconds of issue that a person called false.
        """
        self._false = false_times
        self._store, self._roots, self._site = store, tuple(roots), site
        self._kept = floors
        self._generation = 0
        self.whole: Whole | None = None
        self.detail = "no trust list yet"

    @property
    def current(self) -> TrustList | None:
        """The trust list in force."""
        return None if self.whole is None else self.whole.trust

    @property
    def signed_at(self) -> datetime | None:
        """The latest time that a root or a live key signed anything in force at."""
        return None if self.whole is None else self.whole.signed_at

    def reload(self) -> bool:
        """Look at the store; whether something else is in force now.

        Raises:
            DeviceError: the store cannot be read.
        """
        stored = self._store.newer_than(self._generation)
        if stored is None:
            return False
        with _undisturbed():
            return self._opened(stored)

    def _opened(self, stored: Stored) -> bool:
        floors = self._floors()
        try:
            offered = open_whole(
                stored.files, self._roots, floors, site=self._site, before=self.whole, false_times=self._false
            )
        except Refusal as refusal:
            self._generation = stored.generation
            self.detail = f"refused: {refusal.detail or refusal.reason.code}"
            _log.error("trust %s", self.detail)
            return False
        if offered.floors != floors:
            self._keep(offered.floors)
        self._generation = stored.generation
        for fault in offered.faults:
            _log.warning("trust: %s", fault)
        before, self.whole, self.detail = self.whole, offered, ""
        if before is None:
            return True
        different, issuers = _differs(before, offered), list(before.trust.issuers)
        del before
        while issuers:
            issuers.pop()  # each is freed here, and between two of them the loop has its turn
        return different

    def _floors(self) -> dict[str, int]:
        try:
            known = json.loads(self._kept.read_text(encoding="utf-8"))
        except FileNotFoundError:
            known = {}
        except (OSError, ValueError) as error:
            raise DeviceError("trust", f"{self._kept.name} cannot be read: {type(error).__name__}") from error
        floors = {path: version for path, version in known.items() if isinstance(version, int)}
        for path, version in ({} if self.whole is None else self.whole.floors).items():
            floors[path] = max(version, floors.get(path, 0))
        return floors

    def _keep(self, floors: Mapping[str, int]) -> None:
        try:
            kept.keep(self._kept, json.dumps(dict(floors)))
        except OSError as error:
            raise DeviceError("trust", f"{self._kept.name} cannot be written: {error.strerror}") from error


@contextmanager
def _undisturbed() -> Iterator[None]:
    """No collection of garbage inside, nor later of what was made inside: it has no cycles and is freed without one."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if collecting:
            gc.enable()


def _differs(before: Whole, now: Whole) -> bool:
    lists = (before.trust.digest, before.charter.version) != (now.trust.digest, now.charter.version)
    return lists or {p: d for p, (d, _) in before.opened.items()} != {p: d for p, (d, _) in now.opened.items()}
