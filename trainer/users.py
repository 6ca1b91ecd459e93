"""The users of a trained model, for measurements and image grids.

A keyed network serves all of them. With a method without keys every user has a separate instance, so another
user's instance represents a wrong key, and there is no unregistered key.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from . import derivation, layout
from .derivation import KEY_BYTES, KeyPair
from .network import Network
from .rotation import Rotation


class Users(Protocol):
    """Images are NCHW in [0, 1]; outputs are not clamped. Users are counted from 0."""

    @property
    def count(self) -> int: ...

    def embed(self, user: int, cover: Tensor, secret: Tensor) -> Tensor: ...

    def recover(self, user: int, stego: Tensor) -> Tensor: ...

    def recover_random(self, n: int, stego: Tensor) -> Tensor | None:
        """Recovers with the unregistered key n of seed 0. None where there are no keys."""

    def purify(self, noisy: Tensor) -> Tensor | None:
        """None if the method does not purify."""


class Keyed:
    """One network, with a key pair for each user."""

    def __init__(self, network: Network, keys: Sequence[KeyPair]) -> None:
        self._network = network
        self._fills = [
            (network.fill(derivation.EMBED, key.embed), network.fill(derivation.RECOVER, key.recover)) for key in keys
        ]

    @property
    def count(self) -> int:
        return len(self._fills)

    def embed(self, user: int, cover: Tensor, secret: Tensor) -> Tensor:
        return self._network.embed(self._fills[user][0], cover, secret)

    def recover(self, user: int, stego: Tensor) -> Tensor:
        return self._network.recover(self._fills[user][1], stego)

    def recover_random(self, n: int, stego: Tensor) -> Tensor:
        key = derivation.random_pair(0, n)
        return self._network.recover(self._network.fill(derivation.RECOVER, key.recover), stego)

    def purify(self, noisy: Tensor) -> Tensor:
        return self._network.purify(noisy)


class Instances:
    """A network for each user."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = networks

    @property
    def count(self) -> int:
        return len(self._networks)

    def embed(self, user: int, cover: Tensor, secret: Tensor) -> Tensor:
        return self._networks[user].embed(None, cover, secret)

    def recover(self, user: int, stego: Tensor) -> Tensor:
        return self._networks[user].recover(None, stego)

    def recover_random(self, n: int, stego: Tensor) -> None:
        return None

    def purify(self, noisy: Tensor) -> None:
        return None


class Rotated:
    """One network, and rotations by each user's key, which also fills weights if the network has keyed weights.

    The key of a rotation is derived from the user's key and the number of embedded images. A real stego image carries
    that number and the scales beside the payload; here they are remembered.
    """

    def __init__(self, network: Network, keys: Sequence[KeyPair]) -> None:
        self._network = network
        self._keys = list(keys)
        self._embedded = 0
        self._scales = np.zeros(0, np.uint8)

    @property
    def keyed(self) -> bool:
        """Whether keys fill weights as well."""
        return self._network.architecture.keyed

    @property
    def count(self) -> int:
        return len(self._keys)

    def embed(self, user: int, cover: Tensor, secret: Tensor) -> Tensor:
        self._embedded += 1
        pair = self._keys[user]
        key = self._session(pair.recover)
        image = (secret[0].permute(1, 2, 0) * 255).round().byte().cpu().numpy()
        values, self._scales = Rotation(*image.shape[:2]).rotate(image, key)
        payload = layout.spread(values, *image.shape[:2], self._random(key))
        return self._network.embed(self._fill(derivation.EMBED, pair.embed), cover, payload.to(cover))

    def recover(self, user: int, stego: Tensor) -> Tensor:
        return self.recover_with(user, user, stego)

    def recover_with(self, weights: int, rotation: int, stego: Tensor) -> Tensor:
        """Recovers with the weights of one user and the rotation of another."""
        return self._recover(self._keys[weights].recover, self._keys[rotation].recover, stego)

    def recover_random(self, n: int, stego: Tensor) -> Tensor:
        key = derivation.random_pair(0, n).recover
        return self._recover(key, key, stego)

    def purify(self, noisy: Tensor) -> Tensor:
        return self._network.purify(noisy)

    def _recover(self, weights: bytes, turned: bytes, stego: Tensor) -> Tensor:
        height, width = stego.shape[2:]
        key, rotation = self._session(turned), Rotation(height, width)
        payload = self._network.recover(self._fill(derivation.RECOVER, weights), stego)
        values = layout.gather(payload, rotation.blocks, self._random(key))
        image = torch.from_numpy(rotation.restore(values, self._scales, key))
        return image.permute(2, 0, 1).unsqueeze(0).to(stego) / 255

    def _fill(self, role: str, key: bytes) -> Tensor | None:
        return self._network.fill(role, key) if self.keyed else None

    def _session(self, user: bytes) -> bytes:
        return hashlib.shake_256(b"stegomq.measure" + struct.pack("<Q", self._embedded) + user).digest(KEY_BYTES)

    @staticmethod
    def _random(key: bytes) -> np.random.Generator:
        return np.random.default_rng(np.frombuffer(key, "<u4"))


def of(networks: Sequence[Network], keys: Sequence[KeyPair]) -> Users:
    """The users of a model: one network for all or, for a method without keys, one for every key pair's id."""
    architecture = networks[0].architecture
    if architecture.shared:
        (network,) = networks
        return Rotated(network, keys) if architecture.rotated else Keyed(network, keys)
    return Instances(networks)
