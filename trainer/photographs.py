"""Photographs in memory: decoded once, cropped at random, paired for evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

_SUFFIXES = {".jpg", ".jpeg", ".png"}


def files(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
    if not found:
        raise FileNotFoundError(f"no photographs (JPEG or PNG) in {folder}")
    return found


class Photographs:
    """Training images as uint8, at their own size and at half of it.

    The half size provides the finer texture of images that were shrunk more.
    Images smaller than the largest crop that will be sampled are left out.
    The last `held_out` files are not used for training; `validation` has them.
    """

    def __init__(self, folder: Path, crop: int, held_out: int = 0) -> None:
        self._images: list[np.ndarray] = []
        paths = files(folder)
        if len(paths) <= held_out:
            raise ValueError(f"{folder}: {held_out} of {len(paths)} photographs are held out, which leaves none")
        self._held_out = paths[len(paths) - held_out :]
        paths = paths[: len(paths) - held_out]
        self.count = len(paths)
        for path in paths:
            with Image.open(path) as image:
                rgb = image.convert("RGB")
            half = rgb.resize((max(1, rgb.width // 2), max(1, rgb.height // 2)), Image.Resampling.BICUBIC)
            self._images += [np.asarray(x) for x in (rgb, half) if min(x.size) >= crop]
        if not self._images:
            raise ValueError(f"{folder}: every photograph is smaller than the crop of {crop} pixels")

    def sample(self, count: int, size: int, random: np.random.Generator, device: torch.device | None = None) -> Tensor:
        """Random crops of size x size pixels, flipped at random: NCHW in [0, 1]."""
        crops = np.empty((count, size, size, 3), np.uint8)
        for crop in crops:
            image = self._images[random.integers(len(self._images))]
            top, left = (random.integers(side - size + 1) for side in image.shape[:2])
            part = image[top : top + size, left : left + size]
            crop[:] = part[:, ::-1] if random.integers(2) else part
        # A quarter of the bytes is sent to a GPU, which converts them to floats.
        return torch.from_numpy(crops).to(device or "cpu").permute(0, 3, 1, 2).contiguous().float() / 255

    def validation(self, side: int) -> tuple[Tensor, Tensor]:
        """Pairs of the held-out photographs, see `pairs`."""
        return paired(self._held_out, side, side)


def held_out(folder: Path, count: int, side: int) -> tuple[Tensor, Tensor]:
    """Pairs of the photographs that a run with this `held_out` does not train on, see `pairs`."""
    if not count:
        raise ValueError("the run holds no photographs out: resume it with --set training.held_out=64")
    return paired(files(folder)[-count:], side, side)


def pairs(folder: Path, width: int, height: int, limit: int = 0) -> tuple[Tensor, Tensor]:
    """Covers and secrets: consecutive files in sorted order, the first of two is the cover.

    Every photograph is resized to width x height regardless of its shape.
    """
    paths = files(folder)
    return paired(paths[: 2 * limit] if limit else paths, width, height)


def paired(paths: Sequence[Path], width: int, height: int) -> tuple[Tensor, Tensor]:
    """The same for the given files."""
    images = []
    for path in paths[: len(paths) // 2 * 2]:
        with Image.open(path) as image:
            resized = image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
        images.append(np.asarray(resized))
    tensor = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous().float() / 255
    return tensor[0::2], tensor[1::2]
