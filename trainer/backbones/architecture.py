"""What a backbone is made of, and the operations it is written in."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, Protocol

# An image in whatever form the interpreter works on: NCHW, with + - * between them and numbers.
Image = Any


@dataclass(frozen=True)
class Layer:
    """A convolution weight, OIHW. Masked and filled by keys."""

    name: str
    shape: tuple[int, int, int, int]
    gain: float = 1.0
    """Scale of the trained part at initialisation. Fills are never scaled."""
    exact: bool = False
    """Stays in float32 where training computes the rest in bfloat16."""

    @property
    def size(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True)
class Affine:
    """A bias or a normalisation vector: trained, shared by every key, never filled."""

    name: str
    size: int
    initial: float = 0.0


class Ops(Protocol):
    """The operations that a backbone may use."""

    def conv(self, x: Image, layer: str) -> Image:
        """Convolution of stride 1 with bias, zero-padded to the same size."""

    def group_norm(self, x: Image, name: str, group: int) -> Image:
        """Normalises groups of `group` channels (epsilon 1e-5); affines `name.scale`, `name.shift`."""

    def leaky_relu(self, x: Image) -> Image:
        """Slope 0.01 below zero."""

    def tanh(self, x: Image) -> Image: ...

    def exp(self, x: Image) -> Image: ...

    def concat(self, xs: Sequence[Image]) -> Image:
        """Joins channels."""

    def split(self, x: Image, parts: int, channels: int) -> Sequence[Image]:
        """Parts channels into that many images of `channels` channels each."""

    def phases(self, x: Image, channels: int) -> Sequence[Image]:
        """The four half-size images of even and odd rows and columns: 00, 01, 10, 11."""

    def interleave(self, phases: Sequence[Image]) -> Image:
        """The inverse of `phases`."""

    def pad(self, x: Image, factor: int) -> Image:
        """Reflects at the bottom and on the right until both sides are multiples of factor."""

    def crop(self, x: Image, like: Image) -> Image:
        """The top left corner of x, as large as `like`."""


class Architecture:
    """A backbone. Its fields (it is a dataclass) are the manifest's `config`."""

    kind: ClassVar[str]
    min_side: ClassVar[int] = 16

    @property
    def factor(self) -> int:
        """Sides are padded to a multiple of it."""
        return 1

    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = dataclasses.asdict(self)  # type: ignore[call-overload]  # subclasses are dataclasses
        return config

    def layers(self) -> list[Layer]:
        raise NotImplementedError

    def affines(self) -> list[Affine]:
        raise NotImplementedError

    def embed(self, ops: Ops, cover: Image, secret: Image) -> Image:
        raise NotImplementedError

    def recover(self, ops: Ops, stego: Image) -> Image:
        raise NotImplementedError

    def purify(self, ops: Ops, noisy: Image) -> Image:
        raise NotImplementedError


def biases(layers: Sequence[Layer]) -> list[Affine]:
    return [Affine(f"{layer.name}.bias", layer.shape[0]) for layer in layers]
