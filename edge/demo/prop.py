"""What a person holds into view: a card with its code, and the hand that holds it.

Rules:

1. Everything is drawn; the card carries invented words only, no name and no picture of anybody.
2. The code is exactly the given text: no decoration over it, a quiet zone of four modules around it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import segno

from edge.demo import layers
from edge.demo.layers import Pixels

CARD = (1300, 820)  # pixels, ID-1 proportions (85.6 by 54 mm)
_MARGIN = (200, 120, 360)  # pixels around the card for the hand: at the sides, above, below
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


def card(text: str, title: str, lines: tuple[str, ...], tint: tuple[int, int, int], error: str = "L") -> Prop:
    """A plastic card with a code, held by a hand."""
    matrix = modules(text, error)
    module = _PANEL // len(matrix)
    face = _plastic(tint)
    _print_words(face, title, lines)
    _print_code(face, matrix, module)
    rounded = _rounded(CARD, 48)
    side, above, below = _MARGIN
    sheet = np.zeros((CARD[1] + above + below, CARD[0] + 2 * side, 4), np.uint8)
    layers.lay(sheet[above : above + CARD[1], side : side + CARD[0]], face, rounded)
    _hand(sheet)
    return Prop(sheet, (side + CARD[0] / 2, above + CARD[1] / 2), module)


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
    """Heading, lines, chip: the left part of the card."""
    ink, soft = (66, 44, 28), (120, 96, 78)
    cv2.rectangle(face, (0, 0), (CARD[0], 96), (112, 74, 38), -1)
    cv2.putText(face, title, (56, 66), cv2.FONT_HERSHEY_DUPLEX, 1.45, (244, 240, 234), 2, cv2.LINE_AA)
    cv2.putText(face, "SPECIMEN", (56, 200), cv2.FONT_HERSHEY_DUPLEX, 1.6, soft, 3, cv2.LINE_AA)
    for row, line in enumerate(lines):
        cv2.putText(face, line, (56, 270 + 56 * row), cv2.FONT_HERSHEY_SIMPLEX, 1.05, ink, 2, cv2.LINE_AA)
    cv2.rectangle(face, (60, 560), (250, 700), (88, 170, 200), -1, cv2.LINE_AA)
    for y in (560, 607, 653, 700):
        cv2.line(face, (60, y), (250, y), (60, 120, 150), 3, cv2.LINE_AA)
    cv2.line(face, (155, 560), (155, 700), (60, 120, 150), 3, cv2.LINE_AA)


def _print_code(face: Pixels, matrix: Pixels, module: int) -> None:
    """The code at the right, below the heading, on white."""
    size = len(matrix) * module
    printed = np.where(np.kron(matrix, np.ones((module, module), np.uint8)) > 0, 30, 244).astype(np.uint8)
    middle = (96 + CARD[1]) // 2
    top, left = min(middle - size // 2, CARD[1] - size - 2), CARD[0] - size - 18
    face[top : top + size, left : left + size] = printed[..., None]


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


def _shadow(sheet: Pixels) -> None:
    """What the thumb takes of the light on the card."""
    shade = np.zeros(sheet.shape[:2], np.uint8)
    cv2.line(shade, (500, 1000), (468, 830), 120, 120, cv2.LINE_AA)
    on_card = cv2.multiply(layers.soft(shade, 14), sheet[..., 3], scale=1 / 255)
    layers.lay(sheet, (20, 24, 30), np.asarray(on_card, np.uint8))


def _hand(sheet: Pixels) -> None:
    """The thumb on the card, left of the code, the wrist and a sleeve below the card."""
    height = sheet.shape[0]
    _shadow(sheet)
    _limb(sheet, [(540, height + 40), (500, 1090), (446, 920), (430, 800)], [150, 118, 66, 50])
    nail = np.zeros(sheet.shape[:2], np.uint8)
    cv2.ellipse(nail, (428, 786), (29, 37), -4, 0, 360, 130, -1, cv2.LINE_AA)
    layers.lay(sheet, (176, 192, 228), layers.soft(nail, 4))
    sleeve = np.zeros(sheet.shape[:2], np.uint8)
    cuff = [(330, height), (352, 1190), (470, 1160), (610, 1165), (720, 1200), (760, height)]
    cv2.fillPoly(sleeve, [np.array(cuff, np.int32)], 255)
    layers.lay(sheet, (62, 48, 44), layers.soft(sleeve, 5))
