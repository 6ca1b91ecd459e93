"""The paper's backbone, to the layer: 20 convolutions, 18 group normalisations.

Stem 3-64-128-256; three residual blocks 256-128-256, the third of which normalises and
activates before the addition; two parallel convolutions 256-128, one for the secret and
one for the cover, concatenated; one plain and two residual blocks; head 256-128-64-3,
linear. All but the stem's first convolution and the two parallel ones normalise and
activate what goes into them. 4,879,107 parameters.

Embedding runs the trunk (stem and first blocks) on both images. Recovery feeds one
trunk to both middle convolutions. Purification takes the prediction off its input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .architecture import Affine, Architecture, Image, Layer, Ops, biases, norms

_GROUP = 16
_WIDE, _NARROW = 256, 128


@dataclass(frozen=True)
class PUSNet(Architecture):
    kind: ClassVar[str] = "pusnet"

    def layers(self) -> list[Layer]:
        sizes = [("stem.0", 3, 64), ("stem.1", 64, _NARROW), ("stem.2", _NARROW, _WIDE)]
        sizes += [conv for i in range(3) for conv in _block(f"first.{i}")]
        sizes += [("middle.secret", _WIDE, _NARROW), ("middle.cover", _WIDE, _NARROW)]
        sizes += [conv for i in range(3) for conv in _block(f"second.{i}")]
        sizes += [("head.0", _WIDE, _NARROW), ("head.1", _NARROW, 64), ("head.2", 64, 3)]
        ends = ("stem.0", "head.2")
        return [Layer(name, (outputs, inputs, 3, 3), exact=name in ends) for name, inputs, outputs in sizes]

    def affines(self) -> list[Affine]:
        sizes = {"stem.1.norm": 64, "stem.2.norm": _NARROW}
        for blocks in ("first", "second"):
            for i in range(3):
                sizes |= {f"{blocks}.{i}.0.norm": _WIDE, f"{blocks}.{i}.1.norm": _NARROW}
        sizes |= {"first.2.norm": _WIDE}
        sizes |= {"head.0.norm": _WIDE, "head.1.norm": _NARROW, "head.2.norm": 64}
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
        for i in range(3):
            x = self._layer(ops, x, f"head.{i}")
        return x

    def _residual(self, ops: Ops, x: Image, block: str) -> Image:
        for i in range(2):
            x = self._layer(ops, x, f"{block}.{i}")
        return x

    def _layer(self, ops: Ops, x: Image, name: str) -> Image:
        return ops.conv(self._activate(ops, x, f"{name}.norm"), name)

    def _activate(self, ops: Ops, x: Image, norm: str) -> Image:
        return ops.leaky_relu(ops.group_norm(x, norm, _GROUP))


def _block(name: str) -> list[tuple[str, int, int]]:
    return [(f"{name}.0", _WIDE, _NARROW), (f"{name}.1", _NARROW, _WIDE)]
