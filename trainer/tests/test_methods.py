"""The training steps of the methods of Table 1, and that they learn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from trainer import config, evaluation, losses, methods, training, users
from trainer.backbones import create
from trainer.network import Network, eight_bit
from trainer.photographs import Photographs

from .conftest import MASK_SEED, REPOSITORY, shaken

TABLE_1 = REPOSITORY / "trainer" / "configs" / "table1"

TEXT = """
[model]
name = "test"
backbone = "{backbone}"
keys = 2
{model}

[training]
steps = {steps}
seconds = 600
batch = 2
crop = 32
rate = 1e-3
warmup = 2
average = 0.5
held_out = 2
"""
UNKEYED = {
    "baluja": "",
    "hidden": "",
    "hinet": "config = { couplings = 2, growth = 8 }",
    "udh": "config = { width = 8 }",
}


def run(backbone: str, steps: int = 1, instance: int = 1) -> training.Run:
    text = TEXT.format(backbone=backbone, steps=steps, model=UNKEYED[backbone])
    return training.Run(config.parse(text, "test"), instance=instance)


@pytest.fixture
def images(photographs: Path) -> Photographs:
    return Photographs(photographs, 32, held_out=2)


@pytest.mark.parametrize("backbone", UNKEYED)
def test_loss_falls(backbone: str, images: Photographs) -> None:
    trained = run(backbone, steps=20)
    cover, secret = images.sample(8, 32, np.random.default_rng(1)).chunk(2)
    weights = trained.config.losses.weights()

    def loss() -> float:
        trained.network.learning = torch.Generator().manual_seed(1)
        with torch.no_grad():
            return losses.total(trained.method.terms(None, cover, secret, tuple(weights)), weights).item()

    first = loss()
    for _ in range(20):
        parts = trained._advance(images)
        assert parts is not None
        assert set(parts) == set(trained.config.losses.terms())
    assert loss() < 0.9 * first


@pytest.mark.parametrize("backbone", UNKEYED)
def test_resumed_run_equals_an_uninterrupted_one(backbone: str, images: Photographs, tmp_path: Path) -> None:
    whole, part = (run(backbone, steps=3, instance=2) for _ in range(2))
    for _ in range(3):
        assert whole._advance(images) is not None
    assert part._advance(images) is not None
    part.save(tmp_path)
    again = training.resume(tmp_path)
    assert again.instance == 2
    assert [key.id for key in again.keys] == ["demo-2"]
    for _ in range(2):
        assert again._advance(images) is not None
    vectors, averages = whole.network.vectors(), whole.averaged().vectors()
    assert set(vectors) == {"weight", "affine"} | ({"statistics"} if backbone in ("hidden", "udh") else set())
    for name, vector in again.network.vectors().items():
        torch.testing.assert_close(vector, vectors[name], rtol=0, atol=0)
    for name, vector in again.averaged().vectors().items():
        torch.testing.assert_close(vector, averages[name], rtol=0, atol=0)


def test_run_of_an_instance_leaves_a_journal(images: Photographs, tmp_path: Path) -> None:
    run("hinet", steps=2).train(images, tmp_path)
    assert (tmp_path / "grid-0000002.png").exists()
    header, row = (tmp_path / "validation.csv").read_text(encoding="utf-8").splitlines()
    cells = dict(zip(header.split(","), row.split(",")))
    assert float(cells["stego"]) > 20
    assert cells["mismatched"] == cells["random"] == cells["purified"] == ""


def test_instances_differ_in_their_seed() -> None:
    first, second = run("hinet"), run("hinet", instance=2)
    assert not torch.equal(first.network.weight, second.network.weight)
    assert (first.seed, second.seed) == (0, 1)
    with pytest.raises(ValueError, match="no instance 3: the last is 2"):
        run("hinet", instance=3)
    text = TEXT.format(backbone="invertible", steps=1, model="")
    with pytest.raises(ValueError, match="no instance 2: the last is 1"):
        training.Run(config.parse(text, "test"), instance=2)
    with pytest.raises(ValueError, match="train another instance"):
        first.enroll([], seconds=1)


def test_recovery_sees_eight_bits_and_the_gradient_comes_through() -> None:
    network = Network(create("udh", {"width": 4}), 1.0, MASK_SEED)
    cover, secret = torch.rand(2, 2, 3, 32, 32)
    network.learning = torch.Generator()
    terms = methods.Pair(network).terms(None, cover, secret, ("embed", "recover"))
    with torch.no_grad():
        stego = network.embed(None, cover, secret)
        assert terms["embed"].item() == methods.error(stego, cover).item(), "the cover is compared with the unrounded"
        assert terms["recover"].item() == methods.error(network.recover(None, eight_bit(stego)), secret).item()
        assert terms["recover"].item() != methods.error(network.recover(None, stego), secret).item()
    (gradient,) = torch.autograd.grad(terms["recover"], network.affine)
    assert network.architecture.affines()[0].name == "hide.up.0.bias"
    assert gradient[:3].abs().min() > 0


def test_stego_image_out_of_range_is_drawn_back() -> None:
    """A clamped image would not show how far it was out of range."""
    network = Network(create("hinet", {"couplings": 1, "growth": 4}), 1.0, MASK_SEED)
    cover, secret = torch.rand(2, 1, 3, 16, 16)
    with torch.no_grad():
        network.affine.fill_(10.0)
    network.learning = torch.Generator().manual_seed(1)
    assert methods.HiNet(network).terms(None, cover, secret, ())["embed"].item() > 4


def test_low_band_weighs_as_in_the_sums_of_the_paper() -> None:
    cover, stego = torch.rand(2, 2, 3, 8, 8)
    difference = stego - cover
    low = (difference[..., ::2, ::2] + difference[..., 1::2, ::2] + difference[..., ::2, 1::2]) / 2
    low = low + difference[..., 1::2, 1::2] / 2
    network = Network(create("hinet", {"couplings": 1, "growth": 4}), 1.0, MASK_SEED)
    term = methods.HiNet(network)._more(cover, stego)["low"]
    assert term.item() == pytest.approx(low.square().sum().item() / cover.numel())


def test_batch_norms_see_the_batch_in_training_alone() -> None:
    network = shaken(Network(create("udh", {"width": 8}), 1.0, MASK_SEED))
    one, other = torch.rand(2, 1, 3, 32, 32)
    before = network.statistics.clone()
    with torch.no_grad():
        alone = network.recover(None, one)
        torch.testing.assert_close(network.recover(None, torch.cat([one, other]))[:1], alone)
        assert torch.equal(network.statistics, before)
        network.learning = torch.Generator()
        assert not torch.allclose(network.recover(None, torch.cat([one, other]))[:1], alone, atol=1e-3)
    assert not torch.equal(network.statistics, before)


def test_hinet_draws_z_anew_in_training_alone() -> None:
    network = shaken(Network(create("hinet", {"couplings": 1, "growth": 4}), 1.0, MASK_SEED))
    stego = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        recovered = network.recover(None, stego)
        assert torch.equal(network.recover(None, stego), recovered)
        network.learning = torch.Generator().manual_seed(1)
        assert not torch.allclose(network.recover(None, stego), network.recover(None, stego))


def test_adversarial_gradients() -> None:
    """Central differences: each loss trains its own network, and only that."""
    network = shaken(Network(create("hidden", {}), 1.0, MASK_SEED)).double()
    network.learning = torch.Generator()
    cover, stego = torch.rand(2, 2, 3, 8, 8, dtype=torch.float64)
    stego.requires_grad_()

    def adversarial() -> Tensor:
        return methods.adversarial(network, cover, stego)["adversarial"]

    def discriminator() -> Tensor:
        return methods.adversarial(network, cover, stego)["discriminator"]

    adversarial().backward()
    assert network.weight.grad is None
    assert network.affine.grad is None
    _agrees(adversarial, stego)
    stego.grad = None
    discriminator().backward()
    assert stego.grad is None
    _agrees(discriminator, network.weight)
    _agrees(discriminator, network.affine)


@pytest.mark.parametrize(("backbone", "sides"), [("baluja", 8), ("hinet", 8), ("hidden", 8), ("udh", 32)])
def test_gradients_of_training_agree_with_differences(backbone: str, sides: int) -> None:
    settings = {"hinet": {"couplings": 2, "growth": 4}, "udh": {"width": 4}}.get(backbone, {})
    network = shaken(Network(create(backbone, settings), 1.0, MASK_SEED)).double()
    cover, secret = torch.rand(2, 2, 3, sides, sides, dtype=torch.float64)

    def loss() -> Tensor:
        network.learning = torch.Generator().manual_seed(3)
        stego = network.embed(None, cover, secret)
        return (stego - cover).square().sum() + (network.recover(None, stego) - secret).square().sum()

    loss().backward()
    _agrees(loss, network.weight)
    _agrees(loss, network.affine)


@torch.no_grad()
def _agrees(loss: Callable[[], Tensor], parameter: Tensor) -> None:
    """At the eight values with the largest gradient, and at four others."""
    gradient = parameter.grad
    assert gradient is not None
    flat, step = parameter.view(-1), 1e-6
    largest = gradient.abs().view(-1).topk(8).indices
    assert gradient.abs().max() > 1e-6
    for index in [*largest.tolist(), *torch.randint(flat.numel(), (4,)).tolist()]:
        values = []
        for sign in (step, -step):
            flat[index] += sign
            values.append(loss().item())
            flat[index] -= sign
        difference = (values[0] - values[1]) / (2 * step)
        assert gradient.view(-1)[index].item() == pytest.approx(difference, rel=1e-3, abs=1e-5)


def test_pusnet_without_isolation_skips_its_pass(images: Photographs) -> None:
    model = "config = { couplings = 1, width = 4 }"
    text = TEXT.format(backbone="invertible", steps=2, model=model) + "[losses]\nisolate = 0\npurify = 0\n"
    for keys in (1, 2):
        trained = training.Run(config.parse(text.replace("keys = 2", f"keys = {keys}"), "test"))
        parts = trained._advance(images)
        assert parts is not None
        assert set(parts) == {"embed", "recover"}
    both = evaluation.measure(users.Keyed(trained.network, trained.keys), *images.validation(32))
    assert both.mismatched is not None


def test_unkeyed_method_has_no_alpha_and_no_isolation() -> None:
    text = TEXT.format(backbone="udh", steps=1, model="")
    assert config.parse(text, "test").model.trained_share == 1
    with pytest.raises(config.ConfigError, match="udh has no keys"):
        config.parse(text.replace("keys = 2", "keys = 2\nalpha = 0.9"), "test")
    with pytest.raises(config.ConfigError, match="unknown setting isolate"):
        config.parse(text + "[losses]\nisolate = 0.5\n", "test")


def test_configurations_of_table_1_have_one_budget() -> None:
    """The budget is for all runs that train a method's users together. Each file configures its own method."""
    loaded = {path.stem: config.load(path) for path in TABLE_1.glob("*.toml")}
    assert set(loaded) == {"baluja", "hidden", "hinet", "pusnet", "pusnet-mk", "udh"}
    runs = {name: 1 if settings.model.keyed else settings.model.keys for name, settings in loaded.items()}
    assert {settings.training.seconds * runs[name] for name, settings in loaded.items()} == {600}
    for name, settings in loaded.items():
        assert settings.model.name == name
        assert settings.model.keys == 2
        assert settings.model.keyed == name.startswith("pusnet")
    assert loaded["pusnet"].losses.terms()["isolate"] == 0
    assert loaded["pusnet-mk"].losses.terms()["isolate"] == 0.5


@pytest.mark.parametrize("path", sorted(TABLE_1.glob("*.toml")), ids=lambda path: path.stem)
def test_configurations_of_table_1_have_a_quarter_of_the_width(path: Path) -> None:
    small, whole = config.load(path).model, config.load(path, ["model.config={}"]).model
    assert whole.architecture() == create(whole.backbone, {})
    for field, value in small.config.items():
        assert value == getattr(whole.architecture(), field) // 4


def test_settings_take_the_place_of_the_configuration_s(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(TEXT.format(backbone="invertible", steps=5, model="") + "[losses]\n", encoding="utf-8")
    loaded = config.load(path, ["training.steps = 7", "model.alpha=0.5", 'model.name="other"', "losses.isolate=0"])
    assert (loaded.training.steps, loaded.model.alpha, loaded.model.name) == (7, 0.5, "other")
    assert config.parse(loaded.text, "kept") == loaded
    for wrong in ("model.alpha", "alpha=1", "nothing.alpha=1", "model.=1"):
        with pytest.raises(config.ConfigError, match=r"TABLE\.NAME=VALUE"):
            config.load(path, [wrong])
