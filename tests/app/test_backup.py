"""A copy of what a gate knows: taken while it writes, opened by its key alone, put back whole or not at all."""

from __future__ import annotations

import shutil
import sqlite3
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from edge.cli import main
from edge.demo import configuration
from edge.devices.logfile import missing
from edge.settings import Models, Mqtt

SECRET = b"a pseudonym that nobody reads here"


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A configuration with a little state behind it."""
    folder = tmp_path / "gate"
    (folder / "state" / "gate").mkdir(parents=True)
    nowhere = Path("/nowhere")
    mqtt = Mqtt(False, "127.0.0.1", 1, nowhere, nowhere, "mqtt-key", nowhere)
    models = Models("default", nowhere, threads=1)
    made = configuration.settings(folder, profile="pilot", models=models, root="", module=nowhere, mqtt=mqtt, port=1)
    (folder / "edge.toml").write_text(configuration.text(made), encoding="utf-8")
    log = sqlite3.connect(folder / "state" / "gate" / "journal.db")
    log.execute("PRAGMA journal_mode=WAL")
    log.execute("CREATE TABLE leaf (n INTEGER PRIMARY KEY, rec BLOB)")
    log.executemany("INSERT INTO leaf (rec) VALUES (?)", [(SECRET * 50,)] * 2000)
    log.commit()
    log.close()
    (folder / "state" / "gate" / "clock-floor").write_text("1", encoding="ascii")
    (folder / "state" / "gate" / "lock").touch()
    return folder


def run(what: str, gate: Path, name: str = "copy") -> int:
    arguments = [str(gate / name), "--key", str(gate / "key"), "--config", str(gate / "edge.toml")]
    return main(["backup", what, *arguments])


def rows(gate: Path, name: str = "journal.epoch-0.0.db") -> int:
    """Of the log that was put back: it is kept as evidence, and not gone on with."""
    log = sqlite3.connect(gate / "state" / "gate" / name)
    try:
        return int(log.execute("SELECT count(*) FROM leaf").fetchone()[0])
    finally:
        log.close()


def lose(gate: Path) -> None:
    """The card dies; a new one has no state."""
    (gate / "state").rename(gate / "gone")


def test_what_was_taken_while_the_gate_wrote_comes_back_whole(gate: Path) -> None:
    writing = threading.Event()

    def write() -> None:
        log = sqlite3.connect(gate / "state" / "gate" / "journal.db", timeout=30)
        while not writing.is_set():
            log.execute("INSERT INTO leaf (rec) VALUES (?)", (SECRET,))
            log.commit()
        log.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert run("take", gate) == 0
    finally:
        writing.set()
        writer.join()
    lose(gate)
    assert run("restore", gate) == 0
    assert rows(gate) >= 2000
    assert (gate / "state" / "gate" / "clock-floor").read_text(encoding="ascii") == "1"
    assert not (gate / "state" / "gate" / "lock").exists()
    assert not (gate / "state" / "gate" / "journal.db").exists()
    log = sqlite3.connect(gate / "state" / "gate" / "journal.epoch-0.0.db")
    assert log.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    log.close()


def test_the_configuration_comes_back_and_secrets_do_not(gate: Path) -> None:
    (gate / "profiles").mkdir()
    (gate / "profiles" / "pilot.toml").write_text("name = 'pilot'", encoding="ascii")
    (gate / "calibration.toml").write_text("x = 1", encoding="ascii")
    (gate / "credentials").mkdir()
    (gate / "credentials" / "other.pem").write_text("a private key", encoding="ascii")
    assert run("take", gate) == 0
    lose(gate)
    for name in ("calibration.toml", "credentials/other.pem", "profiles/pilot.toml"):
        (gate / name).unlink()
    assert run("restore", gate) == 0
    assert (gate / "calibration.toml").read_text(encoding="ascii") == "x = 1"
    assert (gate / "profiles" / "pilot.toml").exists()
    assert not (gate / "credentials" / "other.pem").exists()


def test_a_copy_shows_nothing_without_its_key(gate: Path) -> None:
    assert run("take", gate) == 0
    assert SECRET not in (gate / "copy").read_bytes()
    assert (gate / "copy").stat().st_mode & 0o077 == 0
    assert (gate / "key").stat().st_mode & 0o077 == 0
    lose(gate)
    (gate / "key").write_bytes(bytes(32))
    assert run("restore", gate) == 1
    assert list((gate / "state").rglob("*.db")) == []


@pytest.mark.parametrize("how", ["cut", "flipped", "longer", "exchanged", "none"])
def test_a_copy_that_is_not_whole_changes_nothing(gate: Path, how: str) -> None:
    assert run("take", gate) == 0
    content = bytearray((gate / "copy").read_bytes())
    match how:
        case "cut":
            content = content[: len(content) // 2]
        case "flipped":
            content[len(content) // 2] ^= 1
        case "longer":
            content += b"more"
        case "exchanged":
            content[24:25] = b"\x00"
        case _:
            content = bytearray(b"something else")
    (gate / "copy").write_bytes(content)
    lose(gate)
    assert run("restore", gate) == 1
    assert [path for path in (gate / "state").rglob("*") if path.is_file()] == []


def test_state_that_is_there_is_never_written_over(gate: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("take", gate) == 0
    assert run("restore", gate) == 1
    assert "would be lost" in capsys.readouterr().err
    assert rows(gate, "journal.db") == 2000


def test_what_is_kept_about_people_is_in_no_copy(gate: Path) -> None:
    """A deletion that a backup undoes is none."""
    bodies = gate / "state" / "gate" / "bodies.db"
    with closing(sqlite3.connect(bodies)) as file:
        file.execute("CREATE TABLE body (encoded BLOB)")
    assert run("take", gate) == 0
    lose(gate)
    assert run("restore", gate) == 0
    assert rows(gate) == 2000
    assert not bodies.exists()


def test_nothing_plain_is_written_where_the_copy_goes(gate: Path) -> None:
    """What is deleted from a memory stick can be read from it."""
    made: list[Path] = []
    sys.addaudithook(lambda event, told: made.append(Path(told[0])) if event == "tempfile.mkdtemp" else None)
    (gate / "stick").mkdir()
    assert run("take", gate, "stick/copy") == 0
    assert made
    assert not [path for path in made if path.is_relative_to(gate / "stick")]
    assert not list((gate / "state").glob(".backup-*"))


def test_what_a_copy_left_behind_is_in_no_other(gate: Path) -> None:
    (gate / "state" / ".backup-killed").mkdir()
    (gate / "state" / ".backup-killed" / "plain").write_bytes(SECRET)
    assert run("take", gate) == 0
    lose(gate)
    assert run("restore", gate) == 0
    assert not list((gate / "state").glob(".backup-*"))


def test_nobody_who_was_dismissed_comes_back_with_a_copy(gate: Path) -> None:
    (gate / "state" / "gate" / "operators").write_text("{}", encoding="ascii")
    assert run("take", gate) == 0
    lose(gate)
    assert run("restore", gate) == 0
    assert not (gate / "state" / "gate" / "operators").exists()


@pytest.mark.parametrize("moved", range(4))
def test_a_power_cut_while_it_is_put_back_makes_no_fork_and_the_same_command_begins_again(
    gate: Path, moved: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PowerCutError(BaseException):
        pass

    real, left = shutil.move, moved

    def move(source: Path, place: Path) -> object:
        nonlocal left
        if not left:
            shutil.copytree(source.parents[2], gate / "state" / ".backup-cut", dirs_exist_ok=True)
            raise PowerCutError
        left -= 1
        return real(source, place)

    with closing(sqlite3.connect(gate / "state" / "trust.db")) as file:
        file.execute("CREATE TABLE a (b)")
    assert run("take", gate) == 0
    lose(gate)
    with monkeypatch.context() as cut:
        cut.setattr(shutil, "move", move)
        with pytest.raises(PowerCutError):
            run("restore", gate)
    folder = gate / "state" / "gate"
    assert not (folder / "journal.db").exists()
    assert moved < 2 or missing(folder / "journal.db") == "a copy of the log was put back"
    assert run("restore", gate) == 0
    assert rows(gate) == 2000
    assert (folder / "clock-floor").exists()
    assert (gate / "state" / "trust.db").exists()
    assert not list((gate / "state").glob(".backup-*"))
    assert run("restore", gate) == 1


def test_a_gate_that_was_started_on_half_a_copy_is_not_written_over(
    gate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("take", gate) == 0
    lose(gate)
    (gate / "state" / "gate").mkdir(parents=True)
    (gate / "state" / ".backup-half").touch()
    (gate / "state" / "gate" / "journal.db").touch()
    assert run("restore", gate) == 1
    assert "started on half a backup" in capsys.readouterr().err
    assert (gate / "state" / "gate" / "journal.db").stat().st_size == 0
