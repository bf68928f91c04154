from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pytest
import segno
import zxingcpp

from edge.vision.frames import BgrShot, Frame, Pixels
from edge.vision.reader import GONE_S, CodeReader

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
FPS = 30


def text(length: int, seed: int = 0) -> str:
    return "".join(np.random.default_rng(seed).choice(list(ALPHABET), length))


def code(content: str, module_px: float = 4.0, error: str = "l") -> Pixels:
    """A printed code with its quiet zone, luma."""
    bits = np.array([list(row) for row in segno.make_qr(content, error=error, boost_error=False).matrix], np.uint8)
    page = np.pad(np.where(bits == 1, 25, 230).astype(np.uint8), 4, constant_values=230)
    sharp = cv2.resize(page, None, fx=8, fy=8, interpolation=cv2.INTER_NEAREST)
    size = round(page.shape[0] * module_px)
    return np.asarray(cv2.resize(sharp, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


class Scene:
    """A room at 1280x720 in which a code is held up, or not."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(7)
        room = self.rng.integers(60, 180, (18, 32, 3), np.uint8)
        self.room = np.asarray(cv2.resize(room, (1280, 720), interpolation=cv2.INTER_CUBIC), np.uint8)
        self.grain = self.rng.normal(0, 1, (752, 1312, 3)).astype(np.float32)
        self.number = 0

    def frame(
        self, page: Pixels | None = None, tilt: float = 0.0, blur: float = 0.0, noise: float = 3.0, glare: bool = False
    ) -> Frame:
        picture = self.room.copy()
        if page is not None:
            size = page.shape[0]
            left, top = (1280 - size) / 2 + self.number % 5, (720 - size) / 2
            corners = np.array([(0, 0), (size, 0), (size, size), (0, size)], np.float32)
            shift = np.array([(0, 0), (0, tilt * size), (0, -tilt * size), (0, 0)], np.float32)
            there = (corners + shift + np.array([left, top], np.float32)).astype(np.float32)
            view = cv2.getPerspectiveTransform(corners, there)
            held = cv2.warpPerspective(page, view, (1280, 720))
            mask = cv2.warpPerspective(np.full_like(page, 255), view, (1280, 720))
            picture[mask == 255] = held[mask == 255][:, None]
        if glare:
            shine = np.zeros((720, 1280, 3), np.float32)
            cv2.circle(shine, (560, 300), 60, (90, 90, 90), -1)
            picture = np.clip(picture + cv2.GaussianBlur(shine, (0, 0), 25), 0, 255).astype(np.uint8)
        if blur:
            picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), blur), np.uint8)
        x, y = (int(v) for v in self.rng.integers(0, 32, 2))
        grain = noise * self.grain[y : y + 720, x : x + 1280]
        self.number += 1
        return Frame(self.number, 100 + self.number / FPS, BgrShot(np.clip(picture + grain, 0, 255).astype(np.uint8)))

    def nothing(self, count: int) -> list[Frame]:
        """Many frames of a small empty view: the time passes, and the test does not."""
        view = BgrShot(self.room[:90, :160])
        self.number += count
        return [Frame(n, 100 + n / FPS, view) for n in range(self.number - count + 1, self.number + 1)]


def codes(reader: CodeReader, frames: Sequence[Frame]) -> list[str]:
    return [found.text for frame in frames if (found := reader.code(frame)) is not None]


@pytest.mark.parametrize("length", [300, 700, 1200])
def test_a_card_held_up_is_read_once(length: int) -> None:
    scene, reader, content = Scene(), CodeReader(), text(length)
    page = code(content, 4.0)
    assert codes(reader, [scene.frame(page) for _ in range(5)]) == [content]


@pytest.mark.parametrize(
    "how", [{"tilt": 0.08}, {"blur": 1.2}, {"noise": 14.0}, {"glare": True}, {"tilt": 0.05, "blur": 1.0, "noise": 8.0}]
)
def test_a_card_in_a_hard_light_is_read_within_a_few_frames(how: dict[str, Any]) -> None:
    scene, reader, content = Scene(), CodeReader(), text(700)
    page = code(content, 3.5)
    assert codes(reader, [scene.frame(page, **how) for _ in range(8)]) == [content]


def test_what_is_read_carries_its_frame_and_time() -> None:
    scene, reader = Scene(), CodeReader()
    frame = scene.frame(code(text(300)))
    found = reader.code(frame)
    assert found is not None
    assert (found.frame, found.seen_at) == (frame.number, frame.seen_at)
    assert 0 < found.took_us < 1_000_000
    assert found.text not in repr(found)


def test_a_code_that_is_no_credential_is_told_too_when_two_frames_agree() -> None:
    scene, reader = Scene(), CodeReader()
    page = code("https://example.org/menu", 8.0)
    assert reader.code(scene.frame(page)) is None
    found = reader.code(scene.frame(page))
    assert found is not None
    assert found.text == "https://example.org/menu"


def test_a_short_text_in_one_frame_only_is_taken_for_a_phantom() -> None:
    scene, reader = Scene(), CodeReader()
    frames = [scene.frame(code("3014", 8.0)), *scene.nothing(40), scene.frame(code("3014", 8.0))]
    assert codes(reader, frames) == []


def test_a_micro_code_is_not_a_code() -> None:
    bits = np.array([list(row) for row in segno.make_micro("3014").matrix], np.uint8)
    page = np.pad(np.where(bits == 1, 25, 230).astype(np.uint8), 4, constant_values=230)
    page = np.asarray(cv2.resize(page, None, fx=10, fy=10, interpolation=cv2.INTER_NEAREST), np.uint8)
    scene, reader = Scene(), CodeReader()
    assert codes(reader, [scene.frame(page) for _ in range(6)]) == []


def test_the_same_code_counts_again_after_it_was_gone_for_a_second() -> None:
    scene, reader, content = Scene(), CodeReader(), text(300)
    page = code(content)
    shown = [scene.frame(page) for _ in range(3)]
    blink = scene.nothing(int(GONE_S * FPS * 0.8))
    assert codes(reader, [*shown, *blink, scene.frame(page)]) == [content]
    gone = scene.nothing(int(GONE_S * FPS) + 2)
    assert codes(reader, [*gone, scene.frame(page)]) == [content]


def test_who_is_asked_to_take_the_card_away_and_does_so_is_read_again() -> None:
    """A second and a half is what people do who are told so, and less than the hint stays on the screen."""
    scene, reader, content = Scene(), CodeReader(), text(300)
    page = code(content)
    tries = 3
    shown = [frame for _ in range(tries) for frame in (*[scene.frame(page) for _ in range(3)], *scene.nothing(45))]
    assert codes(reader, shown) == [content] * tries


def test_a_code_that_a_telephone_shows_light_on_dark_is_read_once_however_long_it_is_held_up() -> None:
    scene, reader, content = Scene(), CodeReader(), text(300)
    page = np.asarray(255 - code(content), np.uint8)
    assert codes(reader, [scene.frame(page) for _ in range(4)]) == [content]
    for _ in range(int(1.5 * GONE_S * FPS)):
        reader.watch(scene.frame(page))
    assert reader.holds
    assert codes(reader, [scene.frame(page) for _ in range(4)]) == []


def test_not_having_looked_is_no_proof_that_a_code_is_gone() -> None:
    scene, reader, content = Scene(), CodeReader(), text(300)
    page = code(content)
    assert codes(reader, [scene.frame(page)]) == [content]
    scene.number += 10 * FPS  # nobody looked for ten seconds
    assert codes(reader, [scene.frame(page), scene.frame(), scene.frame(page)]) == []


def test_another_code_counts_at_once() -> None:
    scene, reader = Scene(), CodeReader()
    first, second = text(300, 1), text(300, 2)
    assert codes(reader, [scene.frame(code(first)), scene.frame(code(second))]) == [first, second]


def test_watching_notices_the_code_but_leaves_another_for_later() -> None:
    scene, reader = Scene(), CodeReader()
    first, second = text(300, 1), text(300, 2)
    assert codes(reader, [scene.frame(code(first))]) == [first]
    assert reader.holds
    reader.watch(scene.frame(code(second)))
    assert codes(reader, [scene.frame(code(second))]) == [second]


def test_forgetting_makes_the_same_code_count_again() -> None:
    scene, reader, content = Scene(), CodeReader(), text(300)
    page = code(content)
    assert codes(reader, [scene.frame(page)]) == [content]
    reader.forget()
    assert not reader.holds
    assert codes(reader, [scene.frame(page)]) == [content]


@pytest.mark.parametrize("level", [0, 255])
def test_black_and_white_frames_hold_no_code(level: int) -> None:
    reader = CodeReader()
    flat = BgrShot(np.full((720, 1280, 3), level, np.uint8))
    assert codes(reader, [Frame(i, 100 + i / FPS, flat) for i in range(5)]) == []


def test_a_tiny_frame_does_no_harm() -> None:
    reader = CodeReader()
    assert codes(reader, [Frame(i, 100 + i / FPS, BgrShot(np.zeros((2, 3, 3), np.uint8))) for i in range(5)]) == []


def test_a_frame_that_shrinks_while_a_code_is_tracked_does_no_harm() -> None:
    scene, reader = Scene(), CodeReader()
    frame = scene.frame(code(text(300)))
    assert codes(reader, [frame])
    small = Frame(frame.number + 1, frame.seen_at + 0.03, BgrShot(np.zeros((48, 64, 3), np.uint8)))
    assert codes(reader, [small]) == []


def test_an_idle_frame_has_a_known_small_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """One fast look at all of it and one of another kind, the slow library once a second; scripts/bench measures it."""
    scene, reader = Scene(), CodeReader()
    frames = [scene.frame() for _ in range(2 * FPS)]
    looks: list[int] = []
    look, second = zxingcpp.read_barcode, reader._zbar
    assert second is not None
    opinions: list[int] = []

    def counted(picture: Any, **how: Any) -> Any:
        looks.append(picture.size)
        return look(picture, **how)

    def asked(picture: Pixels) -> Any:
        opinions.append(picture.size)
        return second(picture)

    monkeypatch.setattr(zxingcpp, "read_barcode", counted)
    monkeypatch.setattr(reader, "_zbar", asked)
    whole = frames[0].y.size
    for frame in frames:
        looks.clear()
        assert codes(reader, [frame]) == []
        assert looks[0] == whole
        assert len(looks) <= 2
        assert sum(looks) <= 5 * whole
    assert len(opinions) <= 3
    assert max(opinions) < 0.6 * whole


def test_a_text_with_no_utf8_is_text_nevertheless() -> None:
    page_bits = segno.make_qr(bytes(range(128, 256)), error="l", boost_error=False)
    bits = np.array([list(row) for row in page_bits.matrix], np.uint8)
    page = np.pad(np.where(bits == 1, 25, 230).astype(np.uint8), 4, constant_values=230)
    page = np.asarray(cv2.resize(page, None, fx=6, fy=6, interpolation=cv2.INTER_NEAREST), np.uint8)
    scene, reader = Scene(), CodeReader()
    found = codes(reader, [scene.frame(page) for _ in range(3)])
    assert len(found) == 1
    found[0].encode()
