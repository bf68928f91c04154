"""Small files that must survive a power cut: a version, a floor, a count. Old or new, never half, never back."""

from __future__ import annotations

import os
from pathlib import Path

from edge.errors import DeviceError

_FORGETS = "overlayroot=tmpfs"


def keep(path: Path, text: str, *, private: bool = False) -> None:
    """Replace the file's content and return when it is on disk, the directory's entry included.

    Args:
        path: of the file.
        text: its new content.
        private: for this process alone to read, from the first byte on.

    Raises:
        OSError: it is not; the old content may still be there.
    """
    new = path.with_name(path.name + ".new")
    if private:
        new.unlink(missing_ok=True)
    with open(new, "w", encoding="utf-8", opener=_private if private else None) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def lasting() -> None:
    """Refuse where the system partition is read-only and what is written to ``/etc`` is gone after the next start.

    The state directory lies elsewhere and would remember that it was done: the same answer would not be taken again.

    Raises:
        DeviceError: with the remedy.
    """
    with Path(os.environ.get("EDGE_CMDLINE", "/proc/cmdline")).open(encoding="utf-8") as told:
        if _FORGETS in told.read():
            raise DeviceError(
                "system partition",
                "read-only: what is written now is gone after the next start. scripts/install --writable, "
                "restart, and again; scripts/install --read-only makes it read-only once more",
            )


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
