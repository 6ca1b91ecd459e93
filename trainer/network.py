"""A backbone with its parameters, in PyTorch: keyed weights inside the autograd graph.

All convolution weights are one vector W, in the order of the layer table, and all
biases and normalisations another. A pass runs W*M + fill*(1-M): each pass has its own
fill, so each is differentiated with its own, and W gets a gradient only where M is 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import derivation
from .backbones import LEAKY_SLOPE, Affine, Architecture

NORM_EPSILON = 1e-5
# The share by which one batch moves running statistics.
_MOMENTUM = 0.1


@dataclass(frozen=True)
class Arithmetic:
    """How training computes: which convolutions are in bfloat16 (all but the exact ones), and the layout of images."""

    bfloat16: bool = False
    channels_last: bool = False

    @property
    def memory(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format


class TorchOps:
    """Computes a backbone (see `backbones.Ops`) with the given vectors.

    With `learning`, a generator, it computes a step of training: batch norms see the batch, and
    move the statistics; normal values come from the generator.
    """

    def __init__(
        self,
        architecture: Architecture,
        weight: Tensor,
        affine: Tensor,
        statistics: Tensor | None = None,
        arithmetic: Arithmetic | None = None,
        learning: torch.Generator | None = None,
        stale: Tensor | None = None,
    ) -> None:
        arithmetic = arithmetic or Arithmetic()
        self._learning = learning
        self._stale = None if stale is None else TorchOps(architecture, stale, affine, arithmetic=arithmetic)
        layers = architecture.layers()
        self._weights = {}
        for layer, part in zip(layers, torch.split(weight, [layer.size for layer in layers])):
            part = part.view(layer.shape)
            if arithmetic.bfloat16 and not layer.exact:
                part = part.bfloat16()
            self._weights[layer.name] = part.contiguous(memory_format=arithmetic.memory)
        self._affines = _named(architecture.affines(), affine)
        self._statistics = {} if statistics is None else _named(architecture.statistics(), statistics)

    def conv(self, x: Tensor, layer: str, stride: int = 1, padding: int | None = None) -> Tensor:
        weight = self._weights[layer]
        if padding is None:
            padding = weight.shape[2] // 2
        if self._stale is not None:
            return StaleConv.apply(
                x.to(weight.dtype), weight, self._stale._weights[layer], self._bias(layer), stride, padding
            )
        return F.conv2d(x.to(weight.dtype), weight, self._bias(layer), stride, padding)

    def conv_transposed(self, x: Tensor, layer: str, stride: int, padding: int) -> Tensor:
        weight = self._weights[layer]
        return F.conv_transpose2d(x.to(weight.dtype), weight, self._bias(layer), stride, padding)

    def _bias(self, layer: str) -> Tensor | None:
        bias = self._affines.get(f"{layer}.bias")
        return None if bias is None else bias.to(self._weights[layer].dtype)

    def group_norm(self, x: Tensor, name: str, group: int) -> Tensor:
        scale, shift = self._affines[f"{name}.scale"], self._affines[f"{name}.shift"]
        return F.group_norm(x.to(scale.dtype), x.shape[1] // group, scale, shift, NORM_EPSILON)

    def batch_norm(self, x: Tensor, name: str) -> Tensor:
        scale, shift = self._affines[f"{name}.scale"], self._affines[f"{name}.shift"]
        mean, variance = self._statistics[f"{name}.mean"], self._statistics[f"{name}.variance"]
        learning = self._learning is not None
        return F.batch_norm(x.to(scale.dtype), mean, variance, scale, shift, learning, _MOMENTUM, NORM_EPSILON)

    def leaky_relu(self, x: Tensor, slope: float = LEAKY_SLOPE) -> Tensor:
        return F.leaky_relu(x, slope)

    def relu(self, x: Tensor) -> Tensor:
        return F.relu(x)

    def sigmoid(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x)

    def tanh(self, x: Tensor) -> Tensor:
        return torch.tanh(x)

    def exp(self, x: Tensor) -> Tensor:
        return torch.exp(x)

    def concat(self, xs: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(xs), 1)

    def split(self, x: Tensor, parts: int, channels: int) -> Sequence[Tensor]:
        return torch.split(x, [channels] * parts, 1)

    def phases(self, x: Tensor, channels: int) -> Sequence[Tensor]:
        return x[..., 0::2, 0::2], x[..., 0::2, 1::2], x[..., 1::2, 0::2], x[..., 1::2, 1::2]

    def interleave(self, phases: Sequence[Tensor]) -> Tensor:
        # pixel_shuffle takes the phases of one channel side by side.
        n, channels, height, width = phases[0].shape
        return F.pixel_shuffle(torch.stack(list(phases), 2).reshape(n, 4 * channels, height, width), 2)

    def mean(self, x: Tensor) -> Tensor:
        return x.mean((2, 3), keepdim=True)

    def feature(self, x: Tensor, channels: int) -> Tensor:
        return x

    def normal(self, like: Tensor, channels: int) -> Tensor:
        batch, _, height, width = like.shape
        if self._learning is None:
            z = torch.from_numpy(derivation.normal((channels, height, width)))
            return z.to(like).expand(batch, -1, -1, -1)
        shape = (batch, channels, height, width)
        return torch.randn(shape, generator=self._learning, device=self._learning.device).to(like)

    def pad(self, x: Tensor, factor: int) -> Tensor:
        bottom, right = -x.shape[2] % factor, -x.shape[3] % factor
        return F.pad(x, (0, right, 0, bottom), mode="reflect") if bottom or right else x

    def crop(self, x: Tensor, like: Tensor) -> Tensor:
        return x[..., : like.shape[2], : like.shape[3]]


class StaleConv(torch.autograd.Function):
    """A convolution whose gradient towards its input is that of another weight.

    The public PUSNet code differentiates this way: it swaps the weights under autograd between the passes of a step and
    runs one backward pass, so every pass is differentiated with the last fill. It is here as an ablation.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, stale: Tensor, bias: Tensor | None, stride: int, padding: int
    ) -> Tensor:
        ctx.save_for_backward(x, stale)
        ctx.biased, ctx.stride, ctx.padding = bias is not None, stride, padding
        return F.conv2d(x, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, stale = ctx.saved_tensors
        to_x = torch.nn.grad.conv2d_input(x.shape, stale, gradient, ctx.stride, ctx.padding)
        to_weight = torch.nn.grad.conv2d_weight(x, stale.shape, gradient, ctx.stride, ctx.padding)
        return to_x, to_weight, None, gradient.sum((0, 2, 3)) if ctx.biased else None, None, None


class _Counting(TorchOps):
    """Counts the multiplications of convolutions while it computes."""

    macs = 0

    def conv(self, x: Tensor, layer: str, stride: int = 1, padding: int | None = None) -> Tensor:
        y = super().conv(x, layer, stride, padding)
        self.macs += y[:, 0].numel() * self._weights[layer].numel()
        return y

    def conv_transposed(self, x: Tensor, layer: str, stride: int, padding: int) -> Tensor:
        self.macs += x[:, 0].numel() * self._weights[layer].numel()
        return super().conv_transposed(x, layer, stride, padding)


class _Collecting(TorchOps):
    """Keeps the last marked feature."""

    marked: Tensor

    def feature(self, x: Tensor, channels: int) -> Tensor:
        self.marked = x
        return x


class Network(nn.Module):
    """A backbone, its mask and its parameters.

    Images are NCHW RGB in [0, 1]; outputs are not clamped. A fill is the flat vector
    that `fill` makes from a key, or None where there are no keys.
    """

    mask: Tensor
    statistics: Tensor
    _limits: Tensor

    def __init__(self, architecture: Architecture, alpha: float, mask_seed: bytes, seed: int = 0) -> None:
        super().__init__()
        self.architecture = architecture
        self.alpha = alpha
        self.arithmetic = Arithmetic()
        self.learning: torch.Generator | None = None
        """Set while a step of training computes, see `TorchOps`."""
        self.differentiated_with: Tensor | None = None
        """The fill that the gradient of every pass takes: an ablation, see `StaleConv`."""
        self.mask_seed = mask_seed
        layers = architecture.layers()
        mask = [derivation.mask(layer.name, layer.shape, mask_seed, alpha) for layer in layers]
        self.register_buffer("mask", torch.from_numpy(_flat(mask)))
        limits = [np.full(layer.size, derivation.limit(layer.shape), np.float32) for layer in layers]
        self.register_buffer("_limits", torch.from_numpy(_flat(limits)), persistent=False)
        # The derivation generates the initial weights, so that they are the same everywhere.
        key = hashlib.sha256(b"stegomq.init\x00" + str(seed).encode()).digest()
        initial = [derivation.fill("init", layer.name, layer.shape, key) * np.float32(layer.gain) for layer in layers]
        self.weight = nn.Parameter(torch.from_numpy(_flat(initial)))
        self.affine = nn.Parameter(_initial(architecture.affines()))
        self.register_buffer("statistics", _initial(architecture.statistics()))

    @property
    def parameter_count(self) -> int:
        """The number of exported parameters; those for training only do not count."""
        auxiliary = f"{self.architecture.auxiliary}."
        return sum(part.size for part in self.architecture.parameters() if not part.name.startswith(auxiliary))

    def vectors(self) -> dict[str, Tensor]:
        """All values that training changes: the parameters, and the running statistics if there are any."""
        vectors: dict[str, Tensor] = dict(self.named_parameters())
        if self.statistics.numel():
            vectors["statistics"] = self.statistics
        return vectors

    def fill(self, role: str, key: bytes) -> Tensor:
        layers = self.architecture.layers()
        values = [derivation.fill(role, layer.name, layer.shape, key) for layer in layers]
        return torch.from_numpy(_flat(values)).to(self.weight)

    def random_fill(self, generator: torch.Generator) -> Tensor:
        """The fill of an unregistered key, from the same distribution but cheaper."""
        uniform = torch.rand(self.weight.numel(), generator=generator, dtype=torch.float32, device=generator.device).to(
            self._limits.device
        )
        return ((2 * uniform - 1) * self._limits).to(self.weight)

    def embed(self, fill: Tensor | None, cover: Tensor, secret: Tensor) -> Tensor:
        return self.architecture.embed(self._ops(self.keyed(fill)), self._image(cover), self._image(secret))

    def recover(self, fill: Tensor | None, stego: Tensor) -> Tensor:
        return self.architecture.recover(self._ops(self.keyed(fill)), self._image(stego))

    def features(self, fill: Tensor | None, stego: Tensor) -> Tensor:
        """The means over each image of the activations that go into recovery's last convolution: [batch, channels]."""
        ops = _Collecting(self.architecture, self.keyed(fill), self.affine, self.statistics, self.arithmetic)
        self.architecture.recover(ops, self._image(stego))
        return ops.marked.mean((2, 3))

    def purify(self, noisy: Tensor) -> Tensor:
        return self.architecture.purify(self._ops(self.whole()), self._image(noisy))

    def operations(self) -> TorchOps:
        """Operations without weights, such as the Haar transform."""
        return self._ops(self.weight)

    def discriminate(self, image: Tensor, frozen: bool = False) -> Tensor:
        """The output of HiDDeN's discriminator; with `frozen` only the image gets a gradient."""
        weight, affine = (p.detach() if frozen else p for p in (self.weight, self.affine))
        ops = TorchOps(self.architecture, weight, affine, self.statistics, self.arithmetic, self.learning)
        return self.architecture.discriminate(ops, self._image(image))

    @torch.no_grad()
    def gmac(self, operation: str, side: int) -> float:
        """Billions of multiply-accumulates of one square image in "embed", "recover" or "purify"."""
        weight, affine, statistics = (x.to("meta") for x in (self.weight, self.affine, self.statistics))
        ops = _Counting(self.architecture, weight, affine, statistics)  # computes shapes only
        images = [weight.new_zeros(1, 3, side, side)] * (2 if operation == "embed" else 1)
        getattr(self.architecture, operation)(ops, *images)
        return ops.macs / 1e9

    def keyed(self, fill: Tensor | None) -> Tensor:
        """W*M + fill*(1-M) (the paper's Eq. 2), or W without a key."""
        return self.weight if fill is None else torch.where(self.mask, self.weight, fill)

    def whole(self) -> Tensor:
        """W for purification (Eq. 1): weights outside the mask are used but frozen."""
        return torch.where(self.mask, self.weight, self.weight.detach())

    def _ops(self, weight: Tensor) -> TorchOps:
        stale = None if self.differentiated_with is None else self.keyed(self.differentiated_with).detach()
        return TorchOps(self.architecture, weight, self.affine, self.statistics, self.arithmetic, self.learning, stale)

    def _image(self, x: Tensor) -> Tensor:
        return x.contiguous(memory_format=self.arithmetic.memory)


def _named(parts: Sequence[Affine], vector: Tensor) -> dict[str, Tensor]:
    return dict(zip((part.name for part in parts), torch.split(vector, [part.size for part in parts])))


def _initial(parts: Sequence[Affine]) -> Tensor:
    values = [np.full(part.size, part.initial, np.float32) for part in parts]
    return torch.from_numpy(_flat([np.zeros(0, np.float32), *values]))


def _flat(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([part.reshape(-1) for part in parts])


def eight_bit(x: Tensor) -> Tensor:
    """The image rounded to 8 bits, as in a PNG; its gradient is that of the identity (straight-through)."""
    return x + (torch.round(x.clamp(0, 1) * 255) / 255 - x).detach()
