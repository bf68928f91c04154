"""From foreign model files to ours: numbers unchanged, written the same way every time.

1. Only these formats, and only files whose SHA-256 was checked before: this is not a parser for hostile input.
2. The result is reproducible to the byte, so that its SHA-256 can stand in the manifest.
3. Runs at set-up only. ``onnx`` is imported here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Floats = NDArray[np.float32]

BLOCKS = (
    ((32, False),) * 3
    + ((64, True),)
    + ((64, False),) * 3
    + ((128, True),)
    + ((128, False),) * 2
    + ((256, True),)
    + ((256, False),) * 2
    + ((256, True),)
)
"""dlib's face ResNet v1 between first convolution and vector: channels, and whether the block halves the map."""

_OPSET, _IR = 13, 7


class ConversionError(ValueError):
    """The file is not of the format that it should have."""


def centerface(content: bytes) -> bytes:
    """CenterFace as published, with batch, height and width left open.

    The published file fixes 10 x 3 x 32 x 32, which its authors work around by reshaping at run time, and lists its
    weights among its inputs, which costs a warning each.
    """
    model = onnx.load_model_from_string(content)
    graph = model.graph
    weights = {each.name for each in graph.initializer}
    inputs = [each for each in graph.input if each.name not in weights]
    if [each.name for each in inputs] != ["input.1"] or [each.name for each in graph.output] != [
        "537",
        "538",
        "539",
        "540",
    ]:
        raise ConversionError("not the published CenterFace")
    del graph.input[:], graph.value_info[:]
    graph.input.extend(inputs)
    for value, sides in [(graph.input[0], ("height", "width"))] + [
        (each, ("rows", "columns")) for each in graph.output
    ]:
        batch, _, height, width = value.type.tensor_type.shape.dim
        batch.dim_param, height.dim_param, width.dim_param = "batch", *sides
    return _written(model)


def prelu(content: bytes) -> bytes:
    """A network whose PReLU with one slope was written out in four operators, with ``LeakyRelu`` instead.

    onnxruntime computes that one within the convolution before it: 0095 takes 6.5 instead of 10.9 ms, and says the same
    to the bit. As ``PRelu`` it takes 16.6 ms. A slope may be above one or negative; the operator does not mind.
    """
    model = onnx.load_model_from_string(content)
    graph = model.graph
    numbers = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    made = {name: node for node in graph.node for name in node.output}
    written_out = dict(found for node in graph.node if (found := _slope(node, made, numbers)) is not None)
    if not written_out:
        raise ConversionError("no PReLU of one slope in this network")
    kept = [
        helper.make_node("LeakyRelu", [written_out[name][0]], [name], alpha=written_out[name][1])
        if (name := node.output[0]) in written_out
        else node
        for node in graph.node
    ]
    del graph.node[:]
    graph.node.extend(_needed(kept, {each.name for each in graph.output}))
    used = {name for node in graph.node for name in node.input}
    weights = [each for each in graph.initializer if each.name in used]
    del graph.initializer[:]
    graph.initializer.extend(weights)
    return _written(model)


def _slope(node: Any, made: dict[str, Any], numbers: dict[str, Any]) -> tuple[str, tuple[str, float]] | None:
    """Where ``max(x, s x)`` with s up to one, or ``relu(x) + s min(x, 0)``, ends: the name there, x and s."""
    if node.op_type not in ("Max", "Add") or len(node.input) != 2:
        return None
    first, times = (made.get(name) for name in node.input)
    if times is None or times.op_type != "Mul" or (slope := numbers.get(times.input[1])) is None or slope.size != 1:
        return None
    value = float(slope.item())
    if node.op_type == "Max":
        same = node.input[0] == times.input[0] and value <= 1
        return (node.output[0], (node.input[0], value)) if same else None
    below = made.get(times.input[0])
    if first is None or first.op_type != "Relu" or below is None or below.op_type != "Min":
        return None
    zero = numbers.get(below.input[1])
    same = first.input[0] == below.input[0] and zero is not None and not np.any(zero)
    return (node.output[0], (first.input[0], value)) if same else None


def _needed(nodes: list[Any], wanted: set[str]) -> list[Any]:
    """The nodes that the outputs need, in their order."""
    wanted = set(wanted)
    kept = []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1]


def dlib_resnet(content: bytes) -> bytes:
    """dlib's face ResNet v1 (``dlib_face_recognition_resnet_model_v1.dat``): 150 x 150 RGB in, 128 numbers out.

    Each affine layer is folded into the convolution before it.
    """
    convolutions = list(_convolutions(content))
    if len(convolutions) != 1 + 2 * len(BLOCKS):
        raise ConversionError(f"{len(convolutions)} convolutions instead of {1 + 2 * len(BLOCKS)}")
    network = _Network()
    size = 150
    seen = network.convolution("input", convolutions.pop(0), stride=2)
    seen = network.add("Relu", seen)
    seen = network.add("MaxPool", seen, kernel_shape=[3, 3], strides=[2, 2])
    size = ((size - 7) // 2 + 1 - 3) // 2 + 1
    channels = 32
    for width, halves in BLOCKS:
        seen, size = network.block(seen, size, channels, width, halves, convolutions.pop(0), convolutions.pop(0))
        channels = width
    seen = network.add("GlobalAveragePool", seen)
    seen = network.add("Flatten", seen, axis=1)
    network.nodes.append(helper.make_node("MatMul", [seen, network.constant(_last_layer(content))], ["vector"]))
    return _written(network.model())


CONVERTERS: dict[str, Callable[[bytes], bytes]] = {"centerface": centerface, "dlib-resnet": dlib_resnet, "prelu": prelu}


class _Network:
    """A graph that grows node by node."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, values: NDArray[np.float32] | NDArray[np.int64]) -> str:
        name = f"weight_{len(self.weights)}"
        kind = TensorProto.INT64 if values.dtype == np.int64 else TensorProto.FLOAT
        little = values.astype(values.dtype.newbyteorder("<"))
        self.weights.append(helper.make_tensor(name, kind, values.shape, little.tobytes(), raw=True))
        return name

    def convolution(self, seen: str, layer: tuple[Floats, Floats], stride: int) -> str:
        filters, bias = layer
        side = filters.shape[2]
        pad = side // 2 if stride == 1 else 0
        shape = {"kernel_shape": [side, side], "strides": [stride, stride], "pads": [pad] * 4}
        return self.add("Conv", seen, self.constant(filters), self.constant(bias), **shape)

    def block(
        self,
        seen: str,
        size: int,
        channels: int,
        width: int,
        halves: bool,
        first: tuple[Floats, Floats],
        second: tuple[Floats, Floats],
    ) -> tuple[str, int]:
        """One residual block; where the two ways differ in size the smaller map is filled up with zeros."""
        inner = self.add("Relu", self.convolution(seen, first, stride=2 if halves else 1))
        inner = self.convolution(inner, second, stride=1)
        if not halves:
            return self.add("Relu", self.add("Add", inner, seen)), size
        short = self.add("AveragePool", seen, kernel_shape=[2, 2], strides=[2, 2])
        inner_size, short_size = (size - 3) // 2 + 1, (size - 2) // 2 + 1
        larger = max(inner_size, short_size)
        inner = self.filled(inner, 0, larger - inner_size)
        short = self.filled(short, width - channels, larger - short_size)
        return self.add("Relu", self.add("Add", inner, short)), larger

    def filled(self, seen: str, channels: int, sides: int) -> str:
        if not channels and not sides:
            return seen
        return self.add("Pad", seen, self.constant(np.array([0, 0, 0, 0, 0, channels, sides, sides], np.int64)))

    def model(self) -> onnx.ModelProto:
        seen = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 150, 150])
        said = helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["batch", 128])
        graph = helper.make_graph(self.nodes, "dlib_face_resnet_v1", [seen], [said], self.weights)
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR, producer_name="edge-gate"
        )


def _written(model: onnx.ModelProto) -> bytes:
    onnx.checker.check_model(model)
    written: bytes = model.SerializeToString(deterministic=True)
    return written


def _convolutions(content: bytes) -> Iterator[tuple[Floats, Floats]]:
    """Filters and bias of every convolution with the affine layer behind it folded in, from input to output."""
    at = 0
    while (at := content.find(_word("con_4"), at)) >= 0:
        _, weights, at = _tensor(content, at + len(_word("con_4")))
        settings = []
        for _ in range(3):  # filters, rows, columns
            value, at = _integer(content, at)
            settings.append(value)
        count, rows, columns = settings
        at = _after(content, "affine_", at)
        _, factors, at = _tensor(content, at)
        gamma, beta = factors[:count], factors[count:]
        filters, bias = weights[:-count].reshape(count, -1, rows, columns), weights[-count:]
        yield filters * gamma[:, None, None, None], bias * gamma + beta


def _last_layer(content: bytes) -> Floats:
    """The (256, 128) matrix from the averaged map to the vector."""
    at = _after(content, "fc_2", 0)
    _, at = _integer(content, at)
    _, at = _integer(content, at)
    shape, weights, _ = _tensor(content, at)
    if shape[0] * shape[1] != 256 * 128 or weights.size != 256 * 128:
        raise ConversionError(f"the last layer has shape {shape}")
    return weights.reshape(256, 128)


def _word(text: str) -> bytes:
    """A text as dlib writes it: its length as an integer, then its bytes."""
    return bytes([1, len(text)]) + text.encode()


def _after(content: bytes, text: str, at: int) -> int:
    found = content.find(_word(text), at)
    if found < 0:
        raise ConversionError(f"no {text} layer after byte {at}")
    return found + len(_word(text))


def _integer(content: bytes, at: int) -> tuple[int, int]:
    """dlib's integer: a byte with the count (low four bits) and the sign (bit 7), then little-endian bytes."""
    count = content[at] & 0x0F
    value = int.from_bytes(content[at + 1 : at + 1 + count], "little")
    return (-value if content[at] & 0x80 else value), at + 1 + count


def _tensor(content: bytes, at: int) -> tuple[tuple[int, ...], Floats, int]:
    """dlib's tensor: version 2, four dimensions, raw values. Returns shape, values, and where it ends."""
    header = []
    for _ in range(5):
        value, at = _integer(content, at)
        header.append(value)
    version, *shape = header
    count = int(np.prod(shape))
    if version != 2 or count <= 0 or at + 4 * count > len(content):
        raise ConversionError(f"no tensor before byte {at}")
    values = np.frombuffer(content, "<f4", count, at).astype(np.float32)
    return tuple(shape), values, at + 4 * count
