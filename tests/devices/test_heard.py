"""What neighbours told is on disk: it comes back as it was, it goes when it is over, and damage costs nothing else."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edge.devices.heard import HeardFile
from edge.errors import DeviceError
from edge.policy.presence import Pass

Run = Callable[[Coroutine[Any, Any, Any]], Any]
ANNA, BEN = b"a" * 16, b"b" * 16


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "neighbours.db"


@pytest.fixture
def heard(path: Path) -> Iterator[HeardFile]:
    with closing(HeardFile(path)) as made:
        yield made


def read(path: Path) -> tuple[tuple[Pass, ...], tuple[tuple[int, bytes], ...]]:
    with closing(HeardFile(path)) as again:
        return again.read()


def test_what_was_told_is_there_after_a_restart_with_its_turn(heard: HeardFile, path: Path, run: Run) -> None:
    assert heard.read() == ((), ())
    heard.note_passes([Pass(ANNA, "inside", 100, 900), Pass(BEN, "inside", 110, 910)])
    heard.note_passes([Pass(ANNA, "outside", 120, 920)])
    heard.note_marks(3, [ANNA, BEN])
    run(heard.keep(0, 3))
    passes, marks = read(path)
    assert [(each.subject, each.zone, each.turn) for each in passes] == [(BEN, "inside", 910), (ANNA, "outside", 920)]
    assert set(marks) == {(3, ANNA), (3, BEN)}


def test_passes_go_when_they_count_no_longer_and_marks_with_their_cycle(heard: HeardFile, path: Path, run: Run) -> None:
    heard.note_passes([Pass(ANNA, "inside", 100, 1), Pass(BEN, "inside", 300, 2)])
    heard.note_marks(3, [ANNA])
    run(heard.keep(0, 3))
    heard.note_marks(4, [BEN])
    run(heard.keep(200, 4))
    assert read(path) == ((Pass(BEN, "inside", 300),), ((4, BEN),))


def test_a_gate_that_hears_nothing_writes_nothing(heard: HeardFile, path: Path, run: Run) -> None:
    run(heard.keep(0, 0))
    assert not path.exists()


def test_what_could_not_be_kept_is_kept_with_the_next(tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "later"
    with closing(HeardFile(folder / "neighbours.db")) as heard:
        heard.note_passes([Pass(ANNA, "inside", 100, 1)])
        heard.note_marks(1, [ANNA])
        with pytest.raises(DeviceError, match="not on disk"):
            run(heard.keep(0, 1))
        folder.mkdir()
        run(heard.keep(0, 1))
    assert read(folder / "neighbours.db") == ((Pass(ANNA, "inside", 100),), ((1, ANNA),))


@pytest.mark.parametrize("content", [b"no database at all, and longer than a header" * 9, None])
def test_a_damaged_file_is_set_aside_and_another_one_begun(
    heard: HeardFile, path: Path, run: Run, content: bytes | None
) -> None:
    heard.note_marks(1, [bytes([number]) * 16 for number in range(200)])
    run(heard.keep(0, 1))
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096) if content is None else content)
    assert read(path) == ((), ())
    assert not path.exists()
    assert len([*path.parent.glob("neighbours.epoch-0.*.db")]) == 1, "for whoever wants to know"
    heard.note_marks(2, [BEN])
    run(heard.keep(0, 2))
    assert read(path)[1] == ((2, BEN),)
