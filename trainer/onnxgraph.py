"""Writes a backbone as an ONNX graph whose convolution weights are graph inputs, if keys change them.

It uses only operators that the runtime's CPU and CUDA providers both have. The bytes
depend on the network alone: not on time, host or library version.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .backbones import LEAKY_SLOPE, Affine
from .network import NORM_EPSILON, Network

OPSET = 17
IR_VERSION = 8
_SIDES = ("height", "width")
NORMAL = "z"
"""The input that takes normal values."""
FEATURES = "features"
"""The output of recovery's features."""


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

    def __init__(self, network: Network) -> None:
        architecture = network.architecture
        layers = architecture.layers()
        self._keyed = architecture.keyed
        self._layers = {
            layer.name: part.view(layer.shape).numpy()
            for layer, part in zip(layers, network.weight.detach().cpu().split([layer.size for layer in layers]))
        }
        self._affines = _named(architecture.affines(), network.affine.detach().cpu().numpy())
        self._statistics = _named(architecture.statistics(), network.statistics.cpu().numpy())
        self.weights: set[str] = set()
        self.drawn: list[onnx.ValueInfoProto] = []
        self.marked: tuple[Value, int] | None = None
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

    def conv(self, x: Value, layer: str, stride: int = 1, padding: int | None = None) -> Value:
        kernel = self._layers[layer].shape[2]
        return self._convolution("Conv", x, layer, stride, kernel // 2 if padding is None else padding)

    def conv_transposed(self, x: Value, layer: str, stride: int, padding: int) -> Value:
        return self._convolution("ConvTranspose", x, layer, stride, padding)

    def _convolution(self, kind: str, x: Value, layer: str, stride: int, padding: int) -> Value:
        weight, name = self._layers[layer], f"{layer}.bias"
        inputs = [x, Value(self, layer) if self._keyed else self._initialiser(layer, weight)]
        if name in self._affines:
            inputs.append(self._initialiser(name, self._affines[name]))
        self.weights.add(layer)
        strides = {} if stride == 1 else {"strides": [stride] * 2}
        return self.node(kind, *inputs, kernel_shape=list(weight.shape[2:]), pads=[padding] * 4, **strides)

    def group_norm(self, x: Value, name: str, group: int) -> Value:
        # The opset has no GroupNormalization, so each group is normalised as one channel.
        scale, shift = self._affines[f"{name}.scale"], self._affines[f"{name}.shift"]
        groups = scale.size // group
        grouped = self.node("Reshape", x, np.array([0, groups, -1], np.int64))
        ones, zeros = np.ones(groups, np.float32), np.zeros(groups, np.float32)
        normal = self.node("InstanceNormalization", grouped, ones, zeros, epsilon=NORM_EPSILON)
        normal = self.node("Reshape", normal, self.node("Shape", x))
        scaled = self.node("Mul", normal, self._initialiser(f"{name}.scale", scale.reshape(1, -1, 1, 1)))
        return self.node("Add", scaled, self._initialiser(f"{name}.shift", shift.reshape(1, -1, 1, 1)))

    def batch_norm(self, x: Value, name: str) -> Value:
        affines = [self._initialiser(f"{name}.{part}", self._affines[f"{name}.{part}"]) for part in ("scale", "shift")]
        statistics = [
            self._initialiser(f"{name}.{part}", self._statistics[f"{name}.{part}"]) for part in ("mean", "variance")
        ]
        return self.node("BatchNormalization", x, *affines, *statistics, epsilon=NORM_EPSILON)

    def leaky_relu(self, x: Value, slope: float = LEAKY_SLOPE) -> Value:
        return self.node("LeakyRelu", x, alpha=slope)

    def relu(self, x: Value) -> Value:
        return self.node("Relu", x)

    def sigmoid(self, x: Value) -> Value:
        return self.node("Sigmoid", x)

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

    def mean(self, x: Value) -> Value:
        return self.node("GlobalAveragePool", x)

    def feature(self, x: Value, channels: int) -> Value:
        self.marked = x, channels
        return x

    def normal(self, like: Value, channels: int) -> Value:
        # z is an input: the caller of the graph draws it.
        shape: list[str | int] = ["batch", channels, *(f"{NORMAL}_{side}" for side in _SIDES)]
        self.drawn.append(helper.make_tensor_value_info(NORMAL, TensorProto.FLOAT, shape))
        return Value(self, NORMAL)

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


def _named(parts: Sequence[Affine], vector: np.ndarray) -> dict[str, np.ndarray]:
    ends = np.cumsum([part.size for part in parts])
    return dict(zip((part.name for part in parts), np.split(vector, ends)))


def embed_graph(network: Network) -> bytes:
    """cover, secret -> stego"""
    return _graph(network, network.architecture.embed, ("cover", "secret"), "stego")


def recover_graph(network: Network) -> bytes:
    """stego -> recovered and features: see `Network.features`. HiNet's takes z as well."""
    return _graph(network, network.architecture.recover, ("stego",), "recovered", features=True)


def purify_graph(network: Network) -> bytes:
    """noisy -> purified"""
    return _graph(network, network.architecture.purify, ("noisy",), "purified")


GRAPHS: dict[str, Callable[[Network], bytes]] = {
    "embed": embed_graph,
    "recover": recover_graph,
    "purify": purify_graph,
}
"""By operation."""


def feature_count(network: Network) -> int:
    """The number of features that recovery gives for an image."""
    ops = GraphOps(network)
    network.architecture.recover(ops, Value(ops, "stego"))
    return _marked(ops)[1]


def _marked(ops: GraphOps) -> tuple[Value, int]:
    if ops.marked is None:
        raise AssertionError("recovery marks no features")
    return ops.marked


def _graph(
    network: Network,
    operation: Callable[..., Value],
    inputs: tuple[str, ...],
    output: str,
    features: bool = False,
) -> bytes:
    architecture = network.architecture
    ops = GraphOps(network)
    result = operation(ops, *(Value(ops, name) for name in inputs))
    if ops.nodes[-1].output[0] != result.name:
        raise AssertionError(f"{output}: the last node must make the output")
    ops.nodes[-1].output[0] = output
    means = []
    if features:
        # The last nodes, so that a graph without features is the same graph without these nodes.
        marked, channels = _marked(ops)
        ops.node("Flatten", ops.mean(marked), axis=1)
        ops.nodes[-1].output[0] = FEATURES
        means.append(helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, ["batch", channels]))

    def image(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3, *_SIDES])

    weights = [
        helper.make_tensor_value_info(layer.name, TensorProto.FLOAT, layer.shape)
        for layer in architecture.layers()
        if architecture.keyed and layer.name in ops.weights
    ]
    graph = helper.make_graph(
        ops.nodes,
        f"{architecture.kind}.{output}",
        [image(name) for name in inputs] + ops.drawn + weights,
        [image(output), *means],
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
