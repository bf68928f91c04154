"""Real models for the tests that need them: fetched once, as ``edge models pull`` does."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.biometric.manifest import Manifest, parse
from edge.settings import read_toml
from edge.vision.archive import FetchError
from edge.vision.fetch import pull
from edge.vision.sessions import ModelSessions

FOLDER = Path(__file__).resolve().parents[2] / "models"


MOST_MB = 600
"""That one test may add to the memory of the process: pictures are bounded, so what looks at them is."""


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """No picture, however large it claims to be, makes the process grow."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < MOST_MB, f"grew by {grown:.0f} MB"


@pytest.fixture(scope="session")
def manifest() -> Manifest:
    """The manifest of this project."""
    return parse(read_toml(FOLDER / "models.toml"))


@pytest.fixture(scope="session")
def models(manifest: Manifest) -> Path:
    """The folder with the default set and the portraits in place."""
    pull(manifest, FOLDER, "default", print)
    return FOLDER


@pytest.fixture(scope="session")
def default_set(manifest: Manifest, models: Path) -> ModelSessions:
    """The default set, loaded."""
    return ModelSessions.open(manifest, models, "default", threads=1)


@pytest.fixture(scope="session")
def standard_set(manifest: Manifest, models: Path) -> ModelSessions:
    """The standard set, loaded; skips where its files cannot be had."""
    try:
        pull(manifest, models, "standard", print)
    except FetchError as error:
        pytest.skip(str(error))
    return ModelSessions.open(manifest, models, "standard", threads=1)


@pytest.fixture(scope="session")
def portraits(manifest: Manifest, models: Path) -> dict[str, NDArray[np.uint8]]:
    """The portraits by name, (h, w, 3), BGR."""
    read = {name: cv2.imread(str(models / "portraits" / asset.file)) for name, asset in manifest.portraits.items()}
    return {name: image.astype(np.uint8, copy=False) for name, image in read.items() if image is not None}
