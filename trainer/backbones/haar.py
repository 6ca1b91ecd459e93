"""The orthonormal Haar transform between an image and its four bands of half the size."""

from __future__ import annotations

from .architecture import Image, Ops


def bands(ops: Ops, x: Image, channels: int) -> Image:
    """The low band first: each pixel of it is twice the mean of four."""
    return ops.concat(_transform(*ops.phases(x, channels)))


def restore(ops: Ops, x: Image, channels: int) -> Image:
    """The inverse of `bands`; the image has that many channels."""
    return ops.interleave(_transform(*ops.split(x, 4, channels)))


def _transform(a: Image, b: Image, c: Image, d: Image) -> tuple[Image, Image, Image, Image]:
    """Four phases to four bands; it is its own inverse."""
    top, bottom, left, right = a + b, c + d, a - b, c - d
    return (
        (top + bottom) * 0.5,
        (left + right) * 0.5,
        (top - bottom) * 0.5,
        (left - right) * 0.5,
    )
