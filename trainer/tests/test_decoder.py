from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from trainer import decoder
from trainer.cli import main
from trainer.decoder import Pairs, Settings, Training

from .conftest import REPOSITORY

MODEL = str(REPOSITORY / "models" / "lsb-chacha20")
SIDE = 32
QUICK = Settings(seconds=600, steps=150, width=16, batch=8, rate=1e-2)


def secrets(random: np.random.Generator, count: int) -> np.ndarray:
    """Smooth images: four corners of random colours."""
    at = np.linspace(0, 1, SIDE)
    corners = random.integers(0, 256, (count, 2, 2, 3))
    rows = corners[:, 0, None] * (1 - at)[None, :, None, None] + corners[:, 1, None] * at[None, :, None, None]
    images = rows[:, :, None, 0] * (1 - at)[None, None, :, None] + rows[:, :, None, 1] * at[None, None, :, None]
    return images.round().astype(np.uint8)


def pairs(seed: int, count: int, key: bytes | None = None) -> Pairs:
    """Two bits of the secret in the lowest bits of the cover; with a key they are masked by fresh noise."""
    random = np.random.default_rng(seed)
    secret, cover = secrets(random, count), random.integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)
    hidden = secret >> 6
    if key is not None:
        hidden = hidden ^ random.integers(0, 4, hidden.shape, dtype=np.uint8)
    stego = (cover & 0xFC) | hidden
    return Pairs(*(torch.from_numpy(x).permute(0, 3, 1, 2).contiguous() for x in (stego, secret)))


def attacked(leaked: Pairs, test: Pairs, settings: Settings = QUICK) -> dict[str, Any]:
    training = Training(settings, leaked, None)
    assert training.run()
    return decoder.result(training, False, len(leaked), test)


def test_he_reads_what_is_not_encrypted() -> None:
    found = attacked(pairs(1, 60), pairs(2, 12))
    assert found["own"]["low"] > 0.1
    assert found["over_guess"]["mean"] > 0.03
    assert found["correlation"]["mean"] > 0.6
    assert found["psnr"]["mean"] > found["guess"]["psnr"]["mean"] + 2


def test_he_reads_nothing_that_is() -> None:
    found = attacked(pairs(1, 40, b"key"), pairs(2, 24, b"key"), replace(QUICK, steps=40))
    assert abs(found["own"]["mean"]) < 0.05
    assert found["over_guess"]["mean"] < 0.05


def test_he_starts_with_the_best_constant_guess() -> None:
    leaked = pairs(1, 5)
    network = decoder.Decoder(8, decoder.mean_secret(leaked), None)
    with torch.no_grad():
        made = network(leaked.stego, None)
    assert torch.allclose(made, decoder.mean_secret(leaked).expand_as(made))


def test_what_is_public_about_an_image_reaches_every_pixel() -> None:
    public = torch.randn(1, 5, 4, 4)
    network = decoder.Decoder(8, torch.zeros(1, 3, SIDE, SIDE), public)
    torch.nn.init.normal_(network.head.weight)
    stego = torch.zeros(1, 3, SIDE, SIDE, dtype=torch.uint8)
    with torch.no_grad():
        before = network(stego, public)
        public[0, 2, 3, 3] += 1
        moved = (network(stego, public) - before).abs().amax((0, 1))
    assert (moved > 0).all()
    # Arrays that are finer than the network's grid are folded, coarser ones repeated.
    assert decoder._folded(torch.zeros(1, 5, 8, 8), 4).shape == (1, 20, 4, 4)
    assert decoder._folded(torch.zeros(1, 5, 2, 2), 4).shape == (1, 5, 4, 4)


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    leaked, settings = pairs(1, 20), replace(QUICK, steps=12)
    whole = Training(settings, leaked, None)
    assert whole.run()
    steps = iter(range(100))
    first = Training(settings, leaked, tmp_path / "state.pt")
    assert not first.run(lambda: next(steps) == 6)
    second = Training(settings, leaked, tmp_path / "state.pt")
    assert second.step == 7
    assert second.run()
    for mine, expected in zip(second.average.parameters(), whole.average.parameters()):
        assert torch.equal(mine, expected)
    with pytest.raises(ValueError, match="choose another --state"):
        Training(replace(settings, width=12), leaked, tmp_path / "state.pt")


def test_correlation() -> None:
    a = torch.rand(3, 3, 8, 8)
    b = torch.stack([a[0] * 0.5 + 0.2, 1 - a[1], torch.full((3, 8, 8), 0.5)])
    assert torch.allclose(decoder.correlation(a, b), torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64), atol=1e-6)


def folder(at: Path, made: Pairs) -> Path:
    for kind, images in (("stego", made.stego), ("secret", made.secret)):
        (at / kind).mkdir(parents=True)
        for i, image in enumerate(images):
            name = f"{i:05}-boat.demo-1.png" if kind == "stego" else f"{i:05}-boat.png"
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(at / kind / name)
    return at


def test_command(tmp_path: Path) -> None:
    leaked, own, test = (folder(tmp_path / name, pairs(len(name), 12)) for name in ("leaked", "own", "test"))
    (test / "public").mkdir()
    arguments = [
        "decode", MODEL, "--leaked", str(leaked), "--own", str(own), "--test", f"made={test}",
        "--limit", "4", "--pairs", "0,10", "--seconds", "600,500", "--steps", "4", "--width", "8", "--batch", "2",
        "--state", str(tmp_path / "state"), "--out", str(tmp_path / "report.json"),
    ]  # fmt: skip
    for image in (test / "stego").iterdir():
        np.save(test / "public" / f"{image.stem}.npy", np.zeros((2, 4, 4), np.float32))
    assert main(arguments) == 1  # only the test has public arrays
    for path in (test / "public").iterdir():
        path.unlink()
    (test / "public").rmdir()
    assert main(arguments) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["kind"] == "decoder"
    assert report["model"] == "lsb-chacha20"
    assert [r["pairs"] for r in report["results"]] == [0, 10]
    assert report["results"][0]["made"] == 12
    assert [r["budget"] for r in report["results"]] == [600, 500]
    assert report["seconds"] == 600
    assert report["baseline"]["ssim"]["n"] == 4
    again = (tmp_path / "report.json").read_bytes()
    assert main(arguments) == 0  # everything is in the checkpoints
    assert (tmp_path / "report.json").read_bytes() == again


def test_a_network_without_keys_tells_what_it_reads(tmp_path: Path) -> None:
    made = folder(tmp_path / "made", pairs(1, 2))
    assert decoder._network(Path(MODEL)) is None
    network = decoder._network(REPOSITORY / "models" / "invertible-rk")
    assert network is not None
    read = decoder.load(made, network=network)
    assert read.public is not None
    assert read.public.shape == (2, 3, SIDE, SIDE)
    assert decoder.load(made).public is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (["--pairs", "0"], "needs --own"),
        (["--pairs", "13"], "has 12 pairs"),
        (["--width", "7"], "multiple"),
        (["--seconds", "1,2"], "--seconds has 2 numbers, and --pairs 1"),
    ],
)
def test_his_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str], change: list[str], says: str) -> None:
    leaked, test = (folder(tmp_path / name, pairs(len(name), 12)) for name in ("leaked", "test"))
    arguments = ["decode", MODEL, "--leaked", str(leaked), "--test", f"made={test}"]
    assert main([*arguments, "--steps", "1", "--pairs", "1", "--out", str(tmp_path / "x.json"), *change]) != 0
    assert says in capsys.readouterr().err
