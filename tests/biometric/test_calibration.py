from __future__ import annotations

import tomllib
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from edge.biometric.calibration import Calibration
from edge.settings import SettingsError, section

MODEL, CAMERA = "ab" * 32, "picamera2 0 2304x1296"
MADE = Calibration(CAMERA, (MODEL,), 0.62, "2026-11-22T12:00:00+00:00", 150, 300, 0.0, 0.0133, supported=True)


def test_a_calibration_is_read_as_it_was_written() -> None:
    odd = replace(MADE, camera='opencv rtsp://user"\\@host 1x1')
    for made in (MADE, odd):
        assert section(Calibration, tomllib.loads(made.as_toml()), "calibration", Path(), "here") == made


def test_its_digest_changes_with_each_of_its_figures() -> None:
    others = [
        replace(MADE, **{name: value + (value if isinstance(value, tuple | str) else 1)})
        for name, value in asdict(MADE).items()
    ]
    assert len({MADE.digest, *(other.digest for other in others)}) == 1 + len(others)


def test_the_threshold_of_the_camera_takes_the_place_of_the_profile_s() -> None:
    assert MADE.threshold(0.5, CAMERA, {MODEL}) == 0.62
    assert replace(MADE, attack_threshold=0.4).threshold(0.5, CAMERA, {MODEL}) == 0.4
    assert replace(MADE, supported=False).threshold(0.5, CAMERA, {MODEL}) == 0.62


@pytest.mark.parametrize(
    ("made", "camera", "models", "why"),
    [
        (MADE, "opencv /dev/video0 1280x720", {MODEL}, "is of camera picamera2 0 2304x1296"),
        (MADE, CAMERA, {"cd" * 32}, "models.toml does not have"),
        (replace(MADE, models=()), CAMERA, {MODEL}, "models.toml does not have"),
        (replace(MADE, attack_threshold=0.4, supported=False), CAMERA, {MODEL}, "too few presentations"),
        (replace(MADE, attack_threshold=1.0), CAMERA, {MODEL}, "no probability"),
        (replace(MADE, attack_threshold=0.0), CAMERA, {MODEL}, "no probability"),
        (replace(MADE, attack_threshold=float("nan")), CAMERA, {MODEL}, "no probability"),
    ],
)
def test_a_calibration_of_something_else_is_not_used_and_says_what_to_do(
    made: Calibration, camera: str, models: set[str], why: str
) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        made.threshold(0.5, camera, models)
    assert "edge face calibrate --undo" in str(caught.value)


def test_an_altered_file_names_the_key() -> None:
    table = tomllib.loads(MADE.as_toml()) | {"attack_treshold": 0.1}
    with pytest.raises(SettingsError, match="attack_treshold"):
        section(Calibration, table, "calibration", Path(), "here")
