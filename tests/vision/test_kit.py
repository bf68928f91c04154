from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from numpy.typing import NDArray

from edge.app.calibrated import calibration_of, place_of
from edge.app.chosen import configuration, policy_of
from edge.cli import main
from edge.cli.replay import policies_of
from edge.demo.fakes import Fake, Medium
from edge.demo.footage import Stand, face_clip
from edge.demo.stage import ROOT
from edge.settings import SettingsError, load
from edge.vision import kit, sheet
from edge.vision.sessions import ModelSessions


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, models: Path, standard_set: ModelSessions) -> Path:
    """One person, one phone, and a wall, as a camera recorded them."""
    assert standard_set.attack is not None
    folder = tmp_path_factory.mktemp("recorded")
    for species, shown in (("bona-fide", Stand("obama2")), ("phone", Fake("obama2", Medium.PHONE))):
        (folder / species).mkdir()
        clip = face_clip(models / "portraits", (shown,), 1)[4:10]
        np.save(folder / species / "one.npy", np.stack(clip))
    (folder / "phone" / "two").mkdir()
    cv2.imwrite(str(folder / "phone" / "two" / "1.png"), np.full((720, 1280, 3), 90, np.uint8))
    return folder


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """A key pair in two files."""
    private = ec.generate_private_key(ec.SECP256R1())
    secret, public = tmp_path / "key.pem", tmp_path / "public.pem"
    secret.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return secret, public


def test_a_run_is_signed_and_tells_errors_per_species(
    recorded: Path, keys: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "result.cose"
    run = ["face", "attack-kit", "run", "--recorded", str(recorded), "--out", str(out), "--key", str(keys[0])]
    assert main([*run, "--set", "standard"]) == 0
    said = capsys.readouterr().out
    assert "APCER   0.00 %" in said
    assert "no answer 1 of 2" in said
    assert "too few to say whether below 2 %" in said
    assert main(["face", "attack-kit", "verify", str(out), "--key", str(keys[1])]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["species"]["phone"]["errors"] == 0
    assert result["species"]["bona-fide"] | {"interval_95": 0} == {
        "answered": 1, "errors": 0, "rate": 0.0, "interval_95": 0, "not_answered": 0, "supported": False,
    }  # fmt: skip
    assert result["models"].keys() >= {"attack-v2", "embedder"}


def test_an_altered_result_is_not_shown(
    recorded: Path, keys: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "result.cose"
    run = ["face", "attack-kit", "run", "--recorded", str(recorded), "--out", str(out), "--key", str(keys[0])]
    assert main([*run, "--set", "standard", "--species", "bona-fide"]) == 0
    out.write_bytes(out.read_bytes().replace(b'"errors": 0', b'"errors": 1'))
    assert main(["face", "attack-kit", "verify", str(out), "--key", str(keys[1])]) == 1
    assert "not a result signed by that key" in capsys.readouterr().err


def test_calibration_says_what_its_data_cannot_support(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["face", "calibrate", "--recorded", str(recorded), "--set", "standard"]) == 0
    said = capsys.readouterr().out
    assert "attack_threshold = 0." in said
    assert "takes 150 presentations each without an error" in said


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The configuration of a gate."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    config = tmp_path / "config" / "edge.toml"
    config.write_text(config.read_text().replace('"/opt/edge-gate/models"', f'"{ROOT / "models"}"'))
    pilot = tmp_path / "config" / "profiles" / "pilot.toml"
    pilot.write_text(pilot.read_text().replace("attack_threshold = 0.5", "attack_threshold = 0.3"))
    return config


def test_a_calibration_that_is_written_is_in_force_and_can_be_taken_back(
    recorded: Path, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calibrate = ["face", "calibrate", "--config", str(site), "--set", "standard"]
    before = policy_of(load(site))
    assert main([*calibrate, "--recorded", str(recorded), "--write"]) == 0
    said = capsys.readouterr().out
    assert "systemctl restart edge-gate" in said
    made = calibration_of(load(site))
    assert made is not None
    assert made.digest.hex() in said
    assert (made.people, made.attacks, made.supported) == (1, 1, False)
    policy = policy_of(load(site))
    assert policy.attack_threshold == made.attack_threshold >= before.attack_threshold
    assert policy.digest != before.digest
    event = configuration(policy, made)
    assert event.digests == (policy.digest, made.digest)
    assert event.fields["attack_threshold"] == str(made.attack_threshold)
    assert set(policies_of([site.parent / "profiles" / "pilot.toml"], [place_of(site)])) == {
        before.digest,
        policy.digest,
    }
    assert main([*calibrate, "--undo"]) == 0
    assert "the profile's attack_threshold holds again" in capsys.readouterr().out
    assert policy_of(load(site)) == before
    assert main([*calibrate, "--undo"]) == 1
    assert "there is no" in capsys.readouterr().err


def test_undo_brings_the_calibration_before_back(
    site: Path, recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calibrate = ["face", "calibrate", "--config", str(site), "--set", "standard"]
    for _ in range(2):
        assert main([*calibrate, "--recorded", str(recorded), "--write"]) == 0
    place = place_of(site)
    second = place.read_text()
    first = place.with_name("calibration.before.toml").read_text()
    place.write_text(second.replace("0.", "0.9"))
    assert main([*calibrate, "--undo"]) == 0
    assert place.read_text() == first
    assert "the calibration before it holds again" in capsys.readouterr().out


def test_a_gate_with_another_camera_than_was_calibrated_does_not_start(
    site: Path, recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calibrate = ["face", "calibrate", "--config", str(site), "--set", "standard"]
    assert main([*calibrate, "--recorded", str(recorded), "--write"]) == 0
    site.write_text(site.read_text().replace("width = 2304", "width = 1280"))
    with pytest.raises(SettingsError, match="is of camera picamera2 0 2304x1296"):
        policy_of(load(site))


def test_a_set_without_a_detector_of_attacks_cannot_be_tried(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["face", "calibrate", "--recorded", str(recorded), "--set", "default"]) == 1
    assert "detects no attacks" in capsys.readouterr().err


def test_a_folder_without_recordings_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one folder a species"):
        kit.recordings(tmp_path)
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone" / "film.mp4").write_bytes(b"no film")
    with pytest.raises(ValueError, match="no film"):
        list(kit.frames_of(tmp_path / "phone" / "film.mp4"))


def test_the_sheet_is_written_in_three_forms_with_the_face_in_life_size(
    tmp_path: Path, portraits: dict[str, NDArray[np.uint8]], default_set: ModelSessions
) -> None:
    landmarks = default_set.detector.detect(portraits["obama"])[0].landmarks
    drawing = sheet.drawn(portraits["obama"], landmarks)
    png, svg, pdf = sheet.write(tmp_path, drawing)
    read = cv2.imread(str(png))
    assert read is not None
    assert read.shape == (2339, 1654, 3)
    assert svg.read_text().startswith('<svg xmlns="http://www.w3.org/2000/svg" width="210mm" height="297mm"')
    content = pdf.read_bytes()
    begins = int(content.rsplit(b"startxref\n", 1)[1].split()[0])
    assert content[begins:].startswith(b"xref\n0 6")
    (face,) = default_set.detector.detect(drawing)
    eyes_mm = float(np.linalg.norm(face.landmarks[1] - face.landmarks[0])) * 25.4 / sheet.DPI
    assert eyes_mm == pytest.approx(sheet.EYES_MM, rel=0.08)
