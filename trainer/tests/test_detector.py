from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trainer import detector
from trainer.cli import main
from trainer.detector import Pairs, Settings, Training

from .conftest import REPOSITORY

MODEL = str(REPOSITORY / "models" / "sealed")
QUICK = Settings(seconds=600, steps=60, width=8, crop=32, batch=8)


def covers(seed: int, count: int, side: int = 40) -> torch.Tensor:
    """Smooth images with a little noise."""
    random = np.random.default_rng(seed)
    at = np.arange(side)
    slope = random.uniform(0.5, 2, (count, 3, 2))
    plane = slope[..., :1, None] * at[:, None] + slope[..., 1:, None] * at[None] + 60
    return torch.from_numpy((plane + random.normal(0, 0.5, plane.shape)).round().clip(0, 255).astype(np.uint8))


def pairs(seed: int, count: int, rate: float) -> Pairs:
    cover = covers(seed, count)
    return Pairs(cover, detector.matched(cover, rate))


def test_it_finds_lsb_matching() -> None:
    training = Training(QUICK, pairs(1, 40, 1.0))
    assert training.run()
    found = detector.report(("m", "d"), 1.0, "made", training, pairs(2, 20, 1.0), "a test")
    assert found["auc"]["low"] > 0.8
    assert found["p_e"]["mean"] < 0.25
    assert found["tested"] == 20


def test_it_finds_nothing_where_there_is_nothing() -> None:
    cover = covers(1, 30)
    training = Training(QUICK, Pairs(cover[:15], cover[15:]))  # other images, not these with a message
    assert training.run()
    cover = covers(2, 60)
    found = detector.report(("m", "d"), 0, "made", training, Pairs(cover[:30], cover[30:]), "a test")
    assert found["auc"]["low"] < 0.5 < found["auc"]["high"] + 0.15


def test_filters_see_no_constant_and_no_slope_but_those_of_first_order() -> None:
    kernels = detector._kernels()
    assert kernels.shape == (6, 1, 5, 5)
    assert torch.allclose(kernels.sum((1, 2, 3)), torch.zeros(6), atol=1e-6)
    slope = (torch.arange(5.0)[:, None] + 2 * torch.arange(5.0)[None]).expand(1, 1, 5, 5)
    seen = torch.nn.functional.conv2d(slope, kernels).flatten()
    assert torch.allclose(seen, torch.tensor([2.0, 1.0, 0, 0, 0, 0]), atol=1e-5)


def test_estimates() -> None:
    area, error = detector.estimates(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 4.0]))
    assert area["mean"] == 0.75
    assert error["mean"] == 0.25
    area, error = detector.estimates(torch.zeros(4), torch.zeros(4))
    assert area == {"mean": 0.5, "low": 0.5, "high": 0.5}
    assert error["mean"] == 0.5
    # A pair that is drawn twice is as good as two pairs (internal/steganalysis has the same example).
    wins, times = detector._wins(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 4.0])), np.array([1.0, 2.0])
    again = times**2 - times
    assert (times @ wins @ times - again @ wins.diagonal()) / (times.sum() ** 2 - again.sum()) == pytest.approx(5 / 7)


def test_matching_moves_half_of_what_it_uses() -> None:
    cover = torch.from_numpy(np.random.default_rng(5).integers(0, 256, (2, 3, 64, 64), dtype=np.uint8))
    moved = detector.matched(cover, 0.5).int() - cover.int()
    assert moved.abs().max() == 1
    assert float((moved != 0).float().mean()) == pytest.approx(0.25, abs=0.02)


def folder(at: Path, made: Pairs) -> Path:
    for kind, images in (("cover", made.cover), ("stego", made.stego)):
        (at / kind).mkdir(parents=True)
        for i, image in enumerate(images):
            name = f"{i:05}-boat.demo-1.png" if kind == "stego" else f"{i:05}-boat.png"
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(at / kind / name)
    return at


def test_command(tmp_path: Path) -> None:
    train, test = folder(tmp_path / "train", pairs(1, 8, 1.0)), folder(tmp_path / "test", pairs(2, 4, 1.0))
    arguments = [
        "detect", MODEL, "--train", str(train), "--test", f"made={test}", "--steps", "6", "--width", "4",
        "--crop", "32", "--batch", "2", "--state", str(tmp_path / "state.pt"), "--out", str(tmp_path / "report.json"),
    ]  # fmt: skip
    assert main(arguments) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["kind"] == "detector"
    assert report["model"] == "sealed"
    assert (report["trained"], report["tested"]) == (8, 4)
    again = (tmp_path / "report.json").read_bytes()
    assert main(arguments) == 0  # everything is in the checkpoint
    assert (tmp_path / "report.json").read_bytes() == again
    assert main([*arguments, "--test", f"made={train}"]) == 1
    assert main([*arguments, "--seed", "2"]) == 1
    (train / "cover" / "00003-boat.png").unlink()
    assert main(arguments) == 1
