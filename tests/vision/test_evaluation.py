"""An evaluation from the folder to the plot, on portraits under changing light."""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.biometric.accuracy import Scores, at_fmr
from edge.biometric.manifest import Manifest
from edge.cli import face as command
from edge.vision import evaluation, lineup
from edge.vision.evaluation import Seen
from edge.vision.lineup import Card


def run(*words: str) -> int:
    top = argparse.ArgumentParser()
    command.add(top.add_subparsers())
    chosen = top.parse_args(["face", *words])
    status: int = chosen.act(chosen)
    return status


@pytest.fixture(scope="module")
def people(portraits: dict[str, NDArray[np.uint8]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder laid out as LFW's: three people, three pictures each, one of them without a face."""
    folder = tmp_path_factory.mktemp("people")
    for name in ("obama", "biden", "astronaut"):
        (folder / name).mkdir()
        small = cv2.resize(portraits[name], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        for number, light in enumerate((0.7, 1.0, 1.2), start=1):
            shown = np.clip(small.astype(np.float32) * light, 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / name / f"{name}_{number:04d}.jpg"), shown)
    cv2.imwrite(str(folder / "biden" / "biden_0003.jpg"), np.full((200, 200, 3), 90, np.uint8))
    return folder


def evaluate(people: Path, models: Path, *more: str) -> int:
    return run("evaluate", str(people), "--folder", str(models), "--set", "default", "--workers", "1", *more)


def test_a_folder_becomes_rates_and_a_plot(
    people: Path, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plot = tmp_path / "plot.png"
    assert evaluate(people, models, "--plot", str(plot)) == 0
    said = capsys.readouterr().out
    assert "9 pictures of 3 people; failure to acquire 1 (11.11 %" in said
    assert "7 genuine and 21 impostor comparisons; equal error rate 0.00 %" in said
    assert "not supported: takes 30,000 impostor comparisons" in said
    drawn = cv2.imread(str(plot))
    assert drawn is not None
    assert drawn.shape == (640, 1440, 3)
    assert drawn.std() > 10


def test_pairs_and_a_small_reference(
    people: Path, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("1 3\nobama 1 2\nobama 1 biden 1\nbiden 1 3\n", encoding="utf-8")
    assert evaluate(people, models, "--pairs", str(pairs), "--reference", "64:800") == 0
    said = capsys.readouterr().out
    assert "reference 64:800" in said
    assert "1 pairs not compared" in said
    assert "1 genuine and 1 impostor comparisons" in said


def test_two_pictures_are_compared_at_the_asked_rate(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = models / "portraits"
    same = (str(there / "obama.jpg"), str(there / "obama2.jpg"), "--set", "default")
    assert run("compare", *same) == 0
    assert "threshold 0.930 at FMR 0.1 % (dlib-face-resnet-v1, full reference): match" in capsys.readouterr().out
    assert run("compare", *same, "--fmr", "1e-7") == 1
    assert "not for 1e-07" in capsys.readouterr().err
    assert run("compare", str(there / "obama.jpg"), str(there / "biden.jpg"), "--set", "default") == 1
    assert "no match" in capsys.readouterr().out
    assert run("compare", str(models / "models.toml"), same[0]) == 1
    assert "is no picture" in capsys.readouterr().err


def made(person: str, vector: list[float] | None) -> Seen:
    array = None if vector is None else np.array(vector, np.float32)
    return Seen(person, Path(person), array, array)


def test_every_picture_is_compared_with_every_other_once() -> None:
    seen = [made("a", [1, 0]), made("a", [0.8, 0.6]), made("b", [0, 1]), made("c", None)]
    counted = evaluation.cross_scores(seen, same_kind=True)
    assert (int(counted.genuine.sum()), int(counted.impostor.sum())) == (1, 2)
    counted = evaluation.cross_scores(seen, same_kind=False)
    assert (int(counted.genuine.sum()), int(counted.impostor.sum())) == (2, 4)


def test_within_a_group_only_its_people_are_compared() -> None:
    seen = [made("a", [1, 0]), made("b", [0.8, 0.6]), made("c", [0, 1]), made("d", [0.6, 0.8])]
    groups = {"a": "one", "b": "one", "c": "two", "d": "two"}
    counts = {group: int(scores.impostor.sum()) for group, scores in evaluation.by_group(seen, groups, same_kind=True)}
    assert counts == {"one": 1, "two": 1}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("full", "full"),
        ("64:800", "small"),
        ("96:1200", "full"),
        ("template:4", "template"),
        ("template:1", "template"),
    ],
)
def test_a_card_is_named_as_it_is_asked_for(text: str, kind: str) -> None:
    card = Card.parse(text)
    assert str(card) == text
    assert card.kind == kind


@pytest.mark.parametrize("text", ["", "small", "8:800", "64", "template:2", "64:-1"])
def test_another_card_is_wrong_usage(text: str) -> None:
    with pytest.raises(ValueError, match="is neither full"):
        Card.parse(text)


def test_pairs_and_groups_name_the_wrong_line(tmp_path: Path) -> None:
    pairs, groups = tmp_path / "pairs.txt", tmp_path / "groups.csv"
    pairs.write_text("10 300\nann 1 2\nann one two\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"line 3: expected NAME I J"):
        lineup.read_pairs(pairs, tmp_path)
    pairs.write_text("ann/1.png, bob/2.png, 0\n", encoding="utf-8")
    assert lineup.read_pairs(pairs, tmp_path) == [(tmp_path / "ann/1.png", tmp_path / "bob/2.png", False)]
    groups.write_text("ann,one\nbob\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"line 2: expected PERSON,GROUP"):
        lineup.read_groups(groups)


def test_a_folder_without_people_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one folder a person"):
        lineup.pictures_of(tmp_path)


def test_every_measured_rate_of_the_manifest_is_supported_by_its_data(manifest: Manifest) -> None:
    for model in manifest.models.values():
        for measured in model.thresholds:
            for fmr, score in zip(measured.fmr, measured.score, strict=True):
                assert measured.at(fmr) == score


def test_the_table_for_the_manifest_is_toml(people: Path, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(people, models, "--reference", "template:1") == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert tomllib.loads(last) == {}


def test_groups_are_told_at_everybody_s_thresholds_where_the_data_support_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    everybody, group = Scores(), Scores()
    everybody.add(np.linspace(0, 0.5, 5000, dtype=np.float32), np.zeros(5000, bool))
    group.add(np.full(95, 0.2, np.float32), np.zeros(95, bool))
    group.add(np.full(5, 0.6, np.float32), np.zeros(5, bool))
    group.add(np.array([0.3, 0.9, 0.9, 0.9], np.float32), np.ones(4, bool))
    command._groups([("north", group)], [at_fmr(everybody, rate) for rate in (0.01, 0.001)])
    said = capsys.readouterr().out
    assert said.count("within each group") == 1  # 5,000 comparisons support 1 % and no less
    assert "north" in said
    assert "FMR 5 % (2.2 to 11 % of 100)  FNMR 25 %" in said
