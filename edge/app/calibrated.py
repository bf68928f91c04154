"""The calibration of this gate's camera: ``calibration.toml`` beside the configuration, where there is one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edge.app.manifest import manifest_of
from edge.biometric.calibration import Calibration
from edge.decision import Policy
from edge.settings import Camera, Settings, SettingsError, read_toml, section

_NAME, _BEFORE = "calibration.toml", "calibration.before.toml"


def camera_of(camera: Camera) -> str:
    """What a camera is called in a calibration."""
    return f"{camera.kind} {camera.source} {camera.width}x{camera.height}"


def place_of(source: Path) -> Path:
    """Where the calibration of a configuration is."""
    return source.resolve().parent / _NAME


def calibration_of(settings: Settings) -> Calibration | None:
    """The calibration; None where nobody calibrated.

    Raises:
        SettingsError: it cannot be read, or a key is wrong.
    """
    path = place_of(settings.source)
    if not path.exists():
        return None
    made: Calibration = section(Calibration, read_toml(path), "calibration", path.parent, str(path))
    return made


def calibrated(policy: Policy, settings: Settings) -> Policy:
    """The profile with this camera's threshold in place of its own.

    Raises:
        SettingsError: the calibration is of something else; says what to do.
    """
    calibration = calibration_of(settings)
    if calibration is None:
        return policy
    known = [model.asset.sha256.hex() for model in manifest_of(settings).models.values()]
    try:
        threshold = calibration.threshold(policy.attack_threshold, camera_of(settings.camera), known)
    except ValueError as error:
        raise SettingsError(f"{place_of(settings.source)} {error}") from error
    return replace(policy, attack_threshold=threshold)


def write(calibration: Calibration, source: Path) -> Path:
    """Put it beside the configuration; the one before is kept for ``undo``.

    Raises:
        OSError: that cannot be written.
    """
    path = place_of(source)
    part = path.with_suffix(".new")
    part.write_text(calibration.as_toml(), encoding="utf-8")
    if path.exists():
        path.replace(path.with_name(_BEFORE))
    part.replace(path)
    return path


def undo(source: Path) -> bool | None:
    """Take the calibration back: True when the one before holds again, False when none does, None when there was none.

    Raises:
        OSError: that cannot be written.
    """
    path = place_of(source)
    before = path.with_name(_BEFORE)
    if not path.exists():
        return None
    if before.exists():
        before.replace(path)
        return True
    path.unlink()
    return False
