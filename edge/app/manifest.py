"""What is known about the face models: ``models.toml`` of this installation."""

from __future__ import annotations

from edge.biometric.manifest import Manifest, parse
from edge.settings import Settings, SettingsError, read_toml


def manifest_of(settings: Settings) -> Manifest:
    """The manifest beside the models.

    Raises:
        SettingsError: it cannot be read.
    """
    path = settings.models.folder / "models.toml"
    try:
        return parse(read_toml(path))
    except ValueError as error:
        raise SettingsError(f"{path}: {error}") from error
