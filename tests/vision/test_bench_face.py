from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from edge.bench import face
from edge.vision.sessions import ModelSessions


@pytest.fixture(scope="module")
def found(models: Path, standard_set: ModelSessions) -> dict[str, Any]:
    assert standard_set.models.detects_attacks
    return face.measure(Console(quiet=True), models, frames=10)


def test_every_set_that_is_there_is_measured_stage_by_stage(found: dict[str, Any]) -> None:
    assert set(found["sets"]) == {"default", "standard"}
    for name, attack in (("default", False), ("standard", True)):
        stages = found["sets"][name]
        assert {"probe frame", "detect + embed", "detect", "quality", "attack", "cues", "embed"} <= set(stages)
        assert all(stages[stage]["p50"] > 0 for stage in ("probe frame", "detect", "embed"))
        assert (stages["attack"]["p50"] > 0.5) is attack


def test_a_peer_that_is_not_here_is_named(found: dict[str, Any]) -> None:
    assert all(isinstance(figures, str) or figures["p50"] > 0 for figures in found["peers"].values())


def test_without_portraits_it_says_what_to_do(tmp_path: Path, models: Path) -> None:
    (tmp_path / "models.toml").write_bytes((models / "models.toml").read_bytes())
    with pytest.raises(FileNotFoundError, match="run `edge models pull`"):
        face.measure(Console(quiet=True), tmp_path)
