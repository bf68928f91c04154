"""The contact sheet of a run: one tile per visit, what the camera saw and what became of it, as one PNG."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edge.decision import SCALE
from edge.demo.director import Outcome
from edge.demo.layers import Pixels

_WIDTH = 480  # of one picture on the sheet, pixels
_CAPTION = 68
_COLUMNS = 2
_CARD_STAGES = {"read": "read in", "verify": "checked in"}
_GOOD, _BAD, _INK, _PAPER = (70, 140, 40), (40, 40, 200), (40, 36, 32), (246, 248, 248)


def write(folder: Path, outcomes: list[Outcome]) -> Path:
    """Write ``contact-sheet.png`` into ``folder``."""
    tiles = [_tile(number, outcome) for number, outcome in enumerate(outcomes, 1)]
    while len(tiles) % _COLUMNS:
        tiles.append(np.full_like(tiles[0], _PAPER[0]))
    rows = [np.hstack(tiles[at : at + _COLUMNS]) for at in range(0, len(tiles), _COLUMNS)]
    path = folder / "contact-sheet.png"
    done, png = cv2.imencode(".png", np.vstack(rows), [cv2.IMWRITE_PNG_COMPRESSION, 6])
    if not done:
        raise ValueError("the contact sheet cannot be written")
    path.write_bytes(png.tobytes())
    return path


def _tile(number: int, outcome: Outcome) -> Pixels:
    """Card and face side by side, with a caption."""
    pictures = [_small(picture) for picture in outcome.pictures]
    while len(pictures) < 2:
        pictures.append(_not_asked(pictures[0]))
    for picture, words in zip(pictures, (_of_card(outcome), _of_face(outcome)), strict=True):
        _note(picture, words)
    strip = np.asarray(np.hstack(pictures), np.uint8)
    caption = np.full((_CAPTION, strip.shape[1], 3), _PAPER, np.uint8)
    good = outcome.as_expected
    _line(caption, f"{number}. {outcome.visit.name}: {outcome.visit.story}", 26, _INK, 0.46)
    verdict = outcome.actual if good else f"{outcome.actual}   (expected: {outcome.visit.expected})"
    _line(caption, verdict, 54, _GOOD if good else _BAD, 0.58)
    tile = np.vstack([strip, caption])
    cv2.rectangle(tile, (0, 0), (tile.shape[1] - 1, tile.shape[0] - 1), _PAPER, 6)
    return np.asarray(tile, np.uint8)


def _of_card(outcome: Outcome) -> str:
    """What the gate made of the code."""
    stages = outcome.stages()
    told = [f"{name} {stages[key] / 1000:.1f} ms" for key, name in _CARD_STAGES.items() if key in stages]
    return "code: " + ", ".join(told) if told else ""


def _of_face(outcome: Outcome) -> str:
    """What the gate made of the face."""
    facts = outcome.facts()
    told = []
    if "score" in facts:
        told.append(f"alike {facts['score'] / SCALE:.3f}, {facts.get('threshold', 0) / SCALE:.3f} needed")
    if "bona_fide" in facts:
        told.append(f"real {facts['bona_fide'] / SCALE:.2f}")
    if whole := outcome.stages().get("whole"):
        told.append(f"relay after {whole / 1e6:.2f} s")
    return "face: " + "; ".join(told) if told else ""


def _note(picture: Pixels, words: str) -> None:
    """Write on the lower edge of a picture, in place."""
    if words:
        strip = picture[-26:]
        strip[:] = strip // 3
        cv2.putText(strip, words, (12, 18), cv2.FONT_HERSHEY_DUPLEX, 0.42, (236, 240, 240), 1, cv2.LINE_AA)


def _small(picture: Pixels) -> Pixels:
    size = (_WIDTH, round(picture.shape[0] * _WIDTH / picture.shape[1]))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _not_asked(like: Pixels) -> Pixels:
    """In place of a face that nobody wanted to see."""
    blank = np.full_like(like, 226)
    _line(blank, "the gate did not ask for a face", like.shape[0] // 2, (120, 116, 112), 0.5)
    return blank


def _line(caption: Pixels, text: str, y: int, ink: tuple[int, int, int], size: float) -> None:
    cv2.putText(caption, text, (16, y), cv2.FONT_HERSHEY_DUPLEX, size, ink, 1, cv2.LINE_AA)
