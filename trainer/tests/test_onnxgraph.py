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
    assert shapes == {**dict.fromkeys((*inputs, output), image), **layers}

    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert {node.input[1] for node in convolutions} == set(layers), "every weight, straight from an input"
    assert all(attribute.name != "group" for node in convolutions for attribute in node.attribute)

    used = {name for node in model.graph.node for name in node.input} | {output}
    for node in model.graph.node:
        assert used & set(node.output), f"{node.name} computes nothing that is used"


def test_bytes_are_the_same_every_time(network: Network) -> None:
    for build, _, _ in GRAPHS.values():
        assert build(network) == build(network)
