"""The backbones: networks written once and interpreted twice, by PyTorch and as ONNX.

A backbone says which convolutions it has and how an image goes through them, in
terms of the few operations of `Ops`. `network.TorchOps` computes them;
`onnxgraph.GraphOps` records them. So the trained and the exported network cannot
drift apart in structure, and a test compares their numbers.
"""

from __future__ import annotations

from typing import Any

from .architecture import LEAKY_SLOPE, Affine, Architecture, Layer, Ops
from .baluja import Baluja
from .hidden import HiDDeN
from .hinet import HiNet
from .invertible import Invertible
from .pusnet import PUSNet
from .rotated import KeyedRotated, Rotated
from .udh import UDH

__all__ = [
    "LEAKY_SLOPE",
    "UDH",
    "Affine",
    "Architecture",
    "Baluja",
    "HiDDeN",
    "HiNet",
    "Invertible",
    "KeyedRotated",
    "Layer",
    "Ops",
    "PUSNet",
    "Rotated",
    "create",
]

_KINDS: dict[str, type[Architecture]] = {
    backbone.kind: backbone for backbone in (Baluja, HiDDeN, HiNet, Invertible, KeyedRotated, PUSNet, Rotated, UDH)
}


def create(kind: str, config: dict[str, Any]) -> Architecture:
    """The backbone of a configuration or a manifest. Unknown settings are errors."""
    if kind not in _KINDS:
        raise ValueError(f"unknown backbone {kind!r}; choose one of {', '.join(sorted(_KINDS))}")
    try:
        return _KINDS[kind](**config)
    except TypeError as error:
        raise ValueError(f"backbone {kind!r}: {error}") from None
