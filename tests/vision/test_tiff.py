"""TIFF: one page is a picture, everything else a refusal."""

from __future__ import annotations

import io
import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edge.errors import Reason, Refusal
from edge.vision.pictures import picture

SCENE = np.arange(64 * 48 * 3, dtype=np.uint32).reshape(64, 48, 3).astype(np.uint8)


def written(compression: str = "tiff_lzw", scene: np.ndarray = SCENE, pages: int = 1) -> bytes:
    out = io.BytesIO()
    page = Image.fromarray(scene)
    more = [page] * (pages - 1)
    page.save(out, "TIFF", compression=compression, save_all=pages > 1, append_images=more)
    return out.getvalue()


def refused(data: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        picture(data)
    assert caught.value.reason is Reason.REFERENCE_UNUSABLE


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_a_page_is_read(compression: str) -> None:
    assert np.array_equal(picture(written(compression))[:, :, ::-1], SCENE)


def test_grey_and_the_other_byte_order_are_read() -> None:
    grey = picture(written(scene=SCENE[:, :, 0].copy()))
    assert np.array_equal(grey[:, :, 0], SCENE[:, :, 0])
    big = bytearray(b"MM\x00*" + struct.pack(">I", 8))
    strip = 8 + 2 + 12 * 8 + 4
    entries = [(256, 4, 48), (257, 4, 64), (258, 3, 8 << 16), (259, 3, 1 << 16), (262, 3, 1 << 16)]
    entries += [(273, 4, strip), (277, 3, 1 << 16), (279, 4, 64 * 48)]
    big += (
        struct.pack(">H", len(entries)) + b"".join(struct.pack(">HHII", t, k, 1, v) for t, k, v in entries) + bytes(4)
    )
    assert np.array_equal(picture(bytes(big) + SCENE[:, :, 0].tobytes())[:, :, 0], SCENE[:, :, 0])


def test_two_pages_other_codecs_and_too_much_are_refused() -> None:
    refused(written(pages=2))
    refused(written("jpeg"))
    refused(written("group4", scene=SCENE[:, :, 0] > 100))
    refused(written(scene=np.zeros((3000, 3000), np.uint8)))
    refused(written(scene=np.zeros((8, 8), np.uint8)))
    refused(cv2.imencode(".tiff", SCENE)[1].tobytes()[:200])


@given(st.integers(0, 400), st.binary(min_size=1, max_size=8), st.booleans())
def test_a_page_with_one_stretch_replaced_is_a_picture_or_a_refusal(at: int, stretch: bytes, end: bool) -> None:
    data = bytearray(written())
    at = len(data) - 1 - at if end else at
    data[at : at + len(stretch)] = stretch
    try:
        assert picture(bytes(data)).dtype == np.uint8
    except Refusal as refusal:
        assert refusal.reason is Reason.REFERENCE_UNUSABLE
