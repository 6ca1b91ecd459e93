"""The clock that budgets count by."""

from __future__ import annotations

import time

import torch


def seconds(device: torch.device) -> float:
    """CPU seconds of this process, or elapsed seconds on a GPU; only differences have a meaning."""
    return time.process_time() if device.type == "cpu" else time.monotonic()
