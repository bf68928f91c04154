"""Claim 169: the person, as the card says it; personal data, every bit of it.

The numbers and names of the specification, and the values that ``attributes`` makes of a card's map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import IntEnum
from typing import Any, Final

from edge.biometric.values import Picture, Reference, Template
from edge.credential import picture

ID: Final = 1
PHOTO: Final = 16

NAMES: Final[dict[int, str]] = {
    1: "id",
    2: "version",
    3: "language",
    4: "full_name",
    5: "first_name",
    6: "middle_name",
    7: "last_name",
    8: "date_of_birth",
    9: "gender",
    10: "address",
    11: "email",
    12: "phone",
    13: "nationality",
    14: "marital_status",
    15: "guardian",
    16: "photo",
    17: "photo_format",
    18: "best_quality_fingers",
    19: "full_name_secondary",
    20: "secondary_language",
    21: "location_code",
    22: "legal_status",
    23: "country_of_issuance",
    50: "right_thumb",
    51: "right_pointer_finger",
    52: "right_middle_finger",
    53: "right_ring_finger",
    54: "right_little_finger",
    55: "left_thumb",
    56: "left_pointer_finger",
    57: "left_middle_finger",
    58: "left_ring_finger",
    59: "left_little_finger",
    60: "right_iris",
    61: "left_iris",
    62: "face",
    63: "right_palm",
    64: "left_palm",
    65: "voice",
}


class Gender(IntEnum):
    """Attribute 9."""

    MALE = 1
    FEMALE = 2
    OTHERS = 3


class MaritalStatus(IntEnum):
    """Attribute 14."""

    UNMARRIED = 1
    MARRIED = 2
    DIVORCED = 3


class Format(IntEnum):
    """What a biometric is: attribute 1 of it."""

    IMAGE = 0
    TEMPLATE = 1
    SOUND = 2
    BIO_HASH = 3


SUBFORMATS: Final[dict[int, dict[int, str]]] = {
    Format.IMAGE: {0: "PNG", 1: "JPEG", 2: "JPEG2000", 3: "AVIF", 4: "WEBP", 5: "TIFF", 6: "WSQ"},
    Format.TEMPLATE: {0: "ANSI 378", 1: "ISO 19794-2", 2: "NIST"},
    Format.SOUND: {0: "WAV", 1: "MP3"},
}
_PICTURES: Final = (None, Format.IMAGE)
_LOOKED_AT: Final = 3
VENDOR: Final = range(100, 201)
"""Sub-formats that vendors give meaning to."""


@dataclass(frozen=True)
class Biometric:
    """One biometric of a person.

    Attributes:
        data: the bytes behind what the card carries.
        form: how the card carries them: bytes, hex, base64, data-URI; with the record around the picture.
        format: image, template, sound, hash; None where the card does not say, or says something unknown.
        subformat: number as on the card; None likewise.
        issuer: who made it; for a template, model and version.
        kind: what an image is by its content, also where the card calls it something else.
        others: what else stood in the map, and format or subformat that are no number.
    """

    data: bytes = field(repr=False)
    form: str
    format: Format | None = None
    subformat: int | None = None
    issuer: str | None = None
    kind: str | None = None
    others: Mapping[int | str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Identity:
    """What claim 169 says about a person; personal data, every bit of it.

    Attributes:
        attributes: by name (``NAMES``): text, ``date``, ``Gender``, ``MaritalStatus``, tuple of finger positions.
        raw: by name, as they came: attributes that are not what the specification says.
        biometrics: by name, in the order of the card.
        others: every other key.
        notes: what was unusual, no personal data.
    """

    attributes: Mapping[str, Any] = field(repr=False)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)
    biometrics: Mapping[str, tuple[Biometric, ...]] = field(default_factory=dict, repr=False)
    others: Mapping[int | str, Any] = field(default_factory=dict, repr=False)
    notes: frozenset[str] = frozenset()

    @property
    def id(self) -> str | None:
        """Attribute 1."""
        return self.attributes.get("id")

    @property
    def full_name(self) -> str | None:
        """Attribute 4."""
        return self.attributes.get("full_name")

    @property
    def date_of_birth(self) -> date | None:
        """Attribute 8; None where it is missing, partial or ambiguous (then see ``raw``)."""
        return self.attributes.get("date_of_birth")

    @property
    def face(self) -> Reference | None:
        """The face to compare with."""
        return reference(self.biometrics.get("face", ()) + self.biometrics.get("photo", ()))

    @property
    def form_of_face(self) -> tuple[str, ...]:
        """How the face is written, as a part of the dialect; empty without one."""
        return form(self.biometrics.get("face", ()) + self.biometrics.get("photo", ()))


def reference(faces: Sequence[Biometric]) -> Reference | None:
    """The face to compare with: templates, with the photo beside them for gates of another model; else the photo.

    A photo is a picture of a known kind, whatever the card calls it; else what claims to be one. In the order of the
    card, with as many more as a gate may have to look at.
    """
    known = [one.data for one in faces if one.kind in picture.SHOWN][:_LOOKED_AT]
    known = known or [one.data for one in faces if one.format in _PICTURES][:1]
    photo = Picture(known[0], tuple(known[1:])) if known else None
    templates = [(one.issuer, one.data) for one in faces if one.issuer and modelled(one.format, one.subformat)]
    if not templates:
        return photo
    (model, data), *others = templates[:_LOOKED_AT]
    return Template(data, model, photo, tuple(others))


def modelled(format: Format | None, subformat: int | None) -> bool:  # noqa: A002 -- the specification's word
    """Whether a biometric is a template of a vendor's model."""
    return format is Format.TEMPLATE and subformat in VENDOR


def form(faces: Sequence[Biometric]) -> tuple[str, ...]:
    """How the face is written, as a part of the dialect; empty without one."""
    return (f"{faces[0].form} face",) if faces else ()
