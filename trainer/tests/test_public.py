from __future__ import annotations

import base64
import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, group_norm, leaky_relu

from trainer import public
from trainer.backbones import PUSNet
from trainer.cli import main


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
    """Weights are drawn in this order."""
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
    """The network is written out as in the public code, sequence by sequence, without our backbone."""
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


def test_draws_are_those_of_the_public_code() -> None:
    """Seeds are below and above 2^32. If a bit of the draws changed, older stego images could not be read."""
    digests = {
        seed: hashlib.sha256(public.fill(seed).numpy().astype("<f4").tobytes()).hexdigest() for seed in (1, 10101)
    }
    assert digests == {
        1: "775c81b28a147070331710d2bb0ed546fc7abc9daf0ab56cc5df1f87a443013c",
        10101: "1b3cc9a141fedd81b1c75ce74be96bd5bff6f0fead9a0210b0e668c62871c14e",
    }
    assert torch.equal(public.fill(1), public.fill(2**32 + 1))
    assert int(public.magnitude_mask(0.9).sum()) == 4_382_552


def test_key_pair_is_the_one_of_both_integers() -> None:
    pair = public.key_pair(10101, 1010)
    assert (pair.id, pair.fingerprint) == ("imported-10101-1010", "88ea2dfddd9799298b80f0b2d9b534e7")
    assert public.key_pair(1010, 10101).fingerprint != pair.fingerprint


def imported(checkpoint: Path, out: Path, *more: str) -> dict[str, Any]:
    assert main(["import", str(checkpoint), "--out", str(out), *more]) == 0
    manifest: dict[str, Any] = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    return manifest


def test_import_is_the_checkpoint(folder: Path, tmp_path: Path) -> None:
    manifest = imported(folder / "made.pth", tmp_path / "new" / "mine")
    state = load(folder / "made.pth")
    weights = np.fromfile(tmp_path / "new" / "mine" / "weights.bin", "<f4")
    mask = np.unpackbits(np.fromfile(tmp_path / "new" / "mine" / "mask.bin", np.uint8), bitorder="little")
    fills = np.fromfile(tmp_path / "new" / "mine" / "fills.bin", "<f4")
    assert manifest["name"] == "mine"
    assert "mask_seed" not in manifest
    assert len(weights) == len(mask) == sum(v.numel() for v in state.values() if v.dim() == 4)
    assert np.array_equal(weights != 0, mask == 1)
    keyed = public.fill(10101).numpy()[mask == 0]
    assert np.array_equal(fills[: len(keyed)], keyed)
    assert np.array_equal(fills[len(keyed) :], public.fill(1010).numpy()[mask == 0])
    assert [f["role"] for f in manifest["fills"]] == ["embed", "recover"]
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["mine"]
    again = imported(folder / "made.pth", tmp_path / "again", "--name", "mine")
    assert again == manifest, "the same checkpoint and options give the same model"
    other = imported(folder / "made.pth", tmp_path / "other", "--embed-seed", "7", "--recover-seed", "8")
    assert [key["id"] for key in other["keys"]] == ["imported-7-8"]
    assert other["files"]["mask.bin"] == manifest["files"]["mask.bin"], "the mask is the checkpoint's"


def test_import_takes_the_forms_of_checkpoints(folder: Path, tmp_path: Path) -> None:
    """Without DataParallel's prefix, beside an optimiser's state, as half floats, in the format of old versions."""
    state = load(folder / "made.pth")
    plain = {name.removeprefix("module."): value for name, value in state.items()}
    whole = imported(folder / "made.pth", tmp_path / "whole", "--name", "x")["files"]["weights.bin"]
    torch.save({"epoch": 3000, "opt": {"state": {0: {"step": 3}}}, "net": plain}, tmp_path / "nested.pt")
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    for name in ("nested", "old"):
        assert imported(tmp_path / f"{name}.pt", tmp_path / name, "--name", "x")["files"]["weights.bin"] == whole
    torch.save({name: value.double() for name, value in plain.items()}, tmp_path / "double.pt")
    assert imported(tmp_path / "double.pt", tmp_path / "double", "--name", "x")["files"]["weights.bin"] == whole


def test_a_weight_near_the_threshold_decides_for_itself() -> None:
    size, threshold = public._sizes(0.9, 1)
    near = int((size - threshold).abs().argmin())
    assert size[near] == threshold
    assert not public.magnitude_mask(0.9)[near]
    weight = public.magnitude_mask(0.9).float()
    assert torch.equal(public.checkpoint_mask(weight, 0.9, 1), public.magnitude_mask(0.9))
    weight[near] = 0.5
    assert public.checkpoint_mask(weight, 0.9, 1)[near]
    weight[int(size.argmin())] = 0.5
    with pytest.raises(ValueError, match="1 keyed weights are not zero"):
        public.checkpoint_mask(weight, 0.9, 1)


def test_import_refuses_what_is_no_such_checkpoint(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = folder / "made.pth"
    state = load(made)
    whole = made.read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "notes.pth").write_bytes(b"no checkpoint")
    torch.save(nn.Linear(2, 2), tmp_path / "module.pt")
    torch.save({"a": state, "b": state}, tmp_path / "two.pt")
    torch.save({"weight": torch.ones(3)}, tmp_path / "other.pt")
    torch.save(state | {"module.more": torch.ones(3)}, tmp_path / "more.pt")
    torch.save({k: v for k, v in state.items() if k != "module.output_layer.8.bias"}, tmp_path / "less.pt")
    torch.save(state | {"module.output_layer.8.bias": torch.ones(4)}, tmp_path / "shape.pt")
    torch.save(state | {"module.output_layer.8.bias": torch.tensor([1.0, 2.0, math.nan])}, tmp_path / "nan.pt")
    (tmp_path / "there").mkdir()
    capsys.readouterr()
    for arguments, says in (
        (["nowhere.pth"], ["nowhere.pth", "No such file"]),
        (["cut.pth"], ["cut.pth", "not a PyTorch state dict"]),
        (["notes.pth"], ["notes.pth", "not a PyTorch state dict"]),
        (["there"], ["there", "directory"]),
        (["module.pt"], ["Linear", "state_dict()"]),
        (["two.pt"], ["two.pt", "2 have the tensor"]),
        (["other.pt"], ["other.pt", "in_layers.0.weight"]),
        (["more.pt"], ["1 tensors more", "'more'"]),
        (["less.pt"], ["no tensor output_layer.8.bias"]),
        (["shape.pt"], ["output_layer.8.bias", "(4,)", "(3,)"]),
        (["nan.pt"], ["output_layer.8.bias", "not finite"]),
        ([str(made), "--alpha", "0.7"], ["mask", "alpha 0.90"]),
        ([str(made), "--alpha", "1"], ["alpha"]),
        ([str(made), "--alpha", "nan"], ["alpha"]),
        ([str(made), "--mask-seed", "2"], ["mask seed"]),
        ([str(made), "--name", "A B"], ["name", "A B"]),
        ([str(made), "--out", str(tmp_path / "there")], ["there", "exists already"]),
        ([str(made), "--out", str(tmp_path / "notes.pth" / "new")], ["notes.pth"]),
    ):
        checkpoint, *rest = arguments
        before = sorted(tmp_path.iterdir())
        assert main(["import", str(tmp_path / checkpoint), "--out", str(tmp_path / "new"), *rest]) == 1, arguments
        error = capsys.readouterr().err
        assert all(text in error for text in says), error
        assert error.count("\n") == 1
        assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(SystemExit):
        main(["import", str(made), "--out", str(tmp_path / "new"), "--embed-seed", "-1"])


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"in_layers.0.weight": Evil()}, tmp_path / "evil.pt")
    assert main(["import", str(tmp_path / "evil.pt"), "--out", str(tmp_path / "new")]) == 1
    assert not (tmp_path / "ran").exists()


def test_steps_need_photographs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["public", str(tmp_path / "made.pth"), "--steps", "1"]) == 1
    assert "--data" in capsys.readouterr().err
