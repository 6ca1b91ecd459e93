"""Writes a backbone as an ONNX graph whose convolution weights are graph inputs.

The operators are those that the runtime's CPU and CUDA providers both have. The bytes
depend on the network alone: not on time, host or library version.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .backbones import Architecture
from .network import LEAKY_SLOPE, NORM_EPSILON, Network

OPSET = 17
IR_VERSION = 8
_SIDES = ("height", "width")


@dataclass(frozen=True)
class Value:
    """A tensor of the graph, by name; arithmetic records nodes."""

    ops: GraphOps
    name: str

    def __add__(self, other: Value | float) -> Value:
        return self.ops.node("Add", self, other)

    def __sub__(self, other: Value | float) -> Value:
        return self.ops.node("Sub", self, other)

    def __mul__(self, other: Value | float) -> Value:
        return self.ops.node("Mul", self, other)


class GraphOps:
    """Records a backbone (see `backbones.Ops`) as nodes and initialisers."""

    def __init__(self, architecture: Architecture, affine: np.ndarray) -> None:
        self._shapes = {layer.name: layer.shape for layer in architecture.layers()}
        affines = architecture.affines()
        parts = np.split(affine, np.cumsum([a.size for a in affines])[:-1])
        self._affines = dict(zip((a.name for a in affines), parts))
        self.weights: set[str] = set()
        self.nodes: list[onnx.NodeProto] = []
        self.initialisers: dict[str, onnx.TensorProto] = {}

    def node(self, kind: str, *inputs: Value | float | np.ndarray, **attributes: Any) -> Value:
        return self.nodes_of(kind, inputs, 1, **attributes)[0]

    def nodes_of(
        self, kind: str, inputs: Sequence[Value | float | np.ndarray], outputs: int, **attributes: Any
    ) -> list[Value]:
        names = [x.name if isinstance(x, Value) else self._constant(x) for x in inputs]
        prefix = f"{kind.lower()}_{len(self.nodes)}"
        results = [prefix if outputs == 1 else f"{prefix}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, names, results, name=prefix, **attributes))
        return [Value(self, name) for name in results]

    def conv(self, x: Value, layer: str) -> Value:
        height, width = self._shapes[layer][2:]
        self.weights.add(layer)
        bias = self._initialiser(f"{layer}.bias", self._affines[f"{layer}.bias"])
        pads = [height // 2, width // 2] * 2
        return self.node("Conv", x, Value(self, layer), bias, kernel_shape=[height, width], pads=pads)

    def group_norm(self, x: Value, name: str, group: int) -> Value:
        # GroupNormalization is newer than the opset: normalise each group as one channel.
        scale, shift = self._affines[f"{name}.scale"], self._affines[f"{name}.shift"]
        groups = scale.size // group
        grouped = self.node("Reshape", x, np.array([0, groups, -1], np.int64))
        ones, zeros = np.ones(groups, np.float32), np.zeros(groups, np.float32)
        normal = self.node("InstanceNormalization", grouped, ones, zeros, epsilon=NORM_EPSILON)
        normal = self.node("Reshape", normal, self.node("Shape", x))
        scaled = self.node("Mul", normal, self._initialiser(f"{name}.scale", scale.reshape(1, -1, 1, 1)))
        return self.node("Add", scaled, self._initialiser(f"{name}.shift", shift.reshape(1, -1, 1, 1)))

    def leaky_relu(self, x: Value) -> Value:
        return self.node("LeakyRelu", x, alpha=LEAKY_SLOPE)

    def tanh(self, x: Value) -> Value:
        return self.node("Tanh", x)

    def exp(self, x: Value) -> Value:
        return self.node("Exp", x)

    def concat(self, xs: Sequence[Value]) -> Value:
        return self.node("Concat", *xs, axis=1)

    def split(self, x: Value, parts: int, channels: int) -> Sequence[Value]:
        return self.nodes_of("Split", [x, np.full(parts, channels, np.int64)], parts, axis=1)

    def phases(self, x: Value, channels: int) -> Sequence[Value]:
        return self.split(self.node("SpaceToDepth", x, blocksize=2), 4, channels)

    def interleave(self, phases: Sequence[Value]) -> Value:
        return self.node("DepthToSpace", self.concat(phases), blocksize=2, mode="DCR")

    def pad(self, x: Value, factor: int) -> Value:
        missing = self.node("Mod", self.node("Neg", self._sides(x)), np.array(factor, np.int64))
        pads = self.node("Concat", np.zeros(6, np.int64), missing, axis=0)
        return self.node("Pad", x, pads, mode="reflect")

    def crop(self, x: Value, like: Value) -> Value:
        return self.node("Slice", x, np.zeros(2, np.int64), self._sides(like), np.array([2, 3], np.int64))

    def _sides(self, x: Value) -> Value:
        return self.node("Shape", x, start=2, end=4)

    def _initialiser(self, name: str, values: np.ndarray) -> Value:
        if name not in self.initialisers:
            self.initialisers[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return Value(self, name)

    def _constant(self, value: float | np.ndarray) -> str:
        array = value if isinstance(value, np.ndarray) else np.array(value, np.float32)
        name = f"constant_{array.dtype}_{'x'.join(map(str, array.shape))}_" + "_".join(
            f"{x:g}" for x in array.reshape(-1)[:8].tolist()
        )
        return self._initialiser(name, array).name


def embed_graph(network: Network) -> bytes:
    """cover, secret -> stego"""
    return _graph(network, network.architecture.embed, ("cover", "secret"), "stego")


def recover_graph(network: Network) -> bytes:
    """stego -> recovered"""
    return _graph(network, network.architecture.recover, ("stego",), "recovered")


def purify_graph(network: Network) -> bytes:
    """noisy -> purified"""
    return _graph(network, network.architecture.purify, ("noisy",), "purified")


def _graph(network: Network, operation: Callable[..., Value], inputs: tuple[str, ...], output: str) -> bytes:
    architecture = network.architecture
    ops = GraphOps(architecture, network.affine.detach().cpu().numpy())
    result = operation(ops, *(Value(ops, name) for name in inputs))
    if ops.nodes[-1].output[0] != result.name:
        raise AssertionError(f"{output}: the last node must make the output")
    ops.nodes[-1].output[0] = output

    def image(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3, *_SIDES])

    weights = [
        helper.make_tensor_value_info(layer.name, TensorProto.FLOAT, layer.shape)
        for layer in architecture.layers()
        if layer.name in ops.weights
    ]
    graph = helper.make_graph(
        ops.nodes,
        f"{architecture.kind}.{output}",
        [image(name) for name in inputs] + weights,
        [image(output)],
        list(ops.initialisers.values()),
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="stegomq",
        producer_version="",
    )
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    return data
