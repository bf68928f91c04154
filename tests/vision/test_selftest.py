from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, load_model_from_string, numpy_helper

from edge import settings, wire
from edge.app import service
from edge.app import vision as app
from edge.biometric.manifest import Manifest
from edge.biometric.values import ProbeQuality
from edge.cli import main
from edge.errors import DeviceError
from edge.vision import selftest
from edge.vision.network import Network
from edge.vision.server import Vision
from edge.vision.sessions import ModelSessions, present

SETS = pytest.mark.parametrize("which", ["default_set", "standard_set"])


class Counted:
    """A model that is asked, and what for."""

    def __init__(self, model: object, what: str, noted: list[str]) -> None:
        self.model, self.what, self.noted = model, what, noted

    def __getattr__(self, name: str) -> Any:
        if name in ("detect", "embed"):
            self.noted.append(self.what)
        return getattr(self.model, name)


@SETS
def test_the_shipped_models_pass_and_look_at_each_portrait_once(
    which: str, manifest: Manifest, models: Path, request: pytest.FixtureRequest
) -> None:
    sessions: ModelSessions = request.getfixturevalue(which)
    looked: list[str] = []
    finds: Any = Counted(sessions.detector, "found", looked)
    knows: Any = Counted(sessions.embedder, "known", looked)
    counted = replace(sessions, detector=finds, embedder=knows)
    outcomes = selftest.run(counted, manifest, models)
    assert all(outcome.right for outcome in outcomes)
    assert len(outcomes) == (11 if sessions.attack else 9)
    asked = {name for pair in manifest.selftest.genuine + manifest.selftest.impostor for name in pair}
    assert Counter(looked) == {"found": len(asked), "known": len(asked)}  # each portrait once


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
    with pytest.raises(DeviceError, match=r"obama and biden differ: 1.000 against 0.911"):
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


def test_the_library_keeps_no_device_number_and_reports_to_nobody(models: Path, tmp_path: Path) -> None:
    """Its wheel does, for whoever does not say no before the import."""
    command = [sys.executable, "-m", "edge", "models", "selftest", "--set", "default", "--folder", str(models)]
    kept = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    homeless = {**kept, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run(command, env=homeless, capture_output=True, check=True, timeout=120)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


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


EMBEDDER = "omz_face_reid_retail_0095.onnx"


@pytest.fixture
def spoilt(models: Path, standard_set: ModelSessions, tmp_path: Path) -> Path:
    """A models folder with the standard set, that may be spoiled."""
    assert standard_set.attack is not None
    for part in ("standard", "portraits"):
        shutil.copytree(models / part, tmp_path / part)
    shutil.copy(models / "models.toml", tmp_path)
    return tmp_path


def altered(folder: Path) -> str:
    path = folder / "standard" / EMBEDDER
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    return "is not the omz-face-reid-0095"


def swapped(folder: Path) -> str:
    a, b = (folder / "standard" / f"minifasnet_{name}_80.onnx" for name in ("v2_2.7", "v1se_4.0"))
    first, second = a.read_bytes(), b.read_bytes()
    a.write_bytes(second)
    b.write_bytes(first)
    return "is not the minifasnet-v2"


def quantised_to_ruin(folder: Path) -> str:
    """Weights in 6 bits, one step a tensor, and the manifest says that this is right."""
    path = folder / "standard" / EMBEDDER
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    model = load_model_from_string(path.read_bytes())
    for weights in model.graph.initializer:
        values = numpy_helper.to_array(weights)
        if values.ndim == 4 and values.size > 1000:
            step = np.abs(values).max().astype(np.float32) / 31.5
            coarse = (np.floor(values.astype(np.float32) / step) + 0.5) * step
            weights.CopyFrom(numpy_helper.from_array(coarse.astype(values.dtype), weights.name))
    path.write_bytes(model.SerializeToString())
    manifest = folder / "models.toml"
    manifest.write_text(manifest.read_text().replace(before, hashlib.sha256(path.read_bytes()).hexdigest()))
    return "obama and astronaut differ"


SPOILING = pytest.mark.parametrize("spoil", [altered, swapped, quantised_to_ruin])


@SPOILING
def test_the_self_test_fails_at_the_command_line(
    spoil: Callable[[Path], str], spoilt: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["models", "selftest", "--folder", str(spoilt), "--set", "standard"]
    assert main(command) == 0
    said = spoil(spoilt)
    assert main(command) == 1
    shown = capsys.readouterr()
    assert said in shown.err or f"BAD  {said}" in shown.out


@SPOILING
def test_spoilt_models_serve_nobody(spoil: Callable[[Path], str], spoilt: Path, tmp_path: Path) -> None:
    said = spoil(spoilt)
    chosen = settings.load(Path(__file__).resolve().parents[2] / "config" / "edge.toml")
    sessions = app.tested_models(replace(chosen, models=settings.Models("standard", spoilt, 1)))
    assert isinstance(sessions, DeviceError)
    assert said in sessions.message

    async def asked() -> list[wire.Message]:
        vision = Vision(replace(chosen.camera, kind="footage", source=str(tmp_path)), sessions)
        running = asyncio.create_task(vision.run(tmp_path / "v.sock"))
        await service.wait_for(tmp_path / "v.sock")
        reader, writer = await asyncio.open_unix_connection(tmp_path / "v.sock")
        answers = []
        for question in (wire.AskModels(), wire.AskProbe(ProbeQuality(), 0, 1.0)):
            await wire.send(writer, question)
            answers.append(await wire.receive(reader))
        writer.close()
        running.cancel()
        await asyncio.wait([running])
        return answers

    for answer in asyncio.run(asked()):
        assert isinstance(answer, wire.Failed)
        assert answer.device == "models"
