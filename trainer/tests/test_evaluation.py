from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from trainer import derivation, evaluation, users
from trainer import photographs as loading
from trainer.backbones import create
from trainer.network import Network

from .conftest import MASK_SEED, shaken


def test_psnr_of_a_known_difference() -> None:
    a = torch.zeros(2, 3, 4, 4)
    b = torch.stack([torch.full((3, 4, 4), 0.1), torch.full((3, 4, 4), 0.01)])
    assert evaluation.psnr(a, b).tolist() == pytest.approx([20.0, 40.0], abs=1e-3)


def test_untrained_network_hides_nothing_and_measures_so(small: Network, photographs: Path) -> None:
    covers, secrets = loading.pairs(photographs, 32, 24)
    assert covers.shape == secrets.shape == (3, 3, 24, 32)
    two = users.Keyed(small, [derivation.demo_pair(i) for i in (1, 2)])
    quality = evaluation.measure(two, covers, secrets)
    assert quality.pairs == 3
    expected = evaluation.psnr(covers, secrets).mean().item()
    assert quality.unrelated == pytest.approx(expected, abs=1e-4)
    assert abs(quality.recovered - quality.unrelated) < 6
    assert quality.noisy is not None
    assert 20 < quality.noisy < 25
    assert all(math.isfinite(value) for value in vars(quality).values())


def test_measurement_is_repeatable(small: Network, photographs: Path) -> None:
    images = loading.pairs(photographs, 32, 32, limit=1)
    two = users.Keyed(small, [derivation.demo_pair(i) for i in (1, 2)])
    assert evaluation.measure(two, *images) == evaluation.measure(two, *images)


def test_what_a_model_does_not_do_is_not_measured(small: Network, photographs: Path) -> None:
    images = loading.pairs(photographs, 32, 32)
    alone = evaluation.measure(users.Keyed(small, [derivation.demo_pair(1)]), *images)
    assert alone.mismatched is None, "there is no other user"
    assert alone.random is not None
    assert "mismatched" not in alone.line()

    architecture = create("hinet", {"couplings": 2, "growth": 4})
    networks = [shaken(Network(architecture, 1.0, MASK_SEED, seed)) for seed in (0, 1)]
    pair = evaluation.measure(users.Instances(networks), *images)
    assert pair.mismatched is not None
    assert (pair.random, pair.purified, pair.noisy) == (None, None, None)
    swapped = evaluation.measure(users.Instances(networks[::-1]), *images)
    assert swapped.stego != pair.stego, "every user has a network"
    same = evaluation.measure(users.Instances([networks[0]] * 2), *images)
    assert same.mismatched == pytest.approx(same.recovered), "the mismatched one is another instance"


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


def test_ssim_is_the_definition() -> None:
    random = np.random.default_rng(4)
    a, b = (torch.from_numpy(np.round(255 * random.random((2, 3, 14, 13))) / 255) for _ in range(2))
    b = torch.round(255 * (0.7 * a + 0.3 * b)) / 255
    offsets = np.arange(11) - 5.0
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    window /= window.sum()
    expected = []
    for x, y in zip(255 * a.numpy(), 255 * b.numpy()):
        values = []
        for channel, top, left in np.ndindex(3, 4, 3):
            p, q = (z[channel, top : top + 11, left : left + 11] for z in (x, y))
            mp, mq = (window * p).sum(), (window * q).sum()
            vp, vq, both = (
                (window * (p - mp) ** 2).sum(),
                (window * (q - mq) ** 2).sum(),
                (window * (p - mp) * (q - mq)).sum(),
            )
            c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
            values.append((2 * mp * mq + c1) * (2 * both + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
        expected.append(np.mean(values))
    assert evaluation.ssim(a, b).tolist() == pytest.approx(expected, abs=1e-9)
    assert evaluation.ssim(a.float(), a.float()).tolist() == pytest.approx([1, 1])
