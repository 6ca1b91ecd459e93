"""The files of a run beside its checkpoint: configuration, origin, metrics and image grids."""

from __future__ import annotations

import csv
import json
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path

import torch
from PIL import Image

CONFIG = "config.toml"
ORIGIN = "run.jsonl"
METRICS = "metrics.csv"
VALIDATION = "validation.csv"


class Journal:
    """Writes into the folder of a run; a resumed run continues the same files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def begin(self, config: str, seed: int, hardware: str, step: int) -> None:
        """Writes the configuration, and adds one line on where and how this stretch of the run began."""
        (self._folder / CONFIG).write_text(config, encoding="utf-8")
        origin = {"step": step, "seed": seed, "revision": revision(), "hardware": hardware, "torch": torch.__version__}
        with (self._folder / ORIGIN).open("a", encoding="utf-8") as file:
            file.write(json.dumps(origin) + "\n")

    def row(self, name: str, values: Mapping[str, float | None]) -> None:
        """Appends to a table; the first row makes its header. None leaves a cell empty."""
        path = self._folder / name
        fresh = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow(values)
            writer.writerow(["" if value is None else f"{value:.6g}" for value in values.values()])

    def grid(self, step: int, image: Image.Image) -> None:
        image.save(self._folder / f"grid-{step:07d}.png")


def revision() -> str:
    """The git revision of this source, or "unknown"."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=12", "HEAD"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else "unknown"


def cpu(threads: int) -> str:
    """The CPU that the seconds are counted on, and its threads."""
    return f"{threads} {'thread' if threads == 1 else 'threads'} of one {processor()} CPU"


def processor() -> str:
    """The name of the CPU."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [x.partition(":")[2].strip() for x in info.read_text().splitlines() if x.startswith("model name")]
        name = models[0] if models else name
    return name
