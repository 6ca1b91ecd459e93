"""The decoding attacker: trains a network on stego images of a user with their secrets, to read the user's others.

The attacker knows only what is public about the method, and needs neither its code nor a key: the same attack serves
every method. With N leaked pairs of one key the network learns from these; with none it learns from pairs made with a
key of the attacker's own. The attacker never looks at the test. With ten pairs or more a tenth is kept to choose
between the states of the network; with fewer the last state is taken.

The network sees a stego image's samples, their two lowest bits as separate planes and, where given, arrays that anybody
can compute from the image without a key. For a rotated secret this is the payload, as its receiver has it before the
inverse rotation (`stegomq audit public`, or the output of the model's own network). The network is a U-Net on whole
images. At an eighth of the side, linear maps between all places, the same in all channels, let a value anywhere reach a
pixel anywhere: convolutions alone could not undo even a fixed permutation. It starts as the best constant guess, the
mean of the leaked secrets.

`as_json` (trainer/attack.py) writes a report. A *score* is as there: mean, deviation and 95 % interval of the mean over
the images of the test, by a bootstrap over them. All figures are of 8-bit images. *Measures* are `psnr` (dB), `ssim`
and `correlation` (Pearson's, over all samples; 0 where an image is flat), each a score.

    kind       `decoder`
    version    1
    model      name and `digest` of the model attacked
    data       name of the test; `side`: of every image, in pixels
    public     whether the network had the arrays
    seconds    of the processor, the largest budget of a number of pairs; `steps`: its limit of steps, 0 for none
    hardware   on which the seconds were counted
    width      of the network; `parameters`: how many; `rate`, `batch`, `seed`: of the training
    results    for each number of pairs: `pairs` (0: `made` by the attacker); `budget` in seconds; `steps` and `seconds`
               of the chosen state; the measures; `guess`: those of the mean secret;
               `over_guess` and `over_unrelated`: SSIM over that of the guess, and of an unrelated image, as scores of
               the differences; `own`: SSIM with the image's own secret over that with other secrets of the test, which
               is 0 on average where nothing of a secret comes out; `curve`: for every state, `steps`, `seconds`, and
               the means of the measures
    baseline   the measures of an unrelated image: the next secret of the test
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from . import evaluation, export, imagefolders, journal
from .attack import as_json, score
from .course import Budget, Course, State
from .network import Network

log = logging.getLogger("trainer")

VERSION = 1
# With so many pairs or more, one in so many is kept to choose by.
_TENTH = 10
_AVERAGE = 0.995
_LARGEST_PSNR = 100.0
# Sides must be multiples of it, the network's coarsest grid.
GRID = 8
_GROUPS = 4


@dataclass(frozen=True)
class Settings:
    """The attack's network and budget."""

    seconds: float = 1800.0
    steps: int = 0
    """The budget also ends after so many, if not 0."""
    width: int = 24
    rate: float = 2e-3
    batch: int = 8
    seed: int = 1

    def __post_init__(self) -> None:
        if min(self.seconds, self.batch, self.rate) <= 0 or self.steps < 0:
            raise ValueError("decode: seconds, batch and rate must be above 0, and steps not below")
        if self.width < _GROUPS or self.width % _GROUPS:
            raise ValueError(f"decode: the width must be a multiple of {_GROUPS}")


@dataclass(frozen=True)
class Pairs:
    """Stego images and their secrets, n x 3 x side x side bytes; public arrays of each, n x channels x h x w."""

    stego: Tensor
    secret: Tensor
    public: Tensor | None = None

    def __len__(self) -> int:
        return len(self.stego)

    @property
    def side(self) -> int:
        return self.stego.shape[-1]

    def take(self, which: slice | Tensor) -> Pairs:
        return Pairs(self.stego[which], self.secret[which], None if self.public is None else self.public[which])


def load(folder: Path, limit: int = 0, seed: int | None = None, network: Network | None = None) -> Pairs:
    """The pairs of the folders `stego` and `secret`: all, or the first `limit`.

    Their public arrays are those of the folder `public`, if there is one, or the output of a network without keys.
    The order is that of the names or, with a seed, a random one: a smaller set is the start of a larger one.
    """
    pairs = imagefolders.paired(folder / "stego", folder / "secret")
    if limit > len(pairs):
        raise ValueError(f"{folder} has {len(pairs)} pairs of stego images and secrets, and {limit} are asked for")
    if seed is not None:
        pairs = [pairs[i] for i in np.random.default_rng(seed).permutation(len(pairs))]
    stego, secret = zip(*(pairs[:limit] if limit else pairs))
    samples = imagefolders.read(stego)
    public = _public(folder / "public", stego) if network is None else _payloads(network, samples)
    read = Pairs(samples, imagefolders.read(secret), public)
    height, width = read.stego.shape[2:]
    if read.secret.shape != read.stego.shape or height != width or width % GRID:
        raise ValueError(f"{folder}: decode takes square images of one size, whose side divides by {GRID}")
    return read


@torch.no_grad()
def _payloads(network: Network, stego: Tensor) -> Tensor:
    """The payloads that the network of a model with rotating keys reads, before a key rotates them back."""
    return torch.cat([network.recover(None, single.float() / 255).half() for single in stego.split(1)])


def _network(model: Path) -> Network | None:
    """The network of a model whose network has no keys."""
    manifest = json.loads((model / "manifest.json").read_text(encoding="utf-8"))
    if manifest["keying"] != "rotation" or "recover.onnx" not in manifest["files"]:
        return None
    return export.load(model)[0][0].requires_grad_(False)


def _public(folder: Path, stego: Sequence[Path]) -> Tensor | None:
    if not folder.is_dir():
        return None
    # Half precision: far finer than the noise in them, and a thousand pairs must fit into memory.
    arrays = [np.load(folder / f"{path.stem}.npy", allow_pickle=False).astype(np.float16) for path in stego]
    return torch.from_numpy(np.stack(arrays))


class Block(nn.Module):
    """A convolution of 3x3, normalised."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.norm = nn.GroupNorm(_GROUPS, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return functional.leaky_relu(self.norm(self.convolution(x)), 0.1)


class Mixing(nn.Module):
    """Connects all places: a linear map between places, the same in all channels, then one between channels."""

    def __init__(self, channels: int, places: int) -> None:
        super().__init__()
        self.places = nn.Linear(places, places)
        self.channels = nn.Conv2d(channels, channels, 1)
        self.block = Block(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.places(x.flatten(2)).view_as(x)
        return self.block(x + self.channels(functional.leaky_relu(mixed, 0.1)))


class Decoder(nn.Module):
    """Maps a stego image to a guess of its secret, mostly in [0, 1]."""

    def __init__(self, width: int, guess: Tensor, public: Tensor | None) -> None:
        super().__init__()
        side = guess.shape[-1]
        coarse = side // GRID
        self.guess = nn.Parameter(guess.clone())
        self.second = Block(4 * 9, width)
        self.fourth = Block(width, 2 * width, 2)
        self.eighth = Block(2 * width, 4 * width, 2)
        self.public = None if public is None else nn.Conv2d(_folded(public[:1], coarse).shape[1], 4 * width, 1)
        self.middle = nn.Sequential(*(Mixing(4 * width, coarse * coarse) for _ in range(2)))
        self.up_fourth = Block(width + 2 * width, 2 * width)
        self.up_second = Block(width // 2 + width, width)
        self.head = nn.Conv2d(width, 4 * 3, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, stego: Tensor, public: Tensor | None) -> Tensor:
        """Takes bytes."""
        planes = torch.cat([stego.float() / 255 - 0.5, (stego & 1).float() - 0.5, (stego >> 1 & 1).float() - 0.5], 1)
        second = self.second(functional.pixel_unshuffle(planes, 2))
        fourth = self.fourth(second)
        eighth = self.eighth(fourth)
        if self.public is not None:
            if public is None:
                raise ValueError("the network was made for what is public about a stego image as well")
            eighth = eighth + self.public(_folded(public, eighth.shape[-1]))
        eighth = self.middle(eighth)
        fourth = self.up_fourth(torch.cat([functional.pixel_shuffle(eighth, 2), fourth], 1))
        second = self.up_second(torch.cat([functional.pixel_shuffle(fourth, 2), second], 1))
        return self.guess + functional.pixel_shuffle(self.head(second), 2)


def _folded(public: Tensor, coarse: int) -> Tensor:
    """Arrays on the network's coarsest grid: finer ones are folded into channels, coarser ones repeated."""
    public = public.float()
    factor = public.shape[-1] / coarse
    if factor >= 1 and factor == int(factor):
        return functional.pixel_unshuffle(public, int(factor))
    return functional.interpolate(public, size=(coarse, coarse), mode="nearest")


class Training(Course):
    """The training of one decoder, from its start or its checkpoint."""

    def __init__(self, settings: Settings, pairs: Pairs, file: Path | None) -> None:
        kept = len(pairs) // _TENTH
        self.kept, self.learn = pairs.take(slice(0, kept)), pairs.take(slice(kept, None))
        torch.manual_seed(settings.seed)
        network = Decoder(settings.width, mean_secret(self.learn), pairs.public)
        identity = asdict(settings) | {"pairs": len(pairs), "side": pairs.side}
        super().__init__(network, Budget(settings.seconds, settings.steps, settings.rate), identity, file, _AVERAGE)
        self.settings = settings

    def recover(self, state: State, pairs: Pairs) -> Tensor:
        """The secrets that a state recovers from stego images: 8-bit values in [0, 1]."""
        return _recovered(self.at(state), pairs)

    def loss(self) -> Tensor:
        drawn = self.random.integers(len(self.learn), size=self.settings.batch)
        batch = self.learn.take(torch.from_numpy(drawn))
        return functional.mse_loss(self.network(batch.stego, batch.public), batch.secret.float() / 255)

    def held_out(self) -> float:
        """The mean squared error on the held-out pairs; 0 where there are none."""
        if not len(self.kept):
            return 0.0
        return float((_recovered(self.average, self.kept) - self.kept.secret.float() / 255).square().mean())


@torch.no_grad()
def _recovered(network: nn.Module, pairs: Pairs) -> Tensor:
    made = [network(single.stego, single.public) for single in (pairs.take(slice(i, i + 1)) for i in range(len(pairs)))]
    return torch.round(torch.cat(made).clamp(0, 1) * 255) / 255


def mean_secret(pairs: Pairs) -> Tensor:
    """The best constant guess by squared error: 1 x 3 x side x side."""
    return pairs.secret.float().mean(0, keepdim=True) / 255


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's correlation for each image over all samples; 0 where an image is flat."""
    a, b = (x.double().flatten(1) - x.double().mean((1, 2, 3)).unsqueeze(1) for x in (a, b))
    size = a.norm(dim=1) * b.norm(dim=1)
    return torch.where(size > 0, (a * b).sum(1) / size.clamp(min=1e-12), torch.zeros_like(size))


def _values(images: Tensor, secret: Tensor) -> dict[str, Tensor]:
    """The measures of each image."""
    return {
        "psnr": evaluation.psnr(images, secret).clamp(max=_LARGEST_PSNR),
        "ssim": evaluation.ssim(images, secret),
        "correlation": correlation(images, secret),
    }


def _scores(values: dict[str, Tensor]) -> dict[str, Any]:
    return {name: score(of.tolist()) for name, of in values.items()}


# The number of other secrets that an output is compared with, beside its own.
_OTHERS = 4


def _with_others(recovered: Tensor, secret: Tensor) -> Tensor:
    """The mean SSIM of every image with other secrets."""
    shifts = range(1, min(_OTHERS, len(secret) - 1) + 1)
    return torch.stack([evaluation.ssim(recovered, secret.roll(-shift, 0)) for shift in shifts]).mean(0)


def result(training: Training, made: bool, count: int, test: Pairs) -> dict[str, Any]:
    """The result on the test of the attacker with so many pairs."""
    secret = test.secret.float() / 255
    recovered = [training.recover(state, test) for state in training.states]
    tested = [_values(images, secret) for images in recovered]
    chosen = training.chosen() if len(training.kept) else len(tested) - 1
    state, ssim = training.states[chosen], tested[chosen]["ssim"]
    guess = _values(torch.round(mean_secret(training.learn) * 255).div(255).expand_as(secret), secret)
    found = {
        "pairs": 0 if made else count, "made": count if made else 0, "budget": training.settings.seconds,
        "steps": state.steps, "seconds": round(state.seconds, 1),
        **_scores(tested[chosen]), "guess": _scores(guess),
        "over_guess": score((ssim - guess["ssim"]).tolist()),
        "over_unrelated": score((ssim - evaluation.ssim(secret.roll(-1, 0), secret)).tolist()),
        "own": score((ssim - _with_others(recovered[chosen], secret)).tolist()),
        "curve": [
            {"steps": s.steps, "seconds": round(s.seconds, 1)}
            | {name: round(float(of.double().mean()), 4) for name, of in values.items()}
            for s, values in zip(training.states, tested)
        ],
    }  # fmt: skip
    log.info("%d pairs: %s", found["pairs"], line(found))
    return found


def line(of: dict[str, Any]) -> str:
    psnr, ssim, correlated = (of[name]["mean"] for name in ("psnr", "ssim", "correlation"))
    words = f"PSNR {psnr:.2f} dB, SSIM {ssim:.3f}, correlation {correlated:.3f}"
    if "over_guess" in of:
        words += f"; SSIM over the guess {of['over_guess']['mean']:+.4f}, own over others {of['own']['mean']:+.4f}"
    return words


def report(
    model: str, digest: str, data: str, settings: Settings, hardware: str, test: Pairs, results: list[dict[str, Any]]
) -> dict[str, Any]:
    secret = test.secret.float() / 255
    size = sum(p.numel() for p in Decoder(settings.width, secret[:1], test.public).parameters())
    return {
        "kind": "decoder", "version": VERSION, "model": model, "digest": digest, "data": data, "side": test.side,
        "public": test.public is not None, "hardware": hardware, "parameters": size, **asdict(settings),
        "results": results, "baseline": _scores(_values(secret.roll(-1, 0), secret)),
    }  # fmt: skip


def add_commands(commands: Any) -> None:
    command = commands.add_parser("decode", help="train a decoder on leaked stego images and secrets of any method")
    command.add_argument("model", type=Path, help="the directory of the model attacked, for its name and digest")
    command.add_argument("--leaked", type=Path, help="folder with stego and secret: pairs of the victim's key")
    command.add_argument("--own", type=Path, help="the same of the attacker's own key, for --pairs 0")
    command.add_argument("--made", type=int, default=0, help="how many of his own (0: all)")
    command.add_argument(
        "--test", required=True, metavar="NAME=FOLDER", help="the same of other secrets, with the victim's key"
    )
    command.add_argument("--limit", type=int, default=0, help="at most so many pairs to test on (0: all)")
    command.add_argument("--pairs", type=_numbers, default=[0, 1, 10, 100, 1000], metavar="N,N", help="leaked")
    command.add_argument(
        "--seconds",
        type=_budgets,
        default=[1800.0],
        metavar="S,S",
        help="of the processor: for every N, or one for each",
    )
    command.add_argument("--steps", type=int, default=0, help="stop after so many, if not 0: that repeats anywhere")
    command.add_argument("--width", type=int, default=24, help="of the network")
    command.add_argument("--rate", type=float, default=2e-3, help="Adam's at its highest")
    command.add_argument("--batch", type=int, default=8)
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--state", type=Path, help="folder of checkpoints: the same command goes on from them")
    command.add_argument("--threads", type=int, default=1)
    command.add_argument(
        "--stop-after", type=float, default=math.inf, metavar="SECONDS", help="stop so long after the start"
    )
    command.add_argument("--out", type=Path, required=True, help="the report, a JSON file; written after each N")
    command.set_defaults(run=_decode)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _budgets(text: str) -> list[float]:
    return [float(number) for number in text.split(",")]


def _name(model: Path) -> str:
    return str(json.loads((model / "manifest.json").read_text(encoding="utf-8"))["name"])


def _decode(options: argparse.Namespace) -> None:
    name, _, folder = options.test.partition("=")
    if not folder:
        raise ValueError(f"--test {options.test}: write NAME=FOLDER")
    if (0 in options.pairs and not options.own) or (max(options.pairs) > 0 and not options.leaked):
        raise ValueError("--pairs 0 needs --own, and other numbers need --leaked: folders with stego and secret")
    if options.leaked and options.leaked.resolve() == Path(folder).resolve():
        raise ValueError("--leaked and --test are one folder: the attacker must not have seen what he is tested on")
    torch.set_num_threads(options.threads)
    if options.state:
        options.state.mkdir(parents=True, exist_ok=True)
    budgets = options.seconds * len(options.pairs) if len(options.seconds) == 1 else options.seconds
    if len(budgets) != len(options.pairs):
        raise ValueError(
            f"--seconds has {len(budgets)} numbers, and --pairs {len(options.pairs)}: give one for all, or as many"
        )
    settings = Settings(max(budgets), options.steps, options.width, options.rate, options.batch, options.seed)
    end = time.monotonic() + options.stop_after
    network = _network(options.model)
    test = load(Path(folder), options.limit, network=network)
    if len(test) < 2:
        raise ValueError(f"{folder}: there must be two images at least to test on")
    results: list[dict[str, Any]] = []
    for count, seconds in zip(options.pairs, budgets):
        source, limit = (options.leaked, count) if count else (options.own, options.made)
        pairs = load(source, limit, settings.seed, network)
        if (pairs.public is None) != (test.public is None):
            raise ValueError("a folder public is there for the test or for the pairs alone: make it for both")
        training = Training(
            replace(settings, seconds=seconds), pairs, options.state / f"{count}.pt" if options.state else None
        )
        if not training.run(lambda: time.monotonic() > end):
            print(f"stopped after {training.seconds:.0f} s with {count} pairs: the same command goes on")
            return
        results.append(result(training, not count, len(pairs), test))
        made = report(
            _name(options.model), export.digest(options.model), name, settings,
            journal.cpu(options.threads), test, results,
        )  # fmt: skip
        options.out.write_bytes(as_json(made))
        print(f"{count} pairs: {line(results[-1])}")
