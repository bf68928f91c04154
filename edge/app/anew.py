"""A new epoch because a person asks for it: the gate's processes are stopped, the token is at hand.

Rules:

1. Nothing is repaired. The log that is there is kept as evidence, in whatever state it is; damaged checkpoints too.
2. The first entry of the new epoch says why; it names the last checkpoint that is there, and what the token remembers
   where no checkpoint says so. ``edge-seal`` signs nothing else after a log that lost something (``edge/sealer.py``).
3. Its number is greater than any that the log, its evidence, the checkpoints or the token know, or the person names.
4. Time is set anew only with an epoch: its first entry tells the time, and what was signed in epochs before tells none.
   Whatever this gate believes that was signed later than that was signed falsely: it tells no time from here on.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, closing, suppress
from datetime import datetime
from pathlib import Path

from edge.app.chosen import collector_of
from edge.app.gate import alone
from edge.app.standing import FALSE_TIMES, FLOORS, false_times, trust_of
from edge.audit.checkpoint import KnownHead
from edge.audit.entry import LogError, Value
from edge.devices import kept
from edge.devices.checkpoints import CheckpointReader
from edge.devices.clock import BUILT_AT, FOLLOWED, SystemClock
from edge.devices.follower import Follower
from edge.devices.journal import LastHead, SqliteJournal
from edge.devices.logfile import left_by_owner, set_aside
from edge.devices.readonly import Corrupt
from edge.devices.trusted import Trusted
from edge.errors import DeviceError
from edge.settings import Settings
from edge.trust.whole import CONFIRMATION

FLOOR = "clock-floor"


async def begin(
    settings: Settings,
    why: str,
    recall: Callable[[], Awaitable[bytes | None]],
    *,
    after: int = 0,
    time: datetime | None = None,
) -> int:
    """Begin the next epoch of this gate's log; returns its number.

    Args:
        settings: of the gate.
        why: goes into the log.
        recall: asks the token what it remembers.
        after: a number that is in use somewhere else; the new one is greater.
        time: what time it is, where every clock of this gate knows it wrongly; None to leave them as they are.

    Raises:
        DeviceError: a process of the gate runs, the token does not answer, or the log cannot be written.
    """
    if time is not None and time < BUILT_AT:
        raise DeviceError("clock", f"this program was made later than that: {BUILT_AT:%Y-%m-%d}")
    folder, origin = settings.paths.journal.parent, settings.site.origin
    with ExitStack() as closing_all:
        closing_all.enter_context(alone(folder / "lock"))
        note = _head(await recall())
        last, told = _known(settings, note)
        if time is not None:
            told["time"] = int(time.timestamp())
            _set(settings, time)
        journal = SqliteJournal.open(
            settings.paths.journal,
            origin,
            settings.site.gate,
            SystemClock(settings.clock, folder / FLOOR),
            last,
            collector=collector_of(settings),
            anew=why,
            beyond=max(after, note.epoch if note is not None else 0),
            told=told,
        )
        journal.close()
        return journal.epoch


def _head(note: bytes | None) -> KnownHead | None:
    """What a token remembers, if it is a head."""
    try:
        return KnownHead.decode(note) if note is not None else None
    except LogError:
        return None


def _known(settings: Settings, note: KnownHead | None) -> tuple[LastHead | None, dict[str, Value]]:
    """Rule 2: the head that the new epoch goes on from, and what its first entry tells besides."""
    told: dict[str, Value] = {}
    path = settings.paths.checkpoints
    try:
        with closing(CheckpointReader(path)) as checkpoints:
            last = LastHead.of(checkpoints.last())
            found = checkpoints.covering(note.epoch, note.size - 1) if note is not None else None
    except Corrupt:
        last = found = None
        told["checkpoints"] = set_aside(path, 0)
    if note is not None and (found is None or found.digest != note.digest):
        told["remembered"] = note.plain()
        if last is None and _has(settings.paths.journal, note):
            last = LastHead(note.epoch, note.size, note.root, note.digest)
    return last, told


def _has(path: Path, note: KnownHead) -> bool:
    """Whether the log still has all that the token remembers."""
    try:
        with closing(Follower(path)) as log:
            return log.epoch() == note.epoch and log.size() >= note.size and log.root(note.size) == note.root
    except DeviceError:
        return False


def _set(settings: Settings, time: datetime) -> None:
    """Rule 4: every process keeps the latest time that it knew; from here on it is this one."""
    at, gate = int(time.timestamp()), settings.paths.journal.parent
    _refute(settings, gate, at)
    own = {gate, settings.paths.checkpoints.parent}
    for folder in own | {path.parent for path in settings.paths.state.glob(f"*/{FLOOR}")}:
        if folder.is_dir():
            kept.keep(folder / FLOOR, f"{at}\n")
            left_by_owner(folder / FLOOR)


def _refute(settings: Settings, folder: Path, at: int) -> None:
    """Write down which times of what is trusted here are false, and take their floors away.

    Which is later by less than a person's watch may be wrong tells nothing false.
    """
    at += int(FOLLOWED.total_seconds())
    try:
        floors = json.loads((folder / FLOORS).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # of what cannot be read nothing is believed anyhow
        floors = {}
    timed = {path: time for path, time in floors.items() if path == CONFIRMATION or path.startswith("status/")}
    later = {path: time for path, time in timed.items() if isinstance(time, int) and time > at}
    with tempfile.TemporaryDirectory() as nowhere:
        trust = trust_of(settings, Path(nowhere))
        with suppress(DeviceError):  # what cannot be read says no time
            trust.reload()
    signed = [trust.signed_at]
    if isinstance(trust, Trusted) and trust.whole is not None:
        signed = [*trust.whole.times]
    false = {int(one.timestamp()) for one in signed if one is not None and one.timestamp() > at}
    kept.keep(folder / FALSE_TIMES, json.dumps(sorted(false | {*later.values()} | false_times(folder))))
    left_by_owner(folder / FALSE_TIMES)
    if later:
        kept.keep(folder / FLOORS, json.dumps({path: value for path, value in floors.items() if path not in later}))
        left_by_owner(folder / FLOORS)


__all__ = ["begin"]
