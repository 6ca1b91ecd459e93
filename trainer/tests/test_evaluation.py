from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from trainer import derivation, evaluation
from trainer import photographs as loading
from trainer.network import Network


def test_psnr_of_a_known_difference() -> None:
    a = torch.zeros(2, 3, 4, 4)
    b = torch.stack([torch.full((3, 4, 4), 0.1), torch.full((3, 4, 4), 0.01)])
    assert evaluation.psnr(a, b).tolist() == pytest.approx([20.0, 40.0], abs=1e-3)


def test_untrained_network_hides_nothing_and_measures_so(small: Network, photographs: Path) -> None:
    covers, secrets = loading.pairs(photographs, 32, 24)
    assert covers.shape == secrets.shape == (3, 3, 24, 32)
    quality = evaluation.measure(small, [derivation.demo_pair(i) for i in (1, 2)], covers, secrets)
    assert quality.pairs == 3
    expected = evaluation.psnr(covers, secrets).mean().item()
    assert quality.unrelated == pytest.approx(expected, abs=1e-4)
    assert abs(quality.recovered - quality.unrelated) < 6
    assert 20 < quality.noisy < 25
    assert all(math.isfinite(value) for value in vars(quality).values())


def test_measurement_is_repeatable(small: Network, photographs: Path) -> None:
    images = loading.pairs(photographs, 32, 32, limit=1)
    keys = [derivation.demo_pair(i) for i in (1, 2)]
    assert evaluation.measure(small, keys, *images) == evaluation.measure(small, keys, *images)


def test_pairs_are_consecutive_in_sorted_order(photographs: Path) -> None:
    covers, secrets = loading.pairs(photographs, 20, 20)
    again, _ = loading.pairs(photographs, 20, 20, limit=2)
    assert torch.equal(covers[:2], again)
    (photographs / "0.png").unlink()
    shifted, _ = loading.pairs(photographs, 20, 20)
    assert torch.equal(shifted[0], secrets[0])


def test_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no photographs"):
        loading.files(tmp_path)


def test_crops_come_from_the_photographs_and_their_halves(photographs: Path) -> None:
    images = loading.Photographs(photographs, 32)
    assert images.count == 6
    sample = images.sample(5, 32, np.random.default_rng(2))
    assert sample.shape == (5, 3, 32, 32)
    assert 0 <= sample.min() < sample.max() <= 1
    assert torch.equal(sample, images.sample(5, 32, np.random.default_rng(2)))
    assert images.sample(2, 16, np.random.default_rng(2)).shape == (2, 3, 16, 16)
    with pytest.raises(ValueError, match="smaller than the crop"):
        loading.Photographs(photographs, 500)


def test_photographs_held_out_are_not_trained_on(photographs: Path) -> None:
    images = loading.Photographs(photographs, 32, held_out=2)
    assert images.count == 4
    cover, secret = images.validation(24)
    everything = loading.pairs(photographs, 24, 24)
    assert torch.equal(cover, everything[0][2:])
    assert torch.equal(secret, everything[1][2:])
    with pytest.raises(ValueError, match="leaves none"):
        loading.Photographs(photographs, 32, held_out=6)
