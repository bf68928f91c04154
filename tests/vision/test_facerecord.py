from __future__ import annotations

import json
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import Reason, Refusal
from edge.vision import facerecord
from edge.vision.pictures import picture

SCENE = np.asarray(cv2.resize(np.random.default_rng(1).integers(0, 255, (6, 6, 3), np.uint8), (48, 48)), np.uint8)
PNG = cv2.imencode(".png", SCENE)[1].tobytes()


def record(image: bytes = PNG, qualities: bytes = b"\x50", landmarks: int = 2, count: int = 1) -> bytes:
    """A record as the standard lays it out, with one representation."""
    body = bytes([0xFF] * 9) + b"\x00" + bytes(4) + bytes([len(qualities)])
    body += b"".join(bytes([score]) + b"\x01\x02\x00\x03" for score in qualities)
    body += struct.pack(">H", landmarks) + bytes(15) + bytes(8 * landmarks)
    body += bytes([0, 3]) + struct.pack(">HH", 48, 48) + bytes(5)
    body += struct.pack(">I", len(image)) + image
    block = struct.pack(">I", len(body) + 4) + body
    return b"FAC\x00030\x00" + struct.pack(">IHBH", 17 + len(block), count, 0, 0) + block


def record_2005(image: bytes = PNG, points: int = 2, count: int = 1) -> bytes:
    """The same as the standard of 2005 lays it out."""
    body = struct.pack(">H", points) + bytes(14) + bytes(8 * points) + bytes(12) + image
    block = struct.pack(">I", len(body) + 4) + body
    return b"FAC\x00010\x00" + struct.pack(">IH", 14 + len(block), count) + block


def refused(data: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        facerecord.image(data)
    assert caught.value.reason is Reason.REFERENCE_UNUSABLE


def test_the_picture_comes_out_as_it_went_in() -> None:
    assert facerecord.image(record()) == PNG
    assert np.array_equal(picture(record()), SCENE)


@pytest.mark.parametrize("points", [0, 1, 60])
def test_the_record_of_2005_is_read(points: int) -> None:
    assert facerecord.image(record_2005(points=points)) == PNG
    assert np.array_equal(picture(record_2005(points=points)), SCENE)


def test_a_record_of_2005_that_contradicts_itself_is_refused() -> None:
    good = record_2005()
    refused(record_2005(count=0))
    refused(record_2005(count=2))
    refused(record_2005(image=b""))
    refused(good[:-1])
    refused(good[:18] + b"\xff\xff" + good[20:])


def test_bytes_behind_the_record_are_left_alone() -> None:
    assert facerecord.image(record() + bytes(5000)) == PNG


@pytest.mark.parametrize("qualities", [b"", b"\x00", b"\x64", b"\xff", b"\x10\x20\x30"])
def test_any_number_of_qualities_that_exist_is_read(qualities: bytes) -> None:
    assert facerecord.image(record(qualities=qualities)) == PNG


def test_what_contradicts_itself_is_refused() -> None:
    good = record()
    refused(record(qualities=b"\x65"))
    refused(record(count=0))
    refused(record(count=65535))
    refused(record(image=b""))
    refused(good[:-1])
    refused(b"FIR\0" + good[4:])
    refused(good[:4] + b"010\0" + good[8:])
    refused(good[:8] + struct.pack(">I", 1_000_000) + good[12:])
    refused(b"FAC\0")


@given(st.integers(0, 90), st.binary(min_size=1, max_size=8))
def test_a_record_with_one_stretch_replaced_is_a_picture_or_a_refusal(at: int, stretch: bytes) -> None:
    data = bytearray(record())
    data[at : at + len(stretch)] = stretch
    try:
        assert len(facerecord.image(bytes(data))) <= len(data)
    except Refusal as refusal:
        assert refusal.reason is Reason.REFERENCE_UNUSABLE


def test_public_samples_come_out_as_their_makers_expect(shared: Path) -> None:
    folder = shared / "iavs" / "cbeff-samples"
    if not folder.is_dir():
        pytest.skip("the samples are not here")
    for name, said in json.loads((folder / "expect.json").read_text()).items():
        data = (folder / f"{name}.iso").read_bytes()
        if said["expect"].startswith("reject"):
            refused(data)
        else:
            assert picture(data).ndim == 3, name
