"""Times PSNR, SSIM and MAE of one pair of images: internal/quality, scikit-image and torchmetrics, alternately.

`make bench-peers` runs it. Each has one thread. Times are the CPU times of the processes without their start, so that
waiting for other work on the machine does not count. The ratios are medians over the rounds. It fails if our scores
differ from scikit-image's by more than 1e-6.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import skimage
import torch
import torchmetrics
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import peak_signal_noise_ratio as torch_psnr
from torchmetrics.functional.image import structural_similarity_index_measure as torch_ssim
from torchmetrics.functional.regression import mean_absolute_error as torch_mae

torch.set_num_threads(1)


def pair(side):
    """Waves, and the same with noise: 8-bit RGB of side x side."""
    y, x, c = np.mgrid[0:side, 0:side, 0:3].astype(float)
    base = np.rint(127.5 + 110 * np.sin(x * (c + 1) / 9) * np.cos(y / (5 + c)))
    noise = np.random.default_rng(1).normal(0, 9, base.shape)
    return base.astype(np.uint8), np.clip(np.rint(base + noise), 0, 255).astype(np.uint8)


def by_skimage(a, b):
    ssim = structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=-1
    )
    mae = np.mean(np.abs(a.astype(np.float64) - b)) / 255
    return peak_signal_noise_ratio(a, b, data_range=255), ssim, mae


def by_torchmetrics(a, b):
    a, b = (torch.from_numpy(m).permute(2, 0, 1)[None].float().contiguous() for m in (a, b))
    return torch_psnr(a, b, data_range=255.0), torch_ssim(a, b, data_range=255.0), torch_mae(a, b) / 255


def ours(binary, folder, calls):
    """The benchmark reads the pair from files, and reports the time of a call and the scores."""
    command = [binary, "-test.run", "^$", "-test.bench", "^BenchmarkPair$", "-test.benchtime", f"{calls}x"]
    files = {"STEGOMQ_REFERENCE": f"{folder}/a.png", "STEGOMQ_TEST": f"{folder}/b.png", "GOMAXPROCS": "1"}
    out = subprocess.run(command, env=os.environ | files, check=True, capture_output=True, text=True).stdout
    cpu = re.search(r"([\d.]+) cpu-ns/op", out)
    scores = re.search(r"PSNR (\S+) SSIM (\S+) MAE (\S+)", out)
    if not cpu or not scores:
        sys.exit(f"the benchmark said neither its time nor the scores:\n{out}")
    return float(cpu[1]) / 1e9, tuple(float(s) for s in scores.groups())


def timed(compare, a, b, calls):
    start = time.process_time()
    for _ in range(calls):
        scores = compare(a, b)
    return (time.process_time() - start) / calls, tuple(float(s) for s in scores)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary", help="the tests of internal/quality, by go test -c")
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()

    print(f"scikit-image {skimage.__version__}, torchmetrics {torchmetrics.__version__}, PyTorch {torch.__version__};")
    print(f"processor's time of one call in ms and ratio to ours, medians of {args.rounds} rounds in turn\n")
    print("| side | ours | scikit-image | ratio (least, largest) | torchmetrics | ratio (least, largest) | SSIM off |")
    print("|---|---|---|---|---|---|---|")
    for side in args.sides:
        a, b = pair(side)
        by_skimage(a, b), by_torchmetrics(a, b)  # the first call also sets up the libraries
        times = []
        with tempfile.TemporaryDirectory() as folder:
            for name, m in ("a", a), ("b", b):
                Image.fromarray(m).save(Path(folder) / f"{name}.png")
            for _ in range(args.rounds):
                go, scores = ours(os.path.abspath(args.binary), folder, 20 * 512**2 // side**2)
                python, want = timed(by_skimage, a, b, 3)
                tensors, near = timed(by_torchmetrics, a, b, 3)
                times.append((go, python, tensors))
        for what, s, w in zip(("PSNR", "SSIM", "MAE"), scores, want, strict=True):
            if not abs(s - w) <= 1e-6:
                sys.exit(f"{what} of {side}x{side} is {s}, by scikit-image {w}")
        go, python, tensors = (1e3 * statistics.median(t) for t in zip(*times, strict=True))

        def ratio(i, times=times):
            r = sorted(t[i] / t[0] for t in times)
            return f"**{statistics.median(r):.1f}** ({r[0]:.1f}, {r[-1]:.1f})"

        off = f"{abs(scores[1] - want[1]):.0e}, {abs(scores[1] - near[1]):.0e}"
        print(f"| {side} | {go:.2f} | {python:.1f} | {ratio(1)} | {tensors:.1f} | {ratio(2)} | {off} |", flush=True)


if __name__ == "__main__":
    main()
