"""What the log says about a start: how the gate ended the last time, and whether the power was gone meanwhile.

And about an end in good order: that it was one, and whose grant nobody had used by then.
"""

from __future__ import annotations

import contextlib
import logging
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edge.audit.entry import Event, Kind
from edge.devices import kept
from edge.errors import DeviceError
from edge.ports import Journal, Log

MACHINE = Path("/proc/sys/kernel/random/boot_id")
_log = logging.getLogger("edge.gate")


def after(last: Kind | int | None, before: str, machine: str) -> tuple[Event, ...]:
    """What is to be written down at a start.

    Args:
        last: kind of the last entry; None where there is none.
        before: which start of the machine that was, in its own words; empty when that is not known.
        machine: which one it is now.
    """
    started = {"program": _program()}
    if last is None:
        return (Event(Kind.BOOT, {**started, "after": "nothing"}),)
    if last is Kind.SHUTDOWN:
        return (Event(Kind.BOOT, {**started, "after": "shutdown"}),)
    if before in ("", machine):
        return (Event(Kind.BOOT, {**started, "after": "end of the process"}),)
    lost = Event(Kind.POWER_LOST, {"found": "at the start"})
    return (lost, Event(Kind.POWER_BACK), Event(Kind.BOOT, {**started, "after": "power"}))


async def say_stopped(journal: Journal, unused: int | None) -> None:
    """Write down that service ended, and first who did not go through: a grant without an outcome counts as a passage.

    Args:
        journal: to write to; what it cannot take now is not said.
        unused: the grant that nobody had begun to use; None for none.
    """
    events = [Event(Kind.NOT_TAKEN, {"visit": unused})] if unused is not None else []
    with contextlib.suppress(DeviceError):
        for event in (*events, Event(Kind.SHUTDOWN)):
            await journal.append(event)


async def say_started(journal: Journal, log: Log, seen: Path, machine: Path = MACHINE) -> None:
    """Write down how the gate comes to be here.

    Args:
        journal: to write to.
        log: the same, read before anything was written.
        seen: file that keeps which start of the machine was the last one.
        machine: where the kernel says which one this is.

    Raises:
        DeviceError: it cannot be written.
    """
    last = _last(log)
    now, before = _read(machine), _read(seen)
    for event in after(last, before, now):
        await journal.append(event)
    try:
        kept.keep(seen, now)
    except OSError as error:
        raise DeviceError("journal", f"{seen.name} cannot be written: {error.strerror}") from error


def _last(log: Log) -> Kind | int | None:
    """What the last life of the gate ended with; what opening the log wrote down does not count."""
    size = log.size()
    kinds = [entry.kind for entry in log.entries(max(0, size - 4), 4)]
    lived = [kind for kind in kinds if kind not in (Kind.EPOCH_OPEN, Kind.TAIL_KEY)]
    return lived[-1] if lived else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _program() -> str:
    try:
        return version("edge-gate")
    except PackageNotFoundError:
        return "unknown"
