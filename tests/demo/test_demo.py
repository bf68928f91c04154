"""The main job, end to end: the demo as somebody starts it, the five real processes, every visit as it must be."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.demo import keeper
from edge.demo.stage import ROOT
from edge.demo.visits import VISITS

Demo = Callable[..., subprocess.CompletedProcess[str]]  # of conftest.py


def stages_left() -> list[Path]:
    return list(Path("/dev/shm").glob("edge-demo-*"))


@pytest.mark.timeout(1300)
def test_every_visit_ends_as_it_must_and_the_log_verifies(demo: Demo, tmp_path: Path) -> None:
    before = stages_left()
    done = demo("--record", str(tmp_path))
    assert done.returncode == 0, done.stderr[-3000:]
    run: dict[str, Any] = json.loads(done.stdout)
    assert run["good"]
    always = {visit.name for visit in VISITS if not visit.needs_detector and visit.frames == 1}
    assert {visit["name"] for visit in run["visits"]} >= always
    assert all(visit["actual"] == visit["expected"] for visit in run["visits"])
    assert run["log"]["entries"] == run["log"]["sealed"] == run["log"]["received"] > len(VISITS)
    assert run["files_searched"] > 10
    assert run["leaks"] == []
    assert "log verified" in run["log"]["verification"]
    assert json.loads((tmp_path / "run.json").read_text()) == run
    assert (tmp_path / "contact-sheet.png").stat().st_size > 100_000
    replayed(tmp_path)
    left = [stage for stage in stages_left() if stage not in before and not keeper.belonging_to(str(stage))]
    assert not left


def replayed(folder: Path) -> None:
    """Every decision of the demo is made again from its export alone; another threshold in the profile is noticed."""
    export, profile = str(folder / "log.cborseq"), folder / "profile.toml"

    def edge(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)

    same = edge("-m", "edge", "replay", export, "--all", "--policy", str(profile))
    assert same.returncode == 0, same.stdout + same.stderr
    assert same.stdout.endswith(", 0 not\n")
    told, changed = re.subn(r"(?m)^attack_threshold = .*$", "attack_threshold = 0.01", profile.read_text())
    assert changed == 1
    profile.write_text(told)
    other = edge("-m", "edge", "replay", export, "--all", "--policy", str(profile))
    assert other.returncode == 1, other.stdout
    assert ", 0 the same bit for bit, " in other.stdout
    verified = edge("-I", "scripts/verify_log.py", "--export", export, "--key", str(folder / "token.pem"))
    assert verified.returncode == 0, verified.stderr


@pytest.mark.timeout(1300)
def test_where_attacks_are_not_detected_the_demo_says_so(demo: Demo) -> None:
    done = demo("--models", "default", "--only", "right holder")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "attacks by photo or screen are NOT detected" in done.stderr
    assert json.loads(done.stdout)["attacks_detected"] is False


def test_a_visit_that_does_not_exist_is_wrong_usage(demo: Demo) -> None:
    done = demo("--only", "nobody I know")
    assert done.returncode == 2
    assert "right holder" in done.stderr
