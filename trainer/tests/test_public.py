from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, group_norm, leaky_relu

from trainer import public
from trainer.backbones import PUSNet
from trainer.cli import main

from .conftest import REPOSITORY


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("public")
    assert main(["public", str(folder / "made.pth")]) == 0
    return folder


def load(path: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(path)
    return state


def test_every_parameter_has_one_name() -> None:
    names = public.names()
    architecture = PUSNet()
    ours = {layer.name for layer in architecture.layers()}
    ours |= {a.name.removesuffix(".scale") for a in architecture.affines() if a.name.endswith(".scale")}
    assert len(set(names.values())) == len(names) == 38
    assert set(names.values()) == ours


def test_the_order_of_the_layers_is_that_of_the_public_modules() -> None:
    """It is the order in which they are drawn."""
    modules = [
        "in_layers", "pre_layers_1", "pre_layers_2", "pre_layers_3", "mid_secret_path", "mid_cover_path",
        "after_concat_layers_1", "after_concat_layers_2", "after_concat_layers_3", "output_layer",
    ]  # fmt: skip
    by_ours = {ours: name.split(".") for name, ours in public.names().items()}
    places = [(modules.index(by_ours[x.name][0]), int(by_ours[x.name][1])) for x in PUSNet().layers()]
    assert places == sorted(places)


def test_checkpoint_has_the_public_format(folder: Path) -> None:
    state = load(folder / "made.pth")
    assert len(state) == 76
    assert all(name.startswith("module.") for name in state)
    assert all(tensor.dtype == torch.float32 for tensor in state.values())
    assert sum(tensor.numel() for tensor in state.values()) == 4_879_107
    keyed = sum(int(torch.eq(tensor, 0).sum()) for tensor in state.values() if tensor.dim() == 4)
    assert keyed == 486_952, "zero where the mask is, and nowhere else"


def test_expected_outputs_are_those_of_the_public_network(folder: Path) -> None:
    """Written out as the public code has it, sequence by sequence, with none of our backbone."""
    state = load(folder / "made.pth")
    expected = json.loads((folder / "made.json").read_text(encoding="utf-8"))
    modules = [
        *(f"in_layers.{i}" for i in (0, 3, 6)),
        *(f"pre_layers_{n}.{i}" for n in (1, 2, 3) for i in (2, 5)),
        "mid_secret_path.0",
        "mid_cover_path.0",
        *(f"after_concat_layers_{n}.{i}" for n in (1, 2, 3) for i in (2, 5)),
        *(f"output_layer.{i}" for i in (2, 5, 8)),
    ]

    def filled(seed: int) -> dict[str, Tensor]:
        torch.manual_seed(seed)
        fills = {f"module.{m}.weight": torch.empty_like(state[f"module.{m}.weight"]) for m in modules}
        return state | {
            name: torch.where(torch.eq(state[name], 0), nn.init.xavier_normal_(values), state[name])
            for name, values in fills.items()
        }

    def sequence(p: dict[str, Tensor], x: Tensor, name: str, length: int) -> Tensor:
        for i in range(length):
            weight, bias = p.get(f"module.{name}.{i}.weight"), p.get(f"module.{name}.{i}.bias")
            if weight is None:
                x = leaky_relu(x, 0.01)
            elif weight.dim() == 1:
                x = group_norm(x, len(weight) // 16, weight, bias)
            else:
                x = conv2d(x, weight, bias, padding=1)
        return x

    def trunk(p: dict[str, Tensor], x: Tensor) -> Tensor:
        x = sequence(p, x, "in_layers", 7)
        x = sequence(p, x, "pre_layers_1", 6) + x
        x = sequence(p, x, "pre_layers_2", 6) + x
        return sequence(p, x, "pre_layers_3", 8) + x

    def predict(p: dict[str, Tensor], secret: Tensor, cover: Tensor) -> Tensor:
        paths = sequence(p, trunk(p, secret), "mid_secret_path", 1), sequence(p, trunk(p, cover), "mid_cover_path", 1)
        x = sequence(p, torch.cat(paths, 1), "after_concat_layers_1", 6)
        x = sequence(p, x, "after_concat_layers_2", 6) + x
        x = sequence(p, x, "after_concat_layers_3", 6) + x
        return sequence(p, x, "output_layer", 9)

    def image(name: str) -> Tensor:
        shape = (1, expected["height"], expected["width"], 3)
        pixels = np.frombuffer(base64.b64decode(expected[name]), np.uint8).reshape(shape).copy()
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255

    with torch.no_grad():
        outputs = {
            "stego": predict(filled(10101), image("secret"), image("cover")),
            "recovered": predict(filled(1010), image("stego"), image("stego")),
            "purified": image("noisy") - predict(state, image("noisy"), image("noisy")),
        }
    for name, output in outputs.items():
        assert (output.clamp(0, 1) - image(name)).abs().max() < 0.5 / 255 + 1e-4, name
        assert torch.eq(image(name), image(name).clamp(0.01, 0.99)).float().mean() > 0.3, f"{name} is mostly saturated"


def test_training_moves_what_is_shared_and_nothing_else(photographs: Path) -> None:
    before, model = public.new(0.7, 3), public.new(0.7, 3)
    public.train(model, photographs, steps=1, seed=3, crop=16)
    moved = torch.ne(model.weight, before.weight)
    assert moved[model.mask].float().mean() > 0.9
    assert not moved[~model.mask].any()
    assert not model.weight[~model.mask].any()
    assert int((~model.mask).sum()) == 1_460_853
    assert torch.ne(model.affine, before.affine).float().mean() > 0.9


def test_golden_vectors_are_what_this_pytorch_draws(tmp_path: Path) -> None:
    assert main(["normal", str(tmp_path / "normal.json")]) == 0
    committed = REPOSITORY / "internal" / "pytorch" / "testdata" / "normal.json"
    assert (tmp_path / "normal.json").read_text(encoding="utf-8") == committed.read_text(encoding="utf-8")


def test_steps_need_photographs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["public", str(tmp_path / "made.pth"), "--steps", "1"]) == 1
    assert "--data" in capsys.readouterr().err
