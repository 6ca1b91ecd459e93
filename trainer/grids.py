"""Image grids: what a network does to a few pairs, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from . import derivation
from .derivation import KeyPair
from .evaluation import NOISE_SIGMA
from .network import Network, eight_bit

COLUMNS = ("cover", "stego", "residual x10", "secret", "recovered", "mismatched", "random", "purified")
_RESIDUAL = 10
_GAP = 4


@torch.no_grad()
def grid(network: Network, keys: Sequence[KeyPair], covers: Tensor, secrets: Tensor) -> Image.Image:
    """One row a pair, one column for each of COLUMNS. Pair i uses key i mod K."""
    noise = torch.Generator().manual_seed(0)
    rows = []
    for i, (cover, secret) in enumerate(zip(covers.split(1), secrets.split(1))):
        key, other = keys[i % len(keys)], keys[(i + 1) % len(keys)]
        stego = eight_bit(network.embed(network.fill(derivation.EMBED, key.embed), cover, secret))
        strangers = (key.recover, other.recover, derivation.random_pair(0, i).recover)
        decoded = [network.recover(network.fill(derivation.RECOVER, k), stego) for k in strangers]
        noisy = eight_bit(cover + NOISE_SIGMA * torch.randn(cover.shape, generator=noise).to(cover))
        residual = (stego - cover) * _RESIDUAL + 0.5
        rows.append([cover, stego, residual, secret, *decoded, network.purify(noisy)])
    height, width = covers.shape[2:]
    sheet = Image.new("RGB", (len(COLUMNS) * (width + _GAP) - _GAP, len(rows) * (height + _GAP) - _GAP), "white")
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            sheet.paste(_picture(image), (x * (width + _GAP), y * (height + _GAP)))
    return sheet


def _picture(image: Tensor) -> Image.Image:
    pixels = (eight_bit(image)[0].permute(1, 2, 0) * 255).cpu().numpy()
    return Image.fromarray(np.round(pixels).astype(np.uint8))
