"""The parts of a backbone, and the operations that describe it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, Protocol

LEAKY_SLOPE = 0.01

WEIGHTS = "weights"
"""A key fills the weights outside the mask."""
VARIANT = "variant"
"""A network of its own for each key."""
ROTATION = "rotation"
"""One network without keys hides what a key has rotated."""

# An image in the interpreter's own form: NCHW, with + - * between images and numbers.
Image = Any


@dataclass(frozen=True)
class Layer:
    """A convolution weight: OIHW, or IOHW of a transposed convolution. Masked and filled by keys, if there are any."""

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
    """A bias or a normalisation vector: trained, shared by every key, never filled. Or a statistic: not trained."""

    name: str
    size: int
    initial: float = 0.0


class Ops(Protocol):
    """The operations that a backbone may use."""

    def conv(self, x: Image, layer: str, stride: int = 1, padding: int | None = None) -> Image:
        """Convolution, with bias where there is an affine `layer.bias`.

        Zeros are added on every side: half of the kernel, which keeps the size where it is odd, or `padding`.
        """

    def conv_transposed(self, x: Image, layer: str, stride: int, padding: int) -> Image:
        """The transpose of `conv` in its image, with bias where there is one; the layer is IOHW."""

    def group_norm(self, x: Image, name: str, group: int) -> Image:
        """Normalises groups of `group` channels (epsilon 1e-5); affines `name.scale`, `name.shift`."""

    def batch_norm(self, x: Image, name: str) -> Image:
        """Normalises channels (epsilon 1e-5); affines as above, statistics `name.mean`, `name.variance`.

        Over the batch while training, with the running statistics otherwise: an image's result depends on it alone.
        """

    def leaky_relu(self, x: Image, slope: float = LEAKY_SLOPE) -> Image:
        """`slope` times x below zero."""

    def relu(self, x: Image) -> Image: ...

    def sigmoid(self, x: Image) -> Image: ...

    def tanh(self, x: Image) -> Image: ...

    def exp(self, x: Image) -> Image: ...

    def concat(self, xs: Sequence[Image]) -> Image:
        """Joins channels."""

    def split(self, x: Image, parts: int, channels: int) -> Sequence[Image]:
        """Splits channels into images of `channels` channels each."""

    def phases(self, x: Image, channels: int) -> Sequence[Image]:
        """The four half-size images of even and odd rows and columns: 00, 01, 10, 11."""

    def interleave(self, phases: Sequence[Image]) -> Image:
        """The inverse of `phases`."""

    def mean(self, x: Image) -> Image:
        """The mean of every channel: one pixel."""

    def feature(self, x: Image, channels: int) -> Image:
        """Marks x: the features of a recovery are the means of the last marked value. Returns x.

        Recovery marks the inputs of its last convolution.
        """

    def normal(self, like: Image, channels: int) -> Image:
        """Standard normal values of the same size as `like`, with that many channels.

        In training they are drawn anew in every step, otherwise by `derivation.normal`: the same for every image.
        """

    def pad(self, x: Image, factor: int) -> Image:
        """Reflects at the bottom and on the right until both sides are multiples of factor."""

    def crop(self, x: Image, like: Image) -> Image:
        """The top left corner of x, as large as `like`."""


class Architecture:
    """A backbone. Its fields (it is a dataclass) are the manifest's `config`."""

    kind: ClassVar[str]
    min_side: ClassVar[int] = 16
    keying: ClassVar[str] = WEIGHTS
    """How a user's key acts, as a manifest says it."""
    rotated: ClassVar[bool] = False
    """Whether the secret is rotated before it is hidden; `payload.py` has what goes in then."""
    auxiliary: ClassVar[str | None] = None
    """What is named `auxiliary.` serves training alone and is not exported."""

    @property
    def keyed(self) -> bool:
        """Whether keys fill weights."""
        return self.keying == WEIGHTS

    @property
    def shared(self) -> bool:
        """Whether one network serves every user. Otherwise each has an instance, and there is no purification."""
        return self.keying != VARIANT

    @property
    def operations(self) -> tuple[str, ...]:
        return ("embed", "recover", "purify") if self.shared else ("embed", "recover")

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

    def parameters(self) -> list[Layer | Affine]:
        """All trained parameters."""
        return [*self.layers(), *self.affines()]

    def statistics(self) -> list[Affine]:
        """The running means and variances of batch normalisations."""
        return []

    def embed(self, ops: Ops, cover: Image, secret: Image) -> Image:
        raise NotImplementedError

    def recover(self, ops: Ops, stego: Image) -> Image:
        raise NotImplementedError

    def purify(self, ops: Ops, noisy: Image) -> Image:
        raise NotImplementedError

    def discriminate(self, ops: Ops, image: Image) -> Image:
        """The discriminator, for training only."""
        raise NotImplementedError


def biases(layers: Sequence[Layer]) -> list[Affine]:
    return [Affine(f"{layer.name}.bias", layer.shape[0]) for layer in layers]


def norms(sizes: Mapping[str, int]) -> list[Affine]:
    """The affines of normalisations, by name."""
    return [a for name, n in sizes.items() for a in (Affine(f"{name}.scale", n, 1.0), Affine(f"{name}.shift", n))]


def running(sizes: Mapping[str, int]) -> list[Affine]:
    """The statistics of batch normalisations, by name."""
    return [a for name, n in sizes.items() for a in (Affine(f"{name}.mean", n), Affine(f"{name}.variance", n, 1.0))]
