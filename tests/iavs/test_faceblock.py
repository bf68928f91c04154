"""Face image data blocks of ISO/IEC 39794-5, written by an ASN.1 library that is not ours, whole and spoilt."""

from __future__ import annotations

import tracemalloc
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

import pytest
from asn1crypto.parser import emit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.credential.picture import unwrap
from edge.iavs import cbeff, faceblock, facerecord
from edge.iavs.bir import Reader
from edge.iavs.catalogue import catalogue
from edge.iavs.refused import Refused

JPEG = b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x40\x00\x30\x03" + bytes(12) + b"\xff\xd9"
Story = Any


def at(tag: int, *content: bytes) -> bytes:
    """A field of fields."""
    return bytes(emit(2, 1, tag, b"".join(content)))


def of(tag: int, content: bytes | int) -> bytes:
    """A field with a value."""
    raw = content if isinstance(content, bytes) else content.to_bytes(content.bit_length() // 8 + 1, "big")
    return bytes(emit(2, 0, tag, raw))


def sequence(*content: bytes) -> bytes:
    return bytes(emit(0, 1, 16, b"".join(content)))


def representation(
    image: bytes = JPEG, form: int = 2, size: tuple[int, int] | None = (48, 64), *, full: bool = False
) -> bytes:
    information = [at(0, of(0, form))]
    if size is not None:
        information.append(at(7, of(0, size[0]), of(1, size[1])))
    fields = [of(0, 1), at(1, at(0, at(0, of(0, image), at(1, *information), *([at(2)] if full else []))))]
    if full:
        fields.append(at(2, of(0, 2024), of(1, 5), of(2, 6), of(3, 7), of(4, 8), of(5, 9), of(6, 10)))
        good, failed = at(1, of(0, 77)), at(1, at(1, at(1, of(0, 0))))
        fields.append(at(3, *(sequence(at(0, of(0, 257), of(1, 1)), result) for result in (good, failed))))
        fields += [of(5, 4), at(8, of(3, 180)), at(9, sequence(at(0, at(1)))), at(20, of(0, 1))]
    return sequence(*fields)


def block(*representations: bytes, generation: int = 3, year: int = 2019) -> bytes:
    version = at(0, of(0, generation), of(1, year))
    return bytes(emit(1, 1, 5, version + at(1, *(representations or (representation(),)))))


def stretched(data: bytes) -> bytes:
    """The same with a longer length than DER allows."""
    assert data[1] == 0x81
    return data[:1] + b"\x82\0" + data[2:]


def as_xml(image: bytes = JPEG, **changes: str) -> bytes:
    coded = changes.get("coded", b64encode(image).decode())
    form, top = changes.get("form", "jpeg"), changes.get("top", "faceImageData")
    text = f"""<?xml version="1.0" encoding="UTF-8"?>
<f:{top} xmlns:f="http://standards.iso.org/iso-iec/39794/-5" xmlns:c="http://standards.iso.org/iso-iec/39794/-1">
<f:versionBlock><c:generation>3</c:generation><c:year>2019</c:year></f:versionBlock>
<f:representationBlocks><f:representationBlock><f:representationId>1</f:representationId>
<f:imageRepresentation><f:base><f:imageRepresentation2DBlock>
<f:representationData2D>{coded}</f:representationData2D>
<f:imageInformation2DBlock><f:imageDataFormat><f:code>{form}</f:code></f:imageDataFormat>
<f:imageSizeBlock><f:width>48</f:width><f:height>64</f:height></f:imageSizeBlock></f:imageInformation2DBlock>
</f:imageRepresentation2DBlock></f:base></f:imageRepresentation>
<f:captureDateTimeBlock><c:year>2024</c:year><c:month>5</c:month><c:day>6</c:day></f:captureDateTimeBlock>
<f:qualityBlocks><c:qualityBlock><c:scoreOrError><c:score>77</c:score></c:scoreOrError></c:qualityBlock></f:qualityBlocks>
<x:other xmlns:x="urn:x"><x:representationData2D>AAAA</x:representationData2D></x:other>
</f:representationBlock></f:representationBlocks></f:{top}>"""
    return text.encode()


def test_a_block_is_read_with_and_without_what_is_optional() -> None:
    for size, full in (((48, 64), False), (None, False), ((48, 64), True)):
        data = block(representation(size=size, full=full))
        (face,) = faceblock.read(data, strict=True).faces
        assert (face.image, face.kind, face.width, face.height) == (JPEG, 0, 48, 64)
        assert face.qualities == ((77,) if full else ())
        assert face.captured == (datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC) if full else None)
        assert unwrap(data) == (JPEG, "bytes, ISO 39794-5")
    both = faceblock.read(block(representation(), representation(JPEG[:-2] + b"x\xff\xd9")))
    assert [face.image[-3:] for face in both.faces] == [JPEG[-3:], b"x\xff\xd9"]


def test_a_block_as_xml_is_read() -> None:
    (face,) = faceblock.read(as_xml(), strict=True).faces
    assert (face.image, face.kind, face.width, face.height, face.qualities) == (JPEG, 0, 48, 64, (77,))
    assert face.captured == datetime(2024, 5, 6, tzinfo=UTC)


def test_what_is_harmless_is_a_warning() -> None:
    for data in (
        block() + b"x",
        block(representation(form=5)),
        block(representation(size=(47, 64))),
        block(representation(JPEG[:6])),
        as_xml(form="png"),
    ):
        assert faceblock.read(data).warnings
        with pytest.raises(facerecord.Broken):
            faceblock.read(data, strict=True)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x65",
        b"\x65\x80" + block()[2:] + b"\0\0",
        b"\x65\x84\xff\xff\xff\xff" + bytes(64),
        b"\x65\x82\x00\x05" + bytes(5),
        stretched(block(representation(JPEG + bytes(90)))),
        bytes(emit(1, 1, 5, at(0, of(0, 3), of(1, 2019)))),
        block(generation=2),
        block(year=2018),
        block(b""),
        block(*[representation()] * 65),
        block(representation(b"")),
        block(representation(form=8)),
        block(sequence(of(0, 1), at(1, at(1)))),
        block(sequence(of(0, 1), at(1, at(0, at(0, of(0, JPEG), of(0, JPEG)))))),
        block(sequence(*([of(0, 1)] * 5000))),
        as_xml(coded="no base64!"),
        as_xml(form="jpeg 2000"),
        as_xml(top="fingerImageData"),
        as_xml().replace(b"2019", b"1999"),
        as_xml().replace(b"<?xml", b"<!DOCTYPE x><?xml", 1),
        as_xml()[:300],
    ],
)
def test_what_is_no_block_is_refused(data: bytes) -> None:
    with pytest.raises(facerecord.Broken):
        faceblock.read(data)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), st.sampled_from([block(representation(full=True)), as_xml()]))
def test_spoilt_blocks_are_a_record_or_broken(data: st.DataObject, good: bytes) -> None:
    begin = data.draw(st.integers(0, len(good) - 1))
    spoilt = good[:begin] + data.draw(st.binary(max_size=12)) + good[begin + data.draw(st.integers(0, 12)) :]
    tracemalloc.start()
    try:
        for face in faceblock.read(spoilt).faces:
            assert len(face.image) <= len(spoilt)
    except facerecord.Broken:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 1024 * 1024


def test_a_large_picture_is_not_copied_at_every_level() -> None:
    large = block(representation(JPEG + bytes(1_500_000)))
    tracemalloc.start()
    faceblock.read(large)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * len(large)


@pytest.mark.parametrize("data", [block(), as_xml()], ids=["DER", "XML"])
@pytest.mark.parametrize("number", ["8", "42"])
def test_a_block_is_a_face_in_every_wrapping(data: bytes, number: str) -> None:
    coded = b64encode(data).decode()
    info: dict[str, Any] = {"type": ["Face"], "format": {"organization": "257", "type": number}}
    record = {"birInfo": {"integrity": False}, "bdbInfo": info, "bdb": coded}
    outer: dict[str, Any] = {"formatOwner": 257, "formatType": 11}
    xml = b64encode(cbeff.write([record]).encode()).decode()
    for inner in ({"json": record}, {"binary": coded}, {"binary": xml}):
        sample = Reader(catalogue()).one(outer | {"bir": inner, "birInformation": {"bdbInfo": info}})
        assert (sample.type, sample.picture) == ("Face", JPEG)
    (unlabelled,) = Reader(catalogue()).all(outer | {"bir": {"binary": coded}})
    assert unlabelled.type == "Face"
    broken = b64encode(data.replace(JPEG, b"").replace(b64encode(JPEG), b"")).decode()
    with pytest.raises(Refused, match="INVALID_BIR"):
        _ = Reader(catalogue()).one(outer | {"bir": {"binary": broken}}).picture


def test_a_face_in_a_block_is_compared_like_any_other(story: Story) -> None:
    async def told(gate: Any) -> None:
        picture = gate.face(1)
        blocks = (block(representation(picture, 5, (240, 240))), as_xml(picture, form="png"))
        for data in blocks:
            given = {"formatOwner": 257, "formatType": 11, "bir": {"binary": b64encode(data).decode()}}
            found = await gate.ok("verifySubject", inputBIR=given, referenceBIR=gate.bir(picture))
            assert found["match"] is True

    story(told)
