"""What holds for the whole repository: a short front page, no weights, nothing of one machine, packages explained."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MIB = 1024 * 1024
WEIGHTS = {".onnx", ".pth", ".pt", ".tflite", ".dat", ".bin"}
PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".npy"}
ONE_MACHINE = re.compile(r"(?<![\w.])/(?:wo" r"rk|fa" r"rm|root|home/\w+)/")


@pytest.fixture(scope="module")
def files() -> list[Path]:
    """The files under version control; in an unpacked archive, all that are not made here."""
    told = subprocess.run(
        ["git", "-c", "safe.directory=*", "-C", str(ROOT), "ls-files", "-z"],
        capture_output=True,
        check=False,
        timeout=240,
    )
    names = [name for name in told.stdout.decode().split("\0") if name]
    found = [ROOT / name for name in names] if names else [path for path in ROOT.rglob("*") if _kept(path)]
    return [path for path in found if path.is_file()]


def _kept(path: Path) -> bool:
    parts = path.relative_to(ROOT).parts
    return not any(part.startswith(".") or part == "__pycache__" for part in parts[:-1]) and parts[0] != "models"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def test_the_front_page_can_be_read_in_one_sitting() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 200


def test_every_package_explains_itself(files: list[Path]) -> None:
    packages = {path.parent for path in files if path.name == "__init__.py" and ROOT / "edge" in path.parents}
    assert [str(each.relative_to(ROOT)) for each in sorted(packages) if not (each / "README.md").is_file()] == []


def test_no_file_knows_the_machine_it_was_written_on(files: list[Path]) -> None:
    assert [str(path.relative_to(ROOT)) for path in files if ONE_MACHINE.search(_text(path))] == []


def test_no_weights_and_no_portraits_are_kept_here(files: list[Path]) -> None:
    assert [path.name for path in files if path.suffix in WEIGHTS | PICTURES] == []


def test_no_file_is_too_large_to_review(files: list[Path]) -> None:
    assert [path.name for path in files if path.stat().st_size > MIB] == []


def test_links_between_documents_lead_somewhere(files: list[Path]) -> None:
    lost = []
    for page in (path for path in files if path.suffix == ".md"):
        for target in re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", _text(page)):
            if not (page.parent / target).exists():
                lost.append(f"{page.relative_to(ROOT)}: {target}")
    assert lost == []


def test_scripts_can_be_run_and_say_what_they_do(files: list[Path]) -> None:
    scripts = [path for path in files if path.parent == ROOT / "scripts" and path.suffix == ""]
    assert {"setup", "demo", "test", "check", "bench"} <= {path.name for path in scripts}
    for script in scripts:
        first, second = _text(script).splitlines()[:2]
        assert first in ("#!/usr/bin/env bash", "#!/usr/bin/env python3"), script.name
        assert second.startswith("# " if first.endswith("bash") else '"""'), script.name
        assert script.stat().st_mode & 0o111, script.name
