"""The paper's backbone, to the layer: 20 convolutions, 18 group normalisations.

Stem 3-64-128-256; three residual blocks 256-128-256, the third of which normalises and
activates before the addition; two parallel convolutions 256-128, one for the secret and
one for the cover, concatenated; one plain and two residual blocks; head 256-128-64-3,
linear. Every convolution normalises and activates its input, except the stem's first
and the two parallel ones. 4,879,107 parameters at the published width, 64.

Embedding runs the trunk (stem and first blocks) on both images. Recovery feeds one
trunk to both middle convolutions. Purification subtracts the prediction from its input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .architecture import Affine, Architecture, Image, Layer, Ops, biases, norms

_GROUP = 16


@dataclass(frozen=True)
class PUSNet(Architecture):
    width: int = 64
    """Channels after the first convolution; twice as many are narrow, four times wide."""

    kind: ClassVar[str] = "pusnet"

    def __post_init__(self) -> None:
        if self.width < 1 or self.width % _GROUP:
            raise ValueError(f"pusnet: width must be a multiple of {_GROUP}")

    @property
    def _sizes(self) -> tuple[int, int, int]:
        return self.width, 2 * self.width, 4 * self.width

    def layers(self) -> list[Layer]:
        thin, narrow, wide = self._sizes
        block = [("0", wide, narrow), ("1", narrow, wide)]
        sizes = [("stem.0", 3, thin), ("stem.1", thin, narrow), ("stem.2", narrow, wide)]
        sizes += [(f"first.{i}.{end}", *ends) for i in range(3) for end, *ends in block]
        sizes += [("middle.secret", wide, narrow), ("middle.cover", wide, narrow)]
        sizes += [(f"second.{i}.{end}", *ends) for i in range(3) for end, *ends in block]
        sizes += [("head.0", wide, narrow), ("head.1", narrow, thin), ("head.2", thin, 3)]
        ends = ("stem.0", "head.2")
        return [Layer(name, (outputs, inputs, 3, 3), exact=name in ends) for name, inputs, outputs in sizes]

    def affines(self) -> list[Affine]:
        thin, narrow, wide = self._sizes
        sizes = {"stem.1.norm": thin, "stem.2.norm": narrow}
        for blocks in ("first", "second"):
            for i in range(3):
                sizes |= {f"{blocks}.{i}.0.norm": wide, f"{blocks}.{i}.1.norm": narrow}
        sizes |= {"first.2.norm": wide}
        sizes |= {"head.0.norm": wide, "head.1.norm": narrow, "head.2.norm": thin}
        return biases(self.layers()) + norms(sizes)

    def embed(self, ops: Ops, cover: Image, secret: Image) -> Image:
        return self._predict(ops, self._trunk(ops, secret), self._trunk(ops, cover))

    def recover(self, ops: Ops, stego: Image) -> Image:
        trunk = self._trunk(ops, stego)
        return self._predict(ops, trunk, trunk)

    def purify(self, ops: Ops, noisy: Image) -> Image:
        return noisy - self.recover(ops, noisy)

    def _trunk(self, ops: Ops, x: Image) -> Image:
        x = ops.conv(x, "stem.0")
        for i in (1, 2):
            x = self._layer(ops, x, f"stem.{i}")
        x = x + self._residual(ops, x, "first.0")
        x = x + self._residual(ops, x, "first.1")
        return x + self._activate(ops, self._residual(ops, x, "first.2"), "first.2.norm")

    def _predict(self, ops: Ops, secret: Image, cover: Image) -> Image:
        x = ops.concat([ops.conv(secret, "middle.secret"), ops.conv(cover, "middle.cover")])
        x = self._residual(ops, x, "second.0")
        x = x + self._residual(ops, x, "second.1")
        x = x + self._residual(ops, x, "second.2")
        for i in range(2):
            x = self._layer(ops, x, f"head.{i}")
        x = ops.feature(self._activate(ops, x, "head.2.norm"), self.width)
        return ops.conv(x, "head.2")

    def _residual(self, ops: Ops, x: Image, block: str) -> Image:
        for i in range(2):
            x = self._layer(ops, x, f"{block}.{i}")
        return x

    def _layer(self, ops: Ops, x: Image, name: str) -> Image:
        return ops.conv(self._activate(ops, x, f"{name}.norm"), name)

    def _activate(self, ops: Ops, x: Image, norm: str) -> Image:
        return ops.leaky_relu(ops.group_norm(x, norm, _GROUP))
