"""The detectors' fast decoding equals the definition, written out cell by cell."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.vision.detector import Found, apart, decode_centerface, decode_yunet
from edge.vision.sessions import ModelSessions

Floats = NDArray[np.float32]
Naive = list[tuple[float, list[float], list[float]]]


def naive_centerface(outputs: dict[str, Floats], least: float) -> Naive:
    heat, scale, offset, marks = (outputs[name][0] for name in ("537", "538", "539", "540"))
    found: Naive = []
    for row in range(heat.shape[1]):
        for column in range(heat.shape[2]):
            if heat[0, row, column] < least:
                continue
            h, w = math.exp(scale[0, row, column]) * 4, math.exp(scale[1, row, column]) * 4
            y = (row + float(offset[0, row, column]) + 0.5) * 4 - h / 2
            x = (column + float(offset[1, row, column]) + 0.5) * 4 - w / 2
            points = []
            for k in range(5):
                points += [float(marks[2 * k + 1, row, column]) * w + x, float(marks[2 * k, row, column]) * h + y]
            found.append((float(heat[0, row, column]), [x, y, w, h], points))
    return found


def naive_yunet(outputs: dict[str, Floats], least: float) -> Naive:
    found: Naive = []
    for stride in (8, 16, 32):
        columns = int(outputs["width"][0]) // stride
        for index in range(outputs[f"cls_{stride}"].shape[1]):
            row, column = divmod(index, columns)
            score = math.sqrt(
                float(outputs[f"cls_{stride}"][0, index, 0]) * float(outputs[f"obj_{stride}"][0, index, 0])
            )
            if score < least:
                continue
            dx, dy, dw, dh = (float(v) for v in outputs[f"bbox_{stride}"][0, index])
            w, h = math.exp(dw) * stride, math.exp(dh) * stride
            x, y = (column + dx) * stride - w / 2, (row + dy) * stride - h / 2
            kps = outputs[f"kps_{stride}"][0, index]
            points = []
            for k in range(5):
                points += [(float(kps[2 * k]) + column) * stride, (float(kps[2 * k + 1]) + row) * stride]
            found.append((score, [x, y, w, h], points))
    return found


def same(found: Found, naive: Naive) -> bool:
    assert len(naive) == len(found.scores)
    return (
        np.allclose(found.scores, [each[0] for each in naive], atol=1e-5)
        and np.allclose(found.boxes, [each[1] for each in naive], atol=1e-2)
        and np.allclose(found.landmarks.reshape(-1, 10), [each[2] for each in naive], atol=1e-2)
    )


@pytest.mark.parametrize("seed", range(5))
def test_centerface_is_decoded_as_defined(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows, columns = 12, 20
    outputs = {
        "537": random.random((1, 1, rows, columns), np.float32),
        "538": random.normal(1, 1, (1, 2, rows, columns)).astype(np.float32),
        "539": random.random((1, 2, rows, columns), np.float32),
        "540": random.random((1, 10, rows, columns), np.float32),
    }
    assert same(decode_centerface(outputs, 0.7), naive_centerface(outputs, 0.7))


@pytest.mark.parametrize("seed", range(5))
def test_yunet_is_decoded_as_defined(seed: int) -> None:
    random = np.random.default_rng(seed)
    width, height = 96, 64
    outputs: dict[str, Floats] = {"width": np.array([width], np.float32)}
    for stride in (8, 16, 32):
        cells = (width // stride) * (height // stride)
        for name, size in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            outputs[f"{name}_{stride}"] = random.random((1, cells, size), np.float32)
    assert same(decode_yunet(outputs, 0.6), naive_yunet(outputs, 0.6))


def test_no_face_is_no_face() -> None:
    empty = {"537": np.zeros((1, 1, 4, 4), np.float32)}
    empty |= {name: np.zeros((1, size, 4, 4), np.float32) for name, size in (("538", 2), ("539", 2), ("540", 10))}
    found = decode_centerface(empty, 0.5)
    assert found.boxes.shape == (0, 4)
    assert apart(found, 0.3) == []


def test_of_two_overlapping_faces_the_surer_one_stays() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 1, 10, 10], [50, 50, 10, 10], [0, 0, 10, 10]], np.float32)
    found = Found(boxes, np.zeros((4, 5, 2), np.float32), np.array([0.6, 0.9, 0.7, 0.8], np.float32))
    assert apart(found, 0.3) == [1, 2]


@pytest.mark.parametrize("name", ["obama", "obama2", "obama3", "biden", "astronaut"])
@pytest.mark.parametrize("which", ["default_set", "standard_set"])
def test_the_face_in_a_portrait_is_found_where_it_is(
    which: str, name: str, portraits: dict[str, NDArray[np.uint8]], request: pytest.FixtureRequest
) -> None:
    sessions: ModelSessions = request.getfixturevalue(which)
    (face,) = sessions.detector.detect(portraits[name])
    x, y, width, height = face.box
    right_eye, left_eye, nose, right_mouth, left_mouth = face.landmarks.tolist()
    assert x < right_eye[0] < nose[0] < left_eye[0] < x + width
    assert y < min(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1]) < y + height
    assert right_mouth[0] < left_mouth[0]


@pytest.mark.parametrize("which", ["default_set", "standard_set"])
def test_two_faces_side_by_side_are_two(
    which: str, portraits: dict[str, NDArray[np.uint8]], request: pytest.FixtureRequest
) -> None:
    sessions: ModelSessions = request.getfixturevalue(which)
    scene = np.full((1137, 1820, 3), 120, np.uint8)
    scene[:, :910], scene[:, 910:] = portraits["obama"], portraits["biden"][:1137, :910]
    assert len(sessions.detector.detect(scene)) == 2


@pytest.mark.parametrize("which", ["default_set", "standard_set"])
@pytest.mark.parametrize("shape", [(1, 1), (2, 900), (31, 33), (720, 1280)])
def test_an_empty_picture_of_any_shape_has_no_face(
    which: str, shape: tuple[int, int], request: pytest.FixtureRequest
) -> None:
    sessions: ModelSessions = request.getfixturevalue(which)
    assert sessions.detector.detect(np.full((*shape, 3), 128, np.uint8)) == []
