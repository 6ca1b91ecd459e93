from __future__ import annotations

import pytest
import torch

from trainer.backbones import HiNet, Invertible, PUSNet, create
from trainer.network import Network, TorchOps
from trainer.onnxgraph import feature_count

from .conftest import MASK_SEED, shaken


def test_pusnet_is_the_paper_s_to_the_parameter() -> None:
    architecture = PUSNet()
    layers, affines = architecture.layers(), architecture.affines()
    assert len(layers) == 20
    assert all(layer.shape[2:] == (3, 3) for layer in layers)
    assert sum(layer.size for layer in layers) == 4_869_504
    assert sum(a.name.endswith(".scale") for a in affines) == 18
    assert sum(layer.size for layer in layers) + sum(a.size for a in affines) == 4_879_107


def test_invertible_default_size() -> None:
    architecture = create("invertible", {})
    sizes = {"haar_levels": 1, "couplings": 8, "width": 32, "depth": 3}
    assert architecture.config() == {**sizes, "log_scale": 0.5, "cover_bound": 0.25, "secret_bound": 2.0}
    assert sum(layer.size for layer in architecture.layers()) == 285_696
    assert Network(architecture, 0.9, MASK_SEED).parameter_count == 287_008


@pytest.mark.parametrize(
    ("kind", "sizes", "macs"),
    [
        ("baluja", {"hide": 224_020, "reveal": 245_653}, (14.6, 16.3)),
        ("hidden", {"hide": 319_299, "reveal": 263_043, "discriminator": 76_097}, (20.8, 17.1)),
        ("hinet", {"couplings": 4_050_240}, (66.2, 66.2)),
        ("udh", {"hide": 16_659_075, "reveal": 742_659}, (5.5, 48.5)),
    ],
)
def test_unkeyed_methods_are_the_published_ones_to_the_parameter(
    kind: str, sizes: dict[str, int], macs: tuple[float, float]
) -> None:
    architecture = create(kind, {})
    counted: dict[str, int] = {}
    for part in architecture.parameters():
        network = part.name.partition(".")[0]
        counted[network] = counted.get(network, 0) + part.size
    assert counted == sizes
    network_of = Network(architecture, 1.0, MASK_SEED)
    assert network_of.parameter_count == sum(sizes.values()) - sizes.get("discriminator", 0)
    assert [network_of.gmac(op, 256) for op in architecture.operations] == pytest.approx(macs, abs=0.11)


@pytest.mark.parametrize("kind", ["baluja", "hidden", "hinet", "invertible", "pusnet", "udh"])
def test_names_are_unique(kind: str) -> None:
    architecture = create(kind, {})
    names = [part.name for part in [*architecture.parameters(), *architecture.statistics()]]
    assert len(set(names)) == len(names)


@torch.no_grad()
@pytest.mark.parametrize(
    ("kind", "config", "last"),
    [
        ("baluja", {}, "reveal.3"),
        ("hidden", {}, "reveal.out"),
        ("hinet", {"couplings": 2}, "couplings.0.eta.4"),
        ("invertible", {"couplings": 2, "depth": 4}, "couplings.0.g.3"),
        ("invertible", {"couplings": 1, "depth": 2}, "couplings.0.g.1"),
        ("pusnet", {}, "head.2"),
        ("udh", {"width": 8}, "reveal.5"),
    ],
)
def test_features_are_the_means_of_what_enters_the_last_convolution(kind: str, config: dict, last: str) -> None:
    entered: dict[str, torch.Tensor] = {}

    class Watching(TorchOps):
        def conv(self, x: torch.Tensor, layer: str, stride: int = 1, padding: int | None = None) -> torch.Tensor:
            entered[layer] = x
            return super().conv(x, layer, stride, padding)

    network = shaken(Network(create(kind, config), 0.9, MASK_SEED))
    fill = network.fill("recover", bytes(32)) if network.architecture.keyed else None
    stego = torch.rand(2, 3, 17, 18)
    ops = Watching(network.architecture, network.keyed(fill), network.affine, network.statistics)
    recovered = network.architecture.recover(ops, stego)
    features = network.features(fill, stego)
    torch.testing.assert_close(features, entered[last].flatten(2).mean(2))
    assert features.shape == (2, feature_count(network))
    torch.testing.assert_close(network.recover(fill, stego), recovered)


def test_unknown_settings_are_errors() -> None:
    with pytest.raises(ValueError, match="widht"):
        create("invertible", {"widht": 3})
    with pytest.raises(
        ValueError, match="choose one of baluja, hidden, hinet, invertible, pusnet, rotated, rotated-keyed, udh"
    ):
        create("stegastamp", {})
    with pytest.raises(ValueError, match="start at 1"):
        create("invertible", {"couplings": 0})


def test_multiplications_are_those_of_the_literature() -> None:
    pusnet = Network(create("pusnet", {}), 0.9, MASK_SEED)
    assert pusnet.gmac("embed", 256) == pytest.approx(459, abs=0.5)
    assert pusnet.gmac("recover", 256) == pytest.approx(319, abs=0.5)


@pytest.mark.parametrize("levels", [1, 2])
def test_couplings_invert_with_the_same_weights(levels: int) -> None:
    architecture = Invertible(haar_levels=levels, couplings=3, width=16)
    network = shaken(Network(architecture, 0.9, MASK_SEED)).double()
    with torch.no_grad():
        network.weight.mul_(3)  # far from the identity
    ops = TorchOps(architecture, network.weight, network.affine)
    x, y = (torch.randn(2, 3 * 4**levels, 8, 12, dtype=torch.float64) for _ in range(2))
    with torch.no_grad():
        stego, lost = architecture.forwards(ops, x, y)
        again = architecture.backwards(ops, stego, lost)
    assert (stego - x).abs().mean() > 0.01
    torch.testing.assert_close(again, (x, y), rtol=0, atol=1e-10)


def test_couplings_do_not_drive_each_other_up_without_end() -> None:
    architecture = Invertible(couplings=8, width=16)
    network = shaken(Network(architecture, 0.9, MASK_SEED))
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        network.weight.mul_(10)  # every subnet amplifies a thousandfold
        stego = network.embed(network.weight, image, image)
    assert (stego - image).abs().max() <= 2 * architecture.couplings * architecture.cover_bound


def test_hinet_inverts_and_starts_as_the_identity() -> None:
    architecture = HiNet(couplings=3, growth=8)
    network = Network(architecture, 1.0, MASK_SEED)
    cover, secret = torch.rand(2, 1, 3, 18, 22)
    with torch.no_grad():
        torch.testing.assert_close(network.embed(None, cover, secret), cover)
    shaken(network).double()
    ops = TorchOps(architecture, network.weight, network.affine)
    x, y = (torch.randn(2, 12, 8, 12, dtype=torch.float64) for _ in range(2))
    with torch.no_grad():
        stego, lost = architecture.forwards(ops, x, y)
        again = architecture.backwards(ops, stego, lost)
    assert (stego - x).abs().mean() > 0.01
    torch.testing.assert_close(again, (x, y), rtol=0, atol=1e-10)


def test_udh_adds_what_the_secret_alone_decides() -> None:
    network = shaken(Network(create("udh", {"width": 8}), 1.0, MASK_SEED))
    covers, secret = torch.rand(2, 3, 33, 20), torch.rand(1, 3, 33, 20)
    with torch.no_grad():
        added = network.embed(None, covers, secret.expand(2, -1, -1, -1)) - covers
    torch.testing.assert_close(added[0], added[1], rtol=0, atol=1e-6)
    assert 0 < added.abs().max() <= 10 / 255 + 1e-6


@pytest.mark.parametrize(
    ("kind", "height", "width"), [("invertible", 33, 47), ("invertible", 16, 18), ("pusnet", 17, 16)]
)
def test_outputs_are_as_large_as_inputs(kind: str, height: int, width: int) -> None:
    network = Network(create(kind, {}), 0.9, MASK_SEED)
    fill = network.fill("embed", bytes(32))
    image = torch.rand(2, 3, height, width)
    with torch.no_grad():
        outputs = (network.embed(fill, image, image), network.recover(fill, image), network.purify(image))
    assert all(output.shape == image.shape for output in outputs)


def test_pusnet_recovery_feeds_one_trunk_to_both_middle_convolutions() -> None:
    """So embedding an image in itself is the same computation."""
    network = shaken(Network(create("pusnet", {}), 0.9, MASK_SEED))
    fill, image = network.fill("recover", bytes(32)), torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        recovered = network.recover(fill, image)
        torch.testing.assert_close(network.embed(fill, image, image), recovered)
        whole = network.recover(network.weight.detach(), image)
        torch.testing.assert_close(network.purify(image), image - whole)
    assert not torch.allclose(recovered, network.embed(fill, image, image.flip(3)))
