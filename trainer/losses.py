"""The weights of the losses, the `[losses]` of a configuration. methods.py computes the terms."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Losses:
    """Every field is the weight of the term of its name, unless a subclass says otherwise."""

    def terms(self) -> dict[str, float]:
        """The weights by term."""
        return dataclasses.asdict(self)

    def weights(self, progress: float = 1.0, keys: int = 1) -> dict[str, float]:
        """The weights of a step's terms at a share of the budget, with so many key pairs.

        They are divided by the sum of all weights, so that learning rates carry over.
        """
        terms = self.terms()
        whole = sum(terms.values())
        return {name: weight / whole for name, weight in terms.items()}

    def recipe(self) -> str:
        return "Losses " + ", ".join(f"{name} {weight:g}" for name, weight in self.terms().items())


@dataclass(frozen=True)
class KeyedLosses(Losses):
    """The weights of Eq. 7, and the keys of the isolation term. A term of weight 0 is not computed."""

    embed: float = 1.0
    recover: float = 0.75
    purify: float = 0.25
    isolate: float = 0.5
    range: float = 0.0
    """Of how far the stego image is outside of [0, 1], where clamping loses what it carries. The paper has none."""
    unregistered: float = 0.3
    """Share of isolation losses with a fresh random key instead of a registered wrong one."""
    isolate_from: float = 0.0
    isolate_full: float = 0.0
    """Curriculum: the isolation weight rises from 0 to its value between these shares of the budget."""
    reduction: str = "mean"
    """How the terms of the key pairs are joined: `sum` as Eq. 4 and 6 have it, where isolation counts K - 1 times as
    much as recovery and K (K - 1) times as much as purification; `mean` weighs all terms alike, whatever K is."""
    stale_gradient: bool = False
    """Ablation: the gradient of the public PUSNet code, see `network.StaleConv`."""

    def __post_init__(self) -> None:
        if self.reduction not in ("mean", "sum"):
            raise ValueError(f"losses.reduction: {self.reduction!r} is neither 'mean' nor 'sum'")

    def terms(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in ("embed", "recover", "purify", "isolate", "range")}

    def weights(self, progress: float = 1.0, keys: int = 1) -> dict[str, float]:
        """With `sum`, the expectation of a step's loss, which draws one pair and one wrong key, is Eq. 7."""
        if self.reduction == "sum":
            count = {"embed": keys, "recover": keys, "purify": 1, "isolate": keys * (keys - 1), "range": keys}
            weights = {name: count[name] * weight for name, weight in self.terms().items()}
        else:
            weights = super().weights()
        return {**weights, "isolate": weights["isolate"] * self.ramp(progress)}

    def ramp(self, progress: float) -> float:
        """The share of the isolation weight that applies."""
        if progress >= self.isolate_full:
            return 1.0
        return max(0.0, (progress - self.isolate_from) / (self.isolate_full - self.isolate_from))

    def recipe(self) -> str:
        weights = ", ".join(f"{name} {weight:g}" for name, weight in self.terms().items() if weight)
        if self.stale_gradient:
            weights += "; the gradient of the public code: every pass differentiated with the last one's fill"
        if self.isolate == 0:
            return f"PUSNet losses ({weights}), one key pair a step"
        share = f"{self.unregistered:.0%} of the isolation losses with unregistered keys"
        if not self.unregistered:
            share = "isolated from registered keys alone"
        joined = "summed over the key pairs" if self.reduction == "sum" else "averaged over the key pairs"
        return f"PUSNet-MK losses ({weights}; {joined}; {share}), one matched and one wrong key a step"


@dataclass(frozen=True)
class RotatedLosses(Losses):
    """The losses of a network that hides rotated secrets. `recover` is the error of the secret, not of the payload."""

    embed: float = 1.0
    recover: float = 0.75
    purify: float = 0.25
    range: float = 10.0


@dataclass(frozen=True)
class PairLosses(Losses):
    """Baluja and UDH: the stego image against the cover, the recovered image against the secret."""

    embed: float = 1.0
    recover: float = 0.75


@dataclass(frozen=True)
class HiNetLosses(Losses):
    """HiNet's guide and reconstruction, and the low band of the stego image against the cover's."""

    embed: float = 1.0
    recover: float = 5.0
    low: float = 1.0


@dataclass(frozen=True)
class HiDDeNLosses(Losses):
    """HiDDeN's: `adversarial` trains stego images to fool the discriminator, `discriminator` trains the discriminator.

    The latter's weight matters only because the gradient is clipped as a whole: no parameter gets both terms.
    """

    embed: float = 0.75
    recover: float = 1.0
    adversarial: float = 1e-3
    discriminator: float = 1e-2


_LOSSES: dict[str, type[Losses]] = {
    "baluja": PairLosses,
    "hidden": HiDDeNLosses,
    "hinet": HiNetLosses,
    "invertible": KeyedLosses,
    "pusnet": KeyedLosses,
    "rotated": RotatedLosses,
    "rotated-keyed": KeyedLosses,
    "udh": PairLosses,
}


def of(backbone: str) -> type[Losses]:
    """The losses of a backbone."""
    return _LOSSES[backbone]


def wanted(weights: Mapping[str, float]) -> tuple[str, ...]:
    """The terms with a weight above 0."""
    return tuple(name for name, weight in weights.items() if weight)


def total(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Eq. 7 of the paper, for any method."""
    return torch.stack([weights[name] * term for name, term in terms.items()]).sum()
