"""What a network hides for a key: the layout of a rotated secret, and its statistics.

The keyed rotation makes every frequency of a secret white noise of unit power (`internal/rotation`). The network gets
it times a public gain, so that strong frequencies travel with more power and weak ones with less. A payload is twelve
bands of half the cover's size, as the Haar transform of an image has. Band c takes the c-th 64 frequencies in the order
of their deviations, at places that a key shuffles. So what the network sees has the same distribution for every secret
and every key, and training draws it instead of rotating photographs.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BANDS = 12
FREQUENCIES = 768
"""Of 16x16 blocks in three colours."""
PER_BAND = FREQUENCIES // BANDS

_TABLE = Path(__file__).parents[1] / "internal" / "rotation" / "deviations.txt"
_MEAN_GAIN = 0.5
"""Root of the mean squared gain, in units of the range of a pixel: about that of an image's own bands."""


@functools.lru_cache(maxsize=1)
def deviations() -> NDArray[np.float64]:
    """Of the frequencies, by index, in units of the range of a pixel: the public table."""
    return np.loadtxt(_TABLE) / 255


def order() -> NDArray[np.intp]:
    """The frequencies from the strongest to the weakest; equal ones by index."""
    return np.argsort(-deviations(), kind="stable")


def gains() -> NDArray[np.float64]:
    """What one unit of every frequency, by index, becomes in a payload.

    The root of the deviation: with it, noise that is equal everywhere costs all frequencies the same share of the least
    total error (isolation.md: a = sqrt(c / s)).
    """
    table = deviations()
    return _MEAN_GAIN * np.sqrt(table / table.mean())


class Statistics:
    """Draws payloads as rotated secrets have them."""

    def __init__(self, device: torch.device) -> None:
        def banded(values: NDArray[np.float64]) -> Tensor:
            return torch.from_numpy(values[order()].reshape(BANDS, PER_BAND)).float().to(device)

        self._gains = banded(gains())
        self._weights = banded(deviations() / gains())
        self._band = torch.arange(BANDS, device=device).view(1, BANDS, 1, 1)

    def draw(self, cover: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Bands for a batch of covers, and what an error in each value counts for in the secret."""
        shape = (len(cover), BANDS, cover.shape[2] // 2, cover.shape[3] // 2)
        which = torch.randint(PER_BAND, shape, generator=generator, device=cover.device)
        unit = torch.randn(shape, generator=generator, device=cover.device)
        return unit * self._gains[self._band, which], self._weights[self._band, which]
