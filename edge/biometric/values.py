"""What is known about faces, as values: the reference in the credential, the probe seen now, how alike they are.

None of these hold a picture of the probe: pixels and templates stay inside ``edge-vision`` and a probe is known
outside by its number only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum


@dataclass(frozen=True)
class Picture:
    """A biometric reference as an encoded picture: JPEG, WebP, ... bytes as signed by the issuer.

    ``others`` are further pictures in the same card, in its order, for when this one does not decode.
    """

    data: bytes = field(repr=False)
    others: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Template:
    """A biometric reference as a vector: ``data`` as the model ``model`` (name and version) wrote it.

    ``others`` are further templates in the same card, model and data. ``picture`` is the photo in it, for gates that
    run another model than all of these; None where there is none.
    """

    data: bytes = field(repr=False)
    model: str
    picture: Picture | None = None
    others: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Enrolled:
    """A biometric reference that the card does not carry: the template of whom the gallery knows by this claim."""

    gallery: str
    claim: str = field(repr=False)


Reference = Picture | Template | Enrolled


class ReferenceKind(Enum):
    """Thresholds differ by what the probe is compared with."""

    FULL = "full"  # picture with 96 pixels or more a side
    SMALL = "small"  # picture of the size that fits a QR code
    TEMPLATE = "template"
    GALLERY = "gallery"  # template of a whole picture that was enrolled here


STAGES = frozenset(
    {"read", "detect", "quality", "attack", "cues", "embed", "prepare", "reference", "compare", "gallery", "search"}
)
"""What takes time in ``edge-vision``; these words, and no others, stand in entries."""
LONGEST_US = 1 << 32


@dataclass(frozen=True)
class Probe:
    """The face seen now: exactly one whole face, found good enough by the wanted quality.

    Attributes:
        number: name of the probe inside ``edge-vision``; never reused within one run.
        frame: sequence number of the frame that it was taken from.
        seen_at: when that frame was handed over, seconds on the monotonic clock of the machine.
        eyes_px: distance between the eyes, pixels.
        sharpness: variance of the Laplacian on the aligned face.
        brightness: mean luma of the aligned face, 0 to 255.
        bona_fide: probability of a real person, 0 to 1; None when no detector is in the active model set.
        took_us: detect, align and embed, attack: microseconds per stage.
        tasks: how many of the tasks that were asked for this face did.
    """

    number: int
    frame: int
    seen_at: float
    eyes_px: float
    sharpness: float
    brightness: float
    bona_fide: float | None
    took_us: dict[str, int]
    tasks: int = 0


@dataclass(frozen=True)
class Comparison:
    """How alike reference and probe are: a score of one model, to be held against that model's threshold.

    Attributes:
        probe: number of the probe.
        score: comparison score (cosine), -1 to 1.
        model: name and version of the embedder.
        kind: what the reference was.
        took_us: microseconds per stage.
    """

    probe: int
    score: float
    model: str
    kind: ReferenceKind
    took_us: dict[str, int]


@dataclass(frozen=True)
class Identification:
    """Who of a gallery the probe is most like. Whether that is alike enough, the threshold says, and mostly it is not.

    Attributes:
        probe: number of the probe.
        candidate: what the gallery calls this person, 16 bytes that mean nothing without its key.
        score: comparison score (cosine), -1 to 1.
        among: how many people were compared.
        model: name and version of the embedder.
        took_us: microseconds per stage.
    """

    probe: int
    candidate: bytes = field(repr=False)
    score: float
    among: int
    model: str
    took_us: dict[str, int]


class Hint(Enum):
    """What would help the person to be seen well. Shown on the way to a probe, never decided on."""

    LOOK = "look-here"
    CLOSER = "closer"
    BACK = "back"
    MIDDLE = "into-the-middle"
    STILL = "hold-still"
    DARK = "too-dark"
    BRIGHT = "too-bright"
    ALONE = "one-at-a-time"
    UNCOVER = "uncover-your-face"
    TURN_RIGHT = "turn-right"
    TURN_LEFT = "turn-left"
    NOD = "nod"
    BLINK = "blink"


class Task(Enum):
    """What a person is asked to do, so that a picture cannot; right and left are the person's own."""

    TURN_RIGHT = "turn-right"
    TURN_LEFT = "turn-left"
    NOD = "nod"
    BLINK = "blink"
    CLOSER = "closer"


@dataclass(frozen=True)
class LightCode:
    """When the fill light is on while a face is looked for: slots of one length, over and over.

    Attributes:
        starts_at: when the first slot begins, seconds on the monotonic clock of the machine.
        slot_s: how long one is.
        lit: whether the light is on, slot by slot.
    """

    starts_at: float
    slot_s: float
    lit: tuple[bool, ...]

    def __post_init__(self) -> None:
        if not (math.isfinite(self.starts_at) and 0.02 <= self.slot_s <= 2 and 2 <= len(self.lit) <= 64):
            raise ValueError("a light code of 2 to 64 slots of 0.02 to 2 seconds")

    @property
    def period_s(self) -> float:
        """How long it takes once."""
        return self.slot_s * len(self.lit)

    def lit_at(self, at: float) -> bool:
        """Whether the light is on at this moment."""
        return self.lit[math.floor((at - self.starts_at) / self.slot_s) % len(self.lit)]


@dataclass(frozen=True)
class ProbeQuality:
    """What a probe must satisfy before it is compared."""

    eyes_px: float = 48.0
    sharpness: float = 20.0
    brightness: tuple[float, float] = (40.0, 225.0)
    frames: int = 1  # good frames of one face, one after another, whose templates make the probe
    attack_frames: int = 5  # the same where attacks are detected: their median counts, single frames err too often
    tasks: tuple[Task, ...] = ()  # what the person has to do first, in this order, with the face that is compared
    light: LightCode | None = None  # how the fill light shines meanwhile, where one is fitted


@dataclass(frozen=True)
class ModelSet:
    """Which models are at work: the name of the set, and per role the model's name and SHA-256."""

    name: str
    models: dict[str, tuple[str, bytes]]

    @property
    def detects_attacks(self) -> bool:
        """Whether a presentation attack detector is in the set."""
        return any(role.startswith("attack") for role in self.models)

    @property
    def sees_tasks(self) -> bool:
        """Whether the set can tell what a person does who was asked to turn, nod or blink."""
        return {"pose", "eyes"} <= self.models.keys()
