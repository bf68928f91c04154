from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from edge.biometric.manifest import Manifest
from edge.errors import DeviceError
from edge.vision import selftest
from edge.vision.network import Network
from edge.vision.sessions import ModelSessions, present

SETS = pytest.mark.parametrize("which", ["default_set", "standard_set"])


@SETS
def test_the_shipped_models_pass_in_good_time(
    which: str, manifest: Manifest, models: Path, request: pytest.FixtureRequest
) -> None:
    sessions: ModelSessions = request.getfixturevalue(which)
    begun = time.perf_counter()
    outcomes = selftest.run(sessions, manifest, models)
    assert all(outcome.right for outcome in outcomes)
    assert len(outcomes) == (7 if sessions.attack else 5)
    assert time.perf_counter() - begun < 5  # 0.4 s on an idle machine


@pytest.fixture
def copied(models: Path, tmp_path: Path) -> Path:
    """A models folder that may be spoiled."""
    for part in ("default", "portraits"):
        shutil.copytree(models / part, tmp_path / part)
    return tmp_path


def test_an_altered_model_is_not_loaded(copied: Path, manifest: Manifest) -> None:
    path = copied / "default" / "dlib_face_resnet_v1.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DeviceError, match=r"is not the dlib-face-resnet-v1 of models.toml"):
        ModelSessions.open(manifest, copied, "default", threads=1)


def test_two_swapped_models_are_not_loaded(copied: Path, manifest: Manifest) -> None:
    a, b = copied / "default" / "centerface.onnx", copied / "default" / "dlib_face_resnet_v1.onnx"
    a.rename(copied / "other")
    b.rename(a)
    (copied / "other").rename(b)
    with pytest.raises(DeviceError, match="is not the centerface"):
        ModelSessions.open(manifest, copied, "default", threads=1)


def test_a_missing_model_says_what_to_do(copied: Path, manifest: Manifest) -> None:
    (copied / "default" / "centerface.onnx").unlink()
    with pytest.raises(DeviceError, match="run `edge models pull`"):
        ModelSessions.open(manifest, copied, "default", threads=1)


def test_a_missing_portrait_says_what_to_do(copied: Path, manifest: Manifest, default_set: ModelSessions) -> None:
    (copied / "portraits" / "biden.jpg").unlink()
    with pytest.raises(DeviceError, match=r"biden.jpg is missing; run `edge models pull`"):
        selftest.run(default_set, manifest, copied)


def network(vector: list[float]) -> bytes:
    """An embedder for which everybody is alike, as broken quantisation makes them."""
    shape: list[str | int | None] = ["batch", 3, 150, 150]
    seen = helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)
    said = helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["batch", len(vector)])
    pooled = [
        helper.make_node("GlobalAveragePool", ["input"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "vector_0"], ["vector"]),
    ]
    constants = [
        helper.make_tensor(
            "zero", TensorProto.FLOAT, [3, len(vector)], np.zeros((3, len(vector)), "<f4").tobytes(), raw=True
        ),
        helper.make_tensor(
            "vector_0", TensorProto.FLOAT, [1, len(vector)], np.array(vector, "<f4").tobytes(), raw=True
        ),
    ]
    graph = helper.make_graph(pooled, "alike", [seen], [said], constants)
    written: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7
    ).SerializeToString()
    return written


def test_an_embedder_that_finds_everybody_alike_fails(
    manifest: Manifest, models: Path, default_set: ModelSessions
) -> None:
    from edge.vision.embedder import Embedder

    model = manifest.models["dlib-face-resnet-v1"]
    alike = replace(default_set, embedder=Embedder(Network(model, network([1.0] * 128), 1), model))
    with pytest.raises(DeviceError, match=r"obama and biden differ: 1.000 against 0.930"):
        selftest.run(alike, manifest, models)


@pytest.mark.parametrize("vector", [[0.0] * 128, [float("nan")] * 128, [1.0] * 64])
def test_an_embedder_that_gives_no_vector_fails(
    vector: list[float], manifest: Manifest, models: Path, default_set: ModelSessions
) -> None:
    from edge.vision.embedder import Embedder

    model = manifest.models["dlib-face-resnet-v1"]
    broken = replace(default_set, embedder=Embedder(Network(model, network(vector), 1), model))
    with pytest.raises(DeviceError, match="gave no vector"):
        selftest.run(broken, manifest, models)


def test_attack_detectors_that_trust_a_print_fail(
    manifest: Manifest, models: Path, standard_set: ModelSessions
) -> None:
    class Trusting:
        def bona_fide(self, image: object, box: object) -> float:
            return 0.99

    fooled = replace(standard_set, attack=Trusting())  # type: ignore[arg-type]
    with pytest.raises(DeviceError, match=r"its print does not: 0.990 against 0.500"):
        selftest.run(fooled, manifest, models)


def test_a_file_that_is_no_network_is_refused(manifest: Manifest) -> None:
    with pytest.raises(DeviceError, match="cannot be loaded"):
        Network(manifest.models["centerface"], b"not a network", 1)


def test_best_means_what_is_there(manifest: Manifest, copied: Path) -> None:
    assert present(manifest, copied, "best") == "default"
    for name in manifest.sets["standard"].models.values():
        path = copied / "standard" / manifest.models[name].asset.file
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert present(manifest, copied, "best") == "standard"
    with pytest.raises(DeviceError, match="no set 'finest'"):
        present(manifest, copied, "finest")
