"""The README's table of attacks is complete, and each test that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
README = HERE.parents[1] / "edge" / "sync" / "README.md"
ROW = re.compile(r"^\| (D\d\d) \| [^|]+ \| ([^|]+) \|$", re.MULTILINE)


def test_each_attack_has_its_tests() -> None:
    written = set(re.findall(r"^def (test_\w+)\(", "".join(path.read_text() for path in HERE.glob("test_*.py")), re.M))
    rows = ROW.findall(README.read_text(encoding="utf-8"))
    assert [number for number, _ in rows] == [f"D{number:02}" for number in range(1, 23)]
    named = {name for _, tests in rows for name in re.findall(r"`(\w+)`", tests)}
    assert named - written == set()
    numbered = {name for name in written if re.match(r"test_d\d\d_", name)}
    assert numbered - named == set()
