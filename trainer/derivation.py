"""Keys to weights: the same bits here and in Go's `weights` package.

Everything is a SHAKE-256 stream over length-prefixed fields, so that no two
uses share a stream. The golden vectors in schemas/testdata bind both sides.
This module needs only NumPy, and knows nothing of networks.
"""

from __future__ import annotations

import functools
import hashlib
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

VERSION = 1
KEY_BYTES = 32

# Roles of a stream.
EMBED = "embed"
RECOVER = "recover"
MASK = "mask"
PARTIAL = "partial"

# Uniform values in a normal one: their variance is 1/12 each.
_SUMMANDS = 12


@dataclass(frozen=True)
class KeyPair:
    """A user's two 256-bit keys. The bytes stay out of repr, and so out of logs."""

    id: str
    embed: bytes
    recover: bytes

    def __post_init__(self) -> None:
        if len(self.embed) != KEY_BYTES or len(self.recover) != KEY_BYTES:
            raise ValueError(f"key pair {self.id!r}: both keys must be {KEY_BYTES} bytes")

    def __repr__(self) -> str:
        return f"KeyPair(id={self.id!r}, fingerprint={self.fingerprint!r})"

    @property
    def fingerprint(self) -> str:
        """Names the pair in public: 32 hex digits, from which no key can be found."""
        return fingerprint(self.embed, self.recover)


def _prefixed(field: bytes) -> bytes:
    return struct.pack("<I", len(field)) + field


def stream(role: str, layer: str, shape: Sequence[int], key: bytes) -> NDArray[np.uint32]:
    """The uint32 stream of a layer: one per element, in row-major OIHW order."""
    seed = (
        _prefixed(b"stegomq.fill")
        + struct.pack("<I", VERSION)
        + _prefixed(role.encode())
        + _prefixed(layer.encode())
        + struct.pack(f"<{1 + len(shape)}I", len(shape), *shape)
        + _prefixed(key)
    )
    return np.frombuffer(hashlib.shake_256(seed).digest(4 * math.prod(shape)), dtype="<u4").reshape(shape)


def _uniform(bits: NDArray[np.uint32]) -> NDArray[np.float64]:
    """The upper 24 bits as a number in [0, 1); exact."""
    return (bits >> 8).astype(np.float64) * 2.0**-24


def fill(role: str, layer: str, shape: Sequence[int], key: bytes) -> NDArray[np.float32]:
    """Glorot-uniform values (Glorot and Bengio 2010) for an OIHW conv weight.

    Computed in float64 and rounded once.
    """
    values = (2.0 * _uniform(stream(role, layer, shape, key)) - 1.0) * limit(shape)
    return values.astype(np.float32)


def limit(shape: Sequence[int]) -> float:
    """The largest size of a Glorot-uniform value: sqrt(6 / (fan_in + fan_out))."""
    out_channels, in_channels, height, width = shape
    return math.sqrt(6.0 / ((in_channels + out_channels) * height * width))


def mask(layer: str, shape: Sequence[int], seed: bytes, alpha: float) -> NDArray[np.bool_]:
    """True where a weight is shared and trained, False where a key fills it."""
    return _uniform(stream(MASK, layer, shape, seed)) < alpha


def partial(
    role: str, layer: str, shape: Sequence[int], key: bytes, wrong: bytes, permille: int
) -> NDArray[np.float32]:
    """The fill of a partial key: that share of the values of `key`, the others those of the wrong key."""
    right = _uniform(stream(PARTIAL, layer, shape, wrong)) < permille / 1000
    return np.where(right, fill(role, layer, shape, key), fill(role, layer, shape, wrong))


@functools.lru_cache(maxsize=4)
def normal(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.float32]:
    """Nearly standard normal values of a seed, for networks that draw values when they run.

    Each is the sum of twelve uniform values, less its mean, in steps of 2^-16. These are whole numbers until the last
    division, which is exact, so no library's logarithm is involved. Variance 1 - 2^-32, kurtosis 2.9.
    The stream does not depend on the shape, which is filled in row-major order.
    """
    stream = hashlib.shake_256(_prefixed(b"stegomq.normal") + struct.pack("<IQ", VERSION, seed))
    words = np.frombuffer(stream.digest(2 * _SUMMANDS * math.prod(shape)), dtype="<u2").reshape(-1, _SUMMANDS)
    sums = words.sum(1, dtype=np.int64) - _SUMMANDS * 0xFFFF // 2
    return (sums / 2.0**16).astype(np.float32).reshape(shape)


def fingerprint(embed: bytes, recover: bytes) -> str:
    """The fingerprint of a pair, or of k_e alone if it is k_r's X25519 public key, as `stegomq keys new` makes them."""
    if _is_x25519_private(recover) and x25519_public(recover) == embed:
        return hashlib.sha256(b"stegomq.fingerprint.public.v1\x00" + embed).digest()[:16].hex()
    return hashlib.sha256(b"stegomq.fingerprint.v1\x00" + embed + recover).digest()[:16].hex()


def _is_x25519_private(key: bytes) -> bool:
    """Whether a key is written clamped (RFC 7748, section 5)."""
    return key[0] & 7 == 0 and key[31] & 0xC0 == 0x40


def x25519_public(private: bytes) -> bytes:
    """The Montgomery ladder of RFC 7748, section 5, from the base point. Not in constant time: fingerprints only."""
    prime, scalar = 2**255 - 19, int.from_bytes(private, "little")
    x2, z2, x3, z3, swapped = 1, 0, 9, 1, 0
    for t in range(254, -1, -1):
        bit = scalar >> t & 1
        if swapped != bit:
            x2, z2, x3, z3 = x3, z3, x2, z2
        swapped = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a, b * b, d * a, c * b
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % prime, 9 * (da - cb) ** 2 % prime
        x2, z2 = aa * bb % prime, e * (aa + 121665 * e) % prime
    if swapped:
        x2, z2 = x3, z3
    return (x2 * pow(z2, prime - 2, prime) % prime).to_bytes(32, "little")


def wrong_key(owner: str) -> bytes:
    """The wrong key of all partial keys of the pair with a fingerprint. Public by construction."""
    fields = _prefixed(b"stegomq.partial") + struct.pack("<I", VERSION) + _prefixed(owner.encode())
    return hashlib.shake_256(fields).digest(KEY_BYTES)


def partial_fingerprint(owner: str, permille: int) -> str:
    data = b"stegomq.partial.v1\x00" + struct.pack("<I", permille) + owner.encode()
    return hashlib.sha256(data).digest()[:16].hex()


def _pair(id: str, seed: bytes) -> KeyPair:
    keys = hashlib.shake_256(seed).digest(2 * KEY_BYTES)
    return KeyPair(id, keys[:KEY_BYTES], keys[KEY_BYTES:])


def demo_pair(index: int) -> KeyPair:
    """Registered demo key `demo-<index>`, counted from 1. Public by construction."""
    return _pair(f"demo-{index}", _prefixed(b"stegomq.demo") + struct.pack("<IQ", VERSION, index))


def random_pair(seed: int, n: int) -> KeyPair:
    """Unregistered key n of a seed. Public by construction; it serves measurements."""
    return _pair(f"random-{seed}-{n}", _prefixed(b"stegomq.random") + struct.pack("<IQQ", VERSION, seed, n))
