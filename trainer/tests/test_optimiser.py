from __future__ import annotations

import torch

from trainer.network import Network
from trainer.optimiser import Adam, Muon


def test_adam_agrees_with_pytorch_s(small: Network) -> None:
    names = [name for name, _ in small.named_parameters()]
    twins = {name: p.detach().clone().requires_grad_() for name, p in small.named_parameters()}
    ours = Adam(small)
    theirs = torch.optim.Adam(twins.values(), betas=(0.9, 0.999))
    for step in range(5):
        for name, parameter in small.named_parameters():
            parameter.grad = torch.randn_like(parameter) * 10.0**-step
            twins[name].grad = parameter.grad.clone()
        theirs.param_groups[0]["lr"] = rate = 0.01 / (step + 1)
        ours.step(rate)
        theirs.step()
    assert len(names) == 2
    for name, parameter in small.named_parameters():
        torch.testing.assert_close(parameter, twins[name], rtol=0, atol=1e-5)


def test_muon_moves_every_direction_of_a_layer_equally(small: Network) -> None:
    before = small.weight.detach().clone()
    frozen = ~small.mask
    small.mask[:] = True  # a masked update is not orthogonal any more
    for parameter in small.parameters():
        parameter.grad = torch.randn_like(parameter)
    Muon(small).step(0.01)
    update = (before - small.weight).detach() / 0.01
    start = 0
    for layer in small.architecture.layers():
        rows, columns = layer.shape[0], layer.size // layer.shape[0]
        matrix = update[start : start + layer.size].view(rows, columns) / (0.2 * max(rows, columns) ** 0.5)
        singular = torch.linalg.svdvals(matrix)
        assert singular.min() > 0.6
        assert singular.max() < 1.3
        start += layer.size
    assert frozen.any()


def test_muon_keeps_what_keys_fill(small: Network) -> None:
    before = small.weight.detach().clone()
    for parameter in small.parameters():
        parameter.grad = torch.randn_like(parameter)
    Muon(small).step(0.01)
    assert torch.equal(small.weight[~small.mask], before[~small.mask])
    assert (small.weight[small.mask] != before[small.mask]).float().mean() > 0.99
