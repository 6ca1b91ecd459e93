"""The invertible backbone for payloads: it has no keys, and hides secrets that a key has rotated.

Its input beside the cover is not an image but white noise of known deviations, the same for every user; its output is
that noise again. `payload.py` has the layout. So the network serves every key, and learns nothing of any.
Purification uses the other output of recovery: the couplings run backwards give the payload and the cover, and without
a payload the latter is the clean image.

`KeyedRotated` is the same with keyed weights on top, the paper's method on rotated secrets: an experiment
(docs/isolation.md), which nothing but the trainer runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .architecture import ROTATION, WEIGHTS, Image, Ops
from .invertible import Invertible


@dataclass(frozen=True)
class Rotated(Invertible):
    width: int = 48
    log_scale: float = 1.0
    cover_bound: float = 0.5
    secret_bound: float = 8.0
    """A payload reaches further than an image: its strongest values are around 5."""

    kind: ClassVar[str] = "rotated"
    keying: ClassVar[str] = ROTATION
    rotated: ClassVar[bool] = True

    def purify(self, ops: Ops, noisy: Image) -> Image:
        x = self._transform(ops, noisy)
        clean, _ = self.backwards(ops, x, x * 0.0)
        return self._restore(ops, clean, noisy)


@dataclass(frozen=True)
class KeyedRotated(Rotated):
    kind: ClassVar[str] = "rotated-keyed"
    keying: ClassVar[str] = WEIGHTS
