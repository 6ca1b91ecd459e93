"""Images a second of a model in PyTorch, compiled and in bfloat16, for bench/gpu.sh to compare with ONNX Runtime.

As with ONNX Runtime, images come from this process's memory and go back to it. --warm only compiles.
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from trainer import derivation, export
from trainer.network import Arithmetic


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--sides", type=int, nargs="+", default=[256])
    parser.add_argument("--batches", type=int, nargs="+", default=[1])
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--warm", action="store_true")
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    (network,), _ = export.load(options.model)
    network.to(device).arithmetic = Arithmetic(bfloat16=True, channels_last=True)
    pair = derivation.demo_pair(1)
    for operation in ("embed", "recover"):
        role, key = (derivation.EMBED, pair.embed) if operation == "embed" else (derivation.RECOVER, pair.recover)
        with torch.no_grad():
            weight = network.keyed(network.fill(role, key))
        ops = network._ops(weight)
        compute = functools.partial(getattr(network.architecture, operation), ops)
        if device == "cuda":  # not on a CPU, which only rehearses this
            compute = torch.compile(compute, dynamic=False)
        for side in options.sides:
            for batch in options.batches:
                images = [torch.rand(batch, 3, side, side) for _ in range(2 if operation == "embed" else 1)]
                rate = measure(compute, images, device, 0.0 if options.warm else options.seconds)
                print(f"pytorch {operation}/side={side}/batch={batch}/keys=1 {rate:.1f} images/s", flush=True)


@torch.no_grad()
def measure(compute: Callable[..., Tensor], images: list[Tensor], device: str, seconds: float) -> float:
    if device == "cuda":
        images = [x.pin_memory() for x in images]
    out = torch.empty_like(images[0], pin_memory=device == "cuda")

    def run() -> None:
        on_device = [x.to(device, non_blocking=True).contiguous(memory_format=torch.channels_last) for x in images]
        out.copy_(compute(*on_device), non_blocking=True)

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    for _ in range(3):
        run()
    wait()
    done, start = 0, time.perf_counter()
    while (took := time.perf_counter() - start) < seconds:
        for _ in range(4):  # a queue of runs, so that their copies and kernels overlap
            run()
        wait()
        done += 4 * len(images[0])
    return done / took if done else 0.0


if __name__ == "__main__":
    main()
