"""The loss of quality for the users of a network when others are added to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .evaluation import psnr, saved, singles
from .users import Users


@dataclass(frozen=True)
class Own:
    """Means of one user's images in dB, over all pairs."""

    stego: float
    recovered: float
    others: float
    """What the other users' keys recover at most, in the mean over the pairs: near `unrelated` it is nothing."""


@torch.no_grad()
def own(users: Users, user: int, covers: Tensor, secrets: Tensor) -> Own:
    sums = torch.zeros(2)
    others = torch.zeros(users.count)
    for cover, secret in singles(covers, secrets):
        stego = saved(users.embed(user, cover, secret))
        sums += torch.tensor([float(psnr(stego, cover)), float(psnr(saved(users.recover(user, stego)), secret))])
        others += torch.tensor(
            [float(psnr(saved(users.recover(i, stego)), secret)) if i != user else 0 for i in range(users.count)]
        )
    stego_mean, recovered_mean = (sums / len(covers)).tolist()
    wrong = [float(value) / len(covers) for i, value in enumerate(others) if i != user]
    return Own(stego_mean, recovered_mean, max(wrong, default=float("nan")))


def report(before: Users, after: Users, ids: Sequence[str], covers: Tensor, secrets: Tensor) -> str:
    """A table of every user of `after`; those of `before` come first, in the same order."""
    unrelated = float(psnr(covers, secrets).mean())
    side = covers.shape[-1]
    lines = [
        f"{len(covers)} pairs of {side}x{side} that were not trained on, mean PSNR in dB; "
        f"unrelated images {unrelated:.2f}",
        f"{'user':<20} {'stego':>14} {'recovered':>14} {'other keys':>14}",
    ]
    for i, name in enumerate(ids):
        now = own(after, i, covers, secrets)
        was = own(before, i, covers, secrets) if i < before.count else None
        cells = [
            f"{getattr(was, what):.1f} -> {getattr(now, what):.1f}" if was else f"{getattr(now, what):.1f}"
            for what in ("stego", "recovered", "others")
        ]
        lines.append(f"{name:<20} " + " ".join(f"{cell:>14}" for cell in cells))
    return "\n".join(lines)
