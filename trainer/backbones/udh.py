"""UDH, universal deep hiding (Zhang et al. 2020): the added signal does not depend on the cover.

Hiding uses the secret alone: a U-Net of five strided convolutions down (4x4, to 64, 128, 256,
512 and 512 channels) and five transposed ones up, with skips, whose output, tanh times 10/255, is
added to the cover. Only its last convolution has a bias. Revealing is six 3x3 convolutions that
end in a sigmoid. 16,659,075 and 742,659 parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from .architecture import VARIANT, Affine, Architecture, Image, Layer, Ops, biases, norms, running

# Channels after each convolution, in multiples of the width: of the downward path, and of revealing.
_DOWN = (1, 2, 4, 8, 8)
_REVEAL = (1, 2, 4, 2, 1)
_DEPTH = len(_DOWN)
_RGB = 3
_STRENGTH = 10 / 255
# Slope of the activations of the downward path.
_SLOPE = 0.2


@dataclass(frozen=True)
class UDH(Architecture):
    width: int = 64
    """Channels after the first convolutions, here and there."""

    kind: ClassVar[str] = "udh"
    keying: ClassVar[str] = VARIANT
    # Reflection can add at most one pixel less than the image has.
    min_side: ClassVar[int] = 17

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError("udh: width starts at 1")

    @property
    def factor(self) -> int:
        return 1 << _DEPTH

    def layers(self) -> list[Layer]:
        down = self._down()
        layers = [Layer(f"hide.down.{i}", (down[i + 1], down[i], 4, 4)) for i in range(_DEPTH)]
        for i in reversed(range(_DEPTH)):
            # The upward path joined with the downward one, except at the innermost level.
            inputs = down[i + 1] * (1 if i == _DEPTH - 1 else 2)
            layers.append(Layer(f"hide.up.{i}", (inputs, down[i], 4, 4)))
        return layers + self._reveals()

    def affines(self) -> list[Affine]:
        return [Affine("hide.up.0.bias", _RGB), *biases(self._reveals()), *norms(self._norms())]

    def statistics(self) -> list[Affine]:
        return running(self._norms())

    def embed(self, ops: Ops, cover: Image, secret: Image) -> Image:
        x = ops.pad(secret, self.factor)
        skips = []
        for i in range(_DEPTH):
            x = ops.conv(x if i == 0 else ops.leaky_relu(x, _SLOPE), f"hide.down.{i}", stride=2, padding=1)
            if 0 < i < _DEPTH - 1:
                x = ops.batch_norm(x, f"hide.down.{i}.norm")
            skips.append(x)
        for i in reversed(range(_DEPTH)):
            if i < _DEPTH - 1:
                x = ops.concat([skips[i], x])
            x = ops.conv_transposed(ops.relu(x), f"hide.up.{i}", stride=2, padding=1)
            if i > 0:
                x = ops.batch_norm(x, f"hide.up.{i}.norm")
        return cover + ops.crop(ops.tanh(x), cover) * _STRENGTH

    def recover(self, ops: Ops, stego: Image) -> Image:
        x = stego
        for i in range(len(_REVEAL) + 1):
            if i > 0:
                x = ops.relu(ops.batch_norm(x, f"reveal.{i - 1}.norm"))
                x = ops.feature(x, _REVEAL[i - 1] * self.width)
            x = ops.conv(x, f"reveal.{i}")
        return ops.sigmoid(x)

    def _reveals(self) -> list[Layer]:
        sizes = [_RGB, *(n * self.width for n in _REVEAL), _RGB]
        return [Layer(f"reveal.{i}", (b, a, 3, 3)) for i, (a, b) in enumerate(pairwise(sizes))]

    def _norms(self) -> dict[str, int]:
        down = self._down()
        return {
            **{f"hide.down.{i}.norm": down[i + 1] for i in range(1, _DEPTH - 1)},
            **{f"hide.up.{i}.norm": down[i] for i in range(1, _DEPTH)},
            **{f"reveal.{i}.norm": n * self.width for i, n in enumerate(_REVEAL)},
        }

    def _down(self) -> list[int]:
        return [_RGB, *(n * self.width for n in _DOWN)]
