"""Footage of a visit, composed at run time: a card held into view, then the person.

Rules:

1. Nothing of it is kept: clips live in the stage's directory in RAM for the length of one visit.
2. A clip is a closed movement (in, settle, out a little), so it can loop without a jump; every frame has noise of its
   own, so that no two consecutive frames are equal.
3. What the gate sees is only these pixels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.demo import fakes, layers, people, scene
from edge.demo.fakes import Fake, Medium
from edge.demo.layers import Pixels
from edge.demo.people import Figure
from edge.demo.prop import Prop
from edge.demo.scene import HEIGHT, WIDTH

FRAMES = 16
_EDGE = 8  # pixels around what is drawn, for blur
Part = tuple[slice, slice]
_FOCAL = 1150.0  # pixels
_SKIN, _WALL, _GLASS = 30, 4, 1  # percent by which the fill light brightens skin and paper, the room, a screen


@dataclass(frozen=True)
class Hold:
    """How the card is held.

    Attributes:
        module_px: side of one module in the frame, pixels.
        turn: yaw, pitch, roll, degrees.
        at: where the middle of the card is, pixels.
        blur: of the lens, standard deviation in pixels.
        glare: brightness of the light's reflection, 0 to 1.
        gain: exposure, 1 is normal.
    """

    module_px: float = 3.4
    turn: tuple[float, float, float] = (9.0, -7.0, 3.0)
    at: tuple[float, float] = (650.0, 345.0)
    blur: float = 0.55
    glare: float = 0.35
    gain: float = 1.0


@dataclass(frozen=True)
class Stand:
    """How a person stands before the gate.

    Attributes:
        portrait: name in ``people.PORTRAITS``.
        eyes_px: distance between the eyes in the frame, pixels.
        at: where the point between the eyes is, pixels.
        lean: degrees.
        gain: light on the person, 1 is as photographed.
    """

    portrait: str
    eyes_px: float = 118.0
    at: tuple[float, float] = (640.0, 285.0)
    lean: float = 0.0
    gain: float = 1.0


Appears = TypeVar("Appears", bound=Stand | Fake)


def card_clip(shown: Prop, hold: Hold, seed: int) -> list[Pixels]:
    """A card comes into view, settles, trembles, and is drawn back a little."""
    rng = np.random.default_rng(seed)
    ready = _printed(shown, hold)
    frames = []
    for step in range(FRAMES):
        away, speed = _closed(step)
        picture = scene.empty().copy()
        _show(picture, ready, _trembling(hold, rng, away), 26 * speed)
        frames.append(scene.expose(picture, rng, hold.gain))
    return frames


def face_clip(folder: Path, stands: tuple[Stand | Fake, ...], seed: int) -> list[Pixels]:
    """People, or photos of them, come into the opening, settle and sway; nobody at all when ``stands`` is empty."""
    rng = np.random.default_rng(seed)
    figures = [_figure(folder, stand) for stand in stands]
    frames = []
    for step in range(FRAMES):
        away, speed = _closed(step)
        picture = scene.lobby().copy()
        for stand, figure in zip(stands, figures, strict=True):
            _place(picture, figure, _swaying(stand, step, away), 7 * speed)
        layers.over(picture, scene.wings())
        frames.append(scene.expose(picture, rng))
    return frames


def composed(shown: Iterable[tuple[Figure, Stand]], seed: int) -> list[Pixels]:
    """One person before the gate, frame by frame as given, swaying a little."""
    rng = np.random.default_rng(seed)
    frames = []
    for step, (figure, stand) in enumerate(shown):
        picture = scene.lobby().copy()
        _place(picture, figure, _swaying(stand, step, 0.0), 0.0)
        layers.over(picture, scene.wings())
        frames.append(scene.expose(picture, rng))
    return frames


def response(folder: Path, stands: tuple[Stand | Fake, ...]) -> Pixels:
    """How the scene answers the fill light, percent brighter, (h, w): people and paper much, the room behind little."""
    answer = np.full((HEIGHT, WIDTH), _WALL, np.uint8)
    for stand in stands:
        figure = _figure(folder, stand)
        part, top = _warped(figure.layer, _placed(figure, stand))
        by = _GLASS if isinstance(stand, Fake) and stand.medium is Medium.PHONE else _SKIN
        answer[part][top[..., 3] > 127] = by
    return np.asarray(cv2.GaussianBlur(answer, (0, 0), 3), np.uint8)


def both_clip(folder: Path, shown: Prop, hold: Hold, stand: Stand, seed: int) -> list[Pixels]:
    """Card and person in view at once, settled: the scene that is measured."""
    rng = np.random.default_rng(seed)
    figure, ready = people.figure(folder, stand.portrait, stand.eyes_px), _printed(shown, hold)
    frames = []
    for step in range(FRAMES):
        picture = scene.lobby().copy()
        _place(picture, figure, _swaying(stand, step, 0.0), 0.0)
        layers.over(picture, scene.wings())
        _show(picture, ready, _trembling(hold, rng, 0.0), 0.0)
        frames.append(scene.expose(picture, rng))
    return frames


def write(path: Path, frames: list[Pixels]) -> None:
    """Write a clip as the footage camera reads it, whole or not at all."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.save(file, np.stack(frames))
    part.replace(path)


def _closed(step: int) -> tuple[float, float]:
    """A closed movement: how far from the settled place (0 to 1) and how fast (0 to 1) at this step."""
    t = step / FRAMES
    away = np.exp(-(((t - round(t)) / 0.085) ** 2))
    ahead = np.exp(-((((t + 0.03) - round(t + 0.03)) / 0.085) ** 2))
    return float(away), float(min(1.0, abs(ahead - away) * 3))


def _printed(shown: Prop, hold: Hold) -> Prop:
    """The card as sharp as the frame can show it: smoothed before it is made smaller."""
    shrink = hold.module_px / shown.module
    return replace(shown, sheet=np.asarray(cv2.GaussianBlur(shown.sheet, (0, 0), max(0.35 / shrink, 0.5)), np.uint8))


def _trembling(hold: Hold, rng: np.random.Generator, away: float) -> Hold:
    """Where the hand has the card now."""
    x, y, tilt = rng.normal(0, 0.8, 3)
    at = (hold.at[0] + 60 * away + x, hold.at[1] + 230 * away + y)
    return replace(hold, at=at, turn=(hold.turn[0] + 14 * away, hold.turn[1] + 0.5 * tilt, hold.turn[2] - 8 * away))


def _figure(folder: Path, stand: Stand | Fake) -> Figure:
    if isinstance(stand, Fake):
        return fakes.figure(folder, stand)
    return people.figure(folder, stand.portrait, stand.eyes_px)


def _swaying(stand: Appears, step: int, away: float) -> Appears:
    """Where the person is now."""
    phase, side = 2 * np.pi * step / FRAMES + stand.at[0], 1 if stand.at[0] > WIDTH / 2 else -1
    at = (stand.at[0] + side * 20 * away + 2.5 * np.sin(phase), stand.at[1] + 26 * away + 1.5 * np.cos(phase))
    return replace(stand, at=at, lean=stand.lean + 0.5 * float(np.sin(phase)) + side * 2.0 * away)


def _show(picture: Pixels, ready: Prop, hold: Hold, smear: float) -> None:
    """Draw the card into the picture, in place: perspective, glare, lens and motion blur."""
    part, top = _warped(ready.sheet, _perspective(ready, hold))
    if hold.glare:
        _glare(top, hold, part)
    if hold.blur:
        top = np.asarray(cv2.GaussianBlur(top, (0, 0), hold.blur), np.uint8)
    layers.over(picture[part], _smeared(top, smear, vertical=True))


def _warped(sheet: Pixels, way: NDArray[np.float64]) -> tuple[Part, Pixels]:
    """The sheet as it stands in the frame: which part of the frame it touches, and that part of the layer."""
    height, width = sheet.shape[:2]
    corners = np.array([[(0, 0), (width, 0), (width, height), (0, height)]], np.float64)
    seen = cv2.perspectiveTransform(corners, way)[0]
    left, top = (int(v) for v in np.clip(np.floor(seen.min(0)) - _EDGE, 0, (WIDTH - 1, HEIGHT - 1)))
    right, bottom = (int(v) for v in np.clip(np.ceil(seen.max(0)) + _EDGE, (left + 1, top + 1), (WIDTH, HEIGHT)))
    moved = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]], np.float64) @ way
    drawn = cv2.warpPerspective(sheet, moved, (right - left, bottom - top), flags=cv2.INTER_LINEAR)
    return (slice(top, bottom), slice(left, right)), np.asarray(drawn, np.uint8)


def _perspective(ready: Prop, hold: Hold) -> NDArray[np.float64]:
    """From the sheet to the frame: the card turned about its middle, seen by a pinhole camera."""
    yaw, pitch, roll = np.radians(hold.turn)
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    about_z = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    height, width = ready.sheet.shape[:2]
    shrink = hold.module_px / ready.module
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float64)
    flat = np.c_[(corners - ready.centre) * shrink, np.zeros(4)]
    turned = flat @ (about_z @ about_y @ about_x).T
    depth = _FOCAL / (_FOCAL + turned[:, 2])
    seen = turned[:, :2] * depth[:, None] + hold.at
    return np.asarray(cv2.getPerspectiveTransform(corners.astype(np.float32), seen.astype(np.float32)), np.float64)


@cache
def _lamp(strength: float) -> Pixels:
    """A lamp mirrored in the plastic: a soft oval and a fainter streak, twice the size of a frame."""
    y, x = np.mgrid[-HEIGHT:HEIGHT, -WIDTH:WIDTH].astype(np.float32)
    oval = np.exp(-((x / 150) ** 2) - (y / 90) ** 2)
    streak = 0.45 * np.exp(-(((x + 0.8 * y + 150) / 70) ** 2))
    light = np.asarray(np.clip(255 * strength * (oval + streak), 0, 255), np.uint8)
    return np.dstack([light] * 3)


def _glare(top: Pixels, hold: Hold, part: Part) -> None:
    """Add the lamp where the card is, in place; it stays with the card's middle."""
    x, y = WIDTH - round(hold.at[0] + 150), HEIGHT - round(min(hold.at[1] + 60, HEIGHT))
    lamp = _lamp(hold.glare)[y : y + HEIGHT, x : x + WIDTH][part]
    alpha = cv2.merge([top[..., 3]] * 3)
    seen = cv2.multiply(np.ascontiguousarray(lamp), alpha, scale=1 / 255)
    top[..., :3] = cv2.add(np.ascontiguousarray(top[..., :3]), seen)


def _placed(figure: Figure, stand: Stand | Fake) -> NDArray[np.float64]:
    """From the figure to the frame."""
    turn = cv2.getRotationMatrix2D(figure.between_eyes, stand.lean, 1.0)
    turn[:, 2] += np.subtract(stand.at, figure.between_eyes)
    return np.asarray(np.vstack([turn, (0.0, 0.0, 1.0)]), np.float64)


def _place(picture: Pixels, figure: Figure, stand: Stand | Fake, smear: float) -> None:
    """Draw a person into the picture, in place."""
    part, top = _warped(figure.layer, _placed(figure, stand))
    if isinstance(stand, Stand) and stand.gain != 1.0:
        top[..., :3] = cv2.convertScaleAbs(np.ascontiguousarray(top[..., :3]), alpha=stand.gain)
    layers.over(picture[part], _smeared(top, smear, vertical=False))


def _smeared(top: Pixels, length: float, *, vertical: bool) -> Pixels:
    """Motion blur over ``length`` pixels."""
    size = round(length)
    if size < 2:
        return top
    return np.asarray(cv2.blur(top, (1, size) if vertical else (size, 1)), np.uint8)
