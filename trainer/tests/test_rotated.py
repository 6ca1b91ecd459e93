"""The network for rotated secrets: its training data, that it learns, and its export."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from trainer import (
    config,
    derivation,
    evaluation,
    export,
    layout,
    losses,
    methods,
    onnxgraph,
    payload,
    rotation,
    training,
    users,
)
from trainer import photographs as loading
from trainer.backbones import create
from trainer.backbones.haar import bands
from trainer.cli import main
from trainer.network import Network, eight_bit
from trainer.photographs import Photographs

from .conftest import MASK_SEED, REPOSITORY, shaken

TEXT = """
[model]
name = "test"
backbone = "rotated"
keys = 2
config = {{ couplings = 2, width = 8 }}

[training]
steps = {steps}
seconds = 600
batch = 2
crop = 32
rate = 2e-3
warmup = 2
average = 0.5
held_out = 2
optimiser = "muon"
"""


def run(steps: int) -> training.Run:
    return training.Run(config.parse(TEXT.format(steps=steps), "test"))


@pytest.fixture
def images(photographs: Path) -> Photographs:
    return Photographs(photographs, 32, held_out=2)


def rows(values: rotation.Values) -> torch.Tensor:
    """The rows by band and place, in the order of `Statistics`."""
    return torch.from_numpy(values.reshape(payload.BANDS, payload.PER_BAND)).float()


def test_gains_are_the_roots_of_the_deviations() -> None:
    table, gains = rotation.deviations(), payload.gains()
    assert (np.diff(table) <= 0).all(), "the strongest comes first"
    np.testing.assert_allclose(gains**2 / gains[0] ** 2, table / table[0])
    assert np.sqrt((gains**2).mean()) == pytest.approx(0.5)


def test_weights_say_what_an_error_of_the_payload_costs() -> None:
    """In pixels of a secret, whose transform is orthonormal."""
    for row in (0, 1, 100, 767):
        coefficients = np.zeros((rotation.FREQUENCIES, 4))
        coefficients[rotation.order()[row]] = rotation.deviations()[row] / payload.gains()[row]
        pixels = (rotation.synthesise(coefficients, 32, 32) - 127.5) / 255
        assert (pixels**2).mean() == pytest.approx(payload.weights()[row] ** 2 / rotation.FREQUENCIES)


def test_payloads_are_drawn_as_rotated_photographs_have_them(photographs: Path) -> None:
    """Band by band: the same deviation, the same tails, no correlation with the next value."""
    secret = np.asarray(Image.open(photographs / "3.png"))
    assert secret.shape == (64, 64, 3)
    values, _ = rotation.Rotation(64, 64).rotate(secret, bytes(32))
    real = bands(Network(create("rotated", {}), 1.0, MASK_SEED).operations(), _spread(values) - 0.5, 3)[0]
    drawn, weights = payload.Statistics(torch.device("cpu")).draw(
        torch.zeros(8, 3, 64, 64), torch.Generator().manual_seed(1)
    )
    assert real.shape == (payload.BANDS, 32, 32)
    assert drawn.shape == weights.shape == (8, payload.BANDS, 32, 32)
    want = rows(payload.gains()).square().mean(1).sqrt()
    assert (want[:-1] > want[1:]).all(), "the strongest band comes first"
    torch.testing.assert_close(drawn.square().mean((0, 2, 3)).sqrt(), want, rtol=0.05, atol=0)
    torch.testing.assert_close(real.square().mean((1, 2)).sqrt(), want, rtol=0.05, atol=0)
    # The kurtosis of one normal distribution is 3; it is higher where the deviations of a band differ.
    kurtosis = 3 * rows(payload.gains()).pow(4).mean(1) / want.pow(4)
    assert kurtosis[0] > 8
    assert kurtosis[-1] < 3.1
    for x in (drawn[0], drawn[1], real):
        unit = x / x.square().mean((1, 2), keepdim=True).sqrt()
        tails = unit.pow(4).mean((1, 2))
        assert tails[0] > 4, "which the few values of the mean colours make"
        torch.testing.assert_close(tails[1:], kurtosis[1:], rtol=0.3, atol=0)
        assert abs((unit[:, :, 1:] * unit[:, :, :-1]).mean().item()) < 0.03


def _spread(values: rotation.Values) -> torch.Tensor:
    return layout.spread(values, 64, 64, np.random.default_rng(1))


def test_every_value_has_its_own_weight() -> None:
    gains, weights = rows(payload.gains()), rows(payload.weights())
    drawn, counts = payload.Statistics(torch.device("cpu")).draw(
        torch.zeros(4, 3, 64, 64), torch.Generator().manual_seed(2)
    )
    for band in (0, 5, 11):
        values, own = drawn[:, band].flatten(), counts[:, band].flatten()
        assert torch.isin(own, weights[band]).all()
        for place in (0, 63):
            same = values[own == weights[band, place]]
            assert len(same) > 20
            assert same.std().item() == pytest.approx(gains[band, place].item(), rel=0.4)


def test_recover_is_the_error_of_the_secret(images: Photographs) -> None:
    network = shaken(Network(create("rotated", {"couplings": 2, "width": 8}), 1.0, MASK_SEED))
    method = methods.Rotated(network)
    cover, secret = images.sample(4, 32, np.random.default_rng(1)).chunk(2)
    drawn = method.draw(cover, np.random.default_rng(1), torch.Generator().manual_seed(1), 0.0)
    terms = method.terms(drawn, cover, secret, ("embed", "recover", "purify", "range"))
    again = method.terms(drawn, cover, secret.flip(0), ("embed", "recover"))
    assert terms["recover"].item() == again["recover"].item(), "the photograph itself is not hidden"
    assert "purify" not in again
    doubled = methods.DrawnPayload(drawn.bands, 2 * drawn.weights, drawn.noise)
    assert method.terms(doubled, cover, secret, ())["recover"].item() > 1.5 * terms["recover"].item()


@pytest.mark.parametrize(
    ("weights", "falls"),
    [
        # With the shipped loss weights a hundred steps only teach the network to leave the cover unchanged.
        ("embed = 0.05\nrange = 0.05\n", {"recover": 0.5}),
        ("embed = 0\nrange = 0\nrecover = 0\n", {"purify": 0.95}),
    ],
    ids=["hiding", "purification"],
)
def test_loss_falls(weights: str, falls: dict[str, float], images: Photographs) -> None:
    text = TEXT.format(steps=1000).replace("2e-3", "5e-3") + f"[losses]\n{weights}"
    trained = training.Run(config.parse(text, "test"))
    cover, secret = images.sample(8, 32, np.random.default_rng(1)).chunk(2)
    counts = trained.config.losses.weights()
    drawn = trained.method.draw(cover, np.random.default_rng(1), torch.Generator().manual_seed(1), 0.0)

    @torch.no_grad()
    def terms() -> methods.Terms:
        return trained.method.terms(drawn, cover, secret, tuple(counts))

    first = terms()
    for _ in range(100):
        parts = trained._advance(images)
        assert parts is not None
        assert set(parts) == {"embed", "recover", "purify", "range"}
    last = terms()
    assert losses.total(last, counts) < 0.95 * losses.total(first, counts)
    for name, share in falls.items():
        assert last[name] < share * first[name]


def test_resumed_run_equals_an_uninterrupted_one(images: Photographs, tmp_path: Path) -> None:
    whole, part = run(steps=4), run(steps=4)
    for _ in range(4):
        assert whole._advance(images) is not None
    for _ in range(2):
        assert part._advance(images) is not None
    part.save(tmp_path)
    again = training.resume(tmp_path)
    for _ in range(2):
        assert again._advance(images) is not None
    for name, vector in whole.network.vectors().items():
        torch.testing.assert_close(again.network.vectors()[name], vector, rtol=0, atol=0)
        torch.testing.assert_close(again.averaged().vectors()[name], whole.averaged().vectors()[name], rtol=0, atol=0)


@torch.no_grad()
def test_purification_is_half_of_recovery() -> None:
    """The couplings run backwards from the image give both, without a key."""
    network = shaken(Network(create("rotated", {"couplings": 2, "width": 8}), 1.0, MASK_SEED))
    architecture = network.architecture
    image = torch.rand(1, 3, 20, 18)
    ops = network.operations()
    x = bands(ops, image - 0.5, 3)
    clean, secret = architecture.backwards(ops, x, torch.zeros_like(x))  # type: ignore[attr-defined]
    torch.testing.assert_close(bands(ops, network.purify(image) - 0.5, 3), clean)
    torch.testing.assert_close(bands(ops, network.recover(None, image) - 0.5, 3), secret)
    assert not architecture.keyed
    assert architecture.shared


@torch.no_grad()
@pytest.mark.parametrize("operation", ["embed", "recover", "purify"])
def test_graphs_compute_what_pytorch_computes(operation: str) -> None:
    network = shaken(Network(create("rotated", {"couplings": 3, "width": 8}), 1.0, MASK_SEED))
    session = onnxruntime.InferenceSession(onnxgraph.GRAPHS[operation](network), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    for batch, height, width in [(1, 34, 46), (2, 16, 18)]:
        images = [torch.rand(batch, 3, height, width) for _ in names]
        if operation == "embed":
            images[1] = torch.randn(batch, 3, height, width)
        compute = network.purify if operation == "purify" else lambda *x: getattr(network, operation)(None, *x)
        actual = session.run(None, {name: image.numpy() for name, image in zip(names, images)})[0]
        np.testing.assert_allclose(actual, compute(*images).numpy(), rtol=0, atol=1e-4)


def test_model_directory_serves_any_key(images: Photographs, photographs: Path, tmp_path: Path) -> None:
    trained = run(steps=2)
    trained.train(images, tmp_path / "run")
    model = tmp_path / "model"
    assert main(["export", str(tmp_path / "run"), str(model), "--revision", "abc"]) == 0
    manifest = json.loads((model / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["keying"] == "rotation"
    assert {"embed.onnx", "recover.onnx", "purify.onnx"} <= set(manifest["files"])
    (loaded,), _ = export.load(model)
    for name, vector in trained.averaged().vectors().items():
        torch.testing.assert_close(loaded.vectors()[name], vector, rtol=0, atol=0)
    further = run(steps=2)
    further.start_from(model)
    torch.testing.assert_close(further.network.weight, trained.averaged().weight, rtol=0, atol=0)


def test_configuration_that_ships() -> None:
    settings = config.load(REPOSITORY / "trainer" / "configs" / "invertible-rk.toml")
    assert settings.model.instances == 1
    assert not settings.model.keyed
    assert [key.id for key in training.Run(settings).keys] == [derivation.demo_pair(i).id for i in (1, 2, 3, 4)]
    with pytest.raises(config.ConfigError, match="unknown setting isolate"):
        config.parse(settings.text + "isolate = 0.5\n", "test")


KEYED = """
[losses]
range = 10.0
reduction = "sum"
unregistered = 0.0
"""


def keyed_run(steps: int) -> training.Run:
    text = TEXT.format(steps=steps).replace('backbone = "rotated"', 'backbone = "rotated-keyed"')
    return training.Run(config.parse(text + KEYED, "test"))


def test_keyed_weights_on_rotated_secrets_have_both_methods_terms(images: Photographs) -> None:
    trained = keyed_run(steps=10)
    method, network = trained.method, shaken(trained.network)
    weights = trained.config.losses.weights(1.0, 2)
    assert weights == {"embed": 2, "recover": 1.5, "purify": 0.25, "isolate": 1, "range": 20}
    cover, secret = images.sample(4, 32, np.random.default_rng(1)).chunk(2)
    drawn = method.draw(cover, np.random.default_rng(1), torch.Generator().manual_seed(1), 0.0)
    terms = method.terms(drawn, cover, secret, losses.wanted(weights))
    assert set(terms) == set(weights)
    assert drawn.keys.wrong is not None
    assert not torch.equal(drawn.keys.wrong, drawn.keys.recover)
    # The errors equal those of a network without keys with the same weights.
    plain = methods.Rotated(network)
    with torch.no_grad():
        stego = network.embed(drawn.keys.embed, cover, drawn.payload.image(network))
        wrong = network.recover(drawn.keys.wrong, eight_bit(stego))
        network.weight.copy_(network.keyed(drawn.keys.embed))
        torch.testing.assert_close(plain.terms(drawn.payload, cover, secret, ())["embed"], terms["embed"])
    torch.testing.assert_close(terms["isolate"], methods.error(wrong, cover))


def test_keyed_weights_on_rotated_secrets_are_trained_and_measured(
    images: Photographs, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = keyed_run(steps=3)
    trained.train(images, tmp_path / "run")
    assert main(["evaluate", str(tmp_path / "run"), "--data", f"made={photographs}", "--sides", "32"]) == 0
    said = capsys.readouterr().out
    for choice in ("right weights, right", "wrong weights, right", "right weights, wrong", "wrong weights, wrong"):
        assert f"made {choice} rotation: " in said
    assert main(["export", str(tmp_path / "run"), str(tmp_path / "model"), "--revision", "abc"]) == 1
    assert "no program runs it but the trainer" in capsys.readouterr().err


def test_each_half_of_a_key_is_tried(photographs: Path) -> None:
    keys = [derivation.demo_pair(i) for i in (1, 2)]
    network = shaken(Network(create("rotated-keyed", {"couplings": 2, "width": 8}), 0.5, MASK_SEED))
    covers, secrets = loading.pairs(photographs, 32, 32)
    right, weights, turned, wrong = evaluation.halves(users.Rotated(network, keys), covers, secrets)
    assert (right.right_weights, right.right_rotation) == (True, True)
    assert (weights.right_weights, weights.right_rotation) == (False, True)
    assert (turned.right_weights, turned.right_rotation) == (True, False)
    assert len(right.psnr) == len(covers)
    quality = evaluation.measure(users.Rotated(network, keys), covers, secrets)
    assert quality.recovered == pytest.approx(right.psnr.mean().item())
    assert quality.mismatched == pytest.approx(wrong.psnr.mean().item())
    assert len({float(half.psnr.sum()) for half in (right, weights, turned, wrong)}) == 4
    assert users.Rotated(network, keys).keyed
    assert isinstance(users.of([network], keys), users.Rotated)
