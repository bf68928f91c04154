"""The command line: what goes wrong is a sentence and a status, never a traceback."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from edge import cli


def acting(monkeypatch: pytest.MonkeyPatch, act: Callable[[argparse.Namespace], int], command: str = "bench") -> None:
    monkeypatch.setattr(cli, "parser", lambda _: _Parser(argparse.Namespace(command=command, act=act)))


class _Parser:
    def __init__(self, chosen: argparse.Namespace) -> None:
        self._chosen = chosen

    def parse_args(self, _: list[str]) -> argparse.Namespace:
        """What was asked for."""
        return self._chosen


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (FileNotFoundError(2, "No such file or directory", "/no/dir/x"), 1, "/no/dir/x"),
        (EOFError(), 2, "nobody to answer"),
        (KeyboardInterrupt(), 130, "ended"),
    ],
)
def test_what_a_person_runs_into_is_a_sentence(
    error: BaseException, status: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def act(_: argparse.Namespace) -> NoReturn:
        raise error

    acting(monkeypatch, act)
    assert cli.main(["bench"]) == status
    assert said in capsys.readouterr().err
    acting(monkeypatch, act, "run")  # systemd starts it: the journal has all of it
    with pytest.raises(type(error)):
        cli.main(["run"])


def test_a_drawing_that_cannot_be_written_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = Path(__file__).parents[1] / "config" / "edge.toml"
    assert cli.main(["wiring", "--config", str(config), "--out", str(tmp_path / "no" / "x.svg")]) == 1
    assert "x.svg" in capsys.readouterr().err
