"""Small networks and generated photographs for the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trainer.backbones import create
from trainer.network import Network

REPOSITORY = Path(__file__).resolve().parents[2]
MASK_SEED = bytes(range(32))


# The networks are small, and on a busy machine threads that wait for each other are slow.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(7)


@pytest.fixture
def small() -> Network:
    """An invertible network in which every parameter has an effect."""
    return shaken(Network(create("invertible", {"couplings": 2, "width": 8}), 0.9, MASK_SEED))


def shaken(network: Network) -> Network:
    """Changes biases, normalisations and parameters that start at zero; variances stay positive."""
    with torch.no_grad():
        network.affine.add_(0.1 * torch.randn_like(network.affine))
        network.statistics.add_(0.1 * torch.randn_like(network.statistics).clamp(-3, 3))
        still = network.weight == 0
        network.weight[still] = 0.02 * torch.randn(int(still.sum()), dtype=network.weight.dtype)
    return network


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Six smooth images with some texture, of various shapes."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    random = np.random.default_rng(3)
    for i, (height, width) in enumerate([(80, 96), (96, 80), (70, 64), (64, 64), (65, 91), (120, 64)]):
        coarse = Image.fromarray(random.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int16)
        image = np.clip(smooth + random.integers(-9, 10, smooth.shape), 0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / f"{i}.png")
    return folder
