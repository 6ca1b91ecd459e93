"""Checkpoints as the public PUSNet code (github.com/albblgb/PUSNet) writes and fills them.

`stegomq models import` reads such files. This module makes one with our own network, and
what that network computes with it, so that the two can be compared; and the golden vectors
of PyTorch's generator, which draws the public code's fills and its mask.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from . import photographs
from .backbones import PUSNet
from .evaluation import NOISE_SIGMA
from .network import TorchOps, eight_bit

# What the public code has as constants.
MASK_SEED, EMBED_SEED, RECOVER_SEED = 1, 10101, 1010
_WEIGHTS = (1.0, 0.75, 0.25)
"""Of the losses: embed, recover, purify."""

# The images of the expected outputs: small, and neither square nor round.
_HEIGHT, _WIDTH = 20, 24
_ARCHITECTURE = PUSNet()


def names() -> dict[str, str]:
    """Our layers and normalisations, by the public code's names of the modules."""
    found = {"in_layers.0": "stem.0", "pre_layers_3.6": "first.2.norm"}
    found |= {"mid_secret_path.0": "middle.secret", "mid_cover_path.0": "middle.cover"}

    def pairs(sequence: str, layers: Sequence[str], start: int) -> None:
        """A normalisation, an activation and a convolution for each layer."""
        for i, layer in enumerate(layers):
            found[f"{sequence}.{start + 3 * i}"] = f"{layer}.norm"
            found[f"{sequence}.{start + 3 * i + 2}"] = layer

    pairs("in_layers", ["stem.1", "stem.2"], 1)
    for i in range(3):
        pairs(f"pre_layers_{i + 1}", [f"first.{i}.0", f"first.{i}.1"], 0)
        pairs(f"after_concat_layers_{i + 1}", [f"second.{i}.0", f"second.{i}.1"], 0)
    pairs("output_layer", ["head.0", "head.1", "head.2"], 0)
    return found


def fill(seed: int) -> Tensor:
    """All convolution weights as the public code draws them from a key, which is an integer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return torch.cat([_xavier(layer.shape).reshape(-1) for layer in _ARCHITECTURE.layers()])


def _xavier(shape: Sequence[int]) -> Tensor:
    return nn.init.xavier_normal_(torch.empty(tuple(shape)))


def magnitude_mask(alpha: float) -> Tensor:
    """True where a weight is shared: the largest of the draw of MASK_SEED."""
    size = fill(MASK_SEED).abs()
    threshold = size.sort(descending=True).values[int(size.numel() * alpha) - 1]
    return size > threshold


@dataclass
class Trained:
    """What a checkpoint holds, and what it runs with."""

    weight: Tensor
    """Zero outside the mask."""
    affine: Tensor
    mask: Tensor
    embed_fill: Tensor
    recover_fill: Tensor

    def embed(self, cover: Tensor, secret: Tensor) -> Tensor:
        return _ARCHITECTURE.embed(self._ops(self.embed_fill), cover, secret)

    def recover(self, stego: Tensor) -> Tensor:
        return _ARCHITECTURE.recover(self._ops(self.recover_fill), stego)

    def purify(self, noisy: Tensor) -> Tensor:
        """With zeros outside the mask, as in the public code."""
        return _ARCHITECTURE.purify(self._ops(torch.zeros_like(self.weight)), noisy)

    def _ops(self, filling: Tensor) -> TorchOps:
        return TorchOps(_ARCHITECTURE, torch.where(self.mask, self.weight, filling), self.affine)

    def state_dict(self) -> OrderedDict[str, Tensor]:
        """As of a model in nn.DataParallel."""
        layers, affines = _ARCHITECTURE.layers(), _ARCHITECTURE.affines()
        parts = {layer.name: part.view(layer.shape) for layer, part in zip(layers, self._split(self.weight, layers))}
        parts |= {a.name: part for a, part in zip(affines, self._split(self.affine, affines))}
        state: OrderedDict[str, Tensor] = OrderedDict()
        for public, ours in names().items():
            weight, bias = (ours, f"{ours}.bias") if ours in parts else (f"{ours}.scale", f"{ours}.shift")
            state[f"module.{public}.weight"] = parts[weight].detach().clone()
            state[f"module.{public}.bias"] = parts[bias].detach().clone()
        state._metadata = OrderedDict({"": {"version": 1}})  # type: ignore[attr-defined]  # which modules add
        return state

    @staticmethod
    def _split(vector: Tensor, parts: Sequence[Any]) -> Sequence[Tensor]:
        return torch.split(vector, [part.size for part in parts])


def new(alpha: float, seed: int) -> Trained:
    """An untrained one in which every parameter matters and outputs are mostly pixels."""
    mask = magnitude_mask(alpha)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        weights, affines = [], []
        for layer in _ARCHITECTURE.layers():
            weights.append(_xavier(layer.shape).reshape(-1).mul(0.25 if layer.name == "head.2" else 1.0))
        for a in _ARCHITECTURE.affines():
            middle = 0.5 if a.name == "head.2.bias" else a.initial
            affines.append(torch.randn(a.size).mul(0.1).add(middle))
    return Trained(torch.cat(weights) * mask, torch.cat(affines), mask, fill(EMBED_SEED), fill(RECOVER_SEED))


def train(model: Trained, folder: Path, steps: int, seed: int, crop: int = 32) -> None:
    """The three losses of PUSNet on random crops, with the true gradient (see network.py)."""
    images = photographs.Photographs(folder, crop)
    random = np.random.default_rng(seed)
    parameters = [model.weight.requires_grad_(), model.affine.requires_grad_()]
    optimiser = torch.optim.Adam(parameters, lr=1e-4, betas=(0.5, 0.999), eps=1e-6)
    for _ in range(steps):
        cover, secret = images.sample(2, crop, random).chunk(2)
        noise = torch.from_numpy(random.normal(0, NOISE_SIGMA, cover.shape)).float()
        stego = model.embed(cover, secret)
        errors = (
            mse_loss(stego, cover),
            mse_loss(model.recover(eight_bit(stego)), secret),
            mse_loss(model.purify(cover + noise), cover),
        )
        optimiser.zero_grad()
        torch.stack([error.mul(weight) for weight, error in zip(_WEIGHTS, errors)]).sum().backward()
        optimiser.step()


def expected(model: Trained, seed: int) -> dict[str, Any]:
    """Images and what the model makes of them: RGB bytes, row by row, in base64."""
    random = np.random.default_rng(seed)
    cover, secret, noisy = (
        torch.from_numpy(random.integers(0, 256, (1, 3, _HEIGHT, _WIDTH))).float() / 255 for _ in range(3)
    )
    with torch.no_grad():
        stego = eight_bit(model.embed(cover, secret))
        recovered, purified = model.recover(stego), model.purify(noisy)
    images = {"cover": cover, "secret": secret, "noisy": noisy}
    images |= {"stego": stego, "recovered": recovered, "purified": purified}
    return {"width": _WIDTH, "height": _HEIGHT, **{name: _encoded(image) for name, image in images.items()}}


def _encoded(image: Tensor) -> str:
    pixels = torch.round(image[0].clamp(0, 1) * 255).to(torch.uint8).permute(1, 2, 0).contiguous()
    return base64.b64encode(pixels.numpy().tobytes()).decode("ascii")


def golden() -> dict[str, Any]:
    """The content of internal/pytorch/testdata/normal.json."""
    draws = []
    for seed in (0, 1, EMBED_SEED, RECOVER_SEED, 2**32 - 1, 2**32 + 1, 2**64 - 1):
        # Whole blocks of 16, rests of every kind, and a second draw from the state that the first one leaves.
        for counts in ((16,), (17, 16), (31, 32), (1000, 1001), (64 * 3 * 9, 128 * 64 * 9)):
            torch.manual_seed(seed)
            deviation = math.sqrt(2 / (9 * counts[0]))
            values = [torch.empty(count).normal_(0, deviation).numpy().astype("<f4") for count in counts]
            draws.append(
                {
                    "seed": seed,
                    "deviation": deviation,
                    "counts": list(counts),
                    "first_bits": [f"{bits:08x}" for bits in values[0][:16].view("<u4")],
                    "sha256": hashlib.sha256(b"".join(v.tobytes() for v in values)).hexdigest(),
                }
            )
    mask = magnitude_mask(0.9).numpy()
    whole = {str(seed): hashlib.sha256(fill(seed).numpy().astype("<f4").tobytes()).hexdigest() for seed in (1, 10101)}
    return {
        "draws": draws,
        "pusnet": whole,
        "mask": {"kept": int(mask.sum()), "sha256": hashlib.sha256(mask.astype(np.uint8).tobytes()).hexdigest()},
    }


def add_commands(commands: Any) -> None:
    command = commands.add_parser("public", help="write a checkpoint in the format of the public PUSNet code")
    command.add_argument("out", type=Path, help="the checkpoint; what it computes is written beside it, as .json")
    command.add_argument("--steps", type=int, default=0, help="of training, on crops of 32 pixels")
    command.add_argument("--data", type=Path, help="folder of photographs to train on")
    command.add_argument("--alpha", type=float, default=0.9)
    command.add_argument("--seed", type=int, default=0, help="of the initial weights and of the training")
    command.set_defaults(run=_public)

    command = commands.add_parser("normal", help="write the golden vectors of PyTorch's generator")
    command.add_argument("out", type=Path, nargs="?", default=Path("internal/pytorch/testdata/normal.json"))
    command.set_defaults(run=_normal)


def _public(options: argparse.Namespace) -> None:
    if options.steps and not options.data:
        raise ValueError("--steps needs --data: a folder of photographs")
    model = new(options.alpha, options.seed)
    if options.steps:
        train(model, options.data, options.steps, options.seed)
    torch.save(model.state_dict(), options.out)
    options.out.with_suffix(".json").write_text(json.dumps(expected(model, options.seed)) + "\n", encoding="utf-8")


def _normal(options: argparse.Namespace) -> None:
    options.out.write_text(json.dumps(golden(), indent=1) + "\n", encoding="utf-8")
