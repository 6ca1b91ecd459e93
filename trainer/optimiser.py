"""Adam (Kingma and Ba 2015) on a network's two vectors.

Its whole state is a few vectors and a count, which checkpoints keep without pickling.
"""

from __future__ import annotations

import torch

from .network import Network

_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


class Adam:
    """Running moments of the gradients, by parameter name."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.updates = 0
        self.first = {name: torch.zeros_like(p) for name, p in network.named_parameters()}
        self.second = {name: torch.zeros_like(p) for name, p in network.named_parameters()}

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Moves every parameter by its gradient. A weight whose gradient was always 0 stays exactly."""
        self.updates += 1
        corrections = [1 - beta**self.updates for beta in _BETAS]
        for name, parameter in self._network.named_parameters():
            gradient = parameter.grad
            if gradient is None:
                continue
            first = self.first[name].lerp_(gradient, 1 - _BETAS[0])
            second = self.second[name].lerp_(gradient.square(), 1 - _BETAS[1])
            scale = (second / corrections[1]).sqrt_().add_(_EPSILON)
            parameter.addcdiv_(first, scale, value=-rate / corrections[0])
