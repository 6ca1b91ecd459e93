"""A learned detector: a small convolutional network tells stego images from their covers.

Its input is the red, green and blue channels and the differences R-G, G-B and R-B, through fixed high-pass filters
whose output is clipped at 3 grey levels (the residuals of Fridrich and Kodovsky's rich models, 2012, as the first
layer, following Ye, Ni and Yi 2017). Normalised convolutions follow, with means over 2x2 between them, and the mean
over the image. A batch holds covers and their own stego images at the same places, in the same one of eight flips and
rotations, so only the message differs. A tenth of the training pairs chooses between the states of the network; the
test is not used for that.

`as_json` (trainer/attack.py) writes a report:

    kind       `detector`
    version    1
    model      name and `digest` of the model; `matching`: bits a sample of LSB matching instead of the model's stego
               images, a control, or 0
    data       name of the test; `side`: of its images, in pixels
    trained    pairs to learn from and to choose by; `tested`: pairs of the test
    seconds    of the processor, the budget; `steps`: its limit of steps, 0 for none
    spent      `steps` and `seconds` of the chosen state
    hardware   on which the seconds were counted
    width      of the network; `parameters`: how many; `crop`, `batch`, `rate`, `seed`: of the training
    auc        `mean`, `low`, `high`: the share of covers and stego images of the test in the right order, with
               the 95 % interval by a bootstrap over pairs, 2000 resamples; 0.5 is guessing
    p_e        the same of the least mean of false alarms and misses over thresholds, the best for the test
    held_out   the AUC on the pairs that chose the state
    curve      for every state: `steps`, `seconds`, `auc`
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from . import export, imagefolders, journal
from .attack import as_json
from .course import Budget, Course

VERSION = 1
_TENTH = 10
_CUT = 3.0
_RESAMPLES = 2000
_RESAMPLE_SEED = 0x64657465
_MATCHING_SEED = 0x6C73626D

# Differences of first and second order along rows and columns, and the kernels KB and KV (Fridrich and Kodovsky 2012).
_FIRST = [[0, 0, 0], [0, -1, 1], [0, 0, 0]]
_SECOND = [[0, 0, 0], [0.5, -1, 0.5], [0, 0, 0]]
_KB = [[-0.25, 0.5, -0.25], [0.5, -1, 0.5], [-0.25, 0.5, -0.25]]
_KV = [[-1, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2], [2, -6, 8, -6, 2], [-1, 2, -2, 2, -1]]


@dataclass(frozen=True)
class Settings:
    """How the detector is trained."""

    seconds: float = 1800.0
    steps: int = 0
    """The budget also ends after so many, if not 0."""
    width: int = 16
    crop: int = 128
    """Side of what it is shown, in pixels."""
    batch: int = 8
    """Pairs."""
    rate: float = 2e-3
    seed: int = 1

    def __post_init__(self) -> None:
        if min(self.seconds, self.batch, self.rate, self.width) <= 0 or self.steps < 0 or self.crop < 16:
            raise ValueError("detect: seconds, batch, rate and width must be above 0, and --crop 16 or more")


@dataclass(frozen=True)
class Pairs:
    """Covers and their stego images: n x 3 x height x width bytes."""

    cover: Tensor
    stego: Tensor

    def __len__(self) -> int:
        return len(self.cover)

    def take(self, which: slice) -> Pairs:
        return Pairs(self.cover[which], self.stego[which])


def load(folder: Path, matching: float = 0.0, limit: int = 0, seed: int | None = None) -> Pairs:
    """The pairs of the folders `cover` and `stego`; if `matching` is not 0, the covers with LSB matching instead.

    All pairs, or `limit` of them: the first, or with a seed drawn at random.
    """
    pairs = imagefolders.paired(folder / "stego", folder / "cover")
    if limit > len(pairs):
        raise ValueError(f"{folder} has {len(pairs)} pairs of covers and stego images, and {limit} are asked for")
    if seed is not None:
        pairs = [pairs[i] for i in np.random.default_rng(seed).permutation(len(pairs))]
    pairs = pairs[:limit] if limit else pairs
    cover = imagefolders.read([path for _, path in pairs])
    stego = matched(cover, matching) if matching else imagefolders.read([path for path, _ in pairs])
    if stego.shape != cover.shape:
        raise ValueError(f"{folder}: covers and stego images are not of one size")
    return Pairs(cover, stego)


def matched(cover: Tensor, rate: float) -> Tensor:
    """LSB matching (Sharp 2001): a share of the samples carries a bit, and half of these change by one, up or down."""
    random = np.random.default_rng(_MATCHING_SEED)
    moves = random.random(cover.shape) < rate / 2
    samples = cover.numpy().astype(np.int16)
    by = np.where(samples == 0, 1, np.where(samples == 255, -1, random.integers(0, 2, cover.shape) * 2 - 1))
    return torch.from_numpy((samples + moves * by).astype(np.uint8))


class Block(nn.Module):
    """A convolution, normalised."""

    def __init__(self, inputs: int, outputs: int, size: int = 3) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.norm(self.convolution(x)))


class Detector(nn.Module):
    """Maps each image to a score, which is higher for stego images."""

    kernels: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("kernels", _kernels())
        self.first = Block(6 * len(self.kernels), width, 1)
        self.blocks = nn.Sequential(
            Block(width, width), nn.AvgPool2d(2), Block(width, 2 * width), nn.AvgPool2d(2), Block(2 * width, 4 * width),
        )  # fmt: skip
        self.head = nn.Linear(4 * width, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Takes bytes."""
        red, green, blue = images.float().unbind(1)
        planes = torch.stack([red, green, blue, red - green, green - blue, red - blue], 1)
        residues = functional.conv2d(planes.flatten(0, 1).unsqueeze(1), self.kernels).clamp(-_CUT, _CUT)
        seen = self.blocks(self.first(residues.view(len(images), -1, *residues.shape[2:])))
        return self.head(seen.mean((2, 3))).squeeze(1)


def _kernels() -> Tensor:
    first, second, kb = (
        functional.pad(torch.tensor(k, dtype=torch.float), (1, 1, 1, 1)) for k in (_FIRST, _SECOND, _KB)
    )
    kv = torch.tensor(_KV, dtype=torch.float) / 12
    return torch.stack([first, first.t(), second, second.t(), kb, kv]).unsqueeze(1)


class Training(Course):
    """The training of one detector, from its start or its checkpoint."""

    def __init__(self, settings: Settings, pairs: Pairs, file: Path | None = None, matching: float = 0.0) -> None:
        kept = max(1, len(pairs) // _TENTH)
        if len(pairs) < 2:
            raise ValueError("detect: it takes two pairs at least, of which one chooses")
        self.settings, self.kept, self.learn = settings, pairs.take(slice(0, kept)), pairs.take(slice(kept, None))
        torch.manual_seed(settings.seed)
        size = list(pairs.cover.shape[2:])
        identity = asdict(settings) | {"pairs": len(pairs), "size": size, "matching": matching}
        super().__init__(
            Detector(settings.width), Budget(settings.seconds, settings.steps, settings.rate), identity, file
        )

    def loss(self) -> Tensor:
        covers: list[Tensor] = []
        stegos: list[Tensor] = []
        height, width = self.learn.cover.shape[2:]
        crop = min(self.settings.crop, height, width)
        for _ in range(self.settings.batch):
            image, turn = int(self.random.integers(len(self.learn))), int(self.random.integers(8))
            top, left = int(self.random.integers(height - crop + 1)), int(self.random.integers(width - crop + 1))
            for to, images in ((covers, self.learn.cover), (stegos, self.learn.stego)):
                part = images[image, :, top : top + crop, left : left + crop].rot90(turn % 4, (1, 2))
                to.append(part.flip(2) if turn >= 4 else part)
        self.network.train()
        scores = self.network(torch.stack(covers + stegos))
        return functional.binary_cross_entropy_with_logits(scores, torch.arange(len(scores)).ge(len(covers)).float())

    def held_out(self) -> float:
        """Less is better: the share of pairs in the wrong order, and among equal ones the smaller loss."""
        cover, stego = scores(self.average, self.kept)
        return 1 - auc(cover, stego) + 1e-6 * float(functional.softplus(-(stego - cover)).mean())


@torch.no_grad()
def scores(network: nn.Module, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """The scores of whole covers and stego images."""
    network.eval()
    cover, stego = (torch.cat([network(image) for image in images.split(1)]) for images in (pairs.cover, pairs.stego))
    return cover, stego


def auc(cover: Tensor, stego: Tensor) -> float:
    return float(_wins(cover, stego).mean())


def _wins(cover: Tensor, stego: Tensor) -> np.ndarray:
    """Row i, column j: 1 where stego image i scores higher than cover j, 0.5 where they are equal."""
    difference = stego.double().numpy()[:, None] - cover.double().numpy()[None]
    return np.where(difference > 0, 1.0, np.where(difference < 0, 0.0, 0.5))


def estimates(cover: Tensor, stego: Tensor) -> tuple[dict[str, float], dict[str, float]]:
    """AUC and P_E with their intervals.

    A pair that is drawn twice counts as two, but each copy is compared with only one of its own covers, because
    comparisons within a pair are easier.
    """
    wins = _wins(cover, stego)
    negative, positive = cover.double().numpy(), stego.double().numpy()
    thresholds = np.concatenate([[-np.inf], np.sort(np.concatenate([negative, positive]))])
    errors = [((negative > t).mean() + (positive <= t).mean()) / 2 for t in thresholds]
    best = thresholds[int(np.argmin(errors))]
    wrong = ((negative > best) * 1.0 + (positive <= best)) / 2
    random = np.random.default_rng(_RESAMPLE_SEED)
    areas, misses = [], []
    for _ in range(_RESAMPLES):
        times = np.bincount(random.integers(len(wins), size=len(wins)), minlength=len(wins)).astype(float)
        again = times * times - times
        areas.append((times @ wins @ times - again @ wins.diagonal()) / (times.sum() ** 2 - again.sum()))
        misses.append(times @ wrong / times.sum())
    return _estimate(float(wins.mean()), areas), _estimate(float(min(errors)), misses)


def _estimate(mean: float, resampled: list[float]) -> dict[str, float]:
    low, high = np.quantile(resampled, (0.025, 0.975))
    return {"mean": round(mean, 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def report(
    model: tuple[str, str], matching: float, data: str, training: Training, test: Pairs, hardware: str
) -> dict[str, Any]:
    tested = [scores(training.at(state), test) for state in training.states]
    chosen = training.chosen()
    state = training.states[chosen]
    area, error = estimates(*tested[chosen])
    return {
        "kind": "detector", "version": VERSION, "model": model[0], "digest": model[1], "matching": matching,
        "data": data, "side": test.cover.shape[-1], "trained": len(training.learn) + len(training.kept),
        "tested": len(test), "spent": {"steps": state.steps, "seconds": round(state.seconds, 1)}, "hardware": hardware,
        "parameters": sum(p.numel() for p in training.network.parameters()), **asdict(training.settings),
        "auc": area, "p_e": error, "held_out": round(1 - state.held_out, 4),
        "curve": [
            {"steps": s.steps, "seconds": round(s.seconds, 1), "auc": round(auc(*found), 4)}
            for s, found in zip(training.states, tested)
        ],
    }  # fmt: skip


def add_commands(commands: Any) -> None:
    command = commands.add_parser("detect", help="train a network that tells a model's stego images from their covers")
    command.add_argument("model", type=Path, help="the directory of the model, for its name and digest")
    command.add_argument(
        "--train", type=Path, required=True, metavar="FOLDER",
        help="with cover and stego, as `stegomq evaluate --save-images` writes its folder images",
    )  # fmt: skip
    command.add_argument("--test", required=True, metavar="NAME=FOLDER", help="the same of other photographs")
    command.add_argument("--limit", type=int, default=0, help="at most so many pairs to train with (0: all)")
    command.add_argument(
        "--matching", type=float, default=0, metavar="RATE",
        help="a control: instead of the stego images those of LSB matching, so many bits a sample",
    )  # fmt: skip
    command.add_argument("--seconds", type=float, default=1800, help="of the processor")
    command.add_argument("--steps", type=int, default=0, help="stop after so many, if not 0: that repeats anywhere")
    command.add_argument("--width", type=int, default=16, help="of the network")
    command.add_argument("--crop", type=int, default=128, help="side of what it is shown, in pixels")
    command.add_argument("--batch", type=int, default=8, help="pairs")
    command.add_argument("--rate", type=float, default=2e-3, help="Adam's at its highest")
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--state", type=Path, help="checkpoint: the same command goes on from it")
    command.add_argument("--threads", type=int, default=1)
    command.add_argument(
        "--stop-after", type=float, default=math.inf, metavar="SECONDS", help="stop so long after the start"
    )
    command.add_argument("--out", type=Path, required=True, help="the report, a JSON file")
    command.set_defaults(run=_detect)


def _detect(options: argparse.Namespace) -> None:
    name, _, folder = options.test.partition("=")
    if not folder:
        raise ValueError(f"--test {options.test}: write NAME=FOLDER")
    if options.train.resolve() == Path(folder).resolve():
        raise ValueError("--train and --test are one folder: the detector must not have seen what it is tested on")
    if not 0 <= options.matching <= 1:
        raise ValueError(f"--matching {options.matching}: choose 0 to 1 bits a sample")
    torch.set_num_threads(options.threads)
    settings = Settings(
        options.seconds, options.steps, options.width, options.crop, options.batch, options.rate, options.seed
    )
    end = time.monotonic() + options.stop_after
    pairs = load(options.train, options.matching, options.limit, settings.seed)
    test = load(Path(folder), options.matching)
    training = Training(settings, pairs, options.state, options.matching)
    if not training.run(lambda: time.monotonic() > end):
        print(f"stopped after {training.seconds:.0f} s: the same command goes on")
        return
    manifest = json.loads((options.model / "manifest.json").read_text(encoding="utf-8"))
    model = (str(manifest["name"]), export.digest(options.model))
    made = report(model, options.matching, name, training, test, journal.cpu(options.threads))
    options.out.write_bytes(as_json(made))
    print("AUC {mean:.3f} [{low:.3f}, {high:.3f}]".format(**made["auc"]), f"of {len(test)} pairs")
