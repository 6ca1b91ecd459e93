"""Converts between the payload of a rotation and the image-shaped payload that a network hides.

The values of a payload, the strongest frequency first, fill the twelve bands one after another; those that do not fit
are left out. In each band they are shuffled, so every place may hold any of the band's frequencies. `internal/rotated`
does the same with its own shuffle; the network sees no difference.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from . import payload, rotation
from .backbones.invertible import CENTRE

# Colours, and bands of one colour.
_COLOURS, _QUARTERS = 3, 4


def spread(values: rotation.Values, height: int, width: int, random: np.random.Generator) -> Tensor:
    """The image [1, 3, height, width], both even, of a payload [768, blocks]."""
    gained = (values * payload.gains()[:, None]).reshape(-1)
    bands = np.zeros((payload.BANDS, height // 2 * (width // 2)))
    for band, part in zip(bands, _parts(len(gained), bands.shape[1])):
        band[random.permutation(bands.shape[1])[: part.stop - part.start]] = gained[part]
    grid = torch.from_numpy(bands.reshape(_QUARTERS, _COLOURS, height // 2, width // 2)).float()
    image = torch.empty(1, _COLOURS, height, width)
    image[0, :, 0::2, 0::2], image[0, :, 0::2, 1::2], image[0, :, 1::2, 0::2], image[0, :, 1::2, 1::2] = _haar(grid)
    return image + CENTRE


def gather(image: Tensor, blocks: int, random: np.random.Generator) -> rotation.Values:
    """The payload of an image: the inverse of `spread` with a generator in the same state."""
    x = (image[0] - CENTRE).cpu()
    grid = _haar(torch.stack([x[:, 0::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 0::2], x[:, 1::2, 1::2]]))
    bands = grid.double().numpy().reshape(payload.BANDS, -1)
    values = np.zeros(rotation.FREQUENCIES * blocks)
    for band, part in zip(bands, _parts(len(values), bands.shape[1])):
        values[part] = band[random.permutation(bands.shape[1])[: part.stop - part.start]]
    return values.reshape(rotation.FREQUENCIES, blocks) / payload.gains()[:, None]


def _parts(values: int, size: int) -> list[slice]:
    """Which values each band has."""
    return [slice(min(i * size, values), min((i + 1) * size, values)) for i in range(payload.BANDS)]


def _haar(grid: Tensor) -> Tensor:
    """Phases to bands or back, [4, colours, h, w]: `backbones.haar` is written for networks."""
    a, b, c, d = grid
    return torch.stack([a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d]) / 2
