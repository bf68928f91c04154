"""What a person does when the gate asks for it: turn, nod, blink, come closer, each as a few frames of a portrait.

1. A portrait becomes a head by a relief: round, with a nose, turned about an axis behind the eyes and seen from half a
   metre. The body below the neck stays where it is. A print turns without relief.
2. Eyes are closed by skin over them. Nothing else of the face is touched.
3. An act begins and ends at rest; only who comes closer stays there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.biometric.values import Task
from edge.demo import footage, layers, people
from edge.demo.footage import Stand
from edge.demo.layers import Pixels
from edge.demo.people import Figure, Point

Grid = NDArray[np.float32]
STEPS = 11
NEARER = 1.4  # times the distance between the eyes
_TURN_DEG, _NOD_DEG = 40.0, 17.0
_AXIS = 0.8  # eye distances behind the eyes, about which a head turns
_AWAY = 8.0  # eye distances to the camera: half a metre
_NECK = (1.9, 3.1)  # eye distances below the eyes: from here on the body turns less, and not at all
_COARSE = 4  # pixels between the points of the relief's grid


class Acts(Enum):
    """What a person does about what is asked."""

    AS_ASKED = "as-asked"
    OTHERWISE = "otherwise"  # something, but not that
    NOTHING = "nothing"


_OTHER = {
    Task.TURN_RIGHT: Task.TURN_LEFT,
    Task.TURN_LEFT: Task.TURN_RIGHT,
    Task.NOD: Task.BLINK,
    Task.BLINK: Task.CLOSER,
    Task.CLOSER: Task.NOD,
}


def done(acts: Acts, hint: str) -> Task | None:
    """What a person does who is shown this hint."""
    asked = {task.value: task for task in Task}.get(hint)
    if asked is None or acts is Acts.NOTHING:
        return None
    return asked if acts is Acts.AS_ASKED else _OTHER[asked]


@dataclass(frozen=True)
class Moment:
    """How the head is held for one frame: degrees to the person's left and down, eyes closed, and how near."""

    yaw: float = 0.0
    pitch: float = 0.0
    closed: bool = False
    near: float = 1.0


def moments(task: Task) -> Iterator[Moment]:
    """One act, frame by frame."""
    for step in range(STEPS):
        t = step / (STEPS - 1)
        out = float(np.sin(np.pi * t))  # there and back
        match task:
            case Task.TURN_LEFT:
                yield Moment(yaw=_TURN_DEG * min(1.0, 1.3 * out))
            case Task.TURN_RIGHT:
                yield Moment(yaw=-_TURN_DEG * min(1.0, 1.3 * out))
            case Task.NOD:
                yield Moment(pitch=_NOD_DEG * float(np.sin(2 * np.pi * t)))
            case Task.BLINK:
                yield Moment(closed=0.3 < t < 0.6)
            case Task.CLOSER:
                yield Moment(near=1 + (NEARER - 1) * t)


def ended(stand: Stand, task: Task) -> Stand:
    """How the person stands after the act."""
    return replace(stand, eyes_px=stand.eyes_px * NEARER) if task is Task.CLOSER else stand


def clip(folder: Path, stand: Stand, task: Task, seed: int) -> list[Pixels]:
    """The act as the camera sees it."""
    whole = people.figure(folder, stand.portrait, stand.eyes_px)
    shut = eyes_shut(whole, stand.portrait)
    figures = (_moved(shut if moment.closed else whole, stand.portrait, moment) for moment in moments(task))
    return footage.composed(((figure, stand) for figure in figures), seed)


def back(folder: Path, stand: Stand, seed: int) -> list[Pixels]:
    """Somebody who came too near steps back to where they stood."""
    return clip(folder, stand, Task.CLOSER, seed)[::-1]


def _moved(figure: Figure, portrait: str, moment: Moment) -> Figure:
    turned = figure
    if moment.yaw or moment.pitch:
        turned = turned_head(figure, portrait, moment.yaw, moment.pitch)
    if moment.near == 1.0:
        return turned
    size = tuple(round(side * moment.near) for side in turned.layer.shape[1::-1])
    nearer = np.asarray(cv2.resize(turned.layer, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    x, y = turned.between_eyes
    return Figure(nearer, (x * moment.near, y * moment.near), turned.eye_distance * moment.near)


def turned_head(figure: Figure, portrait: str, yaw: float, pitch: float = 0.0, *, flat: bool = False) -> Figure:
    """A figure whose head looks elsewhere; a flat one is turned whole, as a sheet is."""
    height, width = figure.layer.shape[:2]
    (x, y), eyes = figure.between_eyes, figure.eye_distance
    v, u = np.mgrid[0 : height // _COARSE + 1, 0 : width // _COARSE + 1].astype(np.float32) * _COARSE
    u, v = (u + (_COARSE - 1) / 2 - x) / eyes, (v + (_COARSE - 1) / 2 - y) / eyes
    share = 1.0 if flat else np.clip((_NECK[1] - v) / (_NECK[1] - _NECK[0]), 0, 1)
    angles = np.radians(yaw) * share, np.radians(pitch) * share
    found = source(u, v, nose_of(portrait), angles, flat=flat)
    size = (u.shape[1] * _COARSE, u.shape[0] * _COARSE)
    across, down = (cv2.resize(each, size, interpolation=cv2.INTER_LINEAR)[:height, :width] * eyes for each in found)
    seen = cv2.remap(figure.layer, across + x, down + y, cv2.INTER_LINEAR, None, cv2.BORDER_CONSTANT, 0)
    return replace(figure, layer=np.asarray(seen, np.uint8))


def eyes_shut(figure: Figure, portrait: str) -> Figure:
    """The same person with closed eyes: skin from below each eye over it, and lashes."""
    layer, eyes = figure.layer.copy(), figure.eye_distance
    for eye in people.PORTRAITS[portrait].landmarks[:2]:
        x, y = _in_figure(figure, portrait, eye)
        below = layer[
            round(y + 0.19 * eyes) : round(y + 0.25 * eyes), round(x - 0.1 * eyes) : round(x + 0.1 * eyes), :3
        ]
        skin = tuple(round(float(value)) for value in below.reshape(-1, 3).mean(0))
        lid = np.zeros(layer.shape[:2], np.uint8)
        cv2.ellipse(lid, (round(x), round(y)), (round(0.3 * eyes), round(0.16 * eyes)), 0, 0, 360, 255, -1)
        layers.lay(layer, (skin[0], skin[1], skin[2]), layers.soft(lid, 0.015 * eyes))
        lashes, thick = np.zeros(layer.shape[:2], np.uint8), max(1, round(0.03 * eyes))
        lower = (round(x), round(y)), (round(0.2 * eyes), round(0.07 * eyes))
        cv2.ellipse(lashes, *lower, 0, 10, 170, 200, thick, cv2.LINE_AA)
        layers.lay(layer, (skin[0] // 3, skin[1] // 3, skin[2] // 3), layers.soft(lashes, 0.01 * eyes))
    return replace(figure, layer=layer)


def _in_figure(figure: Figure, portrait: str, point: Point) -> Point:
    known = people.PORTRAITS[portrait]
    scale = figure.eye_distance / known.eye_distance
    x, y = (np.subtract(point, known.between_eyes) * scale + figure.between_eyes).tolist()
    return x, y


def nose_of(portrait: str) -> Point:
    """Where the tip of the nose is, in eye distances from between the eyes."""
    known = people.PORTRAITS[portrait]
    (x, y), (nose_x, nose_y) = known.between_eyes, known.landmarks[2]
    return (nose_x - x) / known.eye_distance, (nose_y - y) / known.eye_distance


Angle = float | NDArray[np.floating]


def source(u: Grid, v: Grid, nose: Point, angles: tuple[Angle, Angle], *, flat: bool) -> tuple[Grid, Grid]:
    """Which point of the upright portrait is seen at each point of the picture, in eye distances: by fixed point."""
    (sin_a, sin_b), (cos_a, cos_b) = map(np.sin, angles), map(np.cos, angles)
    axis = 0.0 if flat else _AXIS
    across, down = u.copy(), v.copy()
    for _ in range(10):
        z = axis + (np.zeros_like(u) if flat else _relief(across, down, nose))
        x1, z1 = across * cos_a + z * sin_a, z * cos_a - across * sin_a
        y1, z2 = down * cos_b - z1 * sin_b, z1 * cos_b + down * sin_b - axis
        nearer = _AWAY / (_AWAY - z2)
        across, down = across + 0.7 * (u - x1 * nearer), down + 0.7 * (v - y1 * nearer)
    return across.astype(np.float32), down.astype(np.float32)


def _relief(across: Grid, down: Grid, nose: Point) -> Grid:
    """How far each point of a face stands before the eyes: round, with a nose of 0.42 eye distances."""
    head = -0.55 * (across / 1.05) ** 2 - 0.25 * ((down - 0.35) / 1.6) ** 2
    tip = 0.42 * np.exp(-(((across - nose[0]) / 0.17) ** 2) - ((down - nose[1] + 0.05) / 0.28) ** 2)
    return np.asarray(np.maximum(head, -1.2) + tip, np.float32)
