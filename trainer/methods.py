"""The methods: the training step of each.

`draw` draws all random values of a step; `terms` computes from these and the images the terms that the losses
weight. In every method, recovery sees a stego image of 8 bits (straight-through); the public versions round it only
in their tests.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, huber_loss, softplus

from . import derivation
from .backbones import haar
from .backbones.invertible import CENTRE
from .derivation import KeyPair
from .evaluation import NOISE_SIGMA
from .losses import KeyedLosses, Losses
from .network import Network, eight_bit
from .payload import BANDS, Statistics

Terms = dict[str, Tensor]


class Method(Protocol):
    def draw(self, cover: Tensor, random: np.random.Generator, generator: torch.Generator, progress: float) -> Any:
        """The random values of a step, for `terms`, at a share of the budget."""

    def terms(self, drawn: Any, cover: Tensor, secret: Tensor, wanted: Collection[str]) -> Terms:
        """The terms of one step. Those that are not wanted need not be computed."""


def create(network: Network, losses: Losses, keys: Sequence[KeyPair], enrolled: int) -> Method:
    """The method of a network's backbone. The last `enrolled` of the key pairs were added to a trained network."""
    rotated = network.architecture.rotated
    if isinstance(losses, KeyedLosses):
        return (KeyedRotated if rotated else Keyed)(network, losses, keys, enrolled)
    if rotated:
        return Rotated(network)
    unkeyed: dict[str, type[Pair]] = {"hidden": HiDDeN, "hinet": HiNet}
    return unkeyed.get(network.architecture.kind, Pair)(network)


@dataclass(frozen=True)
class Drawn:
    """The random choices of a keyed step: one user's embed and recover fill, another's recover fill, and noise."""

    embed: Tensor
    recover: Tensor
    wrong: Tensor | None
    noise: Tensor


class Keyed:
    """PUSNet and PUSNet-MK: Eq. 1 to 7 of the paper, one matched and one wrong key a step."""

    def __init__(self, network: Network, losses: KeyedLosses, keys: Sequence[KeyPair], enrolled: int = 0) -> None:
        self._network = network
        self._losses = losses
        self._enrolled = enrolled
        # The paper's terms are squares; the invertible backbone's couplings need an error linear for large values.
        self._error = squared if losses.reduction == "sum" else error
        self.fills = [
            (network.fill(derivation.EMBED, key.embed), network.fill(derivation.RECOVER, key.recover)) for key in keys
        ]

    def draw(self, cover: Tensor, random: np.random.Generator, generator: torch.Generator, progress: float) -> Drawn:
        noise = NOISE_SIGMA * torch.randn(cover.shape, generator=generator, device=cover.device)
        right = self.user(random, progress)
        return Drawn(*self.fills[right], self._wrong(right, random, generator), noise)

    def user(self, random: np.random.Generator, progress: float) -> int:
        """The user of a step: any user, but in the first half mostly an enrolled one if there are any."""
        if self._enrolled and progress < 0.5 and random.random() < 0.5:
            return int(random.integers(len(self.fills) - self._enrolled, len(self.fills)))
        return int(random.integers(len(self.fills)))

    def _wrong(self, right: int, random: np.random.Generator, generator: torch.Generator) -> Tensor | None:
        if self._losses.isolate == 0:
            return None
        if random.random() < self._losses.unregistered:
            return self._network.random_fill(generator)
        other = (right + int(random.integers(1, len(self.fills)))) % len(self.fills)
        return self.fills[other][1]

    def terms(self, drawn: Drawn, cover: Tensor, secret: Tensor, wanted: Collection[str]) -> Terms:
        network = self._network
        if self._losses.stale_gradient:
            network.differentiated_with = drawn.recover if drawn.wrong is None else drawn.wrong
        # Compared before clamping, so that values far out of range are pulled back.
        raw = network.embed(drawn.embed, cover, secret)
        stego = eight_bit(raw)
        terms = {"embed": self._error(raw, cover)}
        if "range" in wanted:
            terms["range"] = outside(raw)
        if "recover" in wanted:
            terms["recover"] = self._error(network.recover(drawn.recover, stego), secret)
        if "purify" in wanted:
            terms["purify"] = self._error(network.purify(eight_bit(cover + drawn.noise)), cover)
        if "isolate" in wanted and drawn.wrong is not None:
            terms["isolate"] = self._error(network.recover(drawn.wrong, stego), cover)
        return terms


@dataclass(frozen=True)
class DrawnPayload:
    """The random values of a rotated step: bands, the weights of errors in them, and noise to purify."""

    bands: Tensor
    weights: Tensor
    noise: Tensor

    def image(self, network: Network) -> Tensor:
        return haar.restore(network.operations(), self.bands, BANDS // 4) + CENTRE

    def error(self, network: Network, recovered: Tensor) -> Tensor:
        """The error of the secret if this payload was recovered."""
        bands = haar.bands(network.operations(), recovered - CENTRE, BANDS // 4)
        return error(bands * self.weights, self.bands * self.weights)


class Rotated:
    """A network that hides rotated secrets: drawn payloads have the distribution of rotated photographs."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._statistics = Statistics(network.weight.device)

    def draw(
        self, cover: Tensor, random: np.random.Generator, generator: torch.Generator, progress: float
    ) -> DrawnPayload:
        noise = NOISE_SIGMA * torch.randn(cover.shape, generator=generator, device=cover.device)
        return DrawnPayload(*self._statistics.draw(cover, generator), noise)

    def terms(self, drawn: DrawnPayload, cover: Tensor, secret: Tensor, wanted: Collection[str]) -> Terms:
        network = self._network
        raw = network.embed(None, cover, drawn.image(network))
        recovered = network.recover(None, eight_bit(raw))
        terms = {"embed": error(raw, cover), "range": outside(raw), "recover": drawn.error(network, recovered)}
        if "purify" in wanted:
            terms["purify"] = error(network.purify(eight_bit(cover + drawn.noise)), cover)
        return terms


@dataclass(frozen=True)
class DrawnBoth:
    """The random values of a step of a keyed method on rotated secrets."""

    keys: Drawn
    payload: DrawnPayload

    @property
    def noise(self) -> Tensor:
        return self.payload.noise


class KeyedRotated:
    """Keyed weights on rotated secrets. A wrong key's weights give the cover instead of the payload."""

    def __init__(self, network: Network, losses: KeyedLosses, keys: Sequence[KeyPair], enrolled: int = 0) -> None:
        if losses.stale_gradient:
            raise ValueError("losses.stale_gradient: the ablation is of plain secrets")
        self._network = network
        self._keyed = Keyed(network, losses, keys, enrolled)
        self._rotated = Rotated(network)

    def draw(
        self, cover: Tensor, random: np.random.Generator, generator: torch.Generator, progress: float
    ) -> DrawnBoth:
        keys = self._keyed.draw(cover, random, generator, progress)
        return DrawnBoth(keys, self._rotated.draw(cover, random, generator, progress))

    def terms(self, drawn: DrawnBoth, cover: Tensor, secret: Tensor, wanted: Collection[str]) -> Terms:
        """The errors are `Rotated`'s, so that the two methods can be compared."""
        network, keys = self._network, drawn.keys
        raw = network.embed(keys.embed, cover, drawn.payload.image(network))
        stego = eight_bit(raw)
        terms = {"embed": error(raw, cover), "range": outside(raw)}
        terms["recover"] = drawn.payload.error(network, network.recover(keys.recover, stego))
        if "purify" in wanted:
            terms["purify"] = error(network.purify(eight_bit(cover + drawn.noise)), cover)
        if "isolate" in wanted and keys.wrong is not None:
            terms["isolate"] = error(network.recover(keys.wrong, stego), cover)
        return terms


class Pair:
    """Baluja and UDH: the two errors that every method has, without keys."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def draw(self, cover: Tensor, random: np.random.Generator, generator: torch.Generator, progress: float) -> None:
        return None

    def terms(self, drawn: None, cover: Tensor, secret: Tensor, wanted: Collection[str]) -> Terms:
        # Not clamped, so that values far out of range are pulled back.
        stego = self._network.embed(None, cover, secret)
        recovered = self._network.recover(None, eight_bit(stego))
        return {"embed": error(stego, cover), "recover": error(recovered, secret), **self._more(cover, stego)}

    def _more(self, cover: Tensor, stego: Tensor) -> Terms:
        return {}


class HiNet(Pair):
    """The low band as well. Recovery runs with a new z in every step."""

    def _more(self, cover: Tensor, stego: Tensor) -> Terms:
        # The published losses are sums. The low band has a quarter of the pixels, and each of its values is twice the
        # mean of four. Written as means, its loss is the mean of the squared means.
        return {"low": error(avg_pool2d(stego, 2), avg_pool2d(cover, 2))}


class HiDDeN(Pair):
    """HiDDeN and its discriminator, updated in one step: each sees the other's previous state."""

    def _more(self, cover: Tensor, stego: Tensor) -> Terms:
        return adversarial(self._network, cover, stego)


def adversarial(network: Network, cover: Tensor, stego: Tensor) -> Terms:
    """Cross entropies in nats: for the stego image being taken for a cover, and for the discriminator's verdicts.

    The first trains only the networks that made the stego image, the second only the discriminator.
    """
    fake = network.discriminate(stego.detach())
    return {
        "adversarial": softplus(-network.discriminate(stego, frozen=True)).mean(),
        "discriminator": softplus(-network.discriminate(cover)).mean() + softplus(fake).mean(),
    }


def outside(x: Tensor) -> Tensor:
    """The mean squared distance of values from [0, 1]: clamping would lose what lies outside."""
    return (x - x.clamp(0, 1)).square().mean()


def squared(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared error."""
    return (a - b).square().mean()


def error(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared error, but linear beyond half of the range of a pixel.

    The couplings can diverge on one image, whose gradient must not dominate the others'.
    """
    return 2 * huber_loss(a, b, delta=0.5)
