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

    A driver for a counter on a bus writes such a file; so does the simulated dispenser.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def counted(self) -> int:
        """The number in the file; 0 before there is one.

        Raises:
            DeviceError: it holds something else.
        """
        try:
            return int(self._path.read_text(encoding="ascii"))
        except FileNotFoundError:
            return 0
        except (OSError, ValueError) as error:
            raise DeviceError("dispenser", f"{self._path.name} tells no count: {type(error).__name__}") from error
