from __future__ import annotations

import io
import struct
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edge.errors import Reason, Refusal
from edge.vision.pictures import LIMIT_BYTES, picture, size

RNG = np.random.default_rng(5)
SCENE = np.asarray(cv2.resize(RNG.integers(0, 255, (6, 8, 3), np.uint8), (80, 60)), np.uint8)
FORMS = {"jpg": ".jpg", "png": ".png", "webp": ".webp", "jp2": ".jp2", "avif": ".avif"}


def encoded(form: str, scene: Any = SCENE) -> bytes:
    return cv2.imencode(form, scene, [cv2.IMWRITE_WEBP_QUALITY, 80])[1].tobytes()


def by_pillow(form: str, mode: str = "RGB", **how: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(SCENE[:, :, ::-1]).convert(mode).save(out, form, **how)
    return out.getvalue()


def refused(data: bytes) -> Refusal:
    with pytest.raises(Refusal) as caught:
        picture(data)
    assert caught.value.reason is Reason.REFERENCE_UNUSABLE
    return caught.value


@pytest.mark.parametrize("form", FORMS.values())
def test_every_format_of_the_specification_opens(form: str) -> None:
    opened = picture(encoded(form))
    assert opened.shape == SCENE.shape
    assert float(np.abs(opened.astype(int) - SCENE).mean()) < 12


@pytest.mark.parametrize(
    "data",
    [
        by_pillow("JPEG", progressive=True),
        by_pillow("JPEG", "L"),
        by_pillow("JPEG", "CMYK"),
        by_pillow("PNG", "P"),
        by_pillow("PNG", "RGBA"),
        encoded(".png", SCENE.astype(np.uint16) * 257),
        by_pillow("WEBP", lossless=True),
        by_pillow("WEBP", "RGBA"),
        by_pillow("JPEG", comment=b"\xff\xd8" * 40),
    ],
    ids=["progressive", "grey", "cmyk", "palette", "alpha", "16-bit", "lossless", "webp-alpha", "comment"],
)
def test_other_kinds_of_pixels_become_eight_bit_colour(data: bytes) -> None:
    opened = picture(data)
    assert opened.shape == (60, 80, 3)
    assert opened.dtype == np.uint8


def test_a_picture_turned_by_exif_comes_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned right by a quarter
    opened = picture(by_pillow("JPEG", exif=exif, quality=95))
    assert opened.shape == (80, 60, 3)
    assert float(np.abs(opened.astype(int) - np.rot90(SCENE, -1)).mean()) < 8


@pytest.mark.parametrize("form", ["GIF", "BMP", "PPM", "ICO"])
def test_formats_that_nobody_needs_are_refused(form: str) -> None:
    assert "format" in refused(by_pillow(form)).detail


@pytest.mark.parametrize("form", ["WEBP", "PNG", "AVIF"])
def test_moving_pictures_are_refused(form: str) -> None:
    out = io.BytesIO()
    stills = [Image.fromarray(np.roll(SCENE, n, 0)) for n in (0, 5, 9)]
    stills[0].save(out, form, save_all=True, append_images=stills[1:], duration=100)
    assert "moving" in refused(out.getvalue()).detail


def test_too_many_bytes_are_refused_unseen() -> None:
    assert "bytes" in refused(encoded(".png") + bytes(LIMIT_BYTES)).detail


@pytest.mark.parametrize("sides", [(1, 1), (20, 20), (20_000, 20_000), (9000, 40), (4000, 4000)])
def test_headers_that_promise_too_much_or_too_little_are_refused_before_decoding(sides: tuple[int, int]) -> None:
    width, height = sides
    png = bytearray(encoded(".png"))
    png[16:24] = struct.pack(">II", width, height)
    jpeg = bytearray(encoded(".jpg"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", height, width)
    webp = bytearray(encoded(".webp"))
    webp[26:30] = struct.pack("<HH", width & 0x3FFF, height & 0x3FFF)
    jp2 = bytearray(encoded(".jp2"))
    at = jp2.index(b"\xff\x4f\xff\x51")
    jp2[at + 8 : at + 16] = struct.pack(">II", width, height)
    avif = bytearray(encoded(".avif"))
    at = avif.index(b"ispe")
    avif[at + 8 : at + 16] = struct.pack(">II", width, height)
    for data in (png, jpeg, webp, jp2, avif):
        refused(bytes(data))


@pytest.mark.parametrize(
    "how", [{}, {"quality": 10, "speed": 9}, {"subsampling": "4:4:4"}, {"codec": "aom"}, {"quality": 100}]
)
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_still_pictures_in_avif_open_however_they_were_made(how: dict[str, Any], mode: str) -> None:
    assert picture(by_pillow("AVIF", mode, **how)).shape == (60, 80, 3)


def test_an_avif_larger_than_its_label_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    large = bytearray(encoded(".avif", np.full((3000, 3000, 3), 128, np.uint8)))
    at = large.index(b"ispe")
    large[at + 8 : at + 16] = struct.pack(">II", 80, 60)
    decoded: list[object] = []
    monkeypatch.setattr(cv2, "imdecode", lambda *told: decoded.append(told))
    refused(bytes(large))
    assert decoded == []


def test_an_avif_that_takes_one_piece_many_times_costs_nothing() -> None:
    """Else eight kilobytes become fourteen megabytes, and sixteen take minutes."""
    boxes = struct.pack(">I4s4sI4s", 20, b"ftyp", b"avif", 0, b"avif") + struct.pack(">I4sIII", 20, b"ispe", 0, 64, 64)
    pieces = 2000
    item = struct.pack(">HHHH", 1, 1, 0, pieces) + struct.pack(">I", 7000) * pieces
    bomb = boxes + struct.pack(">I4s", 0, b"iloc") + bytes([0, 0, 0, 0, 0x04, 0x00]) + item
    with pytest.raises(ValueError, match="more than the file"):
        size(bomb)
    refused(bomb)


def test_a_jpeg_2000_is_as_large_as_the_codestream_that_the_decoder_takes() -> None:
    small, large = encoded(".jp2"), encoded(".jp2", np.full((3000, 3000, 3), 128, np.uint8))
    codestream = small[small.index(b"\xff\x4f\xff\x51") :]
    decoy = struct.pack(">I4s", 24 + len(codestream), b"uuid") + bytes(16) + codestream
    at = large.index(b"jp2h") - 4
    lying = large[:at] + decoy + large[at:]
    assert size(lying) == (3000, 3000)
    assert "3000x3000" in refused(lying).detail
    honest = small[: small.index(b"jp2h") - 4] + decoy + small[small.index(b"jp2h") - 4 :]
    assert picture(honest).shape == SCENE.shape


def test_a_jpeg_of_thousands_of_scans_is_refused_before_it_is_decoded() -> None:
    whole = by_pillow("JPEG", progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    assert whole.count(b"\xff\xda") < 20
    assert picture(whole[:-2] + 4 * last + whole[-2:]).shape == SCENE.shape
    assert "scans" in refused(whole[:-2] + 400 * last + whole[-2:]).detail


@pytest.mark.parametrize("form", FORMS.values())
def test_a_picture_cut_short_is_a_picture_or_a_refusal(form: str) -> None:
    whole = encoded(form)
    for length in {0, 1, 3, 8, 11, 12, 20, 25, 30, len(whole) // 4, len(whole) // 2, len(whole) - 1}:
        try:
            opened = picture(whole[:length])
        except Refusal as refusal:
            assert refusal.reason is Reason.REFERENCE_UNUSABLE
        else:
            assert opened.shape == SCENE.shape


@given(st.sampled_from(sorted(FORMS.values())), st.integers(0, 200), st.binary(min_size=1, max_size=12))
def test_a_picture_with_one_stretch_replaced_is_a_picture_or_a_refusal(form: str, at: int, stretch: bytes) -> None:
    data = bytearray(encoded(form))
    data[at : at + len(stretch)] = stretch
    try:
        opened = picture(bytes(data))
    except Refusal as refusal:
        assert refusal.reason is Reason.REFERENCE_UNUSABLE
    else:
        assert opened.ndim == 3


def test_a_still_webp_in_extended_form_has_its_canvas_size() -> None:
    assert size(by_pillow("WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0")) == (80, 60)


def test_nothing_is_no_picture() -> None:
    refused(b"")
    refused(b"data:image/png;base64,AAAA")
