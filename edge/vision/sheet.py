"""The printable sheet of the attack kit: a face in life size with marks to cut along, and what to do with it.

One drawing, written as PNG, as SVG and as PDF of A4 size. The face is a portrait that may be printed by anybody; for a
trial of how well attacks work, print the tester's own instead (``edge face attack-kit sheet --face``).
"""

from __future__ import annotations

import base64
import textwrap
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.biometric.presentation import SPECIES
from edge.vision.frames import Pixels

A4_MM = (210, 297)
DPI = 200
EYES_MM = 63.0
_FACE_MM = (160, 190)
_INK = (20, 20, 20)


def drawn(portrait: Pixels, landmarks: NDArray[np.float32]) -> Pixels:
    """The sheet: (2339, 1654, 3), BGR."""
    width, height = (_px(side) for side in A4_MM)
    sheet = np.full((height, width, 3), 255, np.uint8)
    face_w, face_h = (_px(side) for side in _FACE_MM)
    left, top = (width - face_w) // 2, _px(18)
    scale = _px(EYES_MM) / float(np.linalg.norm(landmarks[1] - landmarks[0]))
    x, y = landmarks[:2].mean(axis=0) * scale
    matrix = np.array([[scale, 0, face_w / 2 - x], [0, scale, 0.42 * face_h - y]], np.float64)
    face = cv2.warpAffine(portrait, matrix, (face_w, face_h), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    sheet[top : top + face_h, left : left + face_w] = face
    _marks(sheet, (left, top, face_w, face_h))
    _words(sheet, top + face_h + _px(9))
    return sheet


def _px(millimetres: float) -> int:
    return round(millimetres * DPI / 25.4)


def _marks(sheet: Pixels, at: tuple[int, int, int, int]) -> None:
    """Where to cut: the rectangle, the outline of a face, the eyes."""
    left, top, width, height = at
    cv2.rectangle(sheet, (left, top), (left + width, top + height), _INK, 2)
    centre = (left + width // 2, round(top + 0.50 * height))
    for start in range(0, 360, 12):
        cv2.ellipse(sheet, centre, (_px(75), _px(94)), 0, start, start + 6, (255, 255, 255), 3)
    eye, row = _px(EYES_MM / 2), round(top + 0.42 * height)
    for side in (-1, 1):
        for start in range(0, 360, 30):
            middle = (left + width // 2 + side * eye, row)
            cv2.ellipse(sheet, middle, (_px(15), _px(8)), 0, start, start + 15, (255, 255, 255), 2)


def _words(sheet: Pixels, top: int) -> None:
    lines = [
        f"edge-gate attack kit. Print at 100 %: the frame is {_FACE_MM[0]} mm wide. Cut where the lines are broken."
    ]
    for name, what in SPECIES.items():
        lines += textwrap.wrap(f"{name}: {what}", 110, subsequent_indent="      ")
    lines.append("Run: edge face attack-kit run. 150 presentations of each kind without a success show less than 2 %.")
    for number, line in enumerate(lines):
        at = (_px(14), top + number * _px(5.6))
        cv2.putText(sheet, line, at, cv2.FONT_HERSHEY_SIMPLEX, 0.62, _INK, 1, cv2.LINE_AA)


def write(folder: Path, sheet: Pixels) -> list[Path]:
    """Write ``attack-kit.png``, ``.svg`` and ``.pdf``; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    jpeg = cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()
    written = {
        "png": cv2.imencode(".png", sheet)[1].tobytes(),
        "svg": _svg(jpeg, sheet.shape[1], sheet.shape[0]),
        "pdf": _pdf(jpeg, sheet.shape[1], sheet.shape[0]),
    }
    paths = []
    for form, content in written.items():
        path = folder / f"attack-kit.{form}"
        path.write_bytes(content)
        paths.append(path)
    return paths


def _svg(jpeg: bytes, width: int, height: int) -> bytes:
    image = base64.b64encode(jpeg).decode()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{A4_MM[0]}mm" height="{A4_MM[1]}mm" '
        f'viewBox="0 0 {width} {height}"><image width="{width}" height="{height}" '
        f'href="data:image/jpeg;base64,{image}"/></svg>\n'
    ).encode()


def _pdf(jpeg: bytes, width: int, height: int) -> bytes:
    """One page with one picture: five objects and where they begin."""
    page = tuple(round(side * 72 / 25.4, 2) for side in A4_MM)
    drawing = f"q {page[0]} 0 0 {page[1]} 0 0 cm /I Do Q".encode()
    picture = (
        f"<</Type/XObject/Subtype/Image/Width {width}/Height {height}/ColorSpace/DeviceRGB"
        f"/BitsPerComponent 8/Filter/DCTDecode/Length {len(jpeg)}>>stream\n"
    ).encode()
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 {page[0]} {page[1]}]"
        f"/Resources<</XObject<</I 4 0 R>>>>/Contents 5 0 R>>".encode(),
        picture + jpeg + b"\nendstream",
        f"<</Length {len(drawing)}>>stream\n".encode() + drawing + b"\nendstream",
    ]
    written, begins = b"%PDF-1.4\n", []
    for number, each in enumerate(objects, start=1):
        begins.append(len(written))
        written += f"{number} 0 obj".encode() + each + b"endobj\n"
    table = "".join(f"{begin:010d} 00000 n \n" for begin in begins)
    end = f"xref\n0 6\n0000000000 65535 f \n{table}trailer<</Size 6/Root 1 0 R>>\nstartxref\n{len(written)}\n%%EOF\n"
    return written + end.encode()
