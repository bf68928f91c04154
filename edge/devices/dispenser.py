"""The dispenser's own count of portions, where it has one.

Most tell each portion by a pulse and remember nothing (``Uncounted``): what a power cut leaves open nobody is sure of
then, and the ledger says so. One with a counter that survives the cut is asked instead.
"""

from __future__ import annotations

from pathlib import Path

from edge.errors import DeviceError


class Uncounted:
    """A dispenser without a count: implements ``ports.Dispenser``."""

    def counted(self) -> int | None:
        """Nobody can tell."""
        return None


class CountInFile:
    """A count that somebody else keeps in a file, one number: the twin of a dispenser with a counter.

    A driver for a counter on a bus writes such a file, and replaces it whole; so does the simulated dispenser. Nothing
    is handed out before the driver wrote it.

    Args:
        path: of the file.
        begins: whether the count begins with the file, at 0, as the simulated dispenser's does.
    """

    def __init__(self, path: Path, *, begins: bool = False) -> None:
        self._path, self._begins = path, begins

    def counted(self) -> int:
        """The number in the file.

        Raises:
            DeviceError: there is none, or it holds something else.
        """
        try:
            return int(self._path.read_text(encoding="ascii"))
        except FileNotFoundError as error:
            if self._begins:
                return 0
            raise DeviceError("dispenser", f"its driver keeps no count in {self._path}") from error
        except (OSError, ValueError) as error:
            raise DeviceError("dispenser", f"{self._path.name} tells no count: {type(error).__name__}") from error
