"""Adam and Muon on a network's two vectors.

Their whole state is a few vectors and a count, which checkpoints keep without pickling.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .network import Network

_BETAS = (0.9, 0.999)
_EPSILON = 1e-8
_MOMENTUM = 0.95
# The quintic that drives singular values towards one (Jordan et al. 2024), and its number of iterations.
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
# Scales the updates of an orthogonal matrix to the usual size of Adam's (Liu et al. 2025).
_ADAM_RMS = 0.2


class Adam:
    """Kingma and Ba 2015. Running moments of the gradients, by parameter name."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.updates = 0
        self.first = {name: torch.zeros_like(p) for name, p in network.named_parameters()}
        self.second = {name: torch.zeros_like(p) for name, p in network.named_parameters() if self._squares(name)}

    def _squares(self, name: str) -> bool:
        """Whether the parameter's squared gradients are kept."""
        return True

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Moves every parameter by its gradient. A weight whose gradient was always 0 stays exactly the same."""
        self.updates += 1
        for name, parameter in self._network.named_parameters():
            if parameter.grad is not None:
                self._move(name, parameter, parameter.grad, rate)

    def _move(self, name: str, parameter: Tensor, gradient: Tensor, rate: float) -> None:
        corrections = [1 - beta**self.updates for beta in _BETAS]
        first = self.first[name].lerp_(gradient, 1 - _BETAS[0])
        second = self.second[name].lerp_(gradient.square(), 1 - _BETAS[1])
        scale = (second / corrections[1]).sqrt_().add_(_EPSILON)
        parameter.addcdiv_(first, scale, value=-rate / corrections[0])


class Muon(Adam):
    """Orthogonalised momentum for the convolutions, each a matrix of its filters; Adam for the rest.

    Every direction of a layer moves equally far, including the rare directions that distinguish keys.
    """

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        # Layers of one shape are updated together.
        self._shapes: dict[tuple[int, int], list[tuple[int, int]]] = {}
        start = 0
        for layer in network.architecture.layers():
            end = start + layer.size
            shape = (layer.shape[0], layer.size // layer.shape[0])
            self._shapes.setdefault(shape, []).append((start, end))
            start = end

    def _squares(self, name: str) -> bool:
        return name != "weight"

    def _move(self, name: str, parameter: Tensor, gradient: Tensor, rate: float) -> None:
        if name != "weight":
            super()._move(name, parameter, gradient, rate)
            return
        momentum = self.first[name].mul_(_MOMENTUM).add_(gradient)
        ahead = gradient + _MOMENTUM * momentum
        for (rows, columns), spans in self._shapes.items():
            updates = _orthogonal(torch.stack([ahead[a:b].view(rows, columns) for a, b in spans]))
            scale = rate * _ADAM_RMS * math.sqrt(max(rows, columns))
            for (a, b), update in zip(spans, updates):
                parameter[a:b] -= scale * update.reshape(-1) * self._network.mask[a:b]


OPTIMISERS: dict[str, type[Adam]] = {"adam": Adam, "muon": Muon}


def _orthogonal(x: Tensor) -> Tensor:
    """Near the closest (semi-)orthogonal matrices: a Newton-Schulz iteration on each matrix of a stack."""
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.transpose(1, 2)
    x = x / (x.norm(dim=(1, 2), keepdim=True) + _EPSILON)
    a, b, c = _QUINTIC
    for _ in range(_ITERATIONS):
        square = x @ x.transpose(1, 2)
        x = a * x + (b * square + c * square @ square) @ x
    return x.transpose(1, 2) if tall else x
