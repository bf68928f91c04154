from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge.errors import DeviceError
from edge.vision import footage as footage_module
from edge.vision.footage import FootageCamera


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    scene = np.zeros((3, 48, 64, 3), np.uint8)
    scene[:] = np.array([100, 120, 140], np.uint8)[:, None, None, None]
    np.save(tmp_path / "scene.npy", scene)
    play(tmp_path, "scene.npy once")
    return tmp_path


def play(stage: Path, line: str) -> None:
    (stage / "next").write_text(line + "\n")
    (stage / "next").replace(stage / "playing")


def levels(device: FootageCamera, count: int) -> list[int]:
    return [round(float(device.read().colour().mean())) for _ in range(count)]


def test_once_stays_on_the_last_frame_with_fresh_noise(stage: Path) -> None:
    device = FootageCamera(str(stage), 200.0)
    assert levels(device, 5) == [100, 120, 140, 140, 140]
    assert not np.array_equal(device.read().y, device.read().y)


def test_loop_begins_again(stage: Path) -> None:
    play(stage, "scene.npy loop")
    assert levels(FootageCamera(str(stage), 200.0), 7) == [100, 120, 140, 100, 120, 140, 100]


def test_freeze_is_exactly_one_picture(stage: Path) -> None:
    play(stage, "scene.npy freeze")
    device = FootageCamera(str(stage), 200.0)
    first = device.read().colour()
    assert all(np.array_equal(device.read().colour(), first) for _ in range(5))


def test_what_is_frozen_answers_no_light(stage: Path) -> None:
    shape = np.load(stage / "scene.npy").shape[1:3]
    np.save(stage / "scene.light.npy", np.full(shape, 40, np.uint8))
    (stage / "light").write_text("0\n")
    play(stage, "scene.npy freeze")
    device = FootageCamera(str(stage), 200.0)
    dark = device.read().colour()
    (stage / "light").write_text("1\n")
    assert np.array_equal(device.read().colour(), dark)
    play(stage, "scene.npy loop")
    assert device.read().colour().mean() > dark.mean()


def test_a_changed_line_starts_at_the_first_frame(stage: Path) -> None:
    device = FootageCamera(str(stage), 200.0)
    levels(device, 2)
    play(stage, "scene.npy loop")
    assert levels(device, 2) == [100, 120]


def test_gone_is_gone_until_it_is_back(stage: Path) -> None:
    device = FootageCamera(str(stage), 200.0)
    play(stage, "gone")
    with pytest.raises(DeviceError, match="unplugged"):
        device.read()
    with pytest.raises(DeviceError, match="unplugged"):
        FootageCamera(str(stage), 200.0)
    play(stage, "scene.npy once")
    assert levels(FootageCamera(str(stage), 200.0), 1) == [100]


class Hours:
    """Time that passes for who sleeps."""

    now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now_s += seconds


def test_frames_come_at_the_pace_that_is_set_and_late_ones_are_lost(
    stage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = Hours()
    monkeypatch.setattr(footage_module, "time", hours)
    device = FootageCamera(str(stage), 50.0)
    levels(device, 10)
    assert hours.now_s == pytest.approx(100.2)
    hours.now_s += 1.0  # the reader is busy
    levels(device, 10)
    assert hours.now_s == pytest.approx(101.38)


@pytest.mark.parametrize(
    "line", ["", "scene.npy", "../scene.npy loop", "scene.npy sideways", "missing.npy loop", "text.npy loop"]
)
def test_a_stage_that_says_nonsense_is_a_device_error(stage: Path, line: str) -> None:
    (stage / "text.npy").write_text("no footage")
    play(stage, line)
    with pytest.raises(DeviceError):
        FootageCamera(str(stage), 200.0)


def test_an_empty_stage_is_a_device_error(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="no footage"):
        FootageCamera(str(tmp_path), 30.0)


def test_footage_of_another_kind_or_cut_short_is_a_device_error(stage: Path) -> None:
    np.save(stage / "floats.npy", np.zeros((2, 8, 8, 3)))
    play(stage, "floats.npy loop")
    with pytest.raises(DeviceError, match="not uint8"):
        FootageCamera(str(stage), 200.0)
