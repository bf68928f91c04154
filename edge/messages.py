"""The messages of the five processes: what is asked, answered and told. ``wire.py`` sends them.

``edge-gate`` asks, ``edge-vision`` answers, one request at a time. The other processes tell ``edge-gate`` how their
device is once a second (``Health``), a datagram each: the present state, not the change, so a lost one costs a second.
``edge-web`` asks ``edge-vision`` about pictures that somebody handed over, on a socket of their own (``AskStill``), and
asks ``edge-gate`` to write down every change of the gallery before it makes it (``Record``), and for what an operator
wants to do (``orders.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from edge import orders
from edge.biometric.values import (
    Comparison,
    Hint,
    Identification,
    ModelSet,
    Probe,
    ProbeQuality,
    Reference,
)
from edge.passage import Indication
from edge.ports import Code


@dataclass(frozen=True)
class AskCode:
    """Wait up to ``deadline_s`` for the next code."""

    deadline_s: float


@dataclass(frozen=True)
class AskModels:
    """Which models are at work?"""


@dataclass(frozen=True)
class AskProbe:
    """Find one whole face in a frame after ``newer_than``; it will be compared with ``reference``."""

    wanted: ProbeQuality
    newer_than: int
    deadline_s: float
    reference: Reference | None = None


@dataclass(frozen=True)
class Hinted:
    """On the way to a probe, before the answer and any number of times: what would help the person."""

    hint: Hint


@dataclass(frozen=True)
class AskComparison:
    """Compare that probe with this reference."""

    reference: Reference
    probe: int


@dataclass(frozen=True)
class AskEnrolled:
    """Does the gallery have a face of this person that can be compared? ``Done``, or ``Refused``."""

    gallery: str
    claim: str = field(repr=False)


@dataclass(frozen=True)
class AskSearch:
    """Compare that probe with everybody in the gallery."""

    gallery: str
    probe: int


@dataclass(frozen=True)
class Forget:
    """The visit is over: drop its pixels and templates."""


@dataclass(frozen=True)
class Done:
    """Nothing to report: a code did not come before the deadline, or a visit was forgotten."""


@dataclass(frozen=True)
class Refused:
    """The person has to act: the code of a ``Reason``, and a detail for the operator."""

    reason: str
    detail: str


@dataclass(frozen=True)
class Failed:
    """A device failed: its name, and what the technician should know."""

    device: str
    message: str


@dataclass(frozen=True)
class Carried:
    """A command as it came from the network, not judged; ``edge-gate`` alone does that."""

    signed: bytes = field(repr=False)


@dataclass(frozen=True)
class Neighbour:
    """What another gate of this site says, as it came; ``edge-gate`` alone judges it."""

    said: bytes = field(repr=False)


@dataclass(frozen=True)
class Health:
    """How one device is, as its own process sees it; ``detail`` is for the technician, empty when all is well."""

    device: str
    ok: bool
    detail: str = field(default="")


@dataclass(frozen=True)
class Shown:
    """What the panel shows now: told to ``edge-web`` at each change and once a second."""

    indication: Indication


class StillWork(Enum):
    """What to do with a picture that somebody handed over."""

    FACTS = "facts"  # quality, template, attack score
    CROP = "crop"  # the face with its surroundings
    ALIGN = "align"  # the face alone, upright
    CONVERT = "convert"  # the whole picture in another format


@dataclass(frozen=True)
class AskStill:
    """Look at this picture; the answer's picture is in the format ``form`` (jpeg, png, webp, jp2)."""

    data: bytes = field(repr=False)
    work: StillWork = StillWork.FACTS
    form: str = "jpeg"


@dataclass(frozen=True)
class Still:
    """What a picture that was handed over shows.

    Attributes:
        width: pixels.
        height: pixels.
        eyes_px: distance between the eyes, pixels of the picture; 0.0 where no face was looked for.
        sharpness: as in ``Probe``.
        brightness: as in ``Probe``.
        quality: 0 to 100, our own measure.
        turned: whether the face clearly looks elsewhere.
        small: whether thresholds for small references hold.
        bona_fide: as in ``Probe``; None also where the face's surroundings are missing.
        model: name and version of the embedder.
        template: its vector, float32 little-endian.
        picture: what was asked for, else empty.
        took_us: all together, microseconds.
    """

    width: int
    height: int
    eyes_px: float
    sharpness: float
    brightness: float
    quality: int
    turned: bool
    small: bool
    bona_fide: float | None
    model: str
    template: bytes = field(repr=False)
    picture: bytes = field(repr=False)
    took_us: int


@dataclass(frozen=True)
class Record:
    """Write down what is about to be done to the gallery: plain words, and the subject's pseudonym (16 bytes, or none).

    Nothing is done before ``Recorded`` came back.
    """

    fields: dict[str, str]
    subject: bytes = field(repr=False)


@dataclass(frozen=True)
class Recorded:
    """It is on disk, as this entry of the log."""

    index: int


Message = (
    AskCode
    | AskModels
    | AskProbe
    | AskComparison
    | AskEnrolled
    | AskSearch
    | Forget
    | Done
    | Refused
    | Failed
    | Health
    | Carried
    | Neighbour
    | Shown
    | Hinted
    | AskStill
    | Still
    | Record
    | Recorded
    | orders.Asked
    | orders.AskedAtConsole
    | orders.Told
    | Code
    | ModelSet
    | Probe
    | Comparison
    | Identification
)
