"""What is installed is exactly what was chosen: the lock files."""

from __future__ import annotations

import ast
import hashlib
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCKS = sorted(ROOT.glob("requirements*.lock"))
PIN = re.compile(
    r"^(?P<name>[a-z0-9-]+)==(?P<version>\S+)(?: ; (?P<when>[^\\]+?))?(?P<hashes>( --hash=sha256:[0-9a-f]{64})+)$"
)


def pins(path: Path) -> dict[str, set[str]]:
    """Each locked package with its version or versions."""
    found: dict[str, set[str]] = {}
    for line in re.sub(r"\s*\\\n\s*", " ", path.read_text(encoding="utf-8")).splitlines():
        pin = PIN.match(line)
        assert pin, f"{path.name}: not a version with its hashes: {line[:80]}"
        found.setdefault(pin["name"], set()).add(pin["version"])
    return found


def asked(requirements: list[str]) -> set[str]:
    """The names in a list of requirements, as the lock files write them."""
    names = (re.match(r"[A-Za-z0-9._-]+", requirement) for requirement in requirements)
    return {re.sub(r"[-_.]+", "-", name[0]).lower() for name in names if name}


@pytest.fixture(scope="module")
def project() -> dict[str, list[str]]:
    """What pyproject.toml asks for: the program itself under ``run``, then each group."""
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return {"run": tables["project"]["dependencies"], **tables["dependency-groups"]}


def test_there_is_a_lock_for_the_gate_for_developers_and_for_the_pi() -> None:
    assert [path.name for path in LOCKS] == ["requirements-dev.lock", "requirements-pi.lock", "requirements.lock"]


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_no_lock_file_holds_an_address(path: Path) -> None:
    assert "://" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_every_line_is_an_exact_version_with_its_hashes(path: Path) -> None:
    assert pins(path)


@pytest.mark.parametrize(
    ("lock", "groups"),
    [
        ("requirements.lock", ["run", "setup"]),
        ("requirements-dev.lock", ["run", "setup", "dev"]),
        ("requirements-pi.lock", ["pi"]),
    ],
)
def test_everything_the_project_asks_for_is_locked(lock: str, groups: list[str], project: dict[str, list[str]]) -> None:
    wanted = {name for group in groups for name in asked(project[group])}
    assert wanted - set(pins(ROOT / lock)) == set()


def test_developers_have_the_versions_of_the_gate() -> None:
    developers = pins(ROOT / "requirements-dev.lock")
    assert {name: developers.get(name) for name in pins(ROOT / "requirements.lock")} == pins(ROOT / "requirements.lock")


def test_the_lock_files_were_found_whole_on_every_kind_of_gate() -> None:
    """Wheels of all versions for Debian 12 and 13 on x86-64 and aarch64; scripts/lock looks, with the network."""
    found, sums = set(), {}
    for line in (ROOT / "requirements.platforms").read_text(encoding="ascii").splitlines():
        first, second, *rest = line.split()
        if first == "whole":
            found.add((second, *rest))
        else:
            sums[second] = first
    assert found == {(machine, python) for machine in ("x86_64", "aarch64") for python in ("3.11", "3.13")}
    now = {name: hashlib.sha256((ROOT / name).read_bytes()).hexdigest() for name in sums}
    assert sums == now, "please run scripts/lock: a lock file is not the one that was looked up"
    assert set(sums) == {*(path.name for path in LOCKS), "scripts/oracles.lock"}


def imported(folder: Path) -> Iterator[str]:
    """Top names of everything that the modules below ``folder`` import, wherever in the module."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.partition(".")[0]


def test_the_program_imports_only_what_it_asks_for(project: dict[str, list[str]]) -> None:
    """A package that another one happens to bring along may be gone with its next version."""
    modules = set(imported(ROOT / "edge")) - set(sys.stdlib_module_names) - {"edge"}
    from_debian = {"picamera2", "libcamera", "lgpio"}
    only_drawn_by_developers = {"playwright"}  # the demo's pictures of the pages; it says so where it is missing
    names = packages_distributions()
    distributions = {
        each.lower()
        for module in modules - from_debian - only_drawn_by_developers
        for each in names.get(module, [module])
    }
    assert distributions - asked(project["run"]) - asked(project["setup"]) == set()


def test_no_test_is_skipped_for_a_package_that_nobody_asked_for(project: dict[str, list[str]]) -> None:
    texts = (path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    wanted = {name for text in texts for name in re.findall(r"importorskip\(\s*[\"'](\w+)", text)}
    assert wanted - {name for group in project.values() for name in asked(group)} == set()


def test_no_placeholder_stands_in_for_the_gpio_library() -> None:
    """PyPI has no lgpio for Python 3.13 but a placeholder of that name; it comes from Debian."""
    assert all("lgpio" not in pins(path) for path in LOCKS)
