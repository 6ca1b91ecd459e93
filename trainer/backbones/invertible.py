"""The invertible backbone: affine couplings between two Haar-transformed images.

Embedding runs the couplings forwards on cover and secret and keeps the first of
the two results, the stego image. Recovery runs them backwards from the stego
image and zeros for the lost half, and keeps the second. The structure is HiNet's
(Jing et al. 2021) made small: three convolutions a subnet, one Haar level, and one
subnet for both the shift and the scale of a coupling.
Purification also runs backwards, but with W whole. A wrong key is trained to
return the cover instead of the secret; W whole is trained to return a clean image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from . import haar
from .architecture import Affine, Architecture, Image, Layer, Ops, biases

_RGB = 3
# Pixels are in [0, 1]; around zero, "nothing" is the natural value of the lost half.
CENTRE = 0.5


@dataclass(frozen=True)
class Invertible(Architecture):
    haar_levels: int = 1
    couplings: int = 8
    width: int = 32
    depth: int = 3
    """Convolutions in a subnet."""
    log_scale: float = 0.5
    """A coupling scales by at most exp(log_scale) either way; more learns faster and diverges sooner."""
    cover_bound: float = 0.25
    secret_bound: float = 2.0
    """A coupling shifts the cover's half and the secret's by at most this. Images are within 1; without a bound the
    halves drive each other up on covers that are dark or bright throughout."""

    kind: ClassVar[str] = "invertible"

    def __post_init__(self) -> None:
        if min(self.haar_levels, self.couplings, self.width) < 1 or self.depth < 2:
            raise ValueError("invertible: haar_levels, couplings and width start at 1, depth at 2")

    @property
    def factor(self) -> int:
        return 1 << self.haar_levels

    def layers(self) -> list[Layer]:
        layers = []
        for coupling in range(self.couplings):
            for subnet, outputs in (("f", self._channels), ("g", 2 * self._channels)):
                sizes = [self._channels] + [self.width] * (self.depth - 1) + [outputs]
                for i in range(self.depth):
                    first, last = i == 0, i == self.depth - 1
                    # A small last convolution makes every coupling nearly the identity at first.
                    gain = 0.1 if last else 1.0
                    name = f"couplings.{coupling}.{subnet}.{i}"
                    layers.append(Layer(name, (sizes[i + 1], sizes[i], 3, 3), gain, exact=first or last))
        return layers

    @property
    def _channels(self) -> int:
        return _RGB * 4**self.haar_levels

    def affines(self) -> list[Affine]:
        return biases(self.layers())

    def embed(self, ops: Ops, cover: Image, secret: Image) -> Image:
        x, _ = self.forwards(ops, self._transform(ops, cover), self._transform(ops, secret))
        return self._restore(ops, x, cover)

    def recover(self, ops: Ops, stego: Image) -> Image:
        x = self._transform(ops, stego)
        # The lost half is replaced by zeros, its natural value.
        _, y = self.backwards(ops, x, x * 0.0)
        return self._restore(ops, y, stego)

    def purify(self, ops: Ops, noisy: Image) -> Image:
        return self.recover(ops, noisy)

    def forwards(self, ops: Ops, x: Image, y: Image) -> tuple[Image, Image]:
        for i in range(self.couplings):
            shift, scale = self._affine(ops, x, i)
            y = y * ops.exp(scale) + shift
            x = x + self._bounded(ops, self._subnet(ops, y, f"couplings.{i}.f"), self.cover_bound)
        return x, y

    def backwards(self, ops: Ops, x: Image, y: Image) -> tuple[Image, Image]:
        """The inverse of `forwards`."""
        for i in reversed(range(self.couplings)):
            x = x - self._bounded(ops, self._subnet(ops, y, f"couplings.{i}.f"), self.cover_bound)
            shift, scale = self._affine(ops, x, i)
            y = (y - shift) * ops.exp(scale * -1.0)
        return x, y

    def _affine(self, ops: Ops, x: Image, coupling: int) -> tuple[Image, Image]:
        """The shift of a coupling and the logarithm of its scale."""
        shift, scale = ops.split(self._subnet(ops, x, f"couplings.{coupling}.g"), 2, self._channels)
        return self._bounded(ops, shift, self.secret_bound), ops.tanh(scale * 0.5) * self.log_scale

    def _bounded(self, ops: Ops, shift: Image, bound: float) -> Image:
        return ops.tanh(shift * (1 / bound)) * bound

    def _subnet(self, ops: Ops, x: Image, name: str) -> Image:
        for i in range(self.depth):
            x = x if i == 0 else ops.feature(ops.leaky_relu(x), self.width)
            x = ops.conv(x, f"{name}.{i}")
        return x

    def _transform(self, ops: Ops, image: Image) -> Image:
        x = ops.pad(image, self.factor) - CENTRE
        for level in range(self.haar_levels):
            x = haar.bands(ops, x, _RGB * 4**level)
        return x

    def _restore(self, ops: Ops, x: Image, like: Image) -> Image:
        for level in reversed(range(self.haar_levels)):
            x = haar.restore(ops, x, _RGB * 4**level)
        return ops.crop(x + CENTRE, like)
