"""Measures a network as its users meet it: with 8-bit images between the steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from .users import Rotated, Users

NOISE_SIGMA = 20 / 255
_NOISE_SEED = 20
# The window of SSIM, in pixels.
_WINDOW = 11
_WINDOW_SIGMA = 1.5


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Per image, in dB, over all pixels and channels of 8-bit images in [0, 1]."""
    return -10 * torch.log10((a - b).square().mean((1, 2, 3)))


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Per image, the mean over the channels of 8-bit images in [0, 1] (Wang et al. 2004), as in `internal/quality`.

    Gaussian window of 11 pixels, sigma 1.5, where it lies within the image; C1 = 0.01^2, C2 = 0.03^2.
    """
    offsets = torch.arange(_WINDOW, dtype=torch.float64, device=a.device) - _WINDOW // 2
    window = torch.exp(-offsets.square() / (2 * _WINDOW_SIGMA**2))
    window = window / window.sum()

    def local(x: Tensor) -> Tensor:
        rows = conv2d(x.flatten(0, 1).unsqueeze(1), window.view(1, 1, -1, 1))
        return conv2d(rows, window.view(1, 1, 1, -1)).view(*x.shape[:2], *(side - _WINDOW + 1 for side in x.shape[2:]))

    a, b = a.double(), b.double()
    mean_a, mean_b = local(a), local(b)
    squares = mean_a.square() + mean_b.square()
    variances = local(a.square()) + local(b.square()) - squares
    covariance = local(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    similar = (2 * mean_a * mean_b + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))
    return similar.mean((1, 2, 3))


@dataclass(kw_only=True)
class Quality:
    """Mean PSNR in dB over pairs. For the wrong keys lower is better; see `unrelated`. None: the model has none."""

    pairs: int
    stego: float
    recovered: float
    mismatched: float | None = None
    """A registered but wrong key's output against the secret; another instance's where there are no keys."""
    random: float | None = None
    """An unregistered key's output against the secret."""
    mismatched_cover: float | None = None
    random_cover: float | None = None
    unrelated: float
    """Cover against secret: what knowing nothing looks like."""
    purified: float | None = None
    noisy: float | None = None

    def line(self) -> str:
        numbers = {name: value for name, value in vars(self).items() if name != "pairs" and value is not None}
        return " ".join(f"{name} {value:.2f}" for name, value in numbers.items())


@dataclass
class _Sums:
    totals: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, values: Tensor) -> None:
        self.totals[name] = self.totals.get(name, 0.0) + float(values.sum())


@torch.no_grad()
def measure(users: Users, covers: Tensor, secrets: Tensor) -> Quality:
    """Pair i belongs to user i mod K; wrong keys are the next user's, if there is one, and random key i of seed 0."""
    sums = _Sums()
    noise = torch.Generator().manual_seed(_NOISE_SEED)
    for i, (cover, secret) in enumerate(singles(covers, secrets)):
        user, other = i % users.count, (i + 1) % users.count
        stego = saved(users.embed(user, cover, secret))
        sums.add("stego", psnr(stego, cover))
        sums.add("unrelated", psnr(cover, secret))
        sums.add("recovered", psnr(saved(users.recover(user, stego)), secret))
        mismatched = users.recover(other, stego) if other != user else None
        for name, leaked in (("mismatched", mismatched), ("random", users.recover_random(i, stego))):
            if leaked is not None:
                sums.add(name, psnr(saved(leaked), secret))
                sums.add(f"{name}_cover", psnr(saved(leaked), cover))
        noisy = saved(cover + NOISE_SIGMA * torch.randn(cover.shape, generator=noise).to(cover))
        purified = users.purify(noisy)
        if purified is not None:
            sums.add("noisy", psnr(noisy, cover))
            sums.add("purified", psnr(saved(purified), cover))
    count = len(covers)
    return Quality(pairs=count, **{name: total / count for name, total in sums.totals.items()})


@dataclass(frozen=True)
class Half:
    """The recovery with one choice of weights and rotation: PSNR and SSIM with the secret, for each pair."""

    right_weights: bool
    right_rotation: bool
    psnr: Tensor
    ssim: Tensor


@torch.no_grad()
def halves(users: Rotated, covers: Tensor, secrets: Tensor) -> list[Half]:
    """The effect of each half of a key, where keys fill weights and rotate. Pair i belongs to user i mod K.

    A wrong half is the next user's. The scales of the rotation are always the right ones.
    """
    choices = [(True, True), (False, True), (True, False), (False, False)]
    psnrs: list[list[Tensor]] = [[] for _ in choices]
    ssims: list[list[Tensor]] = [[] for _ in choices]
    for i, (cover, secret) in enumerate(singles(covers, secrets)):
        user, other = i % users.count, (i + 1) % users.count
        stego = saved(users.embed(user, cover, secret))
        for choice, psnrs_of, ssims_of in zip(choices, psnrs, ssims):
            weights, rotation = (user if right else other for right in choice)
            recovered = saved(users.recover_with(weights, rotation, stego))
            psnrs_of.append(psnr(recovered, secret))
            ssims_of.append(ssim(recovered, secret))
    return [Half(*choice, torch.cat(p), torch.cat(s)) for choice, p, s in zip(choices, psnrs, ssims)]


def singles(covers: Tensor, secrets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The pairs one by one, each a batch of its own."""
    return zip(torch.split(covers, 1), torch.split(secrets, 1))


def saved(x: Tensor) -> Tensor:
    """An image rounded to 8 bits as in a PNG, in [0, 1]."""
    return torch.round(x.clamp(0, 1) * 255) / 255
