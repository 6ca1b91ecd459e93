"""The training of an attacker's network: a budget of time, states to choose from, checkpoints.

A budget counts CPU seconds, without tests. The states of the network at shares of the budget are kept with the
`held_out` value of each. The attacker takes the state with the least, and never looks at the test.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from . import clock

_KEPT = (1 / 8, 1 / 4, 1 / 2, 1.0)
"""Shares of the budget at which the network is kept."""
_SAVED = 60
"""Seconds of the processor between checkpoints."""
_WARMUP = 20
_CLIP = 1.0
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Budget:
    """How long, and how fast."""

    seconds: float
    steps: int
    """It also ends after so many, if not 0."""
    rate: float
    """Adam's at its highest; it falls to 0 along a cosine."""


@dataclass
class State:
    """The network at a share of the budget."""

    weights: dict[str, Tensor]
    steps: int
    seconds: float
    held_out: float


class Course:
    """Adam on `loss`, which draws from `random`. It keeps a running average of the parameters, or the parameters.

    A checkpoint has the identity of its course, by name, and serves no other.
    """

    def __init__(
        self, network: nn.Module, budget: Budget, identity: dict[str, Any], file: Path | None, average: float = 0.0
    ) -> None:
        self.network, self.budget, self.file = network, budget, file
        self.average = copy.deepcopy(network).requires_grad_(False)
        self.random = np.random.default_rng((identity["seed"], identity["pairs"]))
        self.step, self.seconds = 0, 0.0
        self.states: list[State] = []
        self._share = average
        self._optimiser = torch.optim.Adam(network.parameters(), budget.rate)
        self._identity = identity
        if file and file.exists():
            self._resume(file)

    def loss(self) -> Tensor:
        """The loss of a batch."""
        raise NotImplementedError

    def held_out(self) -> float:
        """The value that chooses between states: less is better."""
        raise NotImplementedError

    def run(self, stop: Callable[[], bool] = lambda: False) -> bool:
        """Trains until the budget ends (true) or until told to stop (false)."""
        began = clock.seconds(_CPU) - self.seconds
        saved = self.seconds
        while len(self.states) < len(_KEPT):
            while self._progress() < _KEPT[len(self.states)]:
                self._learn()
                self.seconds = clock.seconds(_CPU) - began
                if self.seconds - saved > _SAVED:
                    self._save()
                    saved = self.seconds
                if stop():
                    self._save()
                    return False
            weights = copy.deepcopy(self.average.state_dict())
            self.states.append(State(weights, self.step, self.seconds, self.held_out()))
            self._save()
        return True

    def chosen(self) -> int:
        """The state that is best on the held-out pairs."""
        return min(range(len(self.states)), key=lambda i: self.states[i].held_out)

    def at(self, state: State) -> nn.Module:
        network = copy.deepcopy(self.average)
        network.load_state_dict(state.weights)
        return network

    def _progress(self) -> float:
        steps = self.step / self.budget.steps if self.budget.steps else 0
        return max(self.seconds / self.budget.seconds, steps)

    def _learn(self) -> None:
        rate = self.budget.rate * 0.5 * (1 + math.cos(math.pi * min(1.0, self._progress())))
        for group in self._optimiser.param_groups:
            group["lr"] = rate * min(1.0, (self.step + 1) / _WARMUP)
        loss = self.loss()
        self._optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), _CLIP)
        self._optimiser.step()
        self.step += 1
        with torch.no_grad():
            for mine, new in zip(self.average.parameters(), self.network.parameters()):
                mine.lerp_(new, 1 - min(self._share, self.step / (self.step + 10)))
            for mine, new in zip(self.average.buffers(), self.network.buffers()):
                mine.copy_(new)

    def _save(self) -> None:
        if not self.file:
            return
        content = {
            "identity": self._identity, "network": self.network.state_dict(), "average": self.average.state_dict(),
            "optimiser": self._optimiser.state_dict(), "random": self.random.bit_generator.state, "step": self.step,
            "seconds": self.seconds, "states": [vars(state) for state in self.states],
        }  # fmt: skip
        temporary = self.file.with_suffix(".tmp")
        torch.save(content, temporary)
        temporary.replace(self.file)

    def _resume(self, file: Path) -> None:
        content = torch.load(file)
        if content["identity"] != self._identity:
            raise ValueError(f"{file} is of an attack with {content['identity']}: remove it, or choose another --state")
        self.network.load_state_dict(content["network"])
        self.average.load_state_dict(content["average"])
        self._optimiser.load_state_dict(content["optimiser"])
        self.random.bit_generator.state = content["random"]
        self.step, self.seconds = content["step"], content["seconds"]
        self.states = [State(**state) for state in content["states"]]
