from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from trainer import cli, config, training
from trainer.cli import main

from .conftest import REPOSITORY

CONFIG = """
[model]
name = "smoke"
backbone = "invertible"
keys = 2
config = { couplings = 2, width = 8 }

[training]
steps = 3
seconds = 600
batch = 2
crop = 32
log_steps = 1
held_out = 2
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "smoke.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def command(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_train_evaluate_export(
    recipe: Path, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, model = tmp_path / "run", tmp_path / "model"
    assert command("train", recipe, "--data", photographs, "--out", run, "--threads", 1) == 0
    assert command("resume", run, "--data", photographs, "--threads", 1) == 0, "a finished run has nothing left to do"
    assert command("resume", run, "--data", photographs, "--threads", 1, "--seconds", 900) == 0
    assert training.resume(run).budget == 900
    assert command("evaluate", run, "--data", f"made={photographs}", "--sides", 32) == 0
    assert "made 32x32 stego" in capsys.readouterr().out

    measured = (
        "--data",
        f"made={photographs}",
        "--sides",
        32,
        48,
        "--pairs",
        2,
        "--revision",
        "abc",
        "--note",
        "By hand.",
    )
    assert command("export", run, model, *measured) == 0
    files = contents(model)
    manifest = json.loads(files["manifest.json"])
    assert hashlib.sha256(files["manifest.json"]).hexdigest() in capsys.readouterr().out
    assert manifest["trained"] is True
    assert manifest["training"]["steps"] == 3
    assert manifest["training"]["images"] == 4, "two are held out"
    assert manifest["training"]["revision"] == "abc"
    assert manifest["training"]["recipe"].endswith(". By hand.")
    assert [(q["dataset"], q["width"], q["pairs"]) for q in manifest["quality"]] == [("made", 32, 2), ("made", 48, 2)]
    card = files["README.md"].decode()
    assert "3 steps" in card
    assert "## Limits" in card


def test_untrained_export_keeps_the_contract(recipe: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert command("export", recipe, first) == 0
    assert command("export", recipe, second) == 0
    files = contents(first)
    assert files == contents(second), "the same bytes every time"

    manifest = json.loads(files["manifest.json"])
    assert set(files) == {*manifest["files"], "manifest.json", "README.md"}
    for name, digest in manifest["files"].items():
        assert hashlib.sha256(files[name]).hexdigest() == digest
    assert manifest["trained"] is False
    assert "training" not in manifest
    assert manifest["quality"] == []
    assert (manifest["factor"], manifest["min_side"], manifest["derivation"]) == (2, 16, 1)
    assert manifest["features"] == 8, "the width"

    offset = 0
    for layer in manifest["layers"]:
        assert layer["offset"] == offset
        offset += int(np.prod(layer["shape"]))
    assert len(files["weights.bin"]) == 4 * offset

    keyring = json.loads(files["keyring.json"])
    assert keyring["public"] is True
    assert "public" in keyring["note"]
    assert [key["id"] for key in keyring["keys"]] == [key["id"] for key in manifest["keys"]] == ["demo-1", "demo-2"]


UNKEYED = """
[model]
name = "two"
backbone = "hinet"
keys = 2
config = { couplings = 1, growth = 4 }

[training]
steps = 2
seconds = 600
batch = 2
crop = 32
held_out = 2
"""


def test_instances_make_one_model(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, model = tmp_path / "two.toml", tmp_path / "model"
    recipe.write_text(UNKEYED, encoding="utf-8")
    runs = [tmp_path / "run-1", tmp_path / "run-2"]
    for i, run in enumerate(runs, start=1):
        train = ("train", recipe, "--data", photographs, "--out", run, "--threads", 1)
        assert command(*train, "--instance", i, "--seconds", 300) == 0
    assert training.resume(runs[1]).budget == 300
    data = ("--data", f"made={photographs}", "--sides", 32)
    assert command("evaluate", *runs, *data) == 0
    printed = capsys.readouterr().out
    assert "mismatched " in printed
    assert "purified" not in printed
    assert command("export", *runs, model, *data, "--revision", "abc") == 0

    files = contents(model)
    manifest = json.loads(files["manifest.json"])
    assert set(files) == {*manifest["files"], "manifest.json", "README.md"}
    for name, digest in manifest["files"].items():
        assert hashlib.sha256(files[name]).hexdigest() == digest
    assert list(manifest) == [
        "format", "name", "backbone", "config", "keying", "operations", "parameters", "factor", "min_side", "features",
        "trained", "training", "quality", "keys", "variants", "files",
    ]  # fmt: skip
    assert (manifest["keying"], manifest["operations"]) == ("variant", ["embed", "recover"])
    for i, variant in enumerate(manifest["variants"]):
        assert variant == {
            **manifest["keys"][i],
            "embed": f"embed.demo-{i + 1}.onnx",
            "recover": f"recover.demo-{i + 1}.onnx",
        }
    assert manifest["features"] == 12 + 4 * 4, "all that a subnet's last convolution sees"
    assert files["embed.demo-1.onnx"] != files["embed.demo-2.onnx"]
    assert manifest["training"]["steps"] == 4, "of both"
    (measured,) = manifest["quality"]
    assert {"stego_psnr", "recovered_psnr", "mismatched_psnr"} <= set(measured)
    assert not {"random_psnr", "purified_psnr"} & set(measured)
    keyring = json.loads(files["keyring.json"])
    assert [key["id"] for key in keyring["keys"]] == ["demo-1", "demo-2"]
    assert "The method has no keys" in files["README.md"].decode()

    assert command("export", runs[0], runs[0], model) == 1
    assert "same instance" in capsys.readouterr().err
    assert command("export", recipe, model) == 0
    untrained = json.loads((model / "manifest.json").read_text(encoding="utf-8"))
    assert [variant["id"] for variant in untrained["variants"]] == ["demo-1", "demo-2"]
    assert command("export", recipe, recipe, model) == 1
    assert "or one configuration" in capsys.readouterr().err


def test_export_replaces_the_whole_directory(recipe: Path, tmp_path: Path) -> None:
    model = tmp_path / "models" / "smoke"
    model.mkdir(parents=True)
    (model / "stale.onnx").write_bytes(b"old")
    assert command("export", recipe, model) == 0
    assert not (model / "stale.onnx").exists()
    assert [path.name for path in model.parent.iterdir()] == ["smoke"], "nothing is left beside it"


def test_train_does_not_overwrite_a_run(
    recipe: Path, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "checkpoint.npz").write_bytes(b"precious")
    assert command("train", recipe, "--data", photographs, "--out", tmp_path) == 1
    assert "resume it" in capsys.readouterr().err


def test_keys_prints_public_keyrings(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("keys", "--count", 3) == 0
    demo = json.loads(capsys.readouterr().out)
    assert [key["id"] for key in demo["keys"]] == ["demo-1", "demo-2", "demo-3"]
    assert demo["public"] is True
    assert command("keys", "--count", 2, "--first", 3) == 0
    later = json.loads(capsys.readouterr().out)
    assert [key["id"] for key in later["keys"]] == ["demo-3", "demo-4"]
    assert later["keys"][0] == demo["keys"][2]


def test_vectors_writes_the_committed_file(tmp_path: Path) -> None:
    from .test_derivation import GOLDEN

    assert command("vectors", tmp_path) == 0
    assert json.loads((tmp_path / "derivation.json").read_text(encoding="utf-8")) == GOLDEN


def test_errors_say_what_to_do(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe.write_text(CONFIG.replace("crop", "corp"), encoding="utf-8")
    assert command("export", recipe, tmp_path / "model") == 1
    assert "unknown setting corp" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_enroll_adds_users(recipe: Path, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, more, model = tmp_path / "run", tmp_path / "more", tmp_path / "model"
    assert command("train", recipe, "--data", photographs, "--out", run, "--threads", 1) == 0
    assert command("keys", "--random", 5, "--count", 1) == 0
    keyring = json.loads(capsys.readouterr().out)
    keyring["keys"][0]["id"] = "alice"
    private = tmp_path / "alice.json"
    private.write_text(json.dumps(keyring | {"public": False}), encoding="utf-8")

    enroll = ("enroll", run, "--data", photographs, "--out", more, "--threads", 1)
    assert command(*enroll) == 1
    assert "--keyring" in capsys.readouterr().err
    assert command(*enroll, "--keyring", private) == 0
    assert command(*enroll, "--keyring", private) == 1, "a run is never overwritten"
    assert command("export", more, model) == 1
    assert "--keyring" in capsys.readouterr().err
    assert command("export", more, model, "--keyring", private, "--name", "more") == 0
    manifest = json.loads((model / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["name"] == "more"
    assert manifest["training"]["steps"] == 6
    assert [key["id"] for key in manifest["keys"]] == ["demo-1", "demo-2", "alice"]
    shipped = json.loads((model / "keyring.json").read_text(encoding="utf-8"))
    assert [key["id"] for key in shipped["keys"]] == ["demo-1", "demo-2"], "private keys do not ship"


def test_enroll_publishes_a_model_beside_the_old_one(
    recipe: Path, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, model = tmp_path / "run", tmp_path / "model"
    data = ("--data", photographs, "--threads", 1)
    assert command("train", recipe, *data, "--out", run) == 0
    assert command("export", run, model) == 0
    capsys.readouterr()

    def private(*names: str, first: int = 1) -> Path:
        assert command("keys", "--random", 5, "--first", first, "--count", len(names)) == 0
        keyring = json.loads(capsys.readouterr().out)
        for key, name in zip(keyring["keys"], names):
            key["id"] = name
        path = tmp_path / f"{'-'.join(names)}.json"
        path.write_text(json.dumps(keyring | {"public": False}), encoding="utf-8")
        return path

    alice = ("enroll", model, "--config", recipe, *data, "--keyring", private("alice"))
    assert command(*alice, "--out", tmp_path / "more", "--model", model) == 1
    assert "exists already" in capsys.readouterr().err
    assert command(*alice, "--out", tmp_path / "more", "--model", tmp_path / "model-3") == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].startswith("1 pairs of 128x128")
    assert [line.split()[0] for line in table[2:5]] == ["demo-1", "demo-2", "alice"]
    assert [line.count("->") for line in table[2:5]] == [3, 3, 0]
    before = (model / "manifest.json").read_bytes()

    # A second one: the pair of the first is not in the model, and comes from the keyring.
    bob = ("enroll", tmp_path / "model-3", "--config", recipe, *data, "--out", tmp_path / "most")
    assert command(*bob, "--keyring", private("bob", first=2)) == 1
    assert "other keys" in capsys.readouterr().err
    assert command(*bob, "--keyring", private("alice", "bob"), "--model", tmp_path / "model-4") == 0
    assert [line.count("->") for line in capsys.readouterr().out.splitlines()[2:6]] == [3, 3, 3, 0]
    manifest = json.loads((tmp_path / "model-4" / "manifest.json").read_text(encoding="utf-8"))
    assert [key["id"] for key in manifest["keys"]] == ["demo-1", "demo-2", "alice", "bob"]
    shipped = json.loads((tmp_path / "model-4" / "keyring.json").read_text(encoding="utf-8"))
    assert [key["id"] for key in shipped["keys"]] == ["demo-1", "demo-2"], "private keys do not ship"
    assert (model / "manifest.json").read_bytes() == before, "the old model goes on as it was"


def test_card_takes_what_the_queue_measured(
    recipe: Path, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, model, measured = tmp_path / "run", tmp_path / "model", tmp_path / "summary.json"
    assert command("train", recipe, "--data", photographs, "--out", run, "--threads", 1) == 0
    assert command("export", run, model, "--headline", "A test.") == 0
    before = (model / "README.md").read_text(encoding="utf-8")
    assert before.startswith("# smoke\n\n**A test.**\n")
    summary = json.loads((REPOSITORY / "study/testdata/summary.json").read_text(encoding="utf-8"))
    measured.write_text(json.dumps(summary), encoding="utf-8")
    assert command("card", model, measured) == 1
    assert "measured another model" in capsys.readouterr().err

    summary["model"]["digest"] = hashlib.sha256((model / "manifest.json").read_bytes()).hexdigest()
    summary["leakage_random"].update(n=0, refused=48)
    summary["leakage_near"]["refused"] = 5
    measured.write_text(json.dumps(summary), encoding="utf-8")
    assert command("card", model, measured) == 0
    once = (model / "README.md").read_text(encoding="utf-8")
    assert "| matched key against secret | 3 | 29.00 | 31.00 | 0.453 |" in once
    assert "| random key against secret | 0 | refused 48 of 48 |" in once
    assert "| key one bit off against secret | 3, refused 5 of 8 | 9.17 |" in once
    assert "## Limits" in once
    assert command("card", model, measured) == 0
    assert (model / "README.md").read_text(encoding="utf-8") == once, "the section is replaced"


def test_models_can_be_trained_further(
    recipe: Path, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, model = tmp_path / "run", tmp_path / "model"
    data = ("--data", photographs, "--threads", 1)
    assert command("train", recipe, *data, "--out", run) == 0
    assert command("export", run, model) == 0
    trained = training.resume(run).averaged()

    again = training.Run(config.load(recipe))
    again.start_from(model)
    for name, vector in again.network.vectors().items():
        assert torch.equal(vector, trained.vectors()[name])
        assert torch.equal(again.averaged().vectors()[name], vector)
    assert command("train", recipe, *data, "--from", model, "--out", tmp_path / "further") == 0
    assert training.resume(tmp_path / "further").before.updates == 3

    capsys.readouterr()
    assert command("keys", "--first", 9, "--count", 1) == 0
    ninth = tmp_path / "ninth.json"
    ninth.write_text(capsys.readouterr().out, encoding="utf-8")
    enroll = ("enroll", model, "--keyring", ninth, *data, "--out", tmp_path / "more")
    assert command(*enroll, "--config", recipe) == 0
    assert command("export", tmp_path / "more", tmp_path / "model3", "--keyring", ninth) == 0
    manifest = json.loads((tmp_path / "model3" / "manifest.json").read_text(encoding="utf-8"))
    assert [key["id"] for key in manifest["keys"]] == ["demo-1", "demo-2", "demo-9"]

    for change, message in (("width = 8", "its config is"), ("keys = 2", "with other keys")):
        wrong = tmp_path / "wrong.toml"
        wrong.write_text(CONFIG.replace(change, change[:-1] + "4"), encoding="utf-8")
        assert command("train", wrong, *data, "--from", model, "--out", tmp_path / "no") == 1
        assert message in capsys.readouterr().err
    assert command("train", recipe, *data, "--from", run, "--out", tmp_path / "no") == 1
    assert "not a model directory" in capsys.readouterr().err


def test_run_is_kept_where_it_is_better(
    recipe: Path, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, model, careful = tmp_path / "run", tmp_path / "model", tmp_path / "careful"
    data = ("--data", photographs, "--threads", 1)
    assert command("train", recipe, *data, "--out", run) == 0
    assert command("export", run, model) == 0
    better = ("--data", photographs, "--side", 32)
    capsys.readouterr()
    assert command("better", run, model, *better) == 3, "it is the same"
    printed = capsys.readouterr().out
    assert f"{model}: 1 pairs of 32x32 held out: stego " in printed
    assert "is not better: stego and recovered have +0.00 dB together" in printed

    recipe.write_text(CONFIG.replace("steps = 3", "steps = 30") + "[losses]\nrecover = 0\n", encoding="utf-8")
    assert command("train", recipe, *data, "--out", careful, "--set", "losses.isolate=0") == 0
    capsys.readouterr()
    assert command("better", careful, model, *better) == 0, "it changes its covers less, and tells no more"
    assert f"{careful} is better" in capsys.readouterr().out

    assert command("resume", run, *data, "--set", "training.held_out=0", "--stop-after", 0) == 0
    assert command("better", run, model, *better) == 1
    assert "holds no photographs out" in capsys.readouterr().err


def test_run_is_annealed(recipe: Path, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    data = ("--data", photographs, "--threads", 1)
    endless = ("--set", "training.steps=1000000", "--set", "training.seconds=inf")
    assert command("train", recipe, *data, "--out", run, *endless, "--stop-after", 0.5) == 0
    stopped = training.resume(run)
    assert stopped.progress < 1e-3
    assert command("resume", run, *data, "--anneal", 0.5) == 0
    annealed = training.resume(run)
    assert annealed.progress >= 1
    assert annealed.step > stopped.step
    with pytest.raises(SystemExit):
        command("resume", run, *data, "--anneal", 1, "--seconds", 2)


def test_evaluate_measures_a_model_directory(
    recipe: Path, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, model = tmp_path / "run", tmp_path / "model"
    assert command("train", recipe, "--data", photographs, "--threads", 1, "--out", run) == 0
    assert command("export", run, model) == 0
    capsys.readouterr()
    measured = ("--data", f"made={photographs}", "--sides", 32)
    assert command("evaluate", run, *measured) == 0
    of_the_run = capsys.readouterr().out
    assert command("evaluate", model, *measured) == 0
    assert capsys.readouterr().out == of_the_run


def test_hardware_of_every_stretch_is_named() -> None:
    assert cli._joined("", "one A") == "one A"
    assert cli._joined("one A", "one A") == "one A"
    assert cli._joined(cli._joined("one A", "one B"), "one A") == "one A, then one B"
