"""The clock that budgets count by."""

from __future__ import annotations

import time

import torch


def seconds(device: torch.device) -> float:
    """Of the processor, which other work may share, or of the GPU's time; only differences mean anything."""
    return time.process_time() if device.type == "cpu" else time.monotonic()
