"""Log lines as journald takes them: one datagram, fields by name, nothing lost where there is no journal."""

from __future__ import annotations

import io
import logging
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from edge.app.lines import Journald, handler


def heard(path: Path, *said: tuple[int, str]) -> list[dict[str, str]]:
    """What a journal hears, read naively."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(path))
        ear.settimeout(30)
        sending = Journald("edge-gate", logging.NullHandler(), str(path))
        log = logging.Logger("edge.visit")
        log.addHandler(sending)
        found = []
        for level, words in said:
            log.log(level, "%s", words)
            found.append(fields(ear.recv(65536)))
        sending.close()
    return found


def fields(body: bytes) -> dict[str, str]:
    told: dict[str, str] = {}
    while body:
        head, _, rest = body.partition(b"\n")
        if b"=" in head:
            name, _, value = head.partition(b"=")
        else:
            name, length = head, int.from_bytes(rest[:8], "little")
            value, rest = rest[8 : 8 + length], rest[8 + length + 1 :]
        told[name.decode()] = value.decode()
        body = rest
    return told


def test_a_visit_is_found_by_its_fields(tmp_path: Path) -> None:
    line = "visit entry=12 outcome=no-match score=4711 tries=None verify=1.2ms"
    told = heard(tmp_path / "socket", (logging.INFO, line))[0]
    assert told == {
        "MESSAGE": line,
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "edge-gate",
        "EDGE_LOGGER": "edge.visit",
        "EDGE_ENTRY": "12",
        "EDGE_OUTCOME": "no-match",
        "EDGE_SCORE": "4711",
        "EDGE_TRIES": "None",
        "EDGE_VERIFY": "1.2ms",
    }


def test_lines_within_a_line_forge_no_field(tmp_path: Path) -> None:
    told = heard(tmp_path / "socket", (logging.ERROR, "detail\nPRIORITY=0\nMESSAGE=all is well"))[0]
    assert told["PRIORITY"] == "3"
    assert told["MESSAGE"] == "detail\nPRIORITY=0\nMESSAGE=all is well"


@pytest.mark.parametrize(
    ("level", "priority"), [(logging.DEBUG, "7"), (logging.WARNING, "4"), (logging.ERROR, "3"), (logging.CRITICAL, "2")]
)
def test_levels_are_priorities(level: int, priority: str, tmp_path: Path) -> None:
    assert heard(tmp_path / "socket", (level, "x"))[0]["PRIORITY"] == priority


def test_without_a_journal_the_line_is_on_stderr(tmp_path: Path) -> None:
    text = io.StringIO()
    sending = Journald("edge-gate", logging.StreamHandler(text), str(tmp_path / "nobody"))
    log = logging.Logger("edge.gate")
    log.addHandler(sending)
    log.error("the lock is stuck")
    sending.close()
    assert "the lock is stuck" in text.getvalue()


def test_outside_of_systemd_lines_are_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    assert not isinstance(handler("edge-gate"), Journald)
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")  # of another process
    assert not isinstance(handler("edge-gate"), Journald)


def test_under_systemd_stderr_tells() -> None:
    code = (
        "import os, sys; s = os.fstat(2); os.environ['JOURNAL_STREAM'] = f'{s.st_dev}:{s.st_ino}';"
        "from edge.app.lines import handler; print(type(handler('edge-gate')).__name__)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "Journald"
