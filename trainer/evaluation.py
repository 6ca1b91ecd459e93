"""Measures a network as its users meet it: with 8-bit images between the steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from . import derivation
from .derivation import KeyPair
from .network import Network

NOISE_SIGMA = 20 / 255
_NOISE_SEED = 20


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Per image, in dB, over all pixels and channels of 8-bit images in [0, 1]."""
    return -10 * torch.log10((a - b).square().mean((1, 2, 3)))


@dataclass
class Quality:
    """Mean PSNR in dB over pairs. For the wrong keys lower is better; see `unrelated`."""

    pairs: int
    stego: float
    recovered: float
    mismatched: float
    """A registered but wrong key's output against the secret."""
    random: float
    """An unregistered key's output against the secret."""
    mismatched_cover: float
    random_cover: float
    unrelated: float
    """Cover against secret: what knowing nothing looks like."""
    purified: float
    noisy: float

    def line(self) -> str:
        return " ".join(f"{name} {value:.2f}" for name, value in vars(self).items() if name != "pairs")


@dataclass
class _Sums:
    totals: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, values: Tensor) -> None:
        self.totals[name] = self.totals.get(name, 0.0) + float(values.sum())


@torch.no_grad()
def measure(network: Network, keys: list[KeyPair], covers: Tensor, secrets: Tensor) -> Quality:
    """Pair i uses key i mod K; its wrong keys are the next one and random key i of seed 0."""
    sums = _Sums()
    noise = torch.Generator().manual_seed(_NOISE_SEED)
    fills = {
        (key.id, role): network.fill(role, getattr(key, role))
        for key in keys
        for role in (derivation.EMBED, derivation.RECOVER)
    }
    for i, (cover, secret) in enumerate(_singles(covers, secrets)):
        key, wrong = keys[i % len(keys)], keys[(i + 1) % len(keys)]
        stego = _saved(network.embed(fills[key.id, derivation.EMBED], cover, secret))
        sums.add("stego", psnr(stego, cover))
        sums.add("unrelated", psnr(cover, secret))

        recovered = _saved(network.recover(fills[key.id, derivation.RECOVER], stego))
        sums.add("recovered", psnr(recovered, secret))
        stranger = network.fill(derivation.RECOVER, derivation.random_pair(0, i).recover)
        for name, fill in (("mismatched", fills[wrong.id, derivation.RECOVER]), ("random", stranger)):
            leaked = _saved(network.recover(fill, stego))
            sums.add(name, psnr(leaked, secret))
            sums.add(f"{name}_cover", psnr(leaked, cover))

        noisy = _saved(cover + NOISE_SIGMA * torch.randn(cover.shape, generator=noise).to(cover))
        sums.add("noisy", psnr(noisy, cover))
        sums.add("purified", psnr(_saved(network.purify(noisy)), cover))
    count = len(covers)
    return Quality(pairs=count, **{name: total / count for name, total in sums.totals.items()})


def _singles(covers: Tensor, secrets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(torch.split(covers, 1), torch.split(secrets, 1))


def _saved(x: Tensor) -> Tensor:
    return torch.round(x.clamp(0, 1) * 255) / 255
