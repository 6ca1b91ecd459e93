"""The training loop. methods.py computes a step.

Only W*M and the shared biases and normalisations move. Every step draws from a generator
seeded by its number, so that a resumed run sees the same draws as an uninterrupted one.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from . import clock, derivation, evaluation, export, grids, journal, losses, methods, users
from . import config as configuration
from .config import Config
from .derivation import KeyPair
from .methods import Terms
from .network import Arithmetic, Network
from .optimiser import OPTIMISERS
from .photographs import Photographs

log = logging.getLogger("trainer")

CHECKPOINT = "checkpoint.npz"
_VERSION = 2
# A running mean of the loss this many times its lowest counts as divergence. A single bad
# batch, for example with an odd random key, does not: the gradient is clipped.
_EXPLOSION = 3.0
# The most that one batch can count in the running mean, as a multiple of the mean.
_OUTLIER = 10.0
# After a divergence the rate is halved; it takes about a thousand steps to double again.
_LOOSEN = 1.0007
# Steps between snapshots to return to, taken while the loss is sound.
_SNAPSHOT_STEPS = 25
_SOUND = 1.5
# Validation: pixels of a side, and the number of pairs drawn into the grid.
_VALIDATION_SIDE = 128
_DRAWN = 4


@dataclass(frozen=True)
class Work:
    """The training of a network before a run."""

    updates: int = 0
    seconds: float = 0.0


class Run:
    """A training run with its state: parameters, optimiser, averages and the clock."""

    def __init__(
        self, config: Config, device: str = "cpu", enrolled: Sequence[KeyPair] = (), instance: int = 1
    ) -> None:
        self.config = config
        model, training = config.model, config.training
        if not 1 <= instance <= model.instances:
            raise ValueError(f"{model.name} has no instance {instance}: the last is {model.instances}")
        self.instance = instance
        """Of an un-keyed method, counted from 1: whose user's network is trained. Instances differ in their seed."""
        self.seed = model.seed + instance - 1
        self.device = torch.device(device)
        self._architecture = model.architecture()
        self.network = self._fresh()
        self.network.arithmetic = Arithmetic(training.bfloat16, training.channels_last)
        self.enrolled = list(enrolled)
        """Key pairs added to those that the model was first trained with."""
        numbers = [instance] if model.instances > 1 else range(1, model.keys + 1)
        self.keys = [derivation.demo_pair(i) for i in numbers] + self.enrolled
        self.method = methods.create(self.network, config.losses, self.keys, len(self.enrolled))
        compiled = training.compile and self.device.type != "cpu"
        self._terms = _compiled(self.method.terms) if compiled else self.method.terms
        self._optimiser = OPTIMISERS[training.optimiser](self.network)
        self._average = {name: vector.detach().clone() for name, vector in self.network.vectors().items()}
        self.step = 0
        self.seconds = 0.0
        self.budget = config.training.seconds
        self._began = 0.0
        self._stopped = False
        self.rate_scale = 1.0
        self.before = Work()
        self.images = 0
        self.hardware = ""
        self._brake = 1.0
        self._loss_mean = math.inf
        self._loss_best = math.inf
        self._gradient_mean = math.inf

    def start_from(self, folder: Path) -> None:
        """Begins with the parameters of a model directory instead of random ones."""
        manifest = export.read(folder, self.network)
        if [key["fingerprint"] for key in manifest["keys"]] != [key.fingerprint for key in self.keys]:
            raise ValueError(f"{folder}: it was trained with other keys than the configuration's {len(self.keys)}")
        done = manifest.get("training", {"steps": 0, "seconds": 0})
        self.before = Work(done["steps"], done["seconds"])
        for name, vector in self.network.vectors().items():
            self._average[name].copy_(vector.detach())

    def enroll(self, pairs: Sequence[KeyPair], seconds: float, rate: float | None = None) -> Run:
        """A new run that adds key pairs to this one's averaged network.

        In the first half of the budget every other step trains the added pairs. Then all pairs are trained alike, so
        that the old ones recover.
        """
        if not self.config.model.keyed:
            raise ValueError(f"enroll: {self.config.model.backbone} has no keys: train another instance")
        taken = {key.id for key in self.keys} & {key.id for key in pairs}
        if not pairs:
            raise ValueError("enroll: there are no key pairs to add")
        if taken:
            raise ValueError(f"enroll: {', '.join(sorted(taken))} is trained already")
        run = Run(self.config, str(self.device), [*self.enrolled, *pairs])
        with torch.no_grad():
            for name, vector in run.network.vectors().items():
                vector.copy_(self._average[name])
                run._average[name].copy_(self._average[name])
        run.budget = seconds
        if rate is not None:
            run.rate_scale = rate / self.config.training.rate
        run.before = Work(self.before.updates + self.updates, self.before.seconds + self.seconds)
        return run

    def averaged(self) -> Network:
        """The network to evaluate and to export."""
        network = self._fresh()
        with torch.no_grad():
            for name, vector in network.vectors().items():
                vector.copy_(self._average[name])
        return network

    def _fresh(self) -> Network:
        model = self.config.model
        network = Network(model.architecture(), model.trained_share, model.mask_seed, self.seed)
        return network.to(self.device)

    @property
    def updates(self) -> int:
        """Steps that count, without those that a divergence undid."""
        return self._optimiser.updates

    @property
    def progress(self) -> float:
        """The used share of the budget. It stays 0 if the budget has no end; then the rate is constant."""
        used = (self.seconds - self._began) / (self.budget - self._began)
        return max(self.step / self.config.training.steps, used)

    def anneal(self, seconds: float) -> None:
        """Ends the run after `seconds`, in which the rate falls from the configuration's to its final one."""
        self._began, self.budget = self.seconds, self.seconds + seconds

    def stop(self) -> None:
        """Ends `train` after the current step; the run can be resumed. For signal handlers."""
        self._stopped = True

    def train(self, photographs: Photographs, folder: Path, stop_after: float = math.inf) -> None:
        """Trains until the budget is used, keeping a checkpoint in the folder.

        After `stop_after` seconds of this call it stops early, to be resumed; the schedule does not change.
        """
        training = self.config.training
        stop = time.monotonic() + stop_after
        self.images = photographs.count
        began = clock.seconds(self.device) - self.seconds
        saved = validated = self.seconds
        snapshot = self.state()
        records = journal.Journal(folder)
        records.begin(self.config.text, self.seed, self.hardware, self.step)
        while self.progress < 1 and time.monotonic() < stop and not self._stopped:
            self.seconds = clock.seconds(self.device) - began
            parts = self._advance(photographs)
            if parts is None or self._loss_mean > _EXPLOSION * self._loss_best:
                self._go_back(snapshot)
                continue
            if self.step % _SNAPSHOT_STEPS == 0 and self._loss_mean < _SOUND * self._loss_best:
                snapshot = self.state()
            if self.step % training.log_steps == 0:
                self._report(parts, records)
            if self.seconds - validated >= training.validate_seconds:
                validated = self.seconds
                self._validate(photographs, records)
            if self.seconds - saved >= training.checkpoint_seconds:
                saved = self.seconds
                self.save(folder)
        self.save(folder)
        if self.progress >= 1:
            self._validate(photographs, records)

    def _advance(self, photographs: Photographs) -> Terms | None:
        """One step; None, with no parameter moved, if the loss or the gradient is not finite.

        The running statistics have changed even then: `train` returns to a snapshot.
        """
        training = self.config.training
        random = np.random.default_rng((self.seed, self.step))
        batch, crop = training.shape(self.progress)
        images = photographs.sample(2 * batch, crop, random, self.device)
        cover, secret = images.chunk(2)
        generator = torch.Generator(self.device).manual_seed(int(random.integers(2**62)))
        weights = self.config.losses.weights(self.progress, len(self.keys))

        drawn = self.method.draw(cover, random, generator, self.progress)
        if not self._architecture.shared:
            # Only these have batch norms or draw values; for others a new object each step would force recompilation.
            self.network.learning = generator
        parts = self._terms(drawn, cover, secret, losses.wanted(weights))
        loss = losses.total(parts, weights)
        value = loss.item()
        if not math.isfinite(value):
            return None
        self.network.zero_grad()
        loss.backward()
        norm = self._clip()
        if not math.isfinite(norm):
            return None
        self._loss_mean = _running(self._loss_mean, min(value, _OUTLIER * self._loss_mean))
        self._loss_best = min(self._loss_best, self._loss_mean)
        self._optimiser.step(self._rate())
        self._brake = min(1.0, self._brake * _LOOSEN)
        self.step += 1
        decay = min(training.average, self.step / (self.step + 10))
        with torch.no_grad():
            for name, vector in self.network.vectors().items():
                self._average[name].lerp_(vector, 1 - decay)
        return parts

    def _clip(self) -> float:
        """Bounds the gradient by a multiple of its usual norm; returns the norm it had."""
        limit = self.config.training.clip * self._gradient_mean
        norm = float(clip_grad_norm_(self.network.parameters(), limit if math.isfinite(limit) else 1.0))
        if math.isfinite(norm):
            self._gradient_mean = _running(self._gradient_mean, min(norm, 4 * self._gradient_mean))
        return norm

    def _rate(self) -> float:
        training = self.config.training
        cosine = 0.5 * (1 + math.cos(math.pi * min(self.progress, 1.0)))
        rate = training.final_rate + (training.rate - training.final_rate) * cosine
        return self._brake * self.rate_scale * rate * min(1.0, (self.step + 1) / training.warmup)

    def _go_back(self, snapshot: State) -> None:
        seconds, at = self.seconds, self.step
        brake = 0.5 * self._brake
        self.restore(snapshot)
        # The clock is not reset, and the slower run draws other images than the failed one.
        self.seconds, self._brake = seconds, brake
        self.step = max(self.step, at) + 1
        log.warning("the loss diverged at step %d: back to the last sound state at %g of the rate", at, brake)

    def _report(self, parts: Terms, records: journal.Journal) -> None:
        decibels = {name: -10 * math.log10(max(value.item(), 1e-10)) for name, value in parts.items()}
        numbers = {"step": self.step, "seconds": self.seconds, "rate": self._rate(), "loss": self._loss_mean}
        records.row(journal.METRICS, numbers | {name: decibels.get(name) for name in self.config.losses.terms()})
        log.info(
            "step %d, %.0f s, rate %.2e, loss %.5f, dB: %s",
            self.step,
            self.seconds,
            self._rate(),
            self._loss_mean,
            " ".join(f"{name} {value:.1f}" for name, value in decibels.items()),
        )

    def _validate(self, photographs: Photographs, records: journal.Journal) -> None:
        """Measures the averaged network on the held-out photographs, if there are any, and draws a grid."""
        if not self.config.training.held_out:
            return
        covers, secrets = (x.to(self.device) for x in photographs.validation(_VALIDATION_SIDE))
        trained = users.of([self.averaged()], self.keys)
        quality = evaluation.measure(trained, covers, secrets)
        log.info("step %d, held out: %s", self.step, quality.line())
        records.row(journal.VALIDATION, {"step": self.step, "seconds": self.seconds} | vars(quality))
        records.grid(self.step, grids.grid(trained, covers[:_DRAWN], secrets[:_DRAWN]))

    def state(self) -> State:
        """The state that a resumed run needs, detached from this run."""
        numbers: dict[str, Any] = {
            "version": _VERSION,
            "config": self.config.text,
            "step": self.step,
            "seconds": self.seconds,
            "budget": self.budget,
            "began": self._began,
            "images": self.images,
            "hardware": self.hardware,
            "brake": self._brake,
            "loss_mean": self._loss_mean,
            "loss_best": self._loss_best,
            "gradient_mean": self._gradient_mean,
            "updates": self._optimiser.updates,
            "rate_scale": self.rate_scale,
            "before": [self.before.updates, self.before.seconds],
            "enrolled": [key.fingerprint for key in self.enrolled],
            "instance": self.instance,
        }
        return State(numbers, {name: tensor.detach().clone() for name, tensor in self._tensors().items()})

    def restore(self, state: State) -> None:
        numbers = state.numbers
        if numbers.get("version") != _VERSION:
            raise ValueError(f"checkpoint version {numbers.get('version')}, expected {_VERSION}")
        self.step, self._brake = numbers["step"], numbers["brake"]
        self.seconds, self.budget = numbers["seconds"], numbers["budget"]
        self._began = numbers.get("began", 0.0)
        self.rate_scale, self.before = numbers["rate_scale"], Work(*numbers["before"])
        self.images, self.hardware = numbers["images"], numbers["hardware"]
        self._loss_mean, self._loss_best = numbers["loss_mean"], numbers["loss_best"]
        self._gradient_mean = numbers["gradient_mean"]
        self._optimiser.updates = numbers["updates"]
        with torch.no_grad():
            for name, tensor in self._tensors().items():
                group, _, vector = name.partition(".")
                if name in state.tensors:
                    tensor.copy_(state.tensors[name])
                elif group == "parameter":
                    tensor.copy_(state.tensors[f"average.{vector}"])
                else:
                    tensor.zero_()

    def save(self, folder: Path) -> None:
        """Saves atomically: a reader, or a resumed run, sees the old checkpoint or the new one.

        A compact checkpoint of a finished run has only the averages; with a longer budget the run continues from them.
        """
        folder.mkdir(parents=True, exist_ok=True)
        state = self.state()
        partial = folder / f".{CHECKPOINT}.partial"
        compact = self.config.training.compact
        packed, over = _packed if compact else _whole, compact and self.progress >= 1
        with partial.open("wb") as file:
            arrays: dict[str, Any] = {
                name: packed(name, tensor.cpu())
                for name, tensor in state.tensors.items()
                if not over or name.startswith("average.")
            }
            np.savez(file, numbers=np.array(json.dumps(state.numbers)), **arrays)
        os.replace(partial, folder / CHECKPOINT)

    def _tensors(self) -> dict[str, Tensor]:
        """The vectors of a run, by their names in a checkpoint."""
        groups: dict[str, dict[str, Tensor]] = {
            "parameter": self.network.vectors(),
            "average": self._average,
            "first": self._optimiser.first,
            "second": self._optimiser.second,
        }
        return {f"{group}.{name}": tensor for group, tensors in groups.items() for name, tensor in tensors.items()}


@dataclass(frozen=True)
class State:
    """A checkpoint in memory."""

    numbers: dict[str, Any]
    tensors: dict[str, Tensor]


def untrained(config: Config) -> list[Run]:
    """A keyed run or, for a method without keys, one for every instance."""
    return [Run(config, instance=i) for i in range(1, config.model.instances + 1)]


def resume(folder: Path, device: str = "cpu", enrolled: Sequence[KeyPair] = (), settings: Sequence[str] = ()) -> Run:
    """The run whose checkpoint is in the folder. Checkpoints hold arrays and JSON: no code runs.

    They do not hold keys: `enrolled` are the key pairs that `enroll` added, in their order.
    `settings`, TABLE.NAME=VALUE, replace the configuration's, and the running mean of the loss starts anew.
    """
    path = folder / CHECKPOINT
    with np.load(path, allow_pickle=False) as arrays:
        numbers = json.loads(str(arrays["numbers"]))
        tensors = {name: _unpacked(arrays[name]) for name in arrays.files if name != "numbers"}
    if numbers.get("enrolled", []) != [key.fingerprint for key in enrolled]:
        raise ValueError(f"{path}: trained with enrolled keys {numbers['enrolled']}: give their keyring with --keyring")
    kept = configuration.parse(numbers["config"], str(path))
    config = configuration.changed(kept, settings)
    if (config.model, config.training.optimiser) != (kept.model, kept.training.optimiser):
        raise ValueError(f"{path}: the model and the optimiser of a run stay as they are")
    if config.training.seconds != kept.training.seconds:
        numbers["budget"] = config.training.seconds
    if settings:
        numbers |= dict.fromkeys(("loss_mean", "loss_best", "gradient_mean"), math.inf)
    run = Run(config, device, enrolled, numbers.get("instance", 1))
    run.restore(State(numbers, tensors))
    return run


def _whole(name: str, tensor: Tensor) -> np.ndarray:
    return tensor.numpy()


def _packed(name: str, tensor: Tensor) -> np.ndarray:
    """Unchanged parameters, averages in half precision, moments in bfloat16, which NumPy keeps as 16-bit words."""
    if name.startswith("parameter."):
        return tensor.numpy()
    if name.startswith("average."):
        return tensor.half().numpy()
    return tensor.bfloat16().view(torch.int16).numpy()


def _unpacked(array: np.ndarray) -> Tensor:
    tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16).float() if tensor.dtype == torch.int16 else tensor.float()


def _compiled(terms: Any) -> Any:
    # CUDA graphs: the networks are small, and launching their kernels one by one would take most of the time.
    return torch.compile(terms, mode="reduce-overhead")


def _running(mean: float, value: float) -> float:
    return value if math.isinf(mean) else 0.98 * mean + 0.02 * value
