"""The scripts that train in idle time and on machines with a GPU, run as they are, on small networks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from trainer import training
from trainer.cli import main

from .conftest import REPOSITORY

IDLE = """
[model]
name = "small"
backbone = "invertible"
keys = 2
config = { couplings = 2, width = 8 }

[training]
steps = 1000000000
seconds = inf
batch = 2
crop = 32
held_out = 2
"""


@pytest.fixture
def jpegs(photographs: Path) -> Path:
    for path in photographs.glob("*.png"):
        with Image.open(path) as image:
            image.save(path.with_suffix(".jpg"), quality=95)
        path.unlink()
    return photographs


def shell(folder: Path, *command: object, **environment: object) -> str:
    variables = {name: str(value) for name, value in environment.items()}
    result = subprocess.run(
        [str(part) for part in command], cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=os.environ | {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1", **variables},
    )  # fmt: skip
    assert result.returncode == 0, result.stdout
    return result.stdout


def test_a_gpu_s_run_comes_back_and_goes_on(jpegs: Path, tmp_path: Path) -> None:
    places = {name: tmp_path / name.lower() for name in ("RUNS", "BOX", "OUT", "WORK")}
    settings = (
        "training.batch=1 training.crop=32 training.held_out=2 training.log_steps=1 model.config={couplings=2,width=8}"
    )

    def gpu(*arguments: str, call: int = 600) -> str:
        variables = {**places, "PHOTOGRAPHS": jpegs, "SETTINGS": settings, "THREADS": 1, "CALL": call}
        return shell(REPOSITORY, "trainer/gpu.sh", *arguments, **variables)

    places["RUNS"].mkdir()
    assert " travel: " in gpu("pack")
    assert "training invertible-rk for 0 s" in gpu("invertible-rk", call=0)
    assert [path.name for path in places["OUT"].iterdir()] == ["invertible-rk.tar.aa"]
    gpu("unpack", str(places["OUT"]))
    folder = places["RUNS"] / "invertible-rk"
    assert training.resume(folder).step == 0, "it had no time at all"

    # From now on its whole budget is two steps.
    data = ("--data", str(jpegs), "--threads", "1", "--stop-after", "0")
    assert main(["resume", str(folder), *data, "--set", "training.steps=2"]) == 0
    shutil.rmtree(places["WORK"])  # as on a machine that was given back
    shutil.rmtree(places["OUT"])
    gpu("pack")
    assert (places["BOX"] / "runs" / "invertible-rk.tar").exists()
    assert "held out: stego" in gpu("invertible-rk")
    gpu("unpack", str(places["OUT"]))
    assert training.resume(folder).step == 2, "it has gone on from what was packed"

    # A run that has used its seconds is finished: its lane continues with the next run, and it can be measured.
    more = (*data[:-1], "60", "--set", "training.seconds=0.001")
    assert main(["resume", str(places["WORK"] / "invertible-rk"), *more]) == 0
    settings = "training.batch=1 training.crop=32 training.held_out=2 model.config={width=12}"
    shutil.rmtree(places["OUT"])
    assert "training invertible-rk,table1-baluja-1 for 0 s" in gpu("invertible-rk,table1-baluja-1", call=0)
    assert sorted(path.name for path in places["OUT"].iterdir()) == ["invertible-rk.tar.aa", "table1-baluja-1.tar.aa"]
    measured = places["BOX"] / "eval" / "photographs"
    measured.mkdir(parents=True)
    for path in sorted(jpegs.iterdir())[:2]:
        shutil.copy(path, measured)
    lines = r"^invertible-rk\nphotographs 256x256 stego .*\nphotographs 512x512 stego "
    assert re.search(lines, gpu("measure"), re.MULTILINE)
    assert "recovered" in (places["OUT"] / "quality.txt").read_text(encoding="utf-8")


def test_idle_run_is_started_stopped_and_kept(jpegs: Path, tmp_path: Path) -> None:
    """In a repository of its own, since it commits."""
    root = tmp_path / "repository"
    ignore = shutil.ignore_patterns("__pycache__", "tests", "runs")
    shutil.copytree(REPOSITORY / "trainer", root / "trainer", ignore=ignore)
    table = root / "internal" / "rotation"
    table.mkdir(parents=True)
    shutil.copy(REPOSITORY / "internal" / "rotation" / "deviations.txt", table)
    config, kept = tmp_path / "small.toml", root / "trainer" / "runs" / "small"
    config.write_text(IDLE, encoding="utf-8")
    data = ("--data", str(jpegs), "--threads", "1", "--stop-after", "0")
    assert main(["train", str(config), *data, "--out", str(kept)]) == 0

    identity = {
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "A Tester"), ("EMAIL", "a@example.org"))
    }
    variables = {**identity, "RUN": "small", "PHOTOGRAPHS": jpegs, "DATA": tmp_path / "data", "ANNEAL": 1}
    for name in ("bsds", "imagenet"):
        shutil.copytree(jpegs, tmp_path / "data" / name)

    def run(*command: object) -> str:
        return shell(root, *command, **variables)

    run("git", "init", "-q")
    run("git", "add", ".")
    run("git", "commit", "-q", "-m", "first")
    (root / "unfinished").write_text("somebody's", encoding="utf-8")
    run("git", "add", "unfinished")

    idle = root / "trainer" / "idle.sh"
    assert "training small, process" in run(idle, "start")
    assert "small is training already" in run(idle, "start")
    printed = run(idle, "keep")
    assert not (root / "out" / "idle" / "small.pid").exists()
    assert (root / "models" / "small" / "manifest.json").exists(), "there was none: the first is kept"
    assert "models: small after more training" in printed
    changed = run("git", "show", "--format=", "--name-only", "HEAD").split()
    assert "models/small/manifest.json" in changed
    assert all(name.startswith(("models/small/", "trainer/runs/small/")) for name in changed)
    assert "unfinished" in run("git", "diff", "--cached", "--name-only"), "what others had added is left alone"
