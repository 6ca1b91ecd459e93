"""The attacker with leaked pairs of one user, who learns from them to read the user's other stego images.

The attacker has the model, which is public: its weights, its mask, its way of embedding. The attacker also has N stego
images of the victim with the secrets in them, but no key of the victim's, and changes the weights of recovery until it
gives these secrets:

- mode `fill`: the keyed weights alone. The attacker looks for values that act like the key's; they need not be a key's;
- mode `all`: every weight and bias. This is the only mode for methods without keys.

The attack starts from: `mean`, zeros for the keyed weights, the mean of all fills; `random`, the fill of an
unregistered key, or fresh weights where there are no keys; `registered`, the fill or the instance of another user, who
is the attacker; `whole`, W without a key. With no leaked pair the attacker makes pairs: photographs embedded with the
weights of the start. These photographs are not those of the test.

The attacker never looks at the test. With ten pairs or more a tenth is kept to choose between the states of the
network; with fewer the last state is taken. A budget counts CPU seconds, or elapsed seconds on a GPU, without tests.
Crops keep to the network's grid and are not mirrored: its filters are not symmetric, so nothing is hidden in a mirror
image.

`as_json` writes a report, sorted by name. All figures are of 8-bit images against the secret. A *score* is `{"mean",
"std", "n", "low", "high"}` over the pairs of the test: PSNR in dB (at most 100), SSIM; `low` to `high` is the 95 %
interval of the mean by the percentile bootstrap over pairs, 2000 resamples with a fixed seed (null for one pair).

    version    1
    model      the name, and `digest`, the SHA-256 of manifest.json
    victim     id of the key pair or the instance
    mode       `fill` or `all`
    start      `mean`, `random`, `registered` or `whole`
    data       name of the photographs of the test; `side`: of every image, leaked or not, in pixels
    seconds    the budget for each number of pairs; `steps`: its limit of steps, 0 for none
    hardware   on which the seconds were counted
    rate       Adam's highest; `crop`, in pixels, and `batch`; `seed`: of all random numbers
    results    for each number of pairs in the order asked for: `pairs` (0: made by the attacker); `steps` and
               `seconds` of the chosen state; `psnr` and `ssim` (scores); `curve`: for every state to choose from,
               `steps`, `seconds`, and the means `psnr` and `ssim`
    matched    `psnr` and `ssim` of the victim's own key or instance: the upper bound
    untrained  the same at the start
    baseline   the same of the cover, an unrelated image
"""

from __future__ import annotations

import copy
import json
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from . import clock, derivation, evaluation, export, photographs, users
from .derivation import KeyPair
from .methods import error
from .network import Network, eight_bit
from .optimiser import Adam

log = logging.getLogger("trainer")

VERSION = 1
MODES = ("fill", "all")
STARTS = ("mean", "random", "registered", "whole")

# Pairs that the attacker makes where none leaked.
_MADE = 100
# With so many pairs or more, one in so many is kept to choose by.
_TENTH = 10
# Shares of the budget at which the network's state is kept.
_KEPT = (1 / 8, 1 / 4, 1 / 2, 1.0)
_WARMUP = 20
_AVERAGE = 0.99
# Largest norm of the gradient: Adam divides by its size anyway, so this only limits outliers.
_CLIP = 0.1
# The PSNR given to identical images, whose PSNR is infinite.
_LARGEST_PSNR = 100.0
_RESAMPLES = 2000
_RESAMPLE_SEED = 0x73746567

Score = dict[str, float | int | None]
Embed = Callable[[Tensor, Tensor], Tensor]
Images = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Settings:
    """The attack's choices and budget."""

    mode: str = "fill"
    start: str = "mean"
    side: int = 128
    """Of every image, in pixels."""
    seconds: float = 120.0
    steps: int = 0
    """The budget also ends after so many, if not 0."""
    rate: float = 1e-3
    """Adam's at its highest."""
    crop: int = 64
    batch: int = 4
    seed: int = 1

    def __post_init__(self) -> None:
        if self.mode not in MODES or self.start not in STARTS:
            raise ValueError(f"attack: the modes are {', '.join(MODES)}; the starts {', '.join(STARTS)}")
        if min(self.seconds, self.batch, self.crop) <= 0 or self.steps < 0:
            raise ValueError("attack: seconds, batch and crop must be above 0, and steps not below")


class Target:
    """A model with its users, one of whom is the victim."""

    def __init__(
        self, folder: Path, victim: str | None = None, keyring: Path | None = None, device: str = "cpu"
    ) -> None:
        self.networks, manifest = export.load(folder)
        self.networks = [network.to(device).requires_grad_(False) for network in self.networks]
        self.model, self.digest = manifest["name"], export.digest(folder)
        self.keyed = self.networks[0].architecture.keyed
        ids = [key["id"] for key in manifest["keys"]]
        self.victim = ids[0] if victim is None else victim
        if self.victim not in ids:
            raise ValueError(f"{folder} has no user {self.victim}: choose one of {', '.join(ids)}")
        # Instances need no keys; a keyring may also hold other users' keys.
        self.pairs: list[KeyPair] = []
        if self.keyed:
            pairs = {pair.id: pair for pair in export.read_keyring(keyring or folder / "keyring.json")[0]}
            if self.victim not in pairs:
                raise ValueError(f"the keyring has no key pair {self.victim}: give one that has it with --keyring")
            self.pairs = [pairs[id] for id in ids if id in pairs]
            ids = [pair.id for pair in self.pairs]
        self.user = ids.index(self.victim)
        others = [i for i in range(len(ids)) if i != self.user]
        self.other = others[0] if others else None
        """The user that the attacker is where he is one: the first that is not the victim."""
        self.users = users.of(self.networks, self.pairs)

    def embed(self, cover: Tensor, secret: Tensor) -> Tensor:
        return self.users.embed(self.user, cover, secret)

    def recover(self, stego: Tensor) -> Tensor:
        return self.users.recover(self.user, stego)


class Attacker:
    """A copy of the network with an inverted mask: the keyed weights are trained and W is frozen; or all is trained."""

    def __init__(self, target: Target, settings: Settings) -> None:
        self.embed: Embed
        """How he makes pairs himself: with the weights that he starts from."""
        self._fixed: Tensor | None = None
        begin = self._begin_keyed if target.keyed else self._begin_instance
        self.network, self.embed = begin(target, settings)
        self.network.requires_grad_(True)
        if settings.mode == "fill":
            self._fixed = target.networks[0].weight
            self.network.mask.logical_not_()
            self.network.affine.requires_grad_(False)
        else:
            self.network.mask.fill_(True)

    def recover(self, stego: Tensor) -> Tensor:
        return self.network.recover(self._fixed, stego)

    def take(self, other: Attacker, share: float) -> None:
        """Moves the parameters a share of the way towards the other's."""
        with torch.no_grad():
            for vector, towards in zip(self.network.parameters(), other.network.parameters()):
                vector.lerp_(towards, share)

    @staticmethod
    def _begin_keyed(target: Target, settings: Settings) -> tuple[Network, Embed]:
        (network,) = target.networks
        if settings.start in ("mean", "whole"):
            fills = [torch.zeros_like(network.weight) if settings.start == "mean" else network.weight] * 2
        else:
            pair = _other(target) if settings.start == "registered" else derivation.random_pair(settings.seed, 0)
            fills = [network.fill(derivation.EMBED, pair.embed), network.fill(derivation.RECOVER, pair.recover)]
        mine = copy.deepcopy(network)
        mine.weight.copy_(network.keyed(fills[1]))
        return mine, lambda cover, secret: network.embed(fills[0], cover, secret)

    @staticmethod
    def _begin_instance(target: Target, settings: Settings) -> tuple[Network, Embed]:
        if settings.mode != "all" or settings.start not in ("random", "registered"):
            raise ValueError(f"{target.model} has no keys: attack it with --mode all and --start random or registered")
        like = target.networks[target.user]
        if settings.start == "random":
            begun = Network(like.architecture, 1.0, like.mask_seed, settings.seed).to(like.weight.device)
        elif target.other is None:
            raise ValueError(f"{target.model} has one instance: --start registered needs another user's")
        else:
            begun = copy.deepcopy(target.networks[target.other])
        before = copy.deepcopy(begun).requires_grad_(False)
        return begun, lambda cover, secret: before.embed(None, cover, secret)


def _other(target: Target) -> KeyPair:
    if target.other is None:
        raise ValueError("--start registered needs the key pair of a user besides the victim in the keyring")
    return target.pairs[target.other]


def run(
    target: Target, settings: Settings, counts: Sequence[int], leak: Path, name: str, test: Images, hardware: str
) -> dict[str, Any]:
    """The report of attacks with each number of leaked pairs, which the victim made from a folder's photographs."""
    if min(counts) < 0:
        raise ValueError("the number of leaked pairs starts at 0")
    device = target.networks[0].weight.device
    covers, secrets = (images.to(device) for images in test)
    stego = _each(target.embed, covers, secrets)
    available = _leakable(leak, settings, max(_MADE if count == 0 else count for count in counts))
    available = (available[0].to(device), available[1].to(device))

    def scored(recovered: Tensor) -> dict[str, Score]:
        psnr = evaluation.psnr(recovered, secrets).clamp(max=_LARGEST_PSNR)
        return {"psnr": score(psnr.tolist()), "ssim": score(evaluation.ssim(recovered, secrets).tolist())}

    results = []
    for count in counts:
        attacker = Attacker(target, settings)
        owner = target.embed if count else attacker.embed
        cover, secret = (images[: count or _MADE] for images in available)
        states = _states(attacker, settings, (_each(owner, cover, secret), secret))
        tested = [scored(_each(state.recover, stego)) for state in states]
        chosen = min(range(len(states)), key=lambda i: states[i].held_out) if _held_out(len(cover)) else -1
        log.info("%d pairs, %d steps: %s", count, states[chosen].steps, line(tested[chosen]))
        results.append(
            {"pairs": count, "steps": states[chosen].steps, "seconds": round(states[chosen].seconds, 1)}
            | tested[chosen]
            | {"curve": [_point(state, quality) for state, quality in zip(states, tested)]}
        )
    return {
        "version": VERSION,
        "model": target.model,
        "digest": target.digest,
        "victim": target.victim,
        "mode": settings.mode,
        "start": settings.start,
        "data": name,
        "side": settings.side,
        "seconds": settings.seconds,
        "steps": settings.steps,
        "hardware": hardware,
        "rate": settings.rate,
        "crop": settings.crop,
        "batch": settings.batch,
        "seed": settings.seed,
        "results": results,
        "matched": scored(_each(target.recover, stego)),
        "untrained": scored(_each(Attacker(target, settings).recover, stego)),
        "baseline": scored(covers),
    }


def score(values: Sequence[float]) -> Score:
    """Mean and standard deviation over pairs, and the interval of the mean."""
    x = np.asarray(values, np.float64)
    low: float | None = None
    high: float | None = None
    if len(x) > 1:
        drawn = np.random.default_rng(_RESAMPLE_SEED).integers(len(x), size=(_RESAMPLES, len(x)))
        low, high = (round(float(q), 4) for q in np.quantile(x[drawn].mean(1), (0.025, 0.975)))
    std = x.std(ddof=1) if len(x) > 1 else 0.0
    return {"mean": round(float(x.mean()), 4), "std": round(float(std), 4), "n": len(x), "low": low, "high": high}


def line(quality: dict[str, Score]) -> str:
    psnr, ssim = quality["psnr"], quality["ssim"]
    return f"PSNR {psnr['mean']:.2f} dB, SSIM {ssim['mean']:.3f}"


def as_json(report: dict[str, Any]) -> bytes:
    return (json.dumps(report, indent=1, sort_keys=True) + "\n").encode()


def _leakable(folder: Path, settings: Settings, count: int) -> Images:
    """Pairs of a folder's photographs in the seed's order: a smaller set is the start of a larger one."""
    paths = photographs.files(folder)
    if len(paths) < 2 * count:
        raise ValueError(f"{folder}: {count} pairs take {2 * count} photographs, and there are {len(paths)}")
    order = np.random.default_rng(settings.seed).permutation(len(paths))[: 2 * count]
    return photographs.paired([paths[i] for i in order], settings.side, settings.side)


@dataclass(frozen=True)
class _State:
    """The averaged network at a share of the budget."""

    attacker: Attacker
    steps: int
    seconds: float
    held_out: float
    """Mean squared error on the pairs kept to choose by; 0 where there are none."""

    def recover(self, stego: Tensor) -> Tensor:
        return self.attacker.recover(stego)


def _point(state: _State, quality: dict[str, Score]) -> dict[str, Any]:
    means = {name: value["mean"] for name, value in quality.items()}
    return {"steps": state.steps, "seconds": round(state.seconds, 1)} | means


def _held_out(pairs: int) -> int:
    return pairs // _TENTH


def _states(attacker: Attacker, settings: Settings, leaked: Images) -> list[_State]:
    """Trains for the budget; the states at shares of it."""
    random = np.random.default_rng((settings.seed, len(leaked[0])))
    grid, kept = attacker.network.architecture.factor, _held_out(len(leaked[0]))
    learn = (leaked[0][kept:], leaked[1][kept:])
    optimiser, average = Adam(attacker.network), copy.deepcopy(attacker)
    device = leaked[0].device
    states: list[_State] = []
    seconds, step = 0.0, 0
    for share in _KEPT:
        began = clock.seconds(device) - seconds
        while (progress := max(seconds / settings.seconds, step / settings.steps if settings.steps else 0)) < share:
            _step(attacker, optimiser, _crops(learn, grid, settings, random), _rate(settings, progress, step))
            step += 1
            average.take(attacker, 1 - min(_AVERAGE, step / (step + 10)))
            seconds = clock.seconds(device) - began
        held_out = 0.0
        if kept:
            recovered = _each(average.recover, leaked[0][:kept])
            held_out = float((recovered - leaked[1][:kept]).square().mean())
            seconds = clock.seconds(device) - began
        states.append(_State(copy.deepcopy(average), step, seconds, held_out))
    return states


def _step(attacker: Attacker, optimiser: Adam, crops: Images, rate: float) -> None:
    stego, secret = crops
    loss = error(attacker.recover(stego), secret)
    attacker.network.zero_grad()
    loss.backward()
    norm = clip_grad_norm_([p for p in attacker.network.parameters() if p.requires_grad], _CLIP)
    if math.isfinite(float(norm)):
        optimiser.step(rate)


def _rate(settings: Settings, progress: float, step: int) -> float:
    """The learning rate: a cosine down to 0."""
    return settings.rate * 0.5 * (1 + math.cos(math.pi * progress)) * min(1.0, (step + 1) / _WARMUP)


def _crops(leaked: Images, grid: int, settings: Settings, random: np.random.Generator) -> Images:
    """Crops, each of another pair, at the same place of both images, on the network's grid."""
    stego, secret = leaked
    crop = min(settings.crop, settings.side) // grid * grid
    if not crop:
        raise ValueError(f"--crop and --side must be at least {grid} for this network")
    crops: list[Images] = []
    for _ in range(settings.batch):
        image = int(random.integers(len(stego)))
        top, left = (grid * int(random.integers((settings.side - crop) // grid + 1)) for _ in range(2))
        window = (image, slice(None), slice(top, top + crop), slice(left, left + crop))
        crops.append((stego[window], secret[window]))
    return torch.stack([crop for crop, _ in crops]), torch.stack([crop for _, crop in crops])


@torch.no_grad()
def _each(operation: Callable[..., Tensor], *images: Tensor) -> Tensor:
    """The 8-bit outputs of an operation, one image after the other."""
    return torch.cat([eight_bit(operation(*single)) for single in zip(*(torch.split(x, 1) for x in images))])
