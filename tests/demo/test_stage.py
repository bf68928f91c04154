"""Nothing of a stage stays, whatever ends it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.demo import keeper
from edge.demo.configuration import text
from edge.demo.stage import Stage, Wanted
from edge.settings import load

HOLD = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever starts tests in the background has it ignored
from edge.demo.stage import Stage, Wanted
with Stage(Wanted()) as stage:
    print(stage.folder, flush=True)
    time.sleep(600)
"""


def awaited(question: Callable[[], bool], within_s: float = 90.0) -> bool:
    end = time.monotonic() + within_s
    while not question():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_demo_leaves_no_process_and_no_file(sign: signal.Signals) -> None:
    demo = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert demo.stdout is not None
    with demo, demo.stdout:
        folder = Path(demo.stdout.readline().strip())
        assert folder.is_dir()
        assert keeper.belonging_to(str(folder)), "the broker runs and carries the mark"
        demo.send_signal(sign)
        demo.wait(90)
    assert awaited(lambda: not folder.exists() and not keeper.belonging_to(str(folder)))


def test_a_stage_is_private_and_its_configuration_reads_back() -> None:
    with Stage(Wanted()) as stage:
        assert stage.folder.stat().st_mode & 0o777 == 0o700
        read = load(stage.folder / "edge.toml")
        assert text(read) == text(stage.settings)
        assert "capture_s = 8.0" in (stage.folder / "profiles" / "pilot.toml").read_text()
        folder = stage.folder
    assert not folder.exists()


def test_the_token_can_be_pulled_out_and_put_back() -> None:
    with Stage(Wanted()) as stage:
        tokens = stage.folder / "tokens"
        assert list(tokens.iterdir())
        stage.token.pull()
        assert not list(tokens.iterdir())
        stage.token.plug()
        assert list(tokens.iterdir())
