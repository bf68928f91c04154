"""The map of claim 169, attribute by attribute: from whatever a card holds to values with their types.

Rules:

1. Numbers are keys; digit text (``"1"``) and known names fold to them; the same number twice refuses the card.
2. What only people read (names, address, ...) never fails a card: a malformed value is kept as it came, with a note.
3. What the gate decides by (the identifier, the face) is exact or refused.
4. Keys without a meaning here are kept.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from functools import cached_property
from typing import Any, Final

from edge.credential import picture
from edge.credential.identity import (
    ID,
    NAMES,
    PHOTO,
    SUBFORMATS,
    Biometric,
    Format,
    Gender,
    Identity,
    MaritalStatus,
    modelled,
)
from edge.errors import Reason, Refusal
from edge.trust.cbor import Tagged, decode, malformed
from edge.trust.profile import Profile

_SPELLINGS: Final = {
    "dob": 8,
    "emailid": 11,
    "phonenumber": 12,
    "binaryimage": 16,
    "binaryimageformat": 17,
    "secondarylanguagefullname": 19,
    "fullnamesecondarylanguage": 19,
    "countryofissue": 23,
    "rightpalmprint": 63,
    "leftpalmprint": 64,
}
_NUMBERS: Final = {name.replace("_", ""): number for number, name in NAMES.items()} | _SPELLINGS
_Converter = Callable[[Any, Profile], Any]
_EXACT: Final = frozenset({ID, PHOTO})
_UNCLEAR: Final = range(14, 22)  # claim numbers that a vendor's own numbering may fill otherwise


def unwrap(value: object, notes: set[str] | None = None) -> tuple[dict[int | str, Any], str]:
    """The map of claim 169 and its form: "map-169", or "bstr-169" for one inside a byte string.

    Raises:
        Refusal: unreadable.
    """
    if isinstance(value, dict):
        return value, "map-169"
    if isinstance(value, bytes):
        inner = decode(value, notes=notes)
        if isinstance(inner, dict):
            return inner, "bstr-169"
    raise malformed("claim 169 is neither a map nor a byte string with one in it")


def read(found: Mapping[int | str, Any], profile: Profile) -> Identity:
    """Give every attribute its type.

    Raises:
        Refusal: unreadable for the same attribute twice, bad-claim for a malformed identifier.
    """
    return Person(found, profile).identity


def _folded(found: Mapping[int | str, Any], names: Mapping[str, int], notes: set[str]) -> Mapping[int | str, Any]:
    """Bring digit text and known names to numbers.

    Raises:
        Refusal: unreadable, for the same number twice.
    """
    for key in found:
        if type(key) is not int:
            break
    else:
        return found
    folded: dict[int | str, Any] = {}
    for key, value in found.items():
        number: int | str = (
            int(key) if isinstance(key, str) and key.isascii() and key.isdigit() and len(key) < 6 else key
        )
        if number in folded or (number != key and number in found):
            raise malformed("the same attribute twice, as a number and as digits")
        if number != key:
            notes.add("digit-text keys")
        folded[number] = value
    for key in [key for key in folded if isinstance(key, str)]:
        named = names.get(re.sub(r"[^a-z0-9]", "", str(key).lower()))
        if named is not None and named not in folded:
            folded[named] = folded.pop(key)
            notes.add("named keys")
    return folded


class Person:
    """What one card says about a person.

    What may refuse the card, identifier and biometrics, is read at once. The rest is what people read; it cannot
    refuse a card, so it waits until somebody asks for the ``identity``.

    Attributes:
        id: attribute 1.
        faces: attributes 62 and 16, in this order.

    Raises:
        Refusal: unreadable for the same attribute twice, bad-claim for a malformed identifier.
    """

    def __init__(self, found: Mapping[int | str, Any], profile: Profile) -> None:
        self.profile = profile
        self.attributes: dict[str, Any] = {}
        self.raw: dict[str, Any] = {}
        self.biometrics: dict[str, tuple[Biometric, ...]] = {}
        self.others: dict[int | str, Any] = {}
        self.notes: set[str] = set()
        self._found = folded = _folded(found, _NUMBERS, self.notes)
        for number in folded:
            if type(number) is int and (number >= 50 or number in _EXACT):
                self.take(number, folded[number])
        self.id: str | None = self.attributes.get("id")
        self.faces = self.biometrics.get("face", ()) + self.biometrics.get("photo", ())

    @cached_property
    def identity(self) -> Identity:
        """All of it, typed."""
        plain = _PLAIN if self.profile.numbering == "specification" else {}
        for number, value in self._found.items():
            if type(value) is str and number in plain:
                self.attributes[plain[number]] = value
            elif type(number) is not int or (number < 50 and number not in _EXACT):
                self.take(number, value)
        return Identity(self.attributes, self.raw, self.biometrics, self.others, frozenset(self.notes))

    def take(self, number: int | str, value: Any) -> None:
        """Read one attribute."""
        name = NAMES.get(number) if type(number) is int else None
        if name is None or type(number) is not int or (number in _UNCLEAR and self.profile.numbering == "vendor"):
            self.others[number] = value
            return
        if number >= 50 or number == PHOTO:
            self.take_biometric(name, value)
            return
        converter: _Converter = _CONVERTERS.get(number, _text)
        converted = converter(value, self.profile)
        if converted is None:
            if number == ID:
                raise Refusal(Reason.BAD_CLAIM, "the identifier is not text")
            self.raw[name] = value
            self.notes.add(f"{name} as it came")
        else:
            self.attributes[name] = converted

    def take_biometric(self, name: str, value: Any) -> None:
        """Read the biometrics of one kind; a list of them, or one."""
        entries = value if isinstance(value, list) else [value]
        found = [biometric for entry in entries if (biometric := _biometric(entry, self.notes)) is not None]
        if len(found) < len(entries):
            self.raw[name] = value
            self.notes.add(f"{name} as it came")
        self.biometrics[name] = tuple(found)


def _text(value: Any, _: Profile) -> str | None:
    match value:
        case str():
            return value
        case bool():
            return None
        case int():
            return str(value)
        case float() if math.isfinite(value) and value == int(value) and abs(value) < 1 << 53:
            return str(int(value))
        case _:
            return None


def _number(value: Any, words: Mapping[str, int]) -> int | None:
    if type(value) is int:
        return value
    if isinstance(value, str):
        text = value.strip().lower()
        return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else words.get(text)
    return None


_GENDERS: Final = {"male": 1, "m": 1, "female": 2, "f": 2, "others": 3, "other": 3, "o": 3}
_STATUSES: Final = {"unmarried": 1, "single": 1, "married": 2, "divorced": 3}


def _gender(value: Any, _: Profile) -> Gender | None:
    number = _number(value, _GENDERS)
    return Gender(number) if number in (1, 2, 3) else None


def _status(value: Any, _: Profile) -> MaritalStatus | None:
    number = _number(value, _STATUSES)
    return MaritalStatus(number) if number in (1, 2, 3) else None


def _photo_format(value: Any, _: Profile) -> int | None:
    number = _number(value, {})
    return number if number in (1, 2, 3, 4) else None


def _fingers(value: Any, _: Profile) -> tuple[int, ...] | None:
    if isinstance(value, list) and all(type(one) is int and 0 <= one <= 10 for one in value):
        return tuple(value)
    return None


_YEAR_FIRST: Final = re.compile(r"(\d{4})([-/.]?)(\d{1,2})\2(\d{1,2})(?:T.*)?\Z")
_YEAR_LAST: Final = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4})\Z")


def _birth(value: Any, profile: Profile) -> date | None:
    match value:
        case Tagged(tag=100, value=int() as days) if abs(days) < 100_000:
            return date(1970, 1, 1) + timedelta(days=days)
        case Tagged(tag=1004, value=str() as text):
            return _date(text, profile)
        case str():
            return _date(value.strip(), profile)
        case int() if not isinstance(value, bool):
            return _date(str(value), profile)
        case _:
            return None


def _date(text: str, profile: Profile) -> date | None:
    year_first = _YEAR_FIRST.match(text)
    if year_first is not None and (year_first[2] or len(text) == 8):
        return _valid(int(year_first[1]), int(year_first[3]), int(year_first[4]))
    year_last = _YEAR_LAST.match(text)
    if year_last is None:
        return None
    first, second, year = int(year_last[1]), int(year_last[3]), int(year_last[4])
    if first == second or profile.day_first is True or (profile.day_first is None and first > 12):
        return _valid(year, second, first)
    if profile.day_first is False or second > 12:
        return _valid(year, first, second)
    return None


def _valid(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


_CONVERTERS: Final[dict[int, _Converter]] = {
    8: _birth,
    9: _gender,
    14: _status,
    17: _photo_format,
    18: _fingers,
}
_PLAIN: Final[dict[int | str, str]] = {
    number: name for number, name in NAMES.items() if number < 50 and number != PHOTO and number not in _CONVERTERS
}

_BIOMETRIC_NAMES: Final = {
    "data": 0,
    "dataformat": 1,
    "format": 1,
    "datasubformat": 2,
    "subformat": 2,
    "dataissuer": 3,
    "issuer": 3,
}
_BY_NUMBER: Final[dict[int | None, Format]] = {int(one): one for one in Format}
_KINDS: Final = {number: name.lower() for number, name in SUBFORMATS[Format.IMAGE].items()}
_FORMATS: Final = {"image": 0, "template": 1, "sound": 2, "biohash": 3, "bio hash": 3}
_SUBFORMATS: Final = {
    "png": 0,
    "jpeg": 1,
    "jpg": 1,
    "jepg": 1,
    "jpeg2000": 2,
    "avif": 3,
    "webp": 4,
    "tiff": 5,
    "wsq": 6,
}


def _biometric(entry: Any, notes: set[str]) -> Biometric | None:
    if not isinstance(entry, dict):
        found = picture.unwrap(entry)
        return None if found is None else Biometric(*found, kind=picture.kind(found[0]))
    members = dict(_folded(entry, _BIOMETRIC_NAMES, notes))
    found = picture.unwrap(members.pop(0, None))
    if found is None:
        return None
    form = subformat = issuer = None
    if members:
        number, subformat = _number(members.get(1), _FORMATS), _number(members.get(2), _SUBFORMATS)
        form = _BY_NUMBER.get(number)
        if form is not None:
            del members[1]
        if subformat is not None:
            del members[2]
        if isinstance(members.get(3), str):
            issuer = members.pop(3)
    kind = picture.kind(found[0])
    if form not in (None, Format.IMAGE) and (kind not in picture.SHOWN or (issuer and modelled(form, subformat))):
        kind = None  # a template or a sound, as it says
    elif kind and (form or (subformat is not None and _KINDS.get(subformat, kind) != kind)):
        notes.add("picture is of another kind than it says")
    return Biometric(*found, form, subformat, issuer, kind, members)
