from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from trainer import config, derivation, grids, methods, training, users
from trainer.losses import KeyedLosses, total
from trainer.network import Arithmetic
from trainer.photographs import Photographs

TEXT = """
[model]
name = "test"
backbone = "invertible"
keys = 3
config = { couplings = 2, width = 8 }

[training]
steps = {steps}
seconds = 600
batch = 2
crop = 32
rate = 2e-3
warmup = 5
held_out = 2
"""


def run(steps: int) -> training.Run:
    return training.Run(config.parse(TEXT.replace("{steps}", str(steps)), "test"))


def keyed(trained: training.Run) -> methods.Keyed:
    assert isinstance(trained.method, methods.Keyed)
    return trained.method


@pytest.fixture
def images(photographs: Path) -> Photographs:
    return Photographs(photographs, 32, held_out=2)


def test_only_shared_weights_move(images: Photographs, tmp_path: Path) -> None:
    trained = run(8)
    mask = trained.network.mask
    before = trained.network.weight.detach().clone()
    biases = trained.network.affine.detach().clone()
    trained.train(images, tmp_path)
    after = trained.network.weight.detach()
    assert trained.step == 8
    assert torch.equal(after[~mask], before[~mask])
    assert (after[mask] != before[mask]).float().mean() > 0.99
    assert (trained.network.affine != biases).float().mean() > 0.99
    assert torch.equal(trained.averaged().weight[~mask], before[~mask])


def test_loss_falls(images: Photographs, tmp_path: Path) -> None:
    trained = run(60)
    first, last = (torch.tensor(0.0) for _ in range(2))
    cover, secret = images.sample(16, 32, np.random.default_rng(1)).chunk(2)
    method = keyed(trained)
    drawn = methods.Drawn(*method.fills[0], method.fills[1][1], 0.08 * torch.randn_like(cover))
    weights = trained.config.losses.weights()
    with torch.no_grad():
        first = total(method.terms(drawn, cover, secret, tuple(weights)), weights)
    trained.train(images, tmp_path)
    with torch.no_grad():
        last = total(method.terms(drawn, cover, secret, tuple(weights)), weights)
    assert last < 0.9 * first


def test_resumed_run_equals_an_uninterrupted_one(images: Photographs, tmp_path: Path) -> None:
    whole = run(10)
    for _ in range(10):
        assert whole._advance(images) is not None
    part = run(10)
    for _ in range(6):
        assert part._advance(images) is not None
    part.save(tmp_path)
    again = training.resume(tmp_path)
    assert again.step == 6
    for _ in range(4):
        assert again._advance(images) is not None
    torch.testing.assert_close(again.network.weight, whole.network.weight, rtol=0, atol=0)
    torch.testing.assert_close(again.averaged().affine, whole.averaged().affine, rtol=0, atol=0)


def test_save_leaves_no_partial_file(images: Photographs, tmp_path: Path) -> None:
    run(1).save(tmp_path)
    run(1).save(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [training.CHECKPOINT]


def test_run_leaves_its_configuration_metrics_and_grids(images: Photographs, tmp_path: Path) -> None:
    text = TEXT.replace("{steps}", "4") + "log_steps = 2\nvalidate_seconds = 0\n"
    trained = training.Run(config.parse(text, "test"))
    trained.train(images, tmp_path)
    assert (tmp_path / "config.toml").read_text(encoding="utf-8") == text
    origin = json.loads((tmp_path / "run.jsonl").read_text(encoding="utf-8"))
    assert origin["seed"] == 0
    assert origin["step"] == 0
    with (tmp_path / "metrics.csv").open(encoding="utf-8") as file:
        metrics = list(csv.DictReader(file))
    assert [row["step"] for row in metrics] == ["2", "4"]
    assert {"loss", "embed", "recover", "purify", "isolate", "rate"} <= set(metrics[0])
    with (tmp_path / "validation.csv").open(encoding="utf-8") as file:
        validation = list(csv.DictReader(file))
    assert [row["step"] for row in validation] == ["1", "2", "3", "4", "4"]
    assert 5 < float(validation[0]["stego"]) < 60
    with Image.open(tmp_path / "grid-0000004.png") as grid:
        assert grid.size == (8 * 128 + 7 * 4, 128)  # one pair is held out


def test_grid_shows_what_its_columns_say(images: Photographs) -> None:
    trained = run(1)
    covers, secrets = images.validation(32)
    sheet = np.asarray(grids.grid(users.Keyed(trained.network, trained.keys), covers, secrets)).astype(np.float32) / 255
    columns = {name: sheet[:, x * 36 : x * 36 + 32] for x, name in enumerate(grids.COLUMNS)}
    np.testing.assert_allclose(columns["cover"], covers[0].permute(1, 2, 0), atol=1e-6)
    np.testing.assert_allclose(columns["secret"], secrets[0].permute(1, 2, 0), atol=1e-6)
    residual = np.clip(10 * (columns["stego"] - columns["cover"]) + 0.5, 0, 1)
    np.testing.assert_allclose(columns["residual x10"], residual, atol=0.5 / 255 + 1e-6)
    assert np.abs(columns["recovered"] - columns["mismatched"]).max() > 0
    assert np.abs(columns["mismatched"] - columns["random"]).max() > 0


def test_late_crops_and_the_isolation_ramp_follow_the_budget() -> None:
    text = TEXT.replace("{steps}", "10") + "late = 0.5\nlate_crop = 64\nlate_batch = 1\n"
    settings = config.parse(text + "[losses]\nisolate_from = 0.2\nisolate_full = 0.6\n", "test")
    assert [settings.training.shape(p) for p in (0, 0.49, 0.5, 1)] == [(2, 32), (2, 32), (1, 64), (1, 64)]
    assert settings.training.largest_crop == 64
    losses = settings.losses
    assert isinstance(losses, KeyedLosses)
    assert [losses.ramp(p) for p in (0, 0.2, 0.4, 0.6, 1)] == pytest.approx([0, 0, 0.5, 1, 1])
    terms = {name: torch.tensor(1.0) for name in losses.terms()}
    whole = total(terms, losses.weights())
    assert whole.item() == pytest.approx(1.0)
    assert (whole - total(terms, losses.weights(0.4))).item() == pytest.approx(0.25 / 2.5)


def test_late_crops_do_not_come_at_the_very_end_where_there_are_none(images: Photographs) -> None:
    """The step in which the budget ends has the shape of the ones before: another shape would be compiled anew."""
    text = TEXT.replace("{steps}", "10") + "late = 1.0\nlate_crop = 64\nlate_batch = 1\n"
    trained = training.Run(config.parse(text, "test"))
    assert [trained.config.training.shape(p) for p in (0, 0.999, 1, 1.5)] == [(2, 32)] * 4
    assert trained.config.training.largest_crop == 32
    trained.seconds = trained.budget + 1
    assert trained._advance(images) is not None, "photographs smaller than 64 pixels were not left out"


def test_compact_checkpoints_round_what_may_be_rounded(images: Photographs, tmp_path: Path) -> None:
    text = TEXT.replace("{steps}", "8") + 'optimiser = "muon"\n'
    compact, whole = (training.Run(config.parse(text + f"compact = {flag}\n", "test")) for flag in ("true", "false"))
    for trained in (compact, whole):
        for _ in range(4):
            assert trained._advance(images) is not None
        trained.save(tmp_path / str(trained.config.training.compact))
    sizes = [(tmp_path / flag / training.CHECKPOINT).stat().st_size for flag in ("True", "False")]
    assert sizes[0] < 0.75 * sizes[1]

    again = training.resume(tmp_path / "True")
    state, kept = again.state().tensors, compact.state().tensors
    for name, tensor in kept.items():
        group = name.partition(".")[0]
        rounded = {"parameter": tensor, "average": tensor.half().float()}.get(group, tensor.bfloat16().float())
        torch.testing.assert_close(state[name], rounded, rtol=0, atol=0)
    assert not torch.equal(state["average.weight"], kept["average.weight"])
    assert not torch.equal(state["first.weight"], kept["first.weight"])

    for trained in (again, whole):
        for _ in range(4):
            assert trained._advance(images) is not None
    far = (whole.network.weight - training.resume(tmp_path / "False").network.weight).abs().max()
    assert (again.network.weight - whole.network.weight).abs().max() < 0.1 * far, "it goes on nearly as it would have"

    assert again.progress == 1
    again.save(tmp_path / "True")
    assert (tmp_path / "True" / training.CHECKPOINT).stat().st_size < 0.25 * sizes[1]
    over = training.resume(tmp_path / "True", settings=["training.steps=12"])
    for name, vector in over.averaged().vectors().items():
        torch.testing.assert_close(vector, again.averaged().vectors()[name].half().float(), rtol=0, atol=0)
    torch.testing.assert_close(over.network.weight, over.averaged().weight, rtol=0, atol=0)
    assert over._advance(images) is not None


def test_stop_after_ends_a_stretch_and_not_the_schedule(
    images: Photographs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A clock that goes on by a tenth of a second whenever it is asked: a busy machine may take longer for a first step.
    monkeypatch.setattr(training, "time", SimpleNamespace(monotonic=itertools.count(100.0, 0.1).__next__))
    trained = run(1000)
    trained.train(images, tmp_path, stop_after=0.0)
    assert trained.step == 0
    assert (tmp_path / training.CHECKPOINT).exists()
    trained.train(images, tmp_path, stop_after=0.25)
    assert trained.step == 2
    assert trained.progress < 1
    assert not (tmp_path / "validation.csv").exists(), "the run is not over"
    again = training.resume(tmp_path)
    assert (again.step, again.budget, again.progress) == (trained.step, 600, trained.progress)
    assert again._rate() == trained._rate()


def test_stop_ends_a_run_after_its_step(images: Photographs, tmp_path: Path) -> None:
    trained = run(1000)
    advance = trained._advance

    def and_stop(photographs: Photographs) -> methods.Terms | None:
        if trained.step == 2:
            trained.stop()
        return advance(photographs)

    trained._advance = and_stop  # type: ignore[method-assign]
    trained.train(images, tmp_path)
    assert training.resume(tmp_path).step == 3


def test_run_without_an_end_keeps_its_rate_and_is_annealed(images: Photographs, tmp_path: Path) -> None:
    text = TEXT.replace("{steps}", "1000000000").replace("seconds = 600", "seconds = inf") + "final_rate = 1e-5\n"
    trained = training.Run(config.parse(text, "test"))
    for _ in range(8):
        assert trained._advance(images) is not None
    trained.seconds = 5000.0
    assert trained.progress < 1e-7
    assert trained._rate() == pytest.approx(2e-3)
    trained.save(tmp_path)

    again = training.resume(tmp_path)
    assert again.budget == float("inf")
    again.anneal(100.0)
    assert (again.progress, again._rate()) == (pytest.approx(0, abs=1e-7), pytest.approx(2e-3))
    again.seconds += 50.0
    assert again.progress == 0.5
    assert again._rate() == pytest.approx((2e-3 + 1e-5) / 2)
    again.save(tmp_path)
    last = training.resume(tmp_path)
    assert last.progress == 0.5, "an annealing run is resumed where it was"
    last.seconds += 50.0
    assert last.progress == 1
    assert last._rate() == pytest.approx(1e-5)
    assert trained.progress < 1e-7, "the run that it is a copy of goes on"


def test_run_goes_on_with_other_settings(images: Photographs, tmp_path: Path) -> None:
    trained = training.Run(config.parse(TEXT.replace("{steps}", "10") + "[losses]\n", "test"))
    for _ in range(3):
        assert trained._advance(images) is not None
    trained.seconds = 7.0
    trained.save(tmp_path)
    again = training.resume(
        tmp_path, settings=["training.rate=5e-4", "training.seconds=inf", "losses.unregistered=0.5"]
    )
    assert (again.step, again.seconds, again.budget) == (3, 7.0, float("inf"))
    assert again.config.training.rate == 5e-4
    assert isinstance(again.config.losses, KeyedLosses)
    assert again.config.losses.unregistered == 0.5
    assert again._loss_best == float("inf"), "what the loss was says nothing of other settings"
    torch.testing.assert_close(again._optimiser.first["weight"], trained._optimiser.first["weight"], rtol=0, atol=0)
    assert again._advance(images) is not None
    again.save(tmp_path)
    assert training.resume(tmp_path).config == again.config, "the checkpoint has them"
    for setting in ("model.alpha=0.5", 'training.optimiser="muon"'):
        with pytest.raises(ValueError, match="stay as they are"):
            training.resume(tmp_path, settings=[setting])
    with pytest.raises(config.ConfigError, match="unknown setting rat"):
        training.resume(tmp_path, settings=["training.rat=1"])


@pytest.mark.parametrize("settings", ["bfloat16 = true", "channels_last = true", 'optimiser = "muon"'])
def test_ways_to_compute_train_and_resume(settings: str, images: Photographs, tmp_path: Path) -> None:
    text = TEXT.replace("{steps}", "4") + settings + "\n"
    whole, part = (training.Run(config.parse(text, "test")) for _ in range(2))
    for _ in range(4):
        assert whole._advance(images) is not None
    for _ in range(2):
        assert part._advance(images) is not None
    part.save(tmp_path)
    again = training.resume(tmp_path)
    for _ in range(2):
        assert again._advance(images) is not None
    torch.testing.assert_close(again.network.weight, whole.network.weight, rtol=0, atol=0)
    assert not torch.equal(whole.network.weight, training.Run(config.parse(text, "test")).network.weight)


def test_bfloat16_is_near_and_spares_exact_layers(images: Photographs) -> None:
    network = run(1).network
    fill = network.fill("embed", bytes(32))
    covers, secrets = images.validation(32)
    exact = network.embed(fill, covers, secrets)
    network.arithmetic = Arithmetic(bfloat16=True)
    near = network.embed(fill, covers, secrets)
    assert near.dtype == torch.float32
    assert 0 < (near - exact).abs().max() < 0.05


def test_enrolled_keys_learn_and_old_ones_keep_what_they_have(images: Photographs, tmp_path: Path) -> None:
    trained = run(30)
    trained.train(images, tmp_path / "old")
    added = [derivation.demo_pair(9)]
    run_of = trained.enroll(added, seconds=500)
    assert [key.id for key in run_of.keys] == ["demo-1", "demo-2", "demo-3", "demo-9"]
    assert run_of.before.updates == 30
    assert torch.equal(run_of.network.weight, trained.averaged().weight)
    assert trained.enroll(added, seconds=500, rate=1e-5).rate_scale == pytest.approx(
        1e-5 / trained.config.training.rate
    )
    drawn = [keyed(run_of).user(np.random.default_rng(i), progress=0.1) for i in range(200)]
    assert 100 < drawn.count(3) < 150, "half of the steps and a quarter of the rest"
    drawn = [keyed(run_of).user(np.random.default_rng(i), progress=0.5) for i in range(200)]
    assert 30 < drawn.count(3) < 70, "all alike"
    run_of.train(images, tmp_path / "new")
    with pytest.raises(ValueError, match="--keyring"):
        training.resume(tmp_path / "new")
    again = training.resume(tmp_path / "new", enrolled=added)
    assert torch.equal(again.network.weight, run_of.network.weight)
    assert again.before == run_of.before
    with pytest.raises(ValueError, match="demo-2 is trained already"):
        trained.enroll([derivation.demo_pair(2)], seconds=1)


def test_divergence_goes_back_and_slows_down(
    images: Photographs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained = run(6)
    sound = trained.network.weight.detach().clone()
    trained._loss_best = 1e-9  # so that the first loss looks like divergence
    trained.train(images, tmp_path)
    assert "diverged" in caplog.text
    assert trained._brake == pytest.approx(0.5**3, rel=0.01)
    assert torch.equal(trained.network.weight, sound)
    assert trained.step == 6, "images that failed are not drawn again"


def test_brake_loosens(images: Photographs) -> None:
    trained = run(6)
    trained._brake = 0.5
    slow = trained._rate()
    assert trained._advance(images) is not None
    assert 0.5 < trained._brake < 0.51
    trained._brake = 1.0
    assert trained._advance(images) is not None
    assert trained._brake == 1.0
    trained.step = 0
    assert trained._rate() == pytest.approx(2 * slow)


def test_loss_that_is_not_a_number_changes_nothing(images: Photographs) -> None:
    trained = run(6)
    with torch.no_grad():
        trained.network.affine[0] = float("nan")
    before = trained.network.weight.detach().clone()
    assert trained._advance(images) is None
    assert trained.step == 0
    assert torch.equal(trained.network.weight, before)


def test_error_is_squared_and_then_linear() -> None:
    far = torch.tensor([100.0], requires_grad=True)
    near = torch.tensor([0.2])
    assert methods.error(near, torch.zeros(1)).item() == pytest.approx(0.04)
    methods.error(far, torch.zeros(1)).backward()
    assert far.grad is not None
    assert far.grad.item() == pytest.approx(1.0), "not 200"


def test_wrong_fill_is_never_the_right_one() -> None:
    trained = run(6)
    generator, random = torch.Generator().manual_seed(1), np.random.default_rng(1)
    method, cover = keyed(trained), torch.zeros(1, 3, 4, 4)
    registered = [recover for _, recover in method.fills]
    unregistered = 0
    for _ in range(200):
        drawn = method.draw(cover, random, generator, 0.0)
        assert any(drawn.embed is embed and drawn.recover is recover for embed, recover in method.fills)
        assert drawn.wrong is not None
        assert not torch.equal(drawn.wrong, drawn.recover)
        unregistered += all(drawn.wrong is not recover for recover in registered)
    assert 30 <= unregistered <= 90


def test_budget_ends_a_run_by_steps_or_seconds() -> None:
    trained = run(10)
    trained.step = 5
    assert trained.progress == 0.5
    trained.seconds = 450.0
    assert trained.progress == 0.75


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("steps = 5", "stpes = 5"), "unknown setting stpes"),
        (("steps = 5\n", ""), "missing steps"),
        (("[model]", "[modle]"), "missing name"),
        (("keys = 3", "keys = 1"), "at least 2, or losses.isolate 0"),
        (("keys = 3", "keys = 0"), "at least 1"),
        (("keys = 3", "keys = 3\nalpha = 1.5"), "alpha"),
        (('"invertible"', '"stegastamp"'), "unknown backbone"),
        (("width = 8", "widht = 8"), "widht"),
        (("[training]", "[extra]\n[training]"), "unknown table extra"),
        (("steps = 5", "steps ="), "Invalid value"),
    ],
)
def test_configuration_is_strict(change: tuple[str, str], message: str) -> None:
    with pytest.raises(config.ConfigError, match=message):
        config.parse(TEXT.replace("{steps}", "5").replace(*change), "test")
