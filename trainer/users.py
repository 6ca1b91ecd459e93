"""The users of a trained model: what measurements and image grids need of it.

A keyed network serves them all. Of an un-keyed method every user has an instance of their own,
so that another user's instance stands for a wrong key and there is no unregistered one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from . import derivation
from .derivation import KeyPair
from .network import Network


class Users(Protocol):
    """Images are NCHW in [0, 1]; outputs are not clamped. Users are counted from 0."""

    @property
    def count(self) -> int: ...

    def embed(self, user: int, cover: Tensor, secret: Tensor) -> Tensor: ...

    def recover(self, user: int, stego: Tensor) -> Tensor: ...

    def recover_random(self, n: int, stego: Tensor) -> Tensor | None:
        """With the unregistered key n of seed 0. None where there are no keys."""

    def purify(self, noisy: Tensor) -> Tensor | None:
        """None where the method does not."""


class Keyed:
    """One network and a key pair each."""

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
    """A network each."""

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


def of(networks: Sequence[Network], keys: Sequence[KeyPair]) -> Users:
    """The users of a model: one keyed network, or one of an un-keyed method for every key pair's id."""
    if networks[0].architecture.keyed:
        (network,) = networks
        return Keyed(network, keys)
    return Instances(networks)
