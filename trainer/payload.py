"""The payload that a network hides: the layout of a rotated secret, and its statistics.

The keyed rotation makes every frequency of a secret white noise of unit power (`internal/rotation`). The network gets
this noise times a public gain, so strong frequencies have more power than weak ones. A payload is twelve bands of half
the cover's size, like the Haar transform of an image. Band c takes the c-th 64 frequencies in the order of their
deviations, at places that a key shuffles. So the network's input has the same distribution for every secret and every
key, and training draws it instead of rotating photographs.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from . import rotation
from .rotation import Values

BANDS = 12
PER_BAND = rotation.FREQUENCIES // BANDS

_MEAN_GAIN = 0.5
"""Root of the mean squared gain, in units of the range of a pixel: about that of an image's own bands."""


def gains() -> Values:
    """The gain of every frequency, in the public order: the root of its deviation.

    With it, noise that is equal everywhere costs all frequencies the same share of the least total error
    (isolation.md: a = sqrt(c / s)).
    """
    table = rotation.deviations()
    return _MEAN_GAIN * np.sqrt(table / table.mean())


def weights() -> Values:
    """The error in the secret for an error of 1 in a value of the payload, in units of a pixel's range; same order."""
    return rotation.deviations() / 255 / gains()


class Statistics:
    """Draws payloads with the distribution of rotated secrets."""

    def __init__(self, device: torch.device) -> None:
        def banded(values: Values) -> Tensor:
            return torch.from_numpy(values.reshape(BANDS, PER_BAND)).float().to(device)

        self._gains, self._weights = banded(gains()), banded(weights())
        self._band = torch.arange(BANDS, device=device).view(1, BANDS, 1, 1)

    def draw(self, cover: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Bands for a batch of covers, and the weight of an error in each value for the secret."""
        shape = (len(cover), BANDS, cover.shape[2] // 2, cover.shape[3] // 2)
        which = torch.randint(PER_BAND, shape, generator=generator, device=cover.device)
        unit = torch.randn(shape, generator=generator, device=cover.device)
        return unit * self._gains[self._band, which], self._weights[self._band, which]
