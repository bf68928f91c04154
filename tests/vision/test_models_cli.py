from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from edge.cli import models as command
from edge.vision.sessions import ModelSessions


def run(*words: str) -> int:
    top = argparse.ArgumentParser()
    command.add(top.add_subparsers())
    chosen = top.parse_args(["models", *words])
    status: int = chosen.act(chosen)
    return status


def test_the_self_test_prints_every_answer(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("selftest", "--set", "default") == 0
    said = capsys.readouterr().out
    assert "obama and biden differ" in said
    assert "self-test of the default set passed" in said


def test_the_list_says_what_scores_are_worth(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list", "--set", "default") == 0
    said = capsys.readouterr().out
    assert "default (in place)" in said
    assert "FMR 0.1 %   score 0.930   FNMR 5.3 %" in said


def test_pulling_again_says_what_the_set_means(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("pull", "--set", "default") == 0
    said = capsys.readouterr().out
    assert "detects NO presentation attacks" in said
    assert "false non-matches at a false match rate of 0.1 %" in said


def test_an_unknown_set_is_wrong_usage(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("pull", "--set", "finest") == 2
    assert "there are best, default, standard" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["pull", "list", "selftest"])
def test_a_missing_manifest_is_said(word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(word, "--folder", str(tmp_path)) == 1
    assert "models.toml" in capsys.readouterr().err


def test_an_altered_model_fails_the_self_test(
    models: Path, tmp_path: Path, default_set: ModelSessions, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "models.toml").write_bytes((models / "models.toml").read_bytes())
    (tmp_path / "default").mkdir()
    (tmp_path / "default" / "centerface.onnx").write_bytes(b"altered")
    assert run("selftest", "--set", "default", "--folder", str(tmp_path)) == 1
    assert "is not the centerface of models.toml" in capsys.readouterr().err
