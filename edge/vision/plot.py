"""The picture of an evaluation: scores of one person and of two, and what is traded for what (DET)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.biometric.accuracy import BINS, Point, Scores, curve

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]
_INK, _GREY, _PALE = (40, 40, 40), (150, 150, 150), (225, 225, 225)
_GENUINE, _IMPOSTOR = (120, 140, 40), (60, 60, 210)  # BGR: teal, red
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LEFT, _TOP, _WIDE, _HIGH = 80, 70, 560, 480
_LEAST = 1e-6


def drawn(scores: Scores, points: Sequence[Point], title: str) -> Image:
    """Histogram on the left, DET curve on the right; 1440 x 640, BGR."""
    canvas = np.full((640, 1440, 3), 255, np.uint8)
    _write(canvas, title, (_LEFT, 36), 0.7, _INK)
    _histogram(canvas, scores, points)
    _trade(canvas, scores, points)
    return canvas


def _histogram(canvas: Image, scores: Scores, points: Sequence[Point]) -> None:
    """Share of the comparisons per score, both kinds scaled to their own peak."""
    used = np.flatnonzero(scores.genuine + scores.impostor)
    low, high = (used[0], used[-1] + 1) if used.size else (0, BINS)
    count = 140
    edges = np.linspace(low, high, count + 1).astype(int)
    _frame(canvas, _LEFT, "comparison score", "share of comparisons")
    for counts, colour in ((scores.impostor, _IMPOSTOR), (scores.genuine, _GENUINE)):
        bars = np.array([counts[a:b].sum() for a, b in pairwise(edges.tolist())], np.float64)
        line = [
            (_LEFT + round((i + 0.5) * _WIDE / count), _TOP + _HIGH - round(0.95 * _HIGH * bar / max(bars.max(), 1)))
            for i, bar in enumerate(bars)
        ]
        cv2.polylines(canvas, [np.array(line, np.int32)], False, colour, 2, cv2.LINE_AA)

    def across(score: float) -> int:
        return _LEFT + round(((score + 1) * BINS / 2 - low) * _WIDE / max(1, high - low))

    for row, point in enumerate(point for point in points if point.supported):
        if _LEFT <= across(point.threshold) <= _LEFT + _WIDE:
            cv2.line(canvas, (across(point.threshold), _TOP), (across(point.threshold), _TOP + _HIGH), _GREY, 1)
            place = (across(point.threshold) + 4, _TOP + 60 + 18 * row)
            _write(canvas, f"FMR {100 * point.asked:g} %", place, 0.42, _INK)
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        score = (low + share * (high - low)) / (BINS / 2) - 1
        _write(canvas, f"{score:.2f}", (_LEFT + round(share * _WIDE) - 16, _TOP + _HIGH + 20), 0.42, _INK)
    _write(canvas, f"one person ({int(scores.genuine.sum()):,})", (_LEFT + 200, _TOP - 10), 0.45, _GENUINE)
    _write(canvas, f"two people ({int(scores.impostor.sum()):,})", (_LEFT + 380, _TOP - 10), 0.45, _IMPOSTOR)


def _trade(canvas: Image, scores: Scores, points: Sequence[Point]) -> None:
    """FNMR against FMR, both logarithmic; the grey part rests on fewer than 30 false matches."""
    left = _LEFT + _WIDE + 160
    _frame(canvas, left, "false match rate", "false non-match rate")

    def place(fmr: float, fnmr: float) -> tuple[int, int]:
        across = (np.log10(max(fmr, _LEAST)) + 6) / 6
        up = (np.log10(max(fnmr, 1e-4)) + 4) / 4
        return left + round(across * _WIDE), _TOP + _HIGH - round(up * _HIGH)

    for power in range(-6, 1):
        x = place(10.0**power, 1)[0]
        cv2.line(canvas, (x, _TOP), (x, _TOP + _HIGH), _PALE, 1)
        _write(canvas, f"{100 * 10.0**power:g}%", (x - 20, _TOP + _HIGH + 20), 0.4, _INK)
    for power in range(-4, 1):
        y = place(1, 10.0**power)[1]
        cv2.line(canvas, (left, y), (left + _WIDE, y), _PALE, 1)
        _write(canvas, f"{100 * 10.0**power:g}%", (left - 52, y + 5), 0.4, _INK)
    fmr, fnmr = curve(scores)
    reliable = fmr * scores.impostor.sum() >= 30
    for part, colour in ((~reliable, _GREY), (reliable, _IMPOSTOR)):
        line = [place(a, b) for a, b in zip(fmr[part], fnmr[part], strict=True) if a >= _LEAST]
        if len(line) > 1:
            cv2.polylines(canvas, [np.array(line, np.int32)], False, colour, 2, cv2.LINE_AA)
    for point in points:
        low, high = point.fnmr.interval
        x, y = place(point.asked, point.fnmr.rate)
        cv2.line(canvas, (x, place(1, low)[1]), (x, place(1, high)[1]), _INK, 1, cv2.LINE_AA)
        cv2.circle(canvas, (x, y), 4, _INK if point.supported else _GREY, -1, cv2.LINE_AA)


def _frame(canvas: Image, left: int, below: str, beside: str) -> None:
    cv2.rectangle(canvas, (left, _TOP), (left + _WIDE, _TOP + _HIGH), _GREY, 1)
    _write(canvas, below, (left + _WIDE // 2 - 60, _TOP + _HIGH + 48), 0.5, _INK)
    _write(canvas, beside, (left, _TOP - 10), 0.5, _INK)


def _write(canvas: Image, text: str, at: tuple[int, int], size: float, colour: Colour) -> None:
    cv2.putText(canvas, text, at, _FONT, size, colour, 1, cv2.LINE_AA)
