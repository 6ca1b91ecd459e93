"""The exported graphs against PyTorch, in the runtime that will run them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor

from trainer import derivation, onnxgraph
from trainer.backbones import create
from trainer.network import Network

from .conftest import MASK_SEED, shaken

TOLERANCE = 1e-4
GRAPHS: dict[str, tuple[Callable[[Network], bytes], tuple[str, ...], str]] = {
    "embed": (onnxgraph.embed_graph, ("cover", "secret"), "stego"),
    "recover": (onnxgraph.recover_graph, ("stego",), "recovered"),
    "purify": (onnxgraph.purify_graph, ("noisy",), "purified"),
}
NETWORKS = {
    "invertible": ("invertible", {}),
    "two levels": ("invertible", {"haar_levels": 2, "couplings": 2, "width": 16, "depth": 2}),
    "pusnet": ("pusnet", {}),
}


@pytest.fixture(scope="module", params=NETWORKS, ids=lambda name: name.replace(" ", "-"))
def network(request: pytest.FixtureRequest) -> Network:
    kind, config = NETWORKS[request.param]
    torch.manual_seed(5)
    return shaken(Network(create(kind, config), 0.9, MASK_SEED))


def keyed(network: Network, operation: str, key: derivation.KeyPair) -> tuple[Tensor, Callable[..., Tensor]]:
    """The weights that an operation runs, and the operation in PyTorch."""
    if operation == "purify":
        return network.weight, network.purify
    fill = network.fill(operation, getattr(key, operation))
    method = network.embed if operation == "embed" else network.recover
    return network.keyed(fill), lambda *images: method(fill, *images)


@torch.no_grad()
@pytest.mark.parametrize("operation", GRAPHS)
def test_graph_computes_what_pytorch_computes(network: Network, operation: str) -> None:
    build, inputs, output = GRAPHS[operation]
    session = onnxruntime.InferenceSession(build(network), providers=["CPUExecutionProvider"])
    layers = network.architecture.layers()
    for i, (batch, height, width) in enumerate([(1, 33, 47), (3, 17, 16), (1, 32, 18)], start=1):
        weights, compute = keyed(network, operation, derivation.demo_pair(i))
        images = [torch.rand(batch, 3, height, width) for _ in inputs]
        parts = torch.split(weights, [layer.size for layer in layers])
        feeds = {layer.name: part.view(layer.shape).numpy() for layer, part in zip(layers, parts)}
        feeds |= {name: image.numpy() for name, image in zip(inputs, images)}
        (actual,) = session.run([output], feeds)
        expected = compute(*images).numpy()
        assert actual.shape == (batch, 3, height, width)
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("operation", GRAPHS)
def test_graph_keeps_the_contract(network: Network, operation: str) -> None:
    build, inputs, output = GRAPHS[operation]
    model = onnx.load_from_string(build(network))
    assert [entry.version for entry in model.opset_import] == [17]
    assert model.ir_version <= 9

    layers = {layer.name: list(layer.shape) for layer in network.architecture.layers()}
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in [*model.graph.input, *model.graph.output]
    }
    image = ["batch", 3, "height", "width"]
    outputs = {output: image} | features(network, operation)
    assert shapes == {**dict.fromkeys(inputs, image), **outputs, **layers}
    assert [value.name for value in model.graph.output] == list(outputs)

    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert {node.input[1] for node in convolutions} == set(layers), "every weight, straight from an input"
    assert all(attribute.name != "group" for node in convolutions for attribute in node.attribute)

    used = {name for node in model.graph.node for name in node.input} | set(outputs)
    for node in model.graph.node:
        assert used & set(node.output), f"{node.name} computes nothing that is used"


def features(network: Network, operation: str) -> dict[str, list[str | int]]:
    """The output of features, where there is one."""
    return {"features": ["batch", onnxgraph.feature_count(network)]} if operation == "recover" else {}


def test_bytes_are_the_same_every_time(network: Network) -> None:
    for build, _, _ in GRAPHS.values():
        assert build(network) == build(network)


@torch.no_grad()
def test_features_are_what_pytorch_computes(network: Network) -> None:
    session = onnxruntime.InferenceSession(onnxgraph.recover_graph(network), providers=["CPUExecutionProvider"])
    layers = network.architecture.layers()
    fill = network.fill("recover", derivation.demo_pair(1).recover)
    parts = torch.split(network.keyed(fill), [layer.size for layer in layers])
    stego = torch.rand(3, 3, 33, 18)
    feeds = {layer.name: part.view(layer.shape).numpy() for layer, part in zip(layers, parts)}
    compare_features(session, feeds | {"stego": stego.numpy()}, network, fill, stego)


def compare_features(
    session: onnxruntime.InferenceSession,
    feeds: dict[str, np.ndarray],
    network: Network,
    fill: Tensor | None,
    stego: Tensor,
) -> None:
    """Compares the second output with PyTorch; the first is the same as without features."""
    recovered, actual = session.run(["recovered", "features"], feeds)
    expected = network.features(fill, stego).numpy()
    assert actual.shape == (stego.shape[0], onnxgraph.feature_count(network))
    assert expected.std() > 1e-3
    np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(recovered, network.recover(fill, stego).numpy(), rtol=0, atol=TOLERANCE)
    assert np.abs(expected - network.features(fill, stego.flip(0)).numpy()).max() > 1e-5, "they depend on the image"


UNKEYED = {
    "baluja": ("baluja", {}),
    "hidden": ("hidden", {}),
    "hinet": ("hinet", {"couplings": 4, "growth": 16}),
    "udh": ("udh", {}),
}


@pytest.fixture(scope="module", params=UNKEYED)
def instance(request: pytest.FixtureRequest) -> Network:
    """An instance with parameters like a trained one's."""
    kind, config = UNKEYED[request.param]
    torch.manual_seed(6)
    return shaken(Network(create(kind, config), 1.0, MASK_SEED))


@torch.no_grad()
@pytest.mark.parametrize("operation", ["embed", "recover"])
def test_instance_s_graph_computes_what_pytorch_computes(instance: Network, operation: str) -> None:
    build, inputs, output = GRAPHS[operation]
    session = onnxruntime.InferenceSession(build(instance), providers=["CPUExecutionProvider"])
    method = instance.embed if operation == "embed" else instance.recover
    for batch, height, width in [(1, 33, 47), (3, 18, 17), (1, 64, 32)]:
        images = [torch.rand(batch, 3, height, width) for _ in inputs]
        feeds = {name: image.numpy() for name, image in zip(inputs, images)}
        if "z" in {value.name for value in session.get_inputs()}:
            z = derivation.normal((12, -(-height // 2), -(-width // 2)))
            feeds["z"] = np.stack([z] * batch)
        (actual,) = session.run([output], feeds)
        expected = method(None, *images).numpy()
        assert actual.shape == (batch, 3, height, width)
        assert expected.std() > 0.01
        np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("operation", ["embed", "recover"])
def test_instance_s_graph_keeps_the_contract(instance: Network, operation: str) -> None:
    build, inputs, output = GRAPHS[operation]
    data = build(instance)
    assert data == build(instance), "the same bytes every time"
    model = onnx.load_from_string(data)
    assert [entry.version for entry in model.opset_import] == [17]
    assert model.ir_version <= 9
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in [*model.graph.input, *model.graph.output]
    }
    expected: dict[str, list[str | int]] = {name: ["batch", 3, "height", "width"] for name in (*inputs, output)}
    if instance.architecture.kind == "hinet" and operation == "recover":
        expected["z"] = ["batch", 12, "z_height", "z_width"]
    expected |= features(instance, operation)
    assert shapes == expected, "the weights are inside"
    inside = {initialiser.name for initialiser in model.graph.initializer}
    auxiliary = f"{instance.architecture.auxiliary}."
    layers = {layer.name for layer in instance.architecture.layers() if not layer.name.startswith(auxiliary)}
    assert inside & layers
    assert not any(name.startswith(auxiliary) for name in inside)
    used = {name for node in model.graph.node for name in node.input} | {output}
    assert inside <= used


def test_instance_s_two_graphs_use_every_parameter_that_counts(instance: Network) -> None:
    sizes: dict[str, int] = {}
    counted = {part.name: part.size for part in instance.architecture.parameters()}
    for operation in instance.architecture.operations:
        model = onnx.load_from_string(GRAPHS[operation][0](instance))
        sizes |= {i.name: counted[i.name] for i in model.graph.initializer if i.name in counted}
    assert sum(sizes.values()) == instance.parameter_count


@torch.no_grad()
def test_instance_s_features_are_what_pytorch_computes(instance: Network) -> None:
    session = onnxruntime.InferenceSession(onnxgraph.recover_graph(instance), providers=["CPUExecutionProvider"])
    stego = torch.rand(3, 3, 33, 18)
    feeds = {"stego": stego.numpy()}
    if instance.architecture.kind == "hinet":
        feeds["z"] = np.stack([derivation.normal((12, 17, 9))] * 3)
    compare_features(session, feeds, instance, None, stego)
