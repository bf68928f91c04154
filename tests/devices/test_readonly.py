"""One process writes, another user's process reads: also when the writer has ended in order."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

READ = """
import os, sys
from pathlib import Path
from edge.devices import readonly
if os.geteuid() == 0:  # be somebody else; whoever is not root is kept out by the directory's mode
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
path = Path(sys.argv[1])
for line in sys.stdin:
    if 'file' not in globals() or found != readonly.identity(path):
        file, found = readonly.connect(path), readonly.identity(path)
    print(file.execute("SELECT count(*) FROM entry").fetchone()[0], flush=True)
"""


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that its owner writes and everybody else reads, all the way up."""
    place = tmp_path_factory.mktemp("gate")
    for folder in (place, *place.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o055)
    return place


def test_a_reader_of_another_user_follows_a_writer_that_comes_and_goes(place: Path) -> None:
    path = place / "journal.db"
    writer = _writer(path)
    with _reader(path) as count:
        writer.execute("CREATE TABLE entry (ix INTEGER)")
        for entry in range(3):
            writer.execute("INSERT INTO entry VALUES (?)", (entry,))
        assert count() == 3
        writer.close()  # in order: its WAL is gone, and the reader may not make another
        place.chmod(0o555)
        assert count() == 3
        place.chmod(0o755)
        writer = _writer(path)
        writer.execute("INSERT INTO entry VALUES (3)")
        assert count() == 4
        writer.close()
        place.chmod(0o555)
        assert count() == 4
        place.chmod(0o755)


def _writer(path: Path) -> sqlite3.Connection:
    file = sqlite3.connect(path, isolation_level=None)
    file.execute("PRAGMA journal_mode = WAL")
    return file


@contextmanager
def _reader(path: Path) -> Iterator[Callable[[], int]]:
    source = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", READ, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=source
    )

    def count() -> int:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        return int(process.stdout.readline())

    yield count
    process.communicate()
