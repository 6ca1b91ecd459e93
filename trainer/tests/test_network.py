from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.backbones import create
from trainer.network import Network, StaleConv, eight_bit

from .conftest import MASK_SEED


def test_keyed_weights_are_shared_where_the_mask_says_so(small: Network) -> None:
    fill = small.fill("embed", bytes(32))
    keyed = small.keyed(fill)
    assert torch.equal(keyed[small.mask], small.weight[small.mask])
    assert torch.equal(keyed[~small.mask], fill[~small.mask])
    assert torch.equal(small.whole(), small.weight)


def test_random_fills_look_like_a_key_s(small: Network) -> None:
    random, derived = small.random_fill(torch.Generator().manual_seed(1)), small.fill("recover", bytes(32))
    start = 0
    for layer in small.architecture.layers():
        a, b = (x[start : start + layer.size] for x in (random, derived))
        assert a.std().item() == pytest.approx(b.std().item(), rel=0.15)
        start += layer.size
    assert not torch.equal(random, derived)


def test_gradient_of_each_pass_is_taken_with_its_own_fill(small: Network) -> None:
    """Central differences of a loss over embed, recover and purify with three different fills.

    A shared weight buffer, overwritten between the passes, would fail here.
    """
    small.double()
    embed, recover = (small.fill(role, bytes(32)) for role in ("embed", "recover"))
    cover, secret = torch.rand(2, 1, 3, 16, 16, dtype=torch.float64)

    def loss() -> Tensor:
        stego = small.embed(embed, cover, secret)
        recovered = small.recover(recover, stego)
        return (recovered - secret).square().sum() + (small.purify(cover) - secret).square().sum() + stego.sum()

    loss().backward()
    gradient = small.weight.grad
    assert gradient is not None
    _agrees(loss, small.weight, gradient, torch.nonzero(small.mask).flatten())
    assert small.affine.grad is not None
    _agrees(loss, small.affine, small.affine.grad, torch.arange(small.affine.numel()))
    assert torch.all(gradient[~small.mask] == 0)


def test_stale_gradient_is_that_of_weights_swapped_under_autograd() -> None:
    """Like the public code: two passes with one parameter whose data is replaced between them."""
    own, last = torch.randn(2, 3, 3, 3, 3, dtype=torch.float64)
    head = torch.randn(3, 3, 3, 3, dtype=torch.float64)
    image = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    first = torch.randn(3, 3, 3, 3, dtype=torch.float64)

    def passed(conv: Callable[[Tensor, Tensor], Tensor], early: Tensor, late: Tensor) -> Tensor:
        return F.conv2d(conv(F.leaky_relu(F.conv2d(image, early)), late), head).square().sum()

    early = torch.nn.Parameter(first.clone())
    swapped = torch.nn.Parameter(own.clone())
    loss = passed(F.conv2d, early, swapped)
    swapped.data = last.clone()
    loss.backward()

    other, kept = first.clone().requires_grad_(), own.clone().requires_grad_()
    again = passed(lambda x, weight: StaleConv.apply(x, weight, last, None, 1, 0), other, kept)
    again.backward()
    assert again.item() == loss.item()
    torch.testing.assert_close(other.grad, early.grad)
    torch.testing.assert_close(kept.grad, swapped.grad)

    true = first.clone().requires_grad_()
    passed(F.conv2d, true, own).backward()
    assert not torch.allclose(true.grad, early.grad, rtol=0.1)


def test_stale_gradient_reaches_every_pass(small: Network) -> None:
    """With the pass's own fill it is the true gradient, with another it is not."""
    small.double()
    own, last = (small.fill(role, bytes(32)) for role in ("embed", "recover"))
    cover, secret = torch.rand(2, 1, 3, 16, 16, dtype=torch.float64)
    gradients = []
    for stale in (None, own, last):
        small.differentiated_with = stale
        small.zero_grad()
        small.embed(own, cover, secret).square().sum().backward()
        assert small.weight.grad is not None
        assert torch.all(small.weight.grad[~small.mask] == 0)
        gradients.append(small.weight.grad.clone())
    true, same, wrong = gradients
    torch.testing.assert_close(same, true)
    assert F.cosine_similarity(true, wrong, dim=0) < 0.999


def _agrees(loss: Callable[[], Tensor], parameter: Tensor, gradient: Tensor, allowed: Tensor) -> None:
    step = 1e-6
    for index in allowed[torch.randperm(len(allowed))[:24]].tolist():
        with torch.no_grad():
            values = []
            for sign in (step, -step):
                parameter[index] += sign
                values.append(loss().item())
                parameter[index] -= sign
        difference = (values[0] - values[1]) / (2 * step)
        assert gradient[index].item() == pytest.approx(difference, rel=1e-4, abs=1e-5)


def test_eight_bit_rounds_and_passes_gradients() -> None:
    x = torch.tensor([-0.2, 0.1, 0.5013, 1.3], requires_grad=True)
    y = eight_bit(x)
    torch.testing.assert_close(y, torch.tensor([0.0, 26 / 255, 128 / 255, 1.0]))
    y.sum().backward()
    torch.testing.assert_close(x.grad, torch.ones(4))


def test_initial_weights_depend_on_the_seed_alone() -> None:
    architecture = create("invertible", {"couplings": 1, "width": 8})
    first, same, other = (Network(architecture, 0.9, MASK_SEED, seed) for seed in (0, 0, 1))
    assert torch.equal(first.weight, same.weight)
    assert not torch.equal(first.weight, other.weight)
