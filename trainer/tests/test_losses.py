"""A step's loss is the paper's, and its terms compare the right images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from trainer import derivation, losses, methods
from trainer.backbones import create
from trainer.evaluation import NOISE_SIGMA
from trainer.losses import KeyedLosses
from trainer.methods import Keyed
from trainer.network import Network, eight_bit

from .conftest import MASK_SEED, shaken

KEYS = [derivation.demo_pair(i) for i in (1, 2, 3)]
FAITHFUL = KeyedLosses(reduction="sum", unregistered=0.0)


class Scripted:
    """Replaces a generator: gives the scripted values, and checks that all values of the range are scripted."""

    def __init__(self, *values: int) -> None:
        self._values = list(values)
        self.ranges: list[tuple[int, int]] = []

    def integers(self, low: int, high: int | None = None) -> int:
        self.ranges.append((0, low) if high is None else (low, high))
        return self._values.pop(0)

    def random(self) -> float:
        return 0.0  # the draw for an unregistered key


@pytest.fixture
def three() -> Network:
    return shaken(Network(create("invertible", {"couplings": 2, "width": 6}), 0.9, MASK_SEED)).double()


@pytest.fixture
def images() -> tuple[Tensor, Tensor]:
    cover, secret = torch.rand(2, 2, 3, 16, 16, dtype=torch.float64)
    return cover, secret


def draws(method: Keyed, cover: Tensor) -> Iterator[methods.Drawn]:
    """All possible draws of a step, each once: they are equally likely."""
    count = len(KEYS)
    for i in range(count):
        for offset in range(1, count):
            script = Scripted(i, offset)
            yield method.draw(cover, script, torch.Generator().manual_seed(4), 0.0)  # type: ignore[arg-type]
            assert script.ranges == [(0, count), (1, count)]


def equation_7(network: Network, cover: Tensor, secret: Tensor, noise: Tensor) -> Tensor:
    """Written from the paper: ../shared/paper, Eq. 4 to 7, with the published weights and 8 bits between the passes."""
    embed = [network.fill(derivation.EMBED, key.embed) for key in KEYS]
    recover = [network.fill(derivation.RECOVER, key.recover) for key in KEYS]
    raw = [network.embed(fill, cover, secret) for fill in embed]
    stego = [eight_bit(image) for image in raw]
    loss = 0.25 * ((network.purify(eight_bit(cover + noise)) - cover) ** 2).mean()
    for i in range(len(KEYS)):
        loss = loss + 1.0 * ((raw[i] - cover) ** 2).mean()
        loss = loss + 0.75 * ((network.recover(recover[i], stego[i]) - secret) ** 2).mean()
        for j in range(len(KEYS)):
            if i != j:
                loss = loss + 0.5 * ((network.recover(recover[j], stego[i]) - cover) ** 2).mean()
    return loss


def test_expectation_of_a_step_is_equation_7(three: Network, images: tuple[Tensor, Tensor]) -> None:
    method = Keyed(three, FAITHFUL, KEYS)
    weights = FAITHFUL.weights(1.0, len(KEYS))
    cover, secret = images
    drawn = list(draws(method, cover))
    assert len(drawn) == 6
    steps = [losses.total(method.terms(d, cover, secret, losses.wanted(weights)), weights) for d in drawn]
    expected = torch.stack(steps).mean()
    assert torch.stack(steps).std() > 1e-3 * expected, "the draws differ"

    full = equation_7(three, cover, secret, drawn[0].noise)
    torch.testing.assert_close(expected, full, rtol=1e-12, atol=0)
    parameters = [three.weight, three.affine]
    for ours, theirs in zip(torch.autograd.grad(expected, parameters), torch.autograd.grad(full, parameters)):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_sum_weighs_pairs_of_keys_and_mean_does_not() -> None:
    assert FAITHFUL.weights(1.0, 8) == {"embed": 8, "recover": 6, "purify": 0.25, "isolate": 28, "range": 0}
    mean = KeyedLosses()
    assert mean.reduction == "mean"
    assert mean.weights(1.0, 2) == mean.weights(1.0, 8)
    want = {"embed": 0.4, "recover": 0.3, "purify": 0.1, "isolate": 0.2, "range": 0}
    assert mean.weights() == pytest.approx(want)
    with pytest.raises(ValueError, match="neither 'mean' nor 'sum'"):
        KeyedLosses(reduction="max")


def test_mean_has_errors_that_are_linear_far_out(three: Network, images: tuple[Tensor, Tensor]) -> None:
    """Eq. 7 has squares: with `sum` they stay squares however large they are."""
    cover, _ = images
    with torch.no_grad():
        three.affine.mul_(20)
    for reduction, error in (("sum", methods.squared), ("mean", methods.error)):
        method = Keyed(three, KeyedLosses(reduction=reduction), KEYS)
        drawn = methods.Drawn(*method.fills[0], None, torch.zeros_like(cover))
        terms = method.terms(drawn, cover, 5 + cover, ("recover",))
        recovered = three.recover(drawn.recover, eight_bit(three.embed(drawn.embed, cover, 5 + cover)))
        torch.testing.assert_close(terms["recover"], error(recovered, 5 + cover))
    assert methods.squared(cover + 5, cover) > 2 * methods.error(cover + 5, cover)


@pytest.mark.parametrize("backbone", ["invertible", "rotated", "rotated-keyed"])
def test_purification_sees_noise_and_gives_the_clean_image(backbone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = shaken(Network(create(backbone, {"couplings": 2, "width": 6}), 0.9, MASK_SEED))
    method = methods.create(network, losses.of(backbone)(), KEYS, 0)
    cover, secret = 0.3 + 0.4 * torch.rand(2, 8, 3, 32, 32)
    drawn = method.draw(cover, np.random.default_rng(2), torch.Generator().manual_seed(2), 0.0)
    assert drawn.noise.std().item() == pytest.approx(20 / 255, rel=0.02)
    assert NOISE_SIGMA == 20 / 255

    seen: list[Tensor] = []
    purify = network.purify

    def watched(noisy: Tensor) -> Tensor:
        seen.append(noisy.detach())
        return purify(noisy)

    monkeypatch.setattr(network, "purify", watched)
    terms = method.terms(drawn, cover, secret, ("embed", "recover", "purify"))
    (noisy,) = seen
    assert not torch.equal(noisy, cover), "the noise is gone"
    assert (noisy - cover).std().item() == pytest.approx(20 / 255, rel=0.02)
    torch.testing.assert_close(noisy * 255, (noisy * 255).round(), rtol=0, atol=1e-3)
    torch.testing.assert_close(terms["purify"], methods.error(purify(noisy), cover))
    assert not torch.isclose(terms["purify"], methods.error(purify(noisy), noisy), rtol=0.01)


def test_isolation_regresses_to_the_cover(three: Network, images: tuple[Tensor, Tensor]) -> None:
    """With a wrong key, recovery of the right key's stego image moves towards the cover, not the secret."""
    method = Keyed(three, FAITHFUL, KEYS)
    cover, secret = images
    for drawn in draws(method, cover):
        assert drawn.wrong is not None
        terms = method.terms(drawn, cover, secret, ("embed", "recover", "isolate"))
        stego = eight_bit(three.embed(drawn.embed, cover, secret))
        leaked = three.recover(drawn.wrong, stego)
        torch.testing.assert_close(terms["isolate"], methods.squared(leaked, cover))
        assert not torch.isclose(terms["isolate"], methods.squared(leaked, secret), rtol=0.01)
        assert not torch.isclose(terms["isolate"], methods.squared(three.recover(drawn.recover, stego), cover))
        # A gradient step on this term alone brings the output nearer to the cover.
        (gradient,) = torch.autograd.grad(terms["isolate"], three.weight)
        with torch.no_grad():
            before = three.weight.clone()
            three.weight -= 1e-3 * gradient / gradient.norm()
            after = three.recover(drawn.wrong, eight_bit(three.embed(drawn.embed, cover, secret)))
            three.weight.copy_(before)
        assert methods.squared(after, cover) < methods.squared(leaked, cover)
