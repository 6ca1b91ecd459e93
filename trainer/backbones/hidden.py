"""HiDDeN (Zhu et al. 2018) in the version that hides images: blocks of convolution, batch norm and ReLU.

Hiding takes features of the cover and joins them to the secret, eleven times, and to the
cover. Revealing is eight blocks and a convolution. A discriminator, used in training only, tells
stego images from covers. At the published width, 64, they have 319,299, 263,043 and 76,097 parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .architecture import VARIANT, Affine, Architecture, Image, Layer, Ops, biases, norms, running

_RGB = 3
_COPIES = 11
# Blocks in a row, and their number.
_BLOCKS = {"hide.features": 4, "hide.join": 5, "reveal.blocks": 8, "discriminator.blocks": 3}
# The end of each network: channels and kernel.
_ENDS = {"hide.out": (_RGB, 1), "reveal.out": (_RGB, 3), "discriminator.out": (1, 1)}


@dataclass(frozen=True)
class HiDDeN(Architecture):
    width: int = 64
    """Channels of every block."""

    kind: ClassVar[str] = "hidden"
    keying: ClassVar[str] = VARIANT
    auxiliary: ClassVar[str | None] = "discriminator"

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError("hidden: width starts at 1")

    def layers(self) -> list[Layer]:
        joined = {"hide.join": _COPIES * _RGB + self.width + _RGB}
        layers = []
        for name, count in _BLOCKS.items():
            for i in range(count):
                inputs = joined.get(name, _RGB) if i == 0 else self.width
                layers.append(Layer(f"{name}.{i}", (self.width, inputs, 3, 3)))
        return layers + [Layer(name, (outputs, self.width, k, k)) for name, (outputs, k) in _ENDS.items()]

    def affines(self) -> list[Affine]:
        return [*biases(self.layers()), *norms(self._norms())]

    def statistics(self) -> list[Affine]:
        return running(self._norms())

    def embed(self, ops: Ops, cover: Image, secret: Image) -> Image:
        features = self._blocks(ops, cover, "hide.features")
        joined = ops.concat([secret] * _COPIES + [features, cover])
        return ops.conv(self._blocks(ops, joined, "hide.join"), "hide.out")

    def recover(self, ops: Ops, stego: Image) -> Image:
        return ops.conv(ops.feature(self._blocks(ops, stego, "reveal.blocks"), self.width), "reveal.out")

    def discriminate(self, ops: Ops, image: Image) -> Image:
        """One number an image, the logarithm of the odds that it is a cover: N x 1 x 1 x 1."""
        return ops.conv(ops.mean(self._blocks(ops, image, "discriminator.blocks")), "discriminator.out")

    def _blocks(self, ops: Ops, x: Image, name: str) -> Image:
        for i in range(_BLOCKS[name]):
            x = ops.relu(ops.batch_norm(ops.conv(x, f"{name}.{i}"), f"{name}.{i}.norm"))
        return x

    def _norms(self) -> dict[str, int]:
        return {f"{name}.{i}.norm": self.width for name, count in _BLOCKS.items() for i in range(count)}
