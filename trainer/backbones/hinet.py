"""HiNet (Jing et al. 2021): sixteen affine couplings between Haar-transformed images.

Every coupling has three dense subnets, phi, rho and eta, of five convolutions; each convolution takes
the input and all earlier outputs. The last one starts at zero, so the network starts as the identity.
Embedding runs forwards and keeps the stego image. Recovery runs the same parameters backwards with
normal values z in place of the lost half. 4,050,240 parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from . import haar
from .architecture import VARIANT, Affine, Architecture, Image, Layer, Ops, biases

_RGB = 3
_BANDS = 4 * _RGB
_DEPTH = 5
# A coupling scales by at most exp(2) either way.
_CLAMP = 4.0
# The gain of the first weights: about the published standard deviation of 0.01.
_GAIN = 0.2


@dataclass(frozen=True)
class HiNet(Architecture):
    couplings: int = 16
    growth: int = 32
    """Channels that each convolution of a subnet adds."""

    kind: ClassVar[str] = "hinet"
    keying: ClassVar[str] = VARIANT

    def __post_init__(self) -> None:
        if min(self.couplings, self.growth) < 1:
            raise ValueError("hinet: couplings and growth start at 1")

    @property
    def factor(self) -> int:
        return 2

    def layers(self) -> list[Layer]:
        layers = []
        for coupling in range(self.couplings):
            for subnet in ("phi", "rho", "eta"):
                for i in range(_DEPTH):
                    last = i == _DEPTH - 1
                    shape = (_BANDS if last else self.growth, _BANDS + i * self.growth, 3, 3)
                    layers.append(Layer(f"couplings.{coupling}.{subnet}.{i}", shape, 0.0 if last else _GAIN))
        return layers

    def affines(self) -> list[Affine]:
        return biases(self.layers())

    def embed(self, ops: Ops, cover: Image, secret: Image) -> Image:
        x, _ = self.forwards(ops, self._bands(ops, cover), self._bands(ops, secret))
        return self._image(ops, x, cover)

    def recover(self, ops: Ops, stego: Image) -> Image:
        x = self._bands(ops, stego)
        _, y = self.backwards(ops, x, ops.normal(x, _BANDS))
        return self._image(ops, y, stego)

    def forwards(self, ops: Ops, x: Image, y: Image) -> tuple[Image, Image]:
        for i in range(self.couplings):
            x = x + self._subnet(ops, y, f"couplings.{i}.phi")
            y = y * ops.exp(self._log_scale(ops, x, i)) + self._subnet(ops, x, f"couplings.{i}.eta")
        return x, y

    def backwards(self, ops: Ops, x: Image, y: Image) -> tuple[Image, Image]:
        """The inverse of `forwards`."""
        for i in reversed(range(self.couplings)):
            eta = f"couplings.{i}.eta"
            hidden = ops.feature(self._hidden(ops, x, eta), _BANDS + (_DEPTH - 1) * self.growth)
            shift = ops.conv(hidden, f"{eta}.{_DEPTH - 1}")
            y = (y - shift) * ops.exp(self._log_scale(ops, x, i) * -1.0)
            x = x - self._subnet(ops, y, f"couplings.{i}.phi")
        return x, y

    def _log_scale(self, ops: Ops, x: Image, coupling: int) -> Image:
        return (ops.sigmoid(self._subnet(ops, x, f"couplings.{coupling}.rho")) - 0.5) * _CLAMP

    def _subnet(self, ops: Ops, x: Image, name: str) -> Image:
        return ops.conv(self._hidden(ops, x, name), f"{name}.{_DEPTH - 1}")

    def _hidden(self, ops: Ops, x: Image, name: str) -> Image:
        for i in range(_DEPTH - 1):
            x = ops.concat([x, ops.leaky_relu(ops.conv(x, f"{name}.{i}"))])
        return x

    def _bands(self, ops: Ops, image: Image) -> Image:
        return haar.bands(ops, ops.pad(image, self.factor), _RGB)

    def _image(self, ops: Ops, x: Image, like: Image) -> Image:
        return ops.crop(haar.restore(ops, x, _RGB), like)
