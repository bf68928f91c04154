"""Who is compared with whom in an evaluation, and what stands for the card.

1. The folder is laid out as LFW's: one folder a person, pictures inside.
2. Pairs are lines in LFW's format (``NAME I J``, ``NAME I OTHER J``), or ``A,B,0|1``: paths inside the folder, and
   whether it is one person.
3. Groups are lines ``PERSON,GROUP``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PICTURES = {".jpg", ".jpeg", ".png", ".webp"}


@dataclass(frozen=True)
class Card:
    """What the reference is: the whole picture, a small one of at most ``budget`` bytes, or a template of ``bits``."""

    side: int = 0
    budget: int = 0
    bits: int = 0

    @classmethod
    def parse(cls, text: str) -> Card:
        """``full``, ``64:800`` (pixels a side, bytes) or ``template:4`` (bits a dimension).

        Raises:
            ValueError: something else.
        """
        match text.split(":"):
            case ["full"]:
                return cls()
            case ["template", ("1" | "4" | "8") as bits]:
                return cls(bits=int(bits))
            case [side, budget] if side.isdigit() and budget.isdigit() and 16 <= int(side) <= 512:
                return cls(side=int(side), budget=int(budget))
        raise ValueError(f"{text!r} is neither full, nor PIXELS:BYTES, nor template:1, template:4 or template:8")

    def __str__(self) -> str:
        if self.bits:
            return f"template:{self.bits}"
        return f"{self.side}:{self.budget}" if self.side else "full"

    @property
    def kind(self) -> str:
        """Which thresholds of the manifest it falls under."""
        return "template" if self.bits else "small" if 0 < self.side < 96 else "full"


def pictures_of(folder: Path) -> list[tuple[str, Path]]:
    """Every picture with the person whose folder it is in.

    Raises:
        ValueError: there are not two people.
    """
    found = [(path.parent.name, path) for path in sorted(folder.glob("*/*")) if path.suffix.lower() in PICTURES]
    if len({person for person, _ in found}) < 2:
        raise ValueError(f"{folder}: no two folders with pictures; expected one folder a person")
    return found


def read_pairs(path: Path, folder: Path) -> list[tuple[Path, Path, bool]]:
    """The pairs of a file, in LFW's format or as ``a,b,0|1``.

    Raises:
        ValueError: a line is neither; names it.
    """
    pairs = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        words = [word.strip() for word in line.split(",")] if "," in line else line.split()
        match words:
            case [] | [_] | [_, _]:  # LFW's first line counts the folds
                continue
            case [a, b, ("0" | "1") as same] if "," in line:
                pairs.append((folder / a, folder / b, same == "1"))
            case [name, i, j] if i.isdigit() and j.isdigit():
                pairs.append((_lfw(folder, name, i), _lfw(folder, name, j), True))
            case [name, i, other, j] if i.isdigit() and j.isdigit():
                pairs.append((_lfw(folder, name, i), _lfw(folder, other, j), False))
            case _:
                raise ValueError(f"{path}, line {number}: expected NAME I J, NAME I OTHER J or A,B,0|1")
    return pairs


def _lfw(folder: Path, name: str, number: str) -> Path:
    return folder / name / f"{name}_{int(number):04d}.jpg"


def read_groups(path: Path) -> dict[str, str]:
    """Person to group label, from lines ``person,group``.

    Raises:
        ValueError: a line is something else; names it.
    """
    groups = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        person, comma, group = line.rpartition(",")
        if not comma or not person.strip() or not group.strip():
            raise ValueError(f"{path}, line {number}: expected PERSON,GROUP")
        groups[person.strip()] = group.strip()
    return groups
