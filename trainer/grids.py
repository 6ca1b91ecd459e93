"""Image grids: the outputs of a network for a few pairs, for people to look at."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .evaluation import NOISE_SIGMA
from .network import eight_bit
from .users import Users

COLUMNS = ("cover", "stego", "residual x10", "secret", "recovered", "mismatched", "random", "purified")
_RESIDUAL = 10
_GAP = 4


@torch.no_grad()
def grid(users: Users, covers: Tensor, secrets: Tensor) -> Image.Image:
    """One row a pair, one column for each of COLUMNS that the users can fill. Pair i belongs to user i mod K."""
    noise = torch.Generator().manual_seed(0)
    rows = []
    for i, (cover, secret) in enumerate(zip(covers.split(1), secrets.split(1))):
        user, other = i % users.count, (i + 1) % users.count
        stego = eight_bit(users.embed(user, cover, secret))
        noisy = eight_bit(cover + NOISE_SIGMA * torch.randn(cover.shape, generator=noise).to(cover))
        residual = (stego - cover) * _RESIDUAL + 0.5
        mismatched = users.recover(other, stego) if other != user else None
        row = [cover, stego, residual, secret, users.recover(user, stego), mismatched]
        row += [users.recover_random(i, stego), users.purify(noisy)]
        rows.append([image for image in row if image is not None])
    height, width = covers.shape[2:]
    columns = len(rows[0])
    sheet = Image.new("RGB", (columns * (width + _GAP) - _GAP, len(rows) * (height + _GAP) - _GAP), "white")
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            sheet.paste(_picture(image), (x * (width + _GAP), y * (height + _GAP)))
    return sheet


def _picture(image: Tensor) -> Image.Image:
    pixels = (eight_bit(image)[0].permute(1, 2, 0) * 255).cpu().numpy()
    return Image.fromarray(np.round(pixels).astype(np.uint8))
