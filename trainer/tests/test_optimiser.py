from __future__ import annotations

import torch

from trainer.network import Network
from trainer.optimiser import Adam


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
