"""CBEFF and face records: what others send, what is broken, and what no sender would."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.iavs import cbeff, facerecord
from edge.iavs.bir import Reader, wrapped
from edge.iavs.catalogue import Field, catalogue
from edge.iavs.jose import Keys, fold, jwk, sign
from edge.iavs.refused import Refused
from edge.iavs.shapes import shaped

JPEG = b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x40\x00\x30\x03" + bytes(12) + b"\xff\xd9"


def bir(xml: str | bytes) -> dict[str, Any]:
    raw = xml.encode() if isinstance(xml, str) else xml
    made: dict[str, Any] = {"formatOwner": 257, "formatType": 11, "bir": {"binary": b64encode(raw).decode()}}
    return made


def test_the_samples_are_read_as_expected(shared: Path) -> None:
    folder = shared / "iavs" / "cbeff-samples"
    expected = json.loads((folder / "expect.json").read_text(encoding="utf-8"))
    assert len(expected) == 15
    for name, told in expected.items():
        record = (folder / f"{name}.iso").read_bytes()
        assert len(record) == told["bytes"], name
        if told["expect"].startswith("reject"):
            with pytest.raises(facerecord.Broken):
                facerecord.read(record)
            continue
        found = facerecord.read(record)
        assert bool(found.warnings) == told["expect"].startswith("warn"), (name, found.warnings)
        if found.warnings:
            with pytest.raises(facerecord.Broken):
                facerecord.read(record, strict=True)


def test_every_dialect_of_the_samples_is_read(shared: Path) -> None:
    reader = Reader(catalogue())
    files = sorted((shared / "iavs" / "cbeff-samples").glob("*.xml"))
    assert len(files) == 5
    for file in files:
        (sample,) = reader.all(bir(file.read_bytes()))
        assert sample.type == "Face", file.name
        assert sample.picture[4:8] == b"jP  ", file.name


def test_what_is_written_is_read_back() -> None:
    reader = Reader(catalogue())
    record = facerecord.write(JPEG, quality=77)
    found = facerecord.read(record, strict=True)
    assert (found.faces[0].image, found.faces[0].qualities) == (JPEG, (77,))
    assert (found.faces[0].width, found.faces[0].height) == (48, 64)
    (sample,) = reader.all(bir(cbeff.write([{"bdbInfo": {"type": ["Face"]}, "bdb": b64encode(record).decode()}])))
    for xml in (True, False):
        (again,) = reader.all(shaped(catalogue(), Field("bir", "CBEFF_BIR_Type"), wrapped(sample, xml=xml)))
        assert (again.bdb, again.type, again.picture) == (record, "Face", JPEG)


def test_a_record_of_2005_is_read() -> None:
    picture = JPEG
    block = 20 + 12 + len(picture)
    record = b"FAC\x00010\x00" + (14 + block).to_bytes(4, "big") + (1).to_bytes(2, "big")
    record += block.to_bytes(4, "big") + bytes(16) + b"\x01\x00\x00\x30\x00\x40" + bytes(6) + picture
    assert facerecord.read(record).faces[0].image == picture


def test_a_signed_sample_is_checked() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    signers = Keys.of(json.dumps({"keys": [jwk(key.public_key(), "camera")]}).encode())

    def signed(payload: bytes, detach: bool) -> dict[str, Any]:
        token = sign(key, {"kid": "camera"}, payload)
        if detach:
            first, _, last = token.split(".")
            token = f"{first}..{last}"
        record = {
            "bdbInfo": {"type": ["Face"]},
            "bdb": b64encode(JPEG).decode(),
            "sb": b64encode(token.encode()).decode(),
        }
        return bir(cbeff.write([record]))

    strict = Reader(catalogue(), signers, signed_only=True)
    for good in (signed(JPEG, True), signed(JPEG, False), signed(hashlib.sha256(JPEG).digest(), False)):
        assert strict.one(good).bdb == JPEG
    unsigned = bir(cbeff.write([{"bdbInfo": {"type": ["Face"]}, "bdb": b64encode(JPEG).decode()}]))
    for bad, reader in (
        (signed(b"other", False), strict),
        (unsigned, strict),
        (signed(JPEG, True), Reader(catalogue())),
    ):
        with pytest.raises(Refused, match="BIR_SIGNATURE_FAILURE"):
            reader.one(bad)
    assert fold(b"\xff") == "_w"


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE BIR [<!ENTITY a "aaaa">]><BIR>&a;</BIR>',
        '<!DOCTYPE BIR SYSTEM "file:///etc/passwd"><BIR/>',
        "<?xml-stylesheet href='x'?><BIR/>",
        "<BIR>" * 40 + "</BIR>" * 40,
        "<BIR>" + "<x/>" * 5000 + "</BIR>",
        "<html/>",
        "",
    ],
)
def test_xml_that_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(cbeff.Broken):
        cbeff.parse(text)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_spoilt_face_records_are_a_record_or_broken(data: st.DataObject) -> None:
    good = facerecord.write(JPEG, quality=50)
    at = data.draw(st.integers(0, len(good) - 1))
    spoilt = good[:at] + data.draw(st.binary(max_size=12)) + good[at + data.draw(st.integers(0, 12)) :]
    tracemalloc.start()
    try:
        facerecord.read(spoilt)
    except facerecord.Broken:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 4 * 1024 * 1024


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_spoilt_records_are_samples_or_a_listed_code(data: st.DataObject) -> None:
    good = cbeff.write([{"bdbInfo": {"type": ["Face"]}, "bdb": b64encode(JPEG).decode()}]).encode()
    at = data.draw(st.integers(0, len(good) - 1))
    spoilt = good[:at] + data.draw(st.binary(max_size=20)) + good[at + data.draw(st.integers(0, 40)) :]
    try:
        for sample in Reader(catalogue()).all(bir(spoilt)):
            _ = sample.picture
    except Refused as refused:
        assert (
            refused.code in ("INVALID_BIR", "UNKNOWN_FORMAT", "BIOMETRIC_TYPE_NOT_SUPPORTED") or "BIR_" in refused.code
        )
