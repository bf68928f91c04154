"""What a person holds into view: a card with its code, and the hand that holds it.

Rules:

1. Everything is drawn; the card carries invented words only, no name and no picture of anybody.
2. The code is exactly the given text: no decoration over it, a quiet zone of four modules around it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import segno

from edge.demo import layers
from edge.demo.layers import Pixels

CARD = (1300, 820)  # pixels, ID-1 proportions (85.6 by 54 mm)
_MARGIN = (8, 8, 900)  # pixels around the card, at the sides, above, and below for hand and arm
IDENTITY_CARD = "Identity card"
_PANEL = 760  # pixels, side of the white field for the code
_SKIN = (122, 150, 198)


@dataclass(frozen=True)
class Prop:
    """Card and hand on one sheet.

    Attributes:
        sheet: (h, w, 4), BGR already multiplied by alpha, and alpha.
        centre: of the card, pixel of ``sheet``.
        module: side of one module of the code, pixels.
    """

    sheet: Pixels
    centre: tuple[float, float]
    module: int


def modules(text: str, error: str = "L") -> Pixels:
    """The code as a matrix, 1 is dark, with its quiet zone."""
    code = segno.make_qr(text, error=error, boost_error=False)
    return np.pad(np.array([list(row) for row in code.matrix], np.uint8), 4)


def card(text: str, title: str, lines: tuple[str, ...], tint: layers.Colour, error: str = "L") -> Prop:
    """A card of plastic or paper with a code, held by a hand; with a chip when it is an identity card."""
    matrix = modules(text, error)
    module = _PANEL // len(matrix)
    side, above, _ = _MARGIN
    sheet = _blank(title, lines, tint).copy()
    _print_code(sheet[above : above + CARD[1], side : side + CARD[0]], matrix, module)
    return Prop(sheet, (side + CARD[0] / 2, above + CARD[1] / 2), module)


@cache
def _blank(title: str, lines: tuple[str, ...], tint: layers.Colour) -> Pixels:
    """Card and hand, without the code: the same for all cards of one design."""
    side, above, below = _MARGIN
    face = _plastic(tint)
    _print_words(face, title, lines)
    sheet = np.zeros((CARD[1] + above + below, CARD[0] + 2 * side, 4), np.uint8)
    layers.lay(sheet[above : above + CARD[1], side : side + CARD[0]], face, _rounded(CARD, 48))
    hand(sheet, (side, above), 1.0, CARD[1])
    return sheet


def _plastic(tint: tuple[int, int, int]) -> Pixels:
    """The printed background: two tones and fine wavy lines, as on banknotes and cards."""
    width, height = CARD
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    base = np.array(tint, np.float32)
    shade = 0.90 + 0.14 * x / width - 0.06 * y / height
    waves = np.zeros_like(x)
    for k in range(3):
        waves += np.cos((y + (40 + 14 * k) * np.sin(x / (120 + 45 * k) + k)) / (3.4 + 0.7 * k))
    return np.asarray(np.clip(base * (shade + 0.012 * waves)[..., None], 0, 255), np.uint8)


def _print_words(face: Pixels, title: str, lines: tuple[str, ...]) -> None:
    """Heading and lines; a chip where the first line says that it is an identity card."""
    ink, soft = (66, 44, 28), (120, 96, 78)
    cv2.rectangle(face, (0, 0), (CARD[0], 96), (112, 74, 38), -1)
    cv2.putText(face, title, (56, 66), cv2.FONT_HERSHEY_DUPLEX, 1.45, (244, 240, 234), 2, cv2.LINE_AA)
    heading, *others = lines
    cv2.putText(face, heading, (56, 190), cv2.FONT_HERSHEY_DUPLEX, 1.4, soft, 3, cv2.LINE_AA)
    for row, line in enumerate(others):
        cv2.putText(face, line, (56, 262 + 56 * row), cv2.FONT_HERSHEY_SIMPLEX, 1.05, ink, 2, cv2.LINE_AA)
    if heading == IDENTITY_CARD:
        _print_chip(face)


def _print_chip(face: Pixels) -> None:
    cv2.rectangle(face, (60, 520), (250, 660), (88, 170, 200), -1, cv2.LINE_AA)
    for y in (520, 567, 613, 660):
        cv2.line(face, (60, y), (250, y), (60, 120, 150), 3, cv2.LINE_AA)
    cv2.line(face, (155, 520), (155, 660), (60, 120, 150), 3, cv2.LINE_AA)


def _print_code(face: Pixels, matrix: Pixels, module: int) -> None:
    """The code at the right, below the heading, on white; ``face`` is a layer."""
    size = len(matrix) * module
    printed = np.where(np.kron(matrix, np.ones((module, module), np.uint8)) > 0, 30, 244).astype(np.uint8)
    middle = (96 + CARD[1]) // 2
    top, left = min(middle - size // 2, CARD[1] - size - 2), CARD[0] - size - 18
    place = face[top : top + size, left : left + size]
    inside = place[..., 3] == 255  # not beyond the rounded corner
    place[inside, :3] = printed[inside][:, None]


def _rounded(size: tuple[int, int], radius: int) -> Pixels:
    """The outline of the card."""
    width, height = size
    mask = np.zeros((height, width), np.uint8)
    cv2.rectangle(mask, (radius, 0), (width - radius, height), 255, -1)
    cv2.rectangle(mask, (0, radius), (width, height - radius), 255, -1)
    for x in (radius, width - radius - 1):
        for y in (radius, height - radius - 1):
            cv2.circle(mask, (x, y), radius, 255, -1, cv2.LINE_AA)
    return mask


def _limb(sheet: Pixels, path: list[tuple[int, int]], widths: list[int]) -> None:
    """A rounded piece of skin along ``path``, darker towards its edges."""
    mask = np.zeros(sheet.shape[:2], np.uint8)
    for start, end, wide, narrow in zip(path, path[1:], widths, widths[1:], strict=False):
        for t in np.linspace(0, 1, 30):
            at = (round(start[0] + (end[0] - start[0]) * t), round(start[1] + (end[1] - start[1]) * t))
            cv2.circle(mask, at, round(wide + (narrow - wide) * t), 255, -1, cv2.LINE_AA)
    inside = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
    shade = 0.52 + 0.50 * np.clip(inside / min(widths), 0, 1) ** 0.6
    skin = np.clip(np.array(_SKIN, np.float32) * shade[..., None], 0, 255).astype(np.uint8)
    layers.lay(sheet, skin, layers.soft(mask, 2.5))


def hand(sheet: Pixels, corner: tuple[int, int], size: float, edge: int) -> None:
    """Draw the hand that holds something: the thumb on it, wrist and sleeve below it.

    Args:
        sheet: layer, drawn into.
        corner: upper left one of what is held.
        size: of the hand; 1 suits a card of ``CARD``.
        edge: lower edge of what is held, pixels below ``corner``.
    """

    def at(right: int, down: int) -> tuple[int, int]:
        return corner[0] + round(right * size), corner[1] + edge + round((down - CARD[1]) * size)

    bottom = round((sheet.shape[0] - corner[1] - edge) / size) + CARD[1]
    shade = np.zeros(sheet.shape[:2], np.uint8)
    cv2.line(shade, at(310, 890), at(272, 700), 120, round(120 * size), cv2.LINE_AA)
    on_it = cv2.multiply(layers.soft(shade, 14 * size), np.ascontiguousarray(sheet[..., 3]), scale=1 / 255)
    layers.lay(sheet, (20, 24, 30), np.asarray(on_it, np.uint8))
    limb = [at(360, 1240), at(306, 970), at(250, 800), at(232, 672)]
    _limb(sheet, limb, [round(width * size) for width in (150, 118, 66, 50)])
    nail = np.zeros(sheet.shape[:2], np.uint8)
    cv2.ellipse(nail, at(230, 658), (round(29 * size), round(37 * size)), -4, 0, 360, 130, -1, cv2.LINE_AA)
    layers.lay(sheet, (176, 192, 228), layers.soft(nail, 4 * size))
    sleeve = np.zeros(sheet.shape[:2], np.uint8)
    cuff = [at(168, 1070), at(280, 1040), at(420, 1045), at(530, 1080), at(760, bottom), at(250, bottom)]
    cv2.fillPoly(sleeve, [np.array(cuff, np.int32)], 255)
    layers.lay(sheet, (62, 48, 44), layers.soft(sleeve, 5 * size))
