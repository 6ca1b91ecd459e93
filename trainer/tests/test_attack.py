from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainer import attack, config, derivation, export, training
from trainer import photographs as loading
from trainer.attack import Attacker, Settings, Target
from trainer.cli import main
from trainer.facts import Facts
from trainer.network import Network

from .conftest import REPOSITORY, shaken

MODEL = """
[model]
name = "tiny"
backbone = "{backbone}"
keys = 2
config = {config}

[training]
steps = 1
seconds = 1
"""
QUICK = Settings(side=32, crop=16, batch=2, steps=16, seconds=600)


def model(folder: Path, backbone: str, sizes: str) -> list[Network]:
    """Writes an untrained model; returns its networks."""
    runs = training.untrained(config.parse(MODEL.format(backbone=backbone, config=sizes), "test"))
    networks = [shaken(run.averaged()) for run in runs]
    export.write(networks, Facts("tiny", [key for run in runs for key in run.keys]), folder)
    return networks


@pytest.fixture
def keyed(tmp_path: Path) -> Path:
    model(tmp_path / "keyed", "invertible", "{ couplings = 2, width = 8 }")
    return tmp_path / "keyed"


@pytest.fixture
def instances(tmp_path: Path) -> Path:
    model(tmp_path / "instances", "hinet", "{ couplings = 1, growth = 4 }")
    return tmp_path / "instances"


@pytest.fixture
def stego() -> torch.Tensor:
    return torch.rand(2, 3, 32, 32)


def report(target: Target, photographs: Path, settings: Settings = QUICK, *counts: int) -> dict[str, Any]:
    test = loading.pairs(photographs, settings.side, settings.side, 2)
    return attack.run(target, settings, counts or (2,), photographs, "made", test, "a test")


@torch.no_grad()
@pytest.mark.parametrize("mode", attack.MODES)
def test_he_recovers_with_what_he_starts_from(keyed: Path, stego: torch.Tensor, mode: str) -> None:
    target = Target(keyed)
    (network,) = target.networks
    random = derivation.random_pair(QUICK.seed, 0)
    starts = {
        "mean": torch.zeros_like(network.weight),
        "random": network.fill(derivation.RECOVER, random.recover),
        "registered": network.fill(derivation.RECOVER, derivation.demo_pair(2).recover),
        "whole": network.weight,
    }
    assert tuple(starts) == attack.STARTS
    for start, fill in starts.items():
        attacker = Attacker(target, replace(QUICK, mode=mode, start=start))
        assert torch.equal(attacker.recover(stego), network.recover(fill, stego))
        assert not torch.equal(attacker.recover(stego), target.recover(stego))
    first = Attacker(Target(keyed, "demo-2"), replace(QUICK, mode=mode, start="registered"))
    assert torch.equal(first.recover(stego), target.recover(stego)), "the victim's own fill is the matched key"


def test_fill_changes_keyed_weights_alone(
    keyed: Path, photographs: Path, stego: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = Target(keyed)
    before = target.networks[0].weight.clone()
    made: list[Attacker] = []

    class Kept(Attacker):
        def __init__(self, target: Target, settings: Settings) -> None:
            super().__init__(target, settings)
            made.append(self)

    monkeypatch.setattr(attack, "Attacker", Kept)
    for mode in attack.MODES:
        report(target, photographs, replace(QUICK, mode=mode))
    filled, whole = (attacker.network for attacker in made[::2])
    shared = target.networks[0].mask
    # The last coupling gets zeros for the lost half, so weights that multiply them do not change.
    assert (filled.weight[~shared] != 0).float().mean() > 0.9
    assert torch.equal(filled.weight[shared], before[shared])
    assert torch.equal(filled.affine, target.networks[0].affine)
    assert (whole.weight[shared] != before[shared]).float().mean() > 0.9
    assert (whole.affine != target.networks[0].affine).any()
    assert torch.equal(target.networks[0].weight, before), "the model stays"


def test_one_leaked_pair_opens_the_model_that_ships(photographs: Path) -> None:
    target = Target(REPOSITORY / "models" / "invertible-mk")
    found = report(target, photographs, Settings(side=32, crop=32, batch=1, steps=16, seconds=600, rate=2e-2), 1)
    (result,) = found["results"]
    baseline, reached, matched = (x["psnr"]["mean"] for x in (found["baseline"], result, found["matched"]))
    assert abs(found["untrained"]["psnr"]["mean"] - baseline) < 2, "he starts with nothing"
    assert reached > baseline + 0.5 * (matched - baseline)
    assert [point["steps"] for point in result["curve"]] == [2, 4, 8, 16]
    assert result["steps"] == 16, "with one pair he takes the last"
    assert result["curve"][-1]["psnr"] == reached


def test_steps_repeat_and_fewer_pairs_do_not_depend_on_more(keyed: Path, photographs: Path) -> None:
    target = Target(keyed)
    both = timeless(report(target, photographs, QUICK, 1, 3))
    alone = timeless(report(target, photographs, QUICK, 1))
    assert attack.as_json(alone) == attack.as_json(both | {"results": both["results"][:1]})
    other = timeless(report(target, photographs, replace(QUICK, seed=2), 1))
    assert other["results"] != alone["results"], "the seed chooses the pairs and the crops"


def timeless(found: dict[str, Any]) -> dict[str, Any]:
    for result in found["results"]:
        for part in (result, *result["curve"]):
            assert part.pop("seconds") >= 0
    return found


def test_the_choice_is_made_on_leaked_pairs(keyed: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attack, "_TENTH", 3)
    target = Target(keyed)
    covers, secrets = loading.pairs(photographs, 32, 32)
    # The rate is destructive: the first state is the best, on any images.
    wild = replace(QUICK, rate=3.0)
    one = attack.run(target, wild, (3,), photographs, "made", (covers, secrets), "a test")["results"][0]
    other = attack.run(target, wild, (3,), photographs, "made", (secrets, covers), "a test")["results"][0]
    best = max(one["curve"], key=lambda point: point["psnr"])
    assert one["steps"] == other["steps"] == best["steps"] < 16
    assert one["psnr"] != other["psnr"]
    assert one["psnr"]["mean"] == best["psnr"]


def test_without_a_leak_he_makes_pairs_himself(keyed: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attack, "_MADE", 2)
    target = Target(keyed)
    asked: list[int] = []
    embed = target.users.embed

    def counted(user: int, *images: torch.Tensor) -> torch.Tensor:
        asked.append(user)
        return embed(user, *images)

    monkeypatch.setattr(target.users, "embed", counted)
    found = report(target, photographs, QUICK, 0)
    assert len(asked) == found["matched"]["psnr"]["n"] == 2, "the victim made the test's images alone"
    assert found["results"][0]["pairs"] == 0
    assert found["results"][0]["psnr"] != found["untrained"]["psnr"]


@torch.no_grad()
def test_instances_are_attacked_as_a_whole(instances: Path, photographs: Path, stego: torch.Tensor) -> None:
    target = Target(instances, "demo-2")
    settings = replace(QUICK, mode="all", start="registered")
    before = Attacker(target, settings)
    assert torch.equal(before.recover(stego), target.networks[0].recover(None, stego))
    fresh = Attacker(target, replace(settings, start="random"))
    assert not torch.equal(fresh.recover(stego), before.recover(stego))
    with torch.enable_grad():
        found = report(target, photographs, settings)
    assert found["victim"] == "demo-2"
    assert found["results"][0]["psnr"]["mean"] > found["untrained"]["psnr"]["mean"]
    for wrong in (replace(settings, mode="fill"), replace(settings, start="mean")):
        with pytest.raises(ValueError, match="--mode all and --start random or registered"):
            Attacker(target, wrong)


@torch.no_grad()
def test_instances_load_as_they_were_exported(tmp_path: Path) -> None:
    """Including the statistics of batch norms, but without parameters for training only."""
    networks = model(tmp_path / "model", "hidden", "{}")
    loaded, manifest = export.load(tmp_path / "model")
    assert [key["id"] for key in manifest["keys"]] == ["demo-1", "demo-2"]
    images = torch.rand(2, 1, 3, 32, 32)
    for network, was in zip(loaded, networks):
        assert torch.equal(network.embed(None, *images), was.embed(None, *images))
        assert torch.equal(network.recover(None, images[0]), was.recover(None, images[0]))


def test_scores_have_intervals_over_pairs() -> None:
    values = np.random.default_rng(5).normal(20, 3, 50).tolist()
    found = attack.score(values)
    assert found == attack.score(values)
    mean, std, low, high = (found[name] for name in ("mean", "std", "low", "high"))
    assert mean == pytest.approx(np.mean(values), abs=1e-4)
    assert std == pytest.approx(np.std(values, ddof=1), abs=1e-4)
    assert low is not None
    assert high is not None
    assert high - low == pytest.approx(2 * 1.96 * np.std(values) / math.sqrt(50), rel=0.1)
    assert attack.score([4.0]) == {"mean": 4.0, "std": 0.0, "n": 1, "low": None, "high": None}


def test_attack_command_writes_a_report(
    keyed: Path, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leak, out = tmp_path / "leak", tmp_path / "attack.json"
    leak.mkdir()
    for file in sorted(photographs.iterdir())[2:]:
        file.rename(leak / file.name)
    sizes = ["--side", "32", "--crop", "16", "--steps", "8", "--threads", "1", "--device", "cpu"]
    command = ["attack", str(keyed), "--data", f"made={photographs}", "--out", str(out), *sizes]
    assert main([*command, "--leak", str(leak), "--pairs", "1,2", "--victim", "demo-2"]) == 0
    assert "2 leaked pairs, 8 steps" in capsys.readouterr().out
    text = out.read_text(encoding="utf-8")
    found = json.loads(text)
    assert text == json.dumps(found, indent=1, sort_keys=True) + "\n"
    assert set(found) == {
        "version", "model", "digest", "victim", "mode", "start", "data", "side", "seconds", "steps", "hardware", "rate",
        "crop", "batch", "seed", "results", "matched", "untrained", "baseline",
    }  # fmt: skip
    assert (found["version"], found["model"], found["digest"]) == (1, "tiny", export.digest(keyed))
    assert (found["victim"], found["data"], found["side"]) == ("demo-2", "made", 32)
    assert [result["pairs"] for result in found["results"]] == [1, 2]
    for part in (*found["results"], found["matched"], found["untrained"], found["baseline"]):
        assert set(part["psnr"]) == set(part["ssim"]) == {"mean", "std", "n", "low", "high"}

    for arguments, message in (
        (["--leak", str(leak), "--pairs", "3"], "3 pairs take 6 photographs, and there are 4"),
        (["--leak", str(photographs)], "are one folder"),
        (["--leak", str(leak), "--victim", "eve"], "choose one of demo-1, demo-2"),
    ):
        assert main([*command, *arguments]) == 1
        assert message in capsys.readouterr().err
    cipher = tmp_path / "cipher"
    cipher.mkdir()
    (cipher / "manifest.json").write_text('{"keying": "cipher"}', encoding="utf-8")
    assert main(["attack", str(cipher), "--leak", str(leak), *command[2:]]) == 1
    assert "not a model that the trainer made" in capsys.readouterr().err
