"""Face image data blocks of ISO/IEC 39794-5, read: tagged binary (DER) and XML.

Rules:

1. DER as it must be: definite, shortest lengths, nothing behind what is announced. Nothing is allocated for a length
   that the bytes do not have, and at most ``ELEMENTS`` elements are looked at.
2. One path is followed, by tags and not by places: most fields are optional, and whoever extends the block adds more.
   block [APPLICATION 5] → version [0]; representations [1] → image [1] → base [0] → picture in two dimensions [0] →
   bytes [0], information [1]: format [0], size [7]. Beside it the time [2] and the qualities [3].
3. XML is read without declarations, by the same names (``cbeff.py``).
4. What is wrong but harmless is a warning, as in ``facerecord.py``; everything else is ``Broken``.

Source: the ASN.1 modules that ICAO publishes as an application profile. Those of the XML form are not public; its names
are taken to be the same.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Iterator
from datetime import UTC, datetime

from edge.iavs import cbeff
from edge.iavs.facerecord import Broken, Face, Record, oddities, picture_size

NAMESPACE = "http://standards.iso.org/iso-iec/39794/"
ELEMENTS = 2048
FACES = 64
_TOP, _SEQUENCE = 0x65, 0x30
_GENERATION, _YEAR = 3, 2019
_FORMATS = ("unknown", "other", "jpeg", "jpeg2000Lossy", "jpeg2000Lossless", "png", "pgm", "ppm")
_KINDS = {2: 0, 3: 1, 4: 2, 5: 3}  # of the data type in ISO/IEC 19794-5
_LEAST = (1, 1, 1, 0, 0, 0)
_TIMES = ("year", "month", "day", "hour", "minute", "second")
Field = tuple[int, memoryview]
_NOTHING, _OTHER = memoryview(b""), memoryview(b"\1")


def is_block(data: bytes) -> bool:
    """Whether the bytes begin like one."""
    return data[:1] == b"\x65" or (data[:1] == b"<" and NAMESPACE.encode() in data[:1024])


def read(data: bytes, *, strict: bool = False) -> Record:
    """The block in these bytes.

    Raises:
        Broken: it is none.
    """
    found = _of_xml(data) if data[:1] == b"<" else _of_der(data)
    if strict and found.warnings:
        raise Broken(found.warnings[0])
    return found


def _of_der(data: bytes) -> Record:
    left = [ELEMENTS]
    tag, block, rest = _element(memoryview(data), left)
    if tag != _TOP:
        raise Broken("not a face image data block")
    version = _fields(_one(_fields(block, left), 0xA0), left)
    _check_version(_number(_one(version, 0x80)), _number(_one(version, 0x81)))
    blocks = list(_fields_of(_one(_fields(block, left), 0xA1), left))
    if not 0 < len(blocks) <= FACES or any(tag != _SEQUENCE for tag, _ in blocks):
        raise Broken("no representation, or too many")
    faces, odd = [], ["bytes behind the block"] if rest else []
    for _, content in blocks:
        face, strange = _face(_fields(content, left), left)
        faces.append(face)
        odd += strange
    return Record(tuple(faces), tuple(odd))


def _face(fields: list[Field], left: list[int]) -> tuple[Face, list[str]]:
    base = _one(_fields(_one(fields, 0xA1), left), 0xA0)
    picture = _fields(_one(_fields(base, left), 0xA0), left)
    information = _fields(_one(picture, 0xA1), left)
    size = {tag: _number(value) for tag, value in _fields(_any(information, 0xA7), left)}
    when = {tag - 0x80: _number(value) for tag, value in _fields(_any(fields, 0xA2), left) if 0x80 <= tag <= 0x85}
    return _made(
        bytes(_one(picture, 0x80)),
        _number(_any(_fields(_one(information, 0xA0), left), 0x80) or _OTHER),
        (size.get(0x80), size.get(0x81)),
        tuple(_scores(_any(fields, 0xA3), left)),
        [when.get(at) for at in range(len(_TIMES))],
    )


def _scores(blocks: memoryview, left: list[int]) -> Iterator[int]:
    for tag, block in _fields(blocks, left):
        result = _fields(_one(_fields(block, left), 0xA1), left)
        if tag != _SEQUENCE:
            raise Broken("quality of an unknown form")
        yield from (_number(value) for kind, value in result if kind == 0x80)


def _made(
    image: bytes, form: int, size: tuple[int | None, int | None], scores: tuple[int, ...], when: list[int | None]
) -> tuple[Face, list[str]]:
    """One representation, whichever way it was written."""
    if not image or not 0 <= form < len(_FORMATS):
        raise Broken("no picture, or one of an unknown format")
    if any(not 0 <= score <= 100 for score in scores):
        raise Broken("quality that does not exist")
    width, height = size
    kind = _KINDS.get(form, -1)
    if width is None or height is None:
        try:
            width, height = picture_size(image)
        except (ValueError, IndexError, ArithmeticError):
            width, height = 0, 0
    face = Face(image, kind, width, height, scores, _time(when))
    return face, oddities(face) if kind >= 0 else []


def _time(when: list[int | None]) -> datetime | None:
    if when[0] is None:
        return None
    said = [least if each is None else each for each, least in zip(when, _LEAST, strict=True)]
    try:
        year, month, day, hour, minute, second = said
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _check_version(generation: int, year: int) -> None:
    if generation < _GENERATION or year < _YEAR:
        raise Broken("face image data block of another version")


def _element(data: memoryview, left: list[int]) -> tuple[int, memoryview, memoryview]:
    """The first element: its tag, its content, and what comes behind it."""
    left[0] -= 1
    if left[0] < 0:
        raise Broken("too many elements")
    if len(data) < 2 or data[0] & 0x1F == 0x1F:
        raise Broken("block cut short, or a tag that is not read here")
    first, at = data[1], 2
    if first >= 0x80:
        at += first & 0x7F
        length = int.from_bytes(data[2:at], "big")
        if not 0x81 <= first <= 0x84 or at > len(data) or length < 0x80 or not data[2]:
            raise Broken("a length that is not DER")
    else:
        length = first
    if length > len(data) - at:
        raise Broken("block cut short")
    return data[0], data[at : at + length], data[at + length :]


def _fields_of(data: memoryview, left: list[int]) -> Iterator[Field]:
    while data:
        tag, content, data = _element(data, left)
        yield tag, content


def _fields(data: memoryview, left: list[int]) -> list[Field]:
    return list(_fields_of(data, left))


def _any(fields: list[Field], tag: int) -> memoryview:
    """The content of a field that may be missing."""
    return next((content for each, content in fields if each == tag), _NOTHING)


def _one(fields: list[Field], tag: int) -> memoryview:
    found = [content for each, content in fields if each == tag]
    if len(found) != 1:
        raise Broken("a field is missing, or there twice")
    return found[0]


def _number(content: memoryview) -> int:
    if not 0 < len(content) <= 8:
        raise Broken("a number that is none")
    return int.from_bytes(content, "big", signed=True)


# as XML


def _of_xml(data: bytes) -> Record:
    try:
        top = cbeff.elements(data, lambda namespace: namespace.startswith(NAMESPACE))
    except cbeff.Broken as error:
        raise Broken(str(error)) from error
    if top.name not in ("faceimagedata", "faceimagedatablock"):
        raise Broken("not a face image data block")
    _check_version(_said(top, "versionblock", "generation"), _said(top, "versionblock", "year"))
    blocks = [each for outer in top.all("representationblocks") for each in outer.all("representationblock")]
    if not 0 < len(blocks) <= FACES:
        raise Broken("no representation, or too many")
    faces, odd = [], []
    for block in blocks:
        face, strange = _face_of_xml(block)
        faces.append(face)
        odd += strange
    return Record(tuple(faces), tuple(odd))


def _face_of_xml(block: cbeff.Node) -> tuple[Face, list[str]]:
    path = ("imagerepresentation", "base", "imagerepresentation2dblock")
    try:
        image = b64decode("".join(block.said(*path, "representationdata2d").split()), validate=True)
    except (ValueError, binascii.Error) as error:
        raise Broken("a picture that is not base64") from error
    inside = (*path, "imageinformation2dblock")
    form = block.said(*inside, "imagedataformat", "code")
    size = tuple(_maybe(block, *inside, "imagesizeblock", side) for side in ("width", "height"))
    scores = [
        _said(each, "scoreorerror", "score")
        for outer in block.all("qualityblocks")
        for each in outer.all("qualityblock")
        if each.said("scoreorerror", "score")
    ]
    when = [_maybe(block, "capturedatetimeblock", each) for each in _TIMES]
    return _made(image, _form(form), (size[0], size[1]), tuple(scores), when)


def _form(said: str) -> int:
    return _FORMATS.index(said) if said in _FORMATS else _numeral(said or "1")


def _said(node: cbeff.Node, *path: str) -> int:
    return _numeral(node.said(*path))


def _maybe(node: cbeff.Node, *path: str) -> int | None:
    said = node.said(*path)
    return _numeral(said) if said else None


def _numeral(said: str) -> int:
    if not (said.isascii() and said.isdigit() and len(said) <= 9):
        raise Broken("a number that is none")
    return int(said)
