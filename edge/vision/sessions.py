"""The models of the active set, loaded and ready."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edge.biometric.liveness import Cue
from edge.biometric.manifest import Manifest
from edge.biometric.model import Model, Role
from edge.biometric.values import ModelSet, ReferenceKind
from edge.errors import DeviceError
from edge.vision.attack import AttackDetector
from edge.vision.detector import Detector
from edge.vision.embedder import Embedder
from edge.vision.motion import MotionDetector
from edge.vision.network import Network

_SAME_FACE_FMR = 0.001
ATTACK_ROLES: tuple[Role, ...] = ("attack-v2", "attack-v1se")


@dataclass(frozen=True)
class ModelSessions:
    """Detector, embedder and, where the set has them, presentation attack detector and detector of motion."""

    models: ModelSet
    detector: Detector
    embedder: Embedder
    attack: AttackDetector | None
    same_face: float
    """Score from which on two frames of one visit show one person; clearly reached by one face (README.md)."""
    motion: MotionDetector | None = None
    cues: Mapping[str, Cue] = field(default_factory=dict)

    @classmethod
    def open(cls, manifest: Manifest, folder: Path, set_name: str, threads: int) -> ModelSessions:
        """Load a set from ``folder/<set>``; ``best`` is the standard set where all its files are there.

        Every file's SHA-256 is held against the manifest before it is loaded.

        Raises:
            DeviceError: a file is missing, is not the manifest's, or does not load.
        """
        chosen = present(manifest, folder, set_name)
        loaded: dict[Role, tuple[Network, Model]] = {}
        for role, name in manifest.sets[chosen].models.items():
            model = manifest.models[name]
            loaded[role] = Network.load(model, folder / chosen, threads), model
        attack = [loaded[role] for role in ATTACK_ROLES if role in loaded]
        return cls(
            models=ModelSet(chosen, {role: (model.name, model.asset.sha256) for role, (_, model) in loaded.items()}),
            detector=Detector(*loaded["detector"]),
            embedder=Embedder(*loaded["embedder"]),
            attack=AttackDetector(attack) if attack else None,
            same_face=_same_face(manifest, loaded["embedder"][1].name),
            motion=MotionDetector(loaded["pose"], loaded["eyes"]) if {"pose", "eyes"} <= loaded.keys() else None,
            cues=manifest.cues,
        )


def _same_face(manifest: Manifest, embedder: str) -> float:
    try:
        return manifest.threshold(embedder, ReferenceKind.FULL, _SAME_FACE_FMR)
    except ValueError as error:
        raise DeviceError("models", str(error)) from error


def present(manifest: Manifest, folder: Path, set_name: str) -> str:
    """The name of the set that a wish means on this machine.

    Raises:
        DeviceError: there is no such set.
    """
    if set_name == "best":
        return "standard" if complete(manifest, folder, "standard") else "default"
    if set_name not in manifest.sets:
        raise DeviceError("models", f"models.toml has no set {set_name!r}")
    return set_name


def complete(manifest: Manifest, folder: Path, set_name: str) -> bool:
    """Whether all files of a set are there (their content is checked when they are loaded)."""
    wanted = manifest.sets[set_name].models.values()
    return all((folder / set_name / manifest.models[name].asset.file).is_file() for name in wanted)
