"""The training configuration: a TOML file, checked strictly before any work."""

from __future__ import annotations

import dataclasses
import hashlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from . import losses
from .backbones import Architecture, create
from .losses import KeyedLosses, Losses
from .optimiser import OPTIMISERS

T = TypeVar("T")

_ALPHA = 0.9


class ConfigError(ValueError):
    """The configuration is wrong; the message says where."""


@dataclass(frozen=True)
class Model:
    name: str
    backbone: str
    keys: int
    """Users: key pairs of one network or, of an un-keyed method, instances that are each a run of their own."""
    alpha: float | None = None
    """Share of the weights that is trained and shared by all keys: 0.9, if there are keys."""
    seed: int = 0
    config: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.alpha is not None and not 0 < self.alpha <= 1:
            raise ConfigError("model.alpha must be in (0, 1]")
        if self.alpha is not None and not self.keyed:
            raise ConfigError(f"model.alpha: {self.backbone} has no keys to share its weights between")
        if self.keys < 1:
            raise ConfigError("model.keys must be at least 1")

    @property
    def keyed(self) -> bool:
        return self.architecture().keyed

    @property
    def instances(self) -> int:
        """How many runs train it: users with keys share one."""
        return 1 if self.architecture().shared else self.keys

    @property
    def trained_share(self) -> float:
        if not self.keyed:
            return 1.0
        return _ALPHA if self.alpha is None else self.alpha

    @property
    def mask_seed(self) -> bytes:
        """Public; made from the name so that two models have different masks."""
        return hashlib.sha256(b"stegomq.mask\x00" + self.name.encode()).digest()

    def architecture(self) -> Architecture:
        return create(self.backbone, self.config)


@dataclass(frozen=True)
class Training:
    """The budget ends at `steps` or `seconds`, whichever comes first; the schedule follows it.

    Seconds are CPU seconds of all threads on a CPU, and elapsed seconds on a GPU.
    """

    steps: int
    seconds: float
    batch: int = 8
    crop: int = 48
    late: float = 1.0
    """From this share of the budget on, `late_batch` and `late_crop` hold: larger crops have fewer borders."""
    late_batch: int = 2
    late_crop: int = 96
    optimiser: str = "adam"
    rate: float = 1e-3
    final_rate: float = 1e-5
    warmup: int = 100
    clip: float = 1.0
    """Largest norm of the gradient, relative to its running mean."""
    average: float = 0.999
    """Decay of the averaged parameters, which are what is evaluated and exported."""
    bfloat16: bool = False
    """Convolutions in bfloat16, but for those that the backbone calls exact."""
    channels_last: bool = False
    compile: bool = False
    """torch.compile, on a GPU; on a CPU it was slower."""
    compact: bool = False
    """Checkpoints keep averages in half precision and moments in bfloat16, and a finished run's the averages alone. A
    resumed run differs a little."""
    checkpoint_seconds: float = 120.0
    log_steps: int = 100
    validate_seconds: float = 300.0
    """How often the averaged network is measured on the photographs held out, and drawn."""
    held_out: int = 16
    """So many photographs, the last by name, are not trained on."""

    def __post_init__(self) -> None:
        if self.optimiser not in OPTIMISERS:
            raise ConfigError(f"training.optimiser: unknown {self.optimiser}, choose one of {', '.join(OPTIMISERS)}")
        if self.held_out % 2:
            raise ConfigError("training.held_out must be even: two photographs make a pair")

    def shape(self, progress: float) -> tuple[int, int]:
        """Batch and crop at a share of the budget."""
        late = self.late < 1 and progress >= self.late
        return (self.late_batch, self.late_crop) if late else (self.batch, self.crop)

    @property
    def largest_crop(self) -> int:
        return max(self.crop, self.late_crop if self.late < 1 else 0)


@dataclass(frozen=True)
class Config:
    model: Model
    training: Training
    losses: Losses
    text: str
    """The file as it was read; checkpoints carry it."""

    def __post_init__(self) -> None:
        if isinstance(self.losses, KeyedLosses) and self.losses.isolate > 0 and self.model.keys < 2:
            raise ConfigError("model.keys must be at least 2, or losses.isolate 0: isolation needs a wrong key")


def load(path: Path, settings: Sequence[str] = ()) -> Config:
    """The configuration in a file, with settings TABLE.NAME=VALUE in place of its own."""
    return _with(path.read_text(encoding="utf-8"), settings, str(path))


def changed(config: Config, settings: Sequence[str]) -> Config:
    """A configuration with settings TABLE.NAME=VALUE in place of its own."""
    return _with(config.text, settings, " ".join(settings))


def _with(text: str, settings: Sequence[str], source: str) -> Config:
    for setting in settings:
        text = _set(text, setting)
    return parse(text, source)


def _set(text: str, setting: str) -> str:
    """The TOML file with the setting in it, so that a run's copy has all settings."""
    name, equals, value = setting.partition("=")
    table, dot, name = name.partition(".")
    heading = f"[{table.strip()}]"
    lines = text.splitlines()
    if not (equals and dot and name.strip()) or heading not in lines:
        raise ConfigError(f"{setting}: give TABLE.NAME=VALUE, where TABLE is one of the file's")
    start = lines.index(heading) + 1
    end = next((i for i in range(start, len(lines)) if lines[i].startswith("[")), len(lines))
    kept = [line for line in lines[start:end] if line.partition("=")[0].strip() != name.strip()]
    return "\n".join([*lines[:start], f"{name.strip()} = {value.strip()}", *kept, *lines[end:]]) + "\n"


def parse(text: str, source: str) -> Config:
    try:
        tables = tomllib.loads(text)
        model = _table(tables, "model", Model)
        model.architecture()
        config = Config(
            model=model,
            training=_table(tables, "training", Training),
            losses=_table(tables, "losses", losses.of(model.backbone)),
            text=text,
        )
    except (tomllib.TOMLDecodeError, ValueError) as error:
        raise ConfigError(f"{source}: {error}") from None
    unknown = set(tables) - {"model", "training", "losses"}
    if unknown:
        raise ConfigError(f"{source}: unknown table {', '.join(sorted(unknown))}")
    return config


def _table(tables: dict[str, Any], name: str, kind: type[T]) -> T:
    values = tables.get(name, {})
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = set(values) - set(fields)
    if unknown:
        raise ConfigError(f"{name}: unknown setting {', '.join(sorted(unknown))}")
    missing = [
        f.name
        for f in fields.values()
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING and f.name not in values
    ]
    if missing:
        raise ConfigError(f"{name}: missing {', '.join(missing)}")
    return kind(**values)
