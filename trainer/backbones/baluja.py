"""Baluja's network (2017): convolutions alone, without normalisation.

The hiding network prepares seven feature maps of the secret and joins them to the cover. Every
activation is ReLU except the last of each stack, which is tanh. At the published width, 50, hiding has
224,020 parameters and revealing 245,653.
Kernels are 4x4 and 2x2. A padding of 2 makes an image one pixel larger and a padding of 1 makes it one
smaller, so they alternate.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

from .architecture import VARIANT, Affine, Architecture, Image, Layer, Ops, biases

# Stacks of convolutions: channels, kernel and padding of each.
_Stack = tuple[tuple[int, int, int, int], ...]
_FEATURES = 7


@dataclass(frozen=True)
class Baluja(Architecture):
    width: int = 50
    """Channels of most convolutions; some have twice as many, some three fifths."""

    kind: ClassVar[str] = "baluja"
    keying: ClassVar[str] = VARIANT

    def __post_init__(self) -> None:
        if self.width < 2:
            raise ValueError("baluja: width starts at 2")

    @property
    def _stacks(self) -> dict[str, _Stack]:
        w, narrow, wide = self.width, 3 * self.width // 5, 2 * self.width
        middle = ((w, w, 4, 1), (w, w, 4, 2))
        return {
            "hide.prepare": ((3, w, 4, 2), *middle, (w, narrow, 2, 0), (narrow, _FEATURES, 2, 1)),
            "hide.join": ((3 + _FEATURES, w, 4, 2), *middle, (w, w, 4, 1), (w, narrow, 2, 1), (narrow, 3, 2, 0)),
            "reveal": ((3, wide, 4, 2), (wide, wide, 4, 2), (wide, w, 4, 1), (w, 3, 2, 0)),
        }

    def layers(self) -> list[Layer]:
        layers = []
        for name, stack in self._stacks.items():
            for i, (inputs, outputs, kernel, _) in enumerate(stack):
                # ReLU halves the variance of its input.
                gain = 1.0 if i == len(stack) - 1 else sqrt(2)
                layers.append(Layer(f"{name}.{i}", (outputs, inputs, kernel, kernel), gain))
        return layers

    def affines(self) -> list[Affine]:
        return biases(self.layers())

    def embed(self, ops: Ops, cover: Image, secret: Image) -> Image:
        # Five convolutions cannot keep the size: the features are one larger than the secret.
        features = ops.crop(self._stack(ops, secret, "hide.prepare"), cover)
        return self._stack(ops, ops.concat([cover, features]), "hide.join")

    def recover(self, ops: Ops, stego: Image) -> Image:
        return self._stack(ops, stego, "reveal")

    def _stack(self, ops: Ops, x: Image, name: str) -> Image:
        for i, (inputs, _, _, padding) in enumerate(self._stacks[name]):
            x = x if i == 0 else ops.feature(ops.relu(x), inputs)
            x = ops.conv(x, f"{name}.{i}", padding=padding)
        return ops.tanh(x)
