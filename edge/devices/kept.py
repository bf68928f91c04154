"""Small files that must survive a power cut: a version, a floor, a count. Old or new, never half, never back."""

from __future__ import annotations

import os
from pathlib import Path


def keep(path: Path, text: str) -> None:
    """Replace the file's content and return when it is on disk, the directory's entry included.

    Raises:
        OSError: it is not; the old content may still be there.
    """
    new = path.with_name(path.name + ".new")
    with new.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
