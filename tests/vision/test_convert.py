from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edge.biometric.manifest import Manifest
from edge.vision import convert
from edge.vision.network import Network

VECTOR = Path(__file__).resolve().parents[1] / "vectors" / "faces" / "dlib_face_resnet_v1.json"


@pytest.fixture(scope="module")
def vectors() -> dict[str, Any]:
    """What the original runtime says to pictures that everybody has."""
    read: dict[str, Any] = json.loads(VECTOR.read_text(encoding="utf-8"))
    return read


@pytest.fixture(scope="module")
def embedder(manifest: Manifest, models: Path) -> Network:
    return Network.load(manifest.models["dlib-face-resnet-v1"], models / "default", threads=1)


def test_the_converted_embedder_computes_what_the_original_computes(embedder: Network, vectors: dict[str, Any]) -> None:
    y, x = np.mgrid[:150, :150]
    red, green, blue = x * 5 // 3 % 256, (y * 3 // 2 + x // 2) % 256, x * y // 97 % 256
    picture = np.stack([blue, green, red], axis=-1).astype(np.uint8)
    said = embedder.run(embedder.tensor(picture))["vector"][0]
    assert np.abs(said - vectors["synthetic"]["vector"]).max() <= vectors["largest_difference"]


def test_it_does_so_on_twenty_crops_around_a_face(
    embedder: Network, vectors: dict[str, Any], portraits: dict[str, NDArray[np.uint8]]
) -> None:
    assert len(vectors["crops"]) == 20
    for crop in vectors["crops"]:
        picture = portraits["astronaut"][crop["top"] : crop["top"] + 150, crop["left"] : crop["left"] + 150]
        said = embedder.run(embedder.tensor(picture))["vector"][0]
        assert np.abs(said - crop["vector"]).max() <= vectors["largest_difference"]


def test_the_original_s_format_is_read_as_it_is_written() -> None:
    values = np.arange(24, dtype="<f4")
    written = b"".join(bytes([1, value]) for value in (2, 2, 3, 2, 2)) + values.tobytes() + b"rest"
    shape, read, at = convert._tensor(written, 0)
    assert shape == (2, 3, 2, 2)
    assert read.tolist() == values.tolist()
    assert written[at:] == b"rest"
    assert convert._integer(bytes([0x02, 0x34, 0x12]), 0) == (0x1234, 3)
    assert convert._integer(bytes([0x81, 5]), 0) == (-5, 2)


@pytest.mark.parametrize("content", [b"", b"\x01\x05con_4" + bytes(40), b"no network at all" * 100])
def test_a_file_of_another_format_is_refused(content: bytes) -> None:
    with pytest.raises((convert.ConversionError, IndexError)):
        convert.dlib_resnet(content)


def fixed_size_model(outputs: int = 4) -> bytes:
    """A network written the way CenterFace was published: fixed sizes, a weight among its inputs."""
    shape = [10, 3, 32, 32]
    nodes = [helper.make_node("Mul", ["input.1", "weight"], [str(537 + k)]) for k in range(outputs)]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("input.1", "weight")]
    said = [helper.make_tensor_value_info(str(537 + k), TensorProto.FLOAT, shape) for k in range(outputs)]
    weight = helper.make_tensor("weight", TensorProto.FLOAT, shape, np.ones(shape, "<f4").tobytes(), raw=True)
    graph = helper.make_graph(nodes, "published", inputs, said, [weight])
    written: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7
    ).SerializeToString()
    return written


def test_the_detector_s_sizes_become_open_and_its_weights_are_no_inputs() -> None:
    import onnx

    opened = onnx.load_model_from_string(convert.centerface(fixed_size_model()))
    assert [each.name for each in opened.graph.input] == ["input.1"]
    sizes = [dim.dim_param or dim.dim_value for dim in opened.graph.input[0].type.tensor_type.shape.dim]
    assert sizes == ["batch", 3, "height", "width"]


def test_another_network_is_not_taken_for_the_detector() -> None:
    with pytest.raises(convert.ConversionError):
        convert.centerface(fixed_size_model(outputs=2))


def test_conversion_is_the_same_to_the_byte_every_time() -> None:
    once, again = convert.centerface(fixed_size_model()), convert.centerface(fixed_size_model())
    assert hashlib.sha256(once).digest() == hashlib.sha256(again).digest()


def test_every_converter_of_the_manifest_exists(manifest: Manifest) -> None:
    named = {source.convert for model in manifest.models.values() for source in model.asset.sources}
    assert named - {""} == set(convert.CONVERTERS)


def written_out(slope: float, way: str) -> bytes:
    """PReLU with one slope as exporters write it out: as a maximum, or as two halves added."""
    if way == "max":
        nodes = [helper.make_node("Mul", ["x", "slope"], ["m"]), helper.make_node("Max", ["x", "m"], ["y"])]
    else:
        nodes = [
            helper.make_node("Relu", ["x"], ["r"]),
            helper.make_node("Min", ["x", "zero"], ["n"]),
            helper.make_node("Mul", ["n", "slope"], ["m"]),
            helper.make_node("Add", ["r", "m"], ["y"]),
        ]
    shape = [1, 2, 3, 3]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    numbers = [
        helper.make_tensor(name, TensorProto.FLOAT, [1, 1, 1], [value])
        for name, value in (("slope", slope), ("zero", 0))
    ]
    graph = helper.make_graph(nodes, "prelu", ends[:1], ends[1:], numbers)
    written: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7
    ).SerializeToString()
    return written


@pytest.mark.parametrize(("slope", "way"), [(0.25, "max"), (-2.3, "max"), (3.7, "add"), (0.25, "add")])
def test_a_prelu_that_was_written_out_becomes_one_operator_that_says_the_same(slope: float, way: str) -> None:
    import onnx
    import onnxruntime as ort

    before, after = written_out(slope, way), convert.prelu(written_out(slope, way))
    x = np.random.default_rng(1).normal(0, 5, (1, 2, 3, 3)).astype(np.float32)
    ((a,), (b,)) = (ort.InferenceSession(each).run(None, {"x": x}) for each in (before, after))
    assert np.array_equal(a, b)
    assert [node.op_type for node in onnx.load_model_from_string(after).graph.node] == ["LeakyRelu"]


@pytest.mark.parametrize("content", [written_out(1.5, "max"), fixed_size_model()])
def test_what_is_no_prelu_is_left_alone(content: bytes) -> None:
    with pytest.raises(convert.ConversionError):
        convert.prelu(content)
