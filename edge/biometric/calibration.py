"""What attack detection was found to be worth before one camera, and the threshold that follows.

1. A calibration belongs to one camera and to the networks that were asked: with another camera, picture size or model
   it says nothing, and such a gate does not start until somebody calibrates again or takes it back.
2. It may raise the profile's threshold whatever it rests on. It lowers it only when its data show that attacks pass
   less often than is promised.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Calibration:
    """One camera's threshold, and what it rests on.

    Attributes:
        camera: kind, source and picture size, as in the configuration.
        models: SHA-256 of each attack network, hexadecimal.
        attack_threshold: in place of the profile's.
        made_at: when, ISO 8601.
        people: answered presentations of people.
        attacks: answered presentations of attacks.
        apcer: greatest share of one kind of attack that passes.
        bpcer: share of people that are refused.
        supported: whether every kind of attack was presented often enough to show less than what is promised.
    """

    camera: str
    models: tuple[str, ...]
    attack_threshold: float
    made_at: str
    people: int
    attacks: int
    apcer: float
    bpcer: float
    supported: bool

    @property
    def digest(self) -> bytes:
        """SHA-256, the same for the same calibration wherever it was read."""
        told = "\n".join(f"{name}={value!r}" for name, value in sorted(asdict(self).items()))
        return hashlib.sha256(told.encode()).digest()

    def threshold(self, of_profile: float, camera: str, known: Collection[str]) -> float:
        """The threshold in force, for a profile that has this one and a camera of this name.

        Args:
            of_profile: threshold of the profile.
            camera: that the gate has.
            known: SHA-256 of the networks that it may run, hexadecimal.

        Raises:
            ValueError: rule 1 or 2; says what to do.
        """
        if self.camera != camera:
            raise ValueError(f"is of camera {self.camera}, this gate has {camera}; {_REMEDY}")
        if not self.models or not set(self.models) <= set(known):
            raise ValueError(f"is of models that models.toml does not have; {_REMEDY}")
        if not 0 < self.attack_threshold < 1:
            raise ValueError(f"has an attack_threshold of {self.attack_threshold}, which is no probability; {_REMEDY}")
        if self.attack_threshold < of_profile and not self.supported:
            lowered = f"lowers attack_threshold from {of_profile} to {self.attack_threshold}"
            raise ValueError(f"{lowered} with too few presentations; {_REMEDY}")
        return self.attack_threshold

    def as_toml(self) -> str:
        """The file that a gate reads."""
        lines = [
            "# Written by `edge face calibrate --write`; `edge face calibrate --undo` takes it back. In force from the",
            "# next start of edge-gate on, for this camera and these attack networks only.",
            f'camera = "{_escaped(self.camera)}"',
            "models = [" + ", ".join(f'"{model}"' for model in self.models) + "]",
            "# Probability of a real person from which a face counts as one; in place of the profile's.",
            f"attack_threshold = {self.attack_threshold}",
            "# What it rests on.",
            f'made_at = "{self.made_at}"',
            f"people = {self.people}",
            f"attacks = {self.attacks}",
            f"apcer = {self.apcer}",
            f"bpcer = {self.bpcer}",
            f"supported = {str(self.supported).lower()}",
        ]
        return "\n".join(lines) + "\n"


_REMEDY = "run `edge face calibrate --write` again, or `edge face calibrate --undo`"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
