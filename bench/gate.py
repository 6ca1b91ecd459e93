"""Fails when a ratio of bench/gate.json falls behind its bound: `make bench-gate`.

Every ratio compares two measurements of one run, taken alternately, as a median of several rounds, because the machine
may be slow and shared. Times are CPU times. The bounds leave room for noise: they detect a loss of a quarter, not of a
twentieth.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def report(program, *arguments):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.json"
        command = [program, "bench", *arguments, "--warm-up", "1s", "--state", folder, "--json", file]
        subprocess.run(command, check=True, capture_output=True)
        return json.loads(file.read_text())


def benchmarks(package, pattern):
    """The values that go test prints, by benchmark and unit."""
    command = ["go", "test", "-run", "^$", "-bench", pattern, "-benchtime", "10x", package]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = {}
    for line in re.findall(r"^Benchmark.*", text, re.MULTILINE):
        name, _, *values = line.split()
        for value, unit in zip(values[::2], values[1::2], strict=True):
            found[re.sub(r"-\d+$", "", name), unit] = float(value)
    return found


def measures(program):
    """One round: every ratio by its name."""

    def pipeline(operation, size, requests):
        arguments = ["--operation", operation, "--size", size, "--requests", requests, "--baseline"]
        return report(program, *arguments)["baseline"]["cpu_ratio"]

    def item(*arguments):
        return report(program, *arguments, "--size", "16")["cpu_seconds_per_item"]

    yield "embed at 256x256: bare runtime over pipeline", pipeline("embed", "256", "40")
    yield "recover at 128x128: bare runtime over pipeline", pipeline("recover", "128", "80")
    one = report(program, "--size", "256", "--requests", "20", "--in-flight", "1", "--slots", "1", "--baseline")
    bare = statistics.fmean(one["baseline"][when]["items_per_second"] for when in ("before", "after"))
    yield "embed at 256x256, one request at a time: bare runtime over pipeline", one["baseline"]["cpu_ratio"]
    yield "the same: median latency, in runs of the bare runtime", one["measured"]["latency"]["p50_ms"] * bare / 1000
    one_key, many = (
        item("--operation", "embed", "--model", "lsb-chacha20", "--requests", "1500", "--keys", keys)
        for keys in ("1", "1000")
    )
    yield "lsb-chacha20: one key over a thousand", one_key / many
    chain = item("--operation", "evaluate", "--model", "lsb-chacha20", "--requests", "600")
    yield (
        "evaluation of one pair without arithmetic over a job without",
        chain / item("--operation", "no-op", "--requests", "1500"),
    )
    weights = benchmarks("./internal/ort", "BenchmarkWeights/invertible-mk/embed/128")
    yield (
        "weights as inputs over constant weights, embed at 128x128",
        weights["BenchmarkWeights/invertible-mk/embed/128", "native/const"],
    )
    opened = benchmarks("./internal/ort", "BenchmarkOpen/invertible-mk")
    kept, anew = (opened[f"BenchmarkOpen/invertible-mk{end}", "ns/op"] for end in ("/kept", ""))
    yield "a graph with a kept layout over one opened anew", kept / anew


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", help="stegomq, built")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    bounds = json.loads((HERE / "gate.json").read_text())
    found = {}
    for _ in range(args.rounds):
        for name, ratio in measures(args.program):
            found.setdefault(name, []).append(ratio)
    if found.keys() != bounds.keys():
        sys.exit(f"bench/gate.json bounds {sorted(bounds)}, and {sorted(found)} were measured")
    fell = 0
    for name, ratios in found.items():
        ratio = statistics.median(ratios)
        bound = bounds[name]
        good = bound.get("least", 0) <= ratio <= bound.get("most", float("inf"))
        fell += not good
        ((word, limit),) = bound.items()
        rounds = ", ".join(f"{r:.2f}" for r in ratios)
        print(f"{'  ' if good else '! '}{ratio:.2f} ({rounds}), at {word} {limit}: {name}")
    if fell:
        sys.exit(f"{fell} of {len(found)} ratios fell")


if __name__ == "__main__":
    main()
