"""When a network replaces another: the rule of `make train-keep`."""

from __future__ import annotations

from .evaluation import Quality

# Tolerance for a wrong key's PSNR, in dB: less than its interval over the pairs.
_TOLERANCE = 0.05


def objections(old: Quality, new: Quality) -> list[str]:
    """Why the new network should not be kept; none if it is better.

    It is better if the sum of stego and recovered PSNR is higher and no kind of wrong key gives more of the secret.
    """
    found = []
    gain = new.stego + new.recovered - old.stego - old.recovered
    if gain <= 0:
        found.append(f"stego and recovered have {gain:+.2f} dB together")
    for name in ("mismatched", "random"):
        before, now = getattr(old, name), getattr(new, name)
        if before is not None and now is not None and now > before + _TOLERANCE:
            found.append(f"{name} keys give {now - before:+.2f} dB of the secret")
    return found
