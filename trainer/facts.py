"""The description of a network in its model directory, beside its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .derivation import KeyPair
from .evaluation import Quality

DEMO_KEYS_CREATED = "2026-11-23T00:00:00Z"


@dataclass(frozen=True)
class Summary:
    """How a network was trained."""

    images: int
    steps: int
    seconds: int
    hardware: str
    recipe: str
    revision: str


@dataclass(frozen=True)
class Measurement:
    """The quality on a data set at a size, and the day it was measured."""

    dataset: str
    date: str
    width: int
    height: int
    quality: Quality


@dataclass(frozen=True)
class Facts:
    """The manifest's facts beside the network. Without a summary the model is untrained."""

    name: str
    keys: Sequence[KeyPair]
    headline: str = ""
    """What the reader of the card must know first."""
    private: Sequence[KeyPair] = ()
    """Those of `keys` whose bytes do not ship; the others make the demo keyring."""
    created: str = DEMO_KEYS_CREATED
    """Of the demo keys: RFC 3339, UTC."""
    training: Summary | None = None
    quality: Sequence[Measurement] = ()
