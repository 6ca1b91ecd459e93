"""Checkpoints as the public PUSNet code (github.com/albblgb/PUSNet) writes and fills them.

The public code seeds PyTorch's generator with the key, an integer, and draws the weights of every
convolution from it, one module after another: that is the fill. The mask comes from the same draw
with the seed 1, and shares the largest weights. A checkpoint holds the shared weights, and zeros
elsewhere.

`import` makes a model directory from such a file; the model gives the outputs of the public code.
`public` writes a checkpoint with our own network, and the outputs of that network, so that the two
can be compared.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import pickle
import re
import struct
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from . import derivation, export, photographs
from .backbones import PUSNet
from .evaluation import NOISE_SIGMA
from .network import Network, TorchOps, eight_bit

# The public code's constants.
MASK_SEED, EMBED_SEED, RECOVER_SEED, ALPHA = 1, 10101, 1010, 0.9
_WEIGHTS = (1.0, 0.75, 0.25)
"""Of the losses: embed, recover, purify."""

# The size of the images of the expected outputs: small, not square, and no multiples of a power of two.
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


def magnitude_mask(alpha: float, seed: int = MASK_SEED) -> Tensor:
    """True where a weight is shared: the largest weights of the seed's draw."""
    size, threshold = _sizes(alpha, seed)
    return size > threshold


def _sizes(alpha: float, seed: int) -> tuple[Tensor, Tensor]:
    """The magnitudes of the drawn weights, and the threshold above which weights are shared."""
    size = fill(seed).abs()
    return size, size.sort(descending=True).values[max(int(size.numel() * alpha), 1) - 1]


@dataclass
class Trained:
    """The contents of a checkpoint, with its mask and fills."""

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
        """The state dict of a model in nn.DataParallel."""
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
    """An untrained model in which every parameter has an effect and outputs are mostly in the range of pixels."""
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
    """Images and the model's outputs for them: RGB bytes, row by row, in base64."""
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


# The mask's tolerances: PyTorch's draws differ by 1.1e-7 at most between processors, so weights this near to the
# threshold may be on either side of it. And a trained weight can be zero by chance.
_NEAR = 2e-7
_BY_CHANCE = 1e-4  # of all weights


def checkpoint_mask(weight: Tensor, alpha: float, seed: int) -> Tensor:
    """The mask that a checkpoint was trained with: its weights are zero outside of it, and nowhere else."""
    size, threshold = _sizes(alpha, seed)
    zero = weight == 0
    shared = torch.where((size - threshold).abs() < _NEAR, ~zero, size > threshold)
    not_zero, by_chance = int((~shared & ~zero).sum()), int((shared & zero).sum())
    if not_zero or by_chance > _BY_CHANCE * len(weight):
        raise ValueError(
            f"the mask does not fit the checkpoint: {not_zero} keyed weights are not zero and {by_chance} shared ones "
            f"are; its zeros look like alpha {1 - zero.float().mean():.2f}; where that is so it has another mask seed, "
            "or was saved with its fill"
        )
    return shared


def key_pair(embed_seed: int, recover_seed: int) -> derivation.KeyPair:
    """The key pair that stands for two integer keys. Its bytes name the stored fills, and are used for nothing else.

    They are the first 64 bytes of SHAKE-256(LP("stegomq.imported") | u32(1) | u64(embed) | u64(recover)) with
    little-endian numbers and LP(b) = u32(len(b)) | b.
    """
    domain = b"stegomq.imported"
    seed = struct.pack("<I", len(domain)) + domain + struct.pack("<IQQ", 1, embed_seed, recover_seed)
    both = hashlib.shake_256(seed).digest(2 * derivation.KEY_BYTES)
    name = f"imported-{embed_seed}-{recover_seed}"
    return derivation.KeyPair(name, both[: derivation.KEY_BYTES], both[derivation.KEY_BYTES :])


def read(path: Path) -> tuple[Tensor, Tensor]:
    """The weights and the biases and normalisations of a checkpoint, as vectors in the order of our network.

    Nothing in the file is executed. ValueError if it is not a state dict of the public network.
    """
    with path.open("rb"):  # a file system error says nothing about the content
        pass
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError, AttributeError) as error:
        foreign = re.search(r"Unsupported (?:global: GLOBAL|class) (\S+)", str(error))
        why = f"it holds a {foreign[1]}" if foreign else "torch.load cannot read it"
        raise ValueError(f"{path} is not a PyTorch state dict: {why}; save model.state_dict()") from None
    states = [{name.removeprefix("module."): value for name, value in state.items()} for state in _state_dicts(content)]
    ours = [state for state in states if "in_layers.0.weight" in state]
    if len(ours) != 1:
        raise ValueError(
            f"{path} is not the network of the public PUSNet code: of the {len(states)} state dicts in it "
            f"{len(ours)} have the tensor in_layers.0.weight; save one alone"
        )
    try:
        return _vectors(ours[0])
    except ValueError as error:
        raise ValueError(f"{path} is not the network of the public PUSNet code: {error}") from None


def _state_dicts(content: Any) -> Iterator[dict[str, Tensor]]:
    """The dictionaries of tensors in the result of torch.load: the result itself, or its named values."""
    if not isinstance(content, dict):
        return
    if content and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()):
        yield content
        return
    for value in content.values():
        yield from _state_dicts(value)


def _vectors(state: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    layers, affines = _ARCHITECTURE.layers(), _ARCHITECTURE.affines()
    shapes = {layer.name: tuple(layer.shape) for layer in layers} | {a.name: (a.size,) for a in affines}
    left, parts = dict(state), {}
    for public, ours in names().items():
        weight, bias = (ours, f"{ours}.bias") if ours in shapes else (f"{ours}.scale", f"{ours}.shift")
        for name, part in ((f"{public}.weight", weight), (f"{public}.bias", bias)):
            if name not in left:
                raise ValueError(f"it has no tensor {name}")
            values = left.pop(name)
            if tuple(values.shape) != shapes[part] or not values.is_floating_point():
                raise ValueError(f"{name} is {values.dtype} {tuple(values.shape)}, not floats {shapes[part]}")
            if not values.isfinite().all():
                raise ValueError(f"{name} has a value that is not finite")
            parts[part] = values.float().reshape(-1)
    if left:
        raise ValueError(f"it has {len(left)} tensors more, such as {min(left)!r}")
    return torch.cat([parts[layer.name] for layer in layers]), torch.cat([parts[a.name] for a in affines])


@dataclass(frozen=True)
class Import:
    """Facts that a checkpoint does not contain."""

    name: str
    alpha: float = ALPHA
    """Share of the weights that are shared, in (0, 1): `sparse_ratio` of the public code."""
    mask_seed: int = MASK_SEED
    embed_seed: int = EMBED_SEED
    """The key that hides; of all seeds PyTorch takes the lower 32 bits."""
    recover_seed: int = RECOVER_SEED


def import_(checkpoint: Path, folder: Path, options: Import) -> tuple[str, derivation.KeyPair]:
    """Writes the model directory of a checkpoint; returns the model's digest and its one key pair, which is public."""
    if not 0 < options.alpha < 1:
        raise ValueError(f"alpha is {options.alpha}, not between 0 and 1")
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", options.name):
        raise ValueError(f"the name {options.name!r} is not of small letters, digits, dots and dashes: choose --name")
    if folder.exists() or folder.is_symlink():
        raise FileExistsError(f"{folder} exists already: remove it or choose another place")
    weight, affine = read(checkpoint)
    mask = checkpoint_mask(weight, options.alpha, options.mask_seed)
    network = Network(_ARCHITECTURE, options.alpha, bytes(derivation.KEY_BYTES))
    with torch.no_grad():
        network.weight.copy_(weight)
        network.affine.copy_(affine)
    fills = [fill(seed)[~mask].numpy().astype("<f4").tobytes() for seed in (options.embed_seed, options.recover_seed)]
    pair = key_pair(options.embed_seed, options.recover_seed)
    sha256 = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    digest = export.write_imported(
        network,
        export.Imported(
            name=options.name,
            key=pair,
            mask=np.packbits(mask.numpy(), bitorder="little").tobytes(),
            fills=fills,
            origin=f"Imported from {checkpoint.name} (SHA-256 {sha256}), a checkpoint of the public PUSNet code with "
            f"the mask of seed {options.mask_seed}, the embed key {options.embed_seed} and the recover key "
            f"{options.recover_seed}. It was trained elsewhere; how is not known here",
        ),
        folder,
    )
    return digest, pair


def add_commands(commands: Any) -> None:
    command = commands.add_parser("public", help="write a checkpoint in the format of the public PUSNet code")
    command.add_argument("out", type=Path, help="the checkpoint; what it computes is written beside it, as .json")
    command.add_argument("--steps", type=int, default=0, help="of training, on crops of 32 pixels")
    command.add_argument("--data", type=Path, help="folder of photographs to train on")
    command.add_argument("--alpha", type=float, default=ALPHA)
    command.add_argument("--seed", type=int, default=0, help="of the initial weights and of the training")
    command.set_defaults(run=_public)

    command = commands.add_parser("import", help="make a model of a checkpoint of the public PUSNet code")
    command.add_argument("checkpoint", type=Path, help="a state dict; nothing in it is executed")
    command.add_argument("--out", type=Path, required=True, help="the model directory to make")
    command.add_argument("--name", help="name of the model (default: that of the directory)")
    command.add_argument(
        "--alpha", type=float, default=ALPHA, help="share of shared weights, the public code's sparse_ratio"
    )
    command.add_argument("--mask-seed", type=_seed, default=MASK_SEED, help="seed of the mask")
    command.add_argument("--embed-seed", type=_seed, default=EMBED_SEED, help="the key that hides")
    command.add_argument("--recover-seed", type=_seed, default=RECOVER_SEED, help="the key that reveals")
    command.set_defaults(run=_import)


def _seed(text: str) -> int:
    seed = int(text)
    if not 0 <= seed < 2**64:
        raise argparse.ArgumentTypeError(f"{text} is not an integer from 0 to 2^64 - 1")
    return seed


def _import(options: argparse.Namespace) -> None:
    name = options.name or options.out.resolve().name
    settings = Import(name, options.alpha, options.mask_seed, options.embed_seed, options.recover_seed)
    digest, pair = import_(options.checkpoint, options.out, settings)
    print(f"{options.checkpoint}: imported as {name}, {digest}\nkey {pair.id}")


def _public(options: argparse.Namespace) -> None:
    if options.steps and not options.data:
        raise ValueError("--steps needs --data: a folder of photographs")
    model = new(options.alpha, options.seed)
    if options.steps:
        train(model, options.data, options.steps, options.seed)
    torch.save(model.state_dict(), options.out)
    options.out.with_suffix(".json").write_text(json.dumps(expected(model, options.seed)) + "\n", encoding="utf-8")
