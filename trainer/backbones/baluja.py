"""Baluja's network (2017): convolutions alone, without normalisation.

The hiding network prepares seven feature maps of the secret and joins them to the cover. Every
activation is ReLU but the last of each stack, tanh. 224,020 parameters to hide, 245,653 to reveal.
Kernels are 4x4 and 2x2: a padding of 2 makes an image one larger and 1 makes it one smaller, so
that both alternate.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

from .architecture import Affine, Architecture, Image, Layer, Ops, biases

# Stacks of convolutions: channels, kernel and padding of each.
_Stack = tuple[tuple[int, int, int, int], ...]
_PREPARE: _Stack = ((3, 50, 4, 2), (50, 50, 4, 1), (50, 50, 4, 2), (50, 30, 2, 0), (30, 7, 2, 1))
_HIDE: _Stack = ((10, 50, 4, 2), (50, 50, 4, 1), (50, 50, 4, 2), (50, 50, 4, 1), (50, 30, 2, 1), (30, 3, 2, 0))
_REVEAL: _Stack = ((3, 100, 4, 2), (100, 100, 4, 2), (100, 50, 4, 1), (50, 3, 2, 0))
_STACKS = {"hide.prepare": _PREPARE, "hide.join": _HIDE, "reveal": _REVEAL}


@dataclass(frozen=True)
class Baluja(Architecture):
    kind: ClassVar[str] = "baluja"
    keyed: ClassVar[bool] = False

    def layers(self) -> list[Layer]:
        layers = []
        for name, stack in _STACKS.items():
            for i, (inputs, outputs, kernel, _) in enumerate(stack):
                # ReLU halves what goes through it.
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
        for i, (_, _, _, padding) in enumerate(_STACKS[name]):
            x = ops.conv(x if i == 0 else ops.relu(x), f"{name}.{i}", padding=padding)
        return ops.tanh(x)
