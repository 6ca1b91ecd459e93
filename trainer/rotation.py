"""An image to white noise under a key, and back: the same as Go's `rotation` package, whose comment defines it.

The golden vectors in schemas/testdata bind both sides. This module needs only NumPy.
"""

from __future__ import annotations

import functools
import hashlib
import math
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

VERSION = 1
KEY_BYTES = 32
SIDE = 16
FREQUENCIES = 3 * SIDE * SIDE

_LEAST = 256  # values in a band
_ROUNDS = 3
_STEPS = 24  # steps of the code of scales in an octave
_BELOW = 5  # octaves below 1 that the code has
_TABLE = Path(__file__).resolve().parent.parent / "internal" / "rotation" / "deviations.txt"

_AXES = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])

Values = NDArray[np.float64]


@functools.cache
def order() -> NDArray[np.intp]:
    """The frequency of each row of a payload: by descending deviation."""
    return np.argsort(-_deviations(), kind="stable")


@functools.cache
def deviations() -> Values:
    """The public root mean square of each frequency over photographs, in the public order."""
    return _deviations()[order()]


@functools.cache
def _deviations() -> Values:
    table = np.array(_TABLE.read_text(encoding="ascii").split(), dtype=np.float64)
    if table.shape != (FREQUENCIES,) or table.min() <= 0:
        raise ValueError(f"{_TABLE}: want {FREQUENCIES} numbers above 0")
    return table


@functools.cache
def _basis(side: int) -> Values:
    """The orthonormal DCT-II: a frequency in each row."""
    k, x = np.arange(side)[:, None], np.arange(side)[None]
    return np.cos(np.pi * (2 * x + 1) * k / (2 * side)) * np.where(k == 0, math.sqrt(1 / side), math.sqrt(2 / side))


def analyse(image: NDArray, side: int = SIDE) -> Values:
    """The coefficients (3 side^2, blocks) of an image (height, width, 3), padded by its last row and column.

    Frequency f = (u side + v) 3 + axis, u vertical; blocks in raster order.
    """
    height, width, _ = image.shape
    padded = np.pad(image, ((0, -height % side), (0, -width % side), (0, 0)), mode="edge")
    rows, cols = padded.shape[0] // side, padded.shape[1] // side
    blocks = (padded.astype(np.float64) - 127.5).reshape(rows, side, cols, side, 3) @ _AXES.T
    basis = _basis(side)
    return np.einsum("uy,rycxa,vx->uvarc", basis, blocks, basis, optimize=True).reshape(3 * side * side, rows * cols)


def synthesise(coefficients: Values, height: int, width: int, side: int = SIDE) -> Values:
    """The image (height, width, 3) of coefficients, neither rounded nor clipped: the inverse of `analyse`."""
    rows, cols = -(-height // side), -(-width // side)
    basis = _basis(side)
    blocks = coefficients.reshape(side, side, 3, rows, cols)
    planes = np.einsum("uy,uvarc,vx->rycxa", basis, blocks, basis, optimize=True) @ _AXES
    return planes.reshape(rows * side, cols * side, 3)[:height, :width] + 127.5


@dataclass(frozen=True)
class Rotation:
    """The rotation of images of one size in samples, in at most so many bands."""

    height: int
    width: int
    most: int = FREQUENCIES

    @property
    def blocks(self) -> int:
        """Values of one frequency."""
        return -(-self.height // SIDE) * -(-self.width // SIDE)

    @functools.cached_property
    def per(self) -> int:
        """Frequencies in a band."""
        per = 1
        while FREQUENCIES % per or per * self.blocks < _LEAST or FREQUENCIES // per > self.most:
            per += 1
        return per

    @property
    def bands(self) -> int:
        return FREQUENCIES // self.per

    def rotate(self, image: NDArray[np.uint8], key: bytes) -> tuple[Values, NDArray[np.uint8]]:
        """The payload (768, blocks) in the public order, of mean square 1 in each band, and a scale for each band."""
        if image.shape != (self.height, self.width, 3):
            raise ValueError(f"an image of {image.shape}, want {(self.height, self.width, 3)}")
        values = (analyse(image)[order()] / deviations()[:, None]).reshape(self.bands, -1)
        power = np.sqrt((values**2).mean(1))
        scales = code(power)
        flat = scales == 0
        values = np.where(flat[:, None], 1.0, values / np.where(flat, 1.0, power)[:, None])
        return rotate(values.T, self._words(key)).T.reshape(FREQUENCIES, -1), scales

    def restore(self, payload: Values, scales: NDArray[np.uint8], key: bytes) -> NDArray[np.uint8]:
        """The image of a payload, which may be noisy, and its scales."""
        values = restore(payload.reshape(self.bands, -1).T, self._words(key)).T * scale(scales)[:, None]
        coefficients = np.empty((FREQUENCIES, self.blocks))
        coefficients[order()] = values.reshape(FREQUENCIES, -1) * deviations()[:, None]
        image = synthesise(coefficients, self.height, self.width)
        return np.floor(image.clip(0, 255) + 0.5).astype(np.uint8)

    def _words(self, key: bytes) -> NDArray[np.uint32]:
        return np.stack([words(self.per, self.blocks, band, key) for band in range(self.bands)], axis=-1)


def code(power: Values) -> NDArray[np.uint8]:
    """One byte for the root mean square of a band, in relation to the public deviations."""
    with np.errstate(divide="ignore"):
        steps = np.floor(_STEPS * (np.log2(power) + _BELOW) + 0.5) + 1
    return steps.clip(0, 255).astype(np.uint8)


def scale(codes: NDArray[np.uint8]) -> Values:
    """The root mean square that a code stands for."""
    return np.where(codes == 0, 0.0, np.exp2((codes.astype(np.float64) - 1) / _STEPS - _BELOW))


def words(per: int, blocks: int, band: int, key: bytes) -> NDArray[np.uint32]:
    """The words (rounds, values of the band) that rotate a band."""
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key of {len(key)} bytes, want {KEY_BYTES}")
    seed = _prefixed(b"stegomq.rotation") + struct.pack("<4I", VERSION, per, blocks, band) + _prefixed(key)
    stream = hashlib.shake_256(seed).digest(4 * _ROUNDS * per * blocks)
    return np.frombuffer(stream, dtype="<u4").reshape(_ROUNDS, per * blocks)


def _prefixed(field: bytes) -> bytes:
    return struct.pack("<I", len(field)) + field


def rotate(values: Values, drawn: NDArray[np.uint32]) -> Values:
    """Rotates every column of `values` (length, columns) by its `drawn` words (rounds, length, columns)."""
    values = values.copy()
    columns = np.arange(values.shape[1])
    whole = _power_of_two(len(values))
    for taken in drawn:
        places, first, second = _round(taken)
        for i in range(len(values) - 1, -1, -1):
            j = places[i]
            values[i], values[j, columns] = values[j, columns], values[i].copy()
        values *= first
        _hadamard(values[:whole])
        if whole < len(values):
            values *= second
            _hadamard(values[-whole:])
    return values


def restore(values: Values, drawn: NDArray[np.uint32]) -> Values:
    """The inverse of `rotate`."""
    values = values.copy()
    columns = np.arange(values.shape[1])
    whole = _power_of_two(len(values))
    for taken in drawn[::-1]:
        places, first, second = _round(taken)
        if whole < len(values):
            _hadamard(values[-whole:])
            values *= second
        _hadamard(values[:whole])
        values *= first
        for i, j in enumerate(places):
            values[i], values[j, columns] = values[j, columns], values[i].copy()
    return values


def _round(taken: NDArray[np.uint32]) -> tuple[NDArray[np.int64], Values, Values]:
    """The partner that each value is swapped with, and its two signs; the first word is for the last value."""
    taken = taken[::-1]
    upto = np.arange(1, len(taken) + 1, dtype=np.uint64)[:, None]
    places = ((taken >> 2).astype(np.uint64) * upto >> np.uint64(30)).astype(np.int64)
    return places, 1.0 - 2.0 * (taken & 1), 1.0 - 2.0 * (taken >> 1 & 1)


def _power_of_two(n: int) -> int:
    """The greatest power of two that is not above n."""
    return 1 << (n.bit_length() - 1)


def _hadamard(values: Values) -> None:
    """The orthonormal Walsh-Hadamard transform in place, with sums in the same order as in Go."""
    length = len(values)
    h = 1
    while h < length:
        pairs = values.reshape(-1, 2, h, values.shape[1])
        low, high = pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]
        pairs[:, 0], pairs[:, 1] = low, high
        h *= 2
    k = length.bit_length() - 1
    values *= math.ldexp(1, -((k + 1) // 2)) * (math.sqrt(2) if k % 2 else 1)
