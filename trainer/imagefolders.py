"""Folders of images of equal names, as `stegomq evaluate --save-images` writes them: cover, secret, stego.

A stego image belongs to the image of the same name. Its name may contain the embedding key before the extension:
`00007-boat.demo-1.png` belongs to `00007-boat.png`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from . import photographs


def paired(stego: Path, other: Path) -> list[tuple[Path, Path]]:
    """Every stego image with the image of its name in the other folder, in the order of the names."""
    named = {path.stem: path for path in photographs.files(other)}
    found: dict[str, tuple[Path, Path]] = {}
    for path in photographs.files(stego):
        name = path.stem if path.stem in named else path.stem.rpartition(".")[0]
        if name not in named:
            raise FileNotFoundError(f"{other} has no {path.stem}.png, nor one without its last part: {path} is alone")
        if name in found:
            raise ValueError(f"{path} and {found[name][0]} belong to one image: keep the stego images of one key")
        found[name] = (path, named[name])
    return list(found.values())


def read(paths: Sequence[Path]) -> Tensor:
    """Images of one size, NCHW, uint8."""
    images: list[np.ndarray] = []
    for path in paths:
        with Image.open(path) as image:
            images.append(np.asarray(image.convert("RGB")))
        if images[-1].shape != images[0].shape:
            raise ValueError(f"{path} is {size(images[-1])}, and {paths[0]} {size(images[0])}: all must be of one size")
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


def size(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
