"""Measures the cost of more jobs, keys and workers: `make bench-growth`. No cost may grow faster than the work.

Jobs compute nothing, so only the queue is measured. Keys take turns; workers have two slots each. Every step gives the
CPU time of a job and the memory of the process. A table and a plot (SVG) go into the folder.

With --data it measures the cost of more users in an evaluation: every key embeds one pair, and its own key, a random
one and eight other drawn keys decode the image.
"""

import argparse
import hashlib
import json
import math
import os
import statistics
import subprocess
import tempfile
from pathlib import Path

JOBS = (100, 1_000, 10_000, 100_000)
KEYS = (1, 10, 100, 1_000, 10_000)
WORKERS = (1, 2, 4)
USERS = (10, 100, 1_000)


def bench(program, *arguments):
    """The report, and the largest memory of the process in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.json"
        command = [program, "bench", "--operation", "no-op", "--size", "16", "--in-flight", "32", "--warm-up", "1s"]
        process = subprocess.Popen(
            [*command, *arguments, "--state", folder, "--json", file], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"stegomq bench {' '.join(arguments)}: {process.stderr.read().decode()}")
        return json.loads(file.read_text()), usage.ru_maxrss / 1024


def evaluation(program, data, users):
    """The CPU time in s, the memory in MiB, and the number of comparisons."""
    with tempfile.TemporaryDirectory() as folder:

        def half(name, n):
            return {name: hashlib.sha256(f"{name} {n}".encode()).hexdigest()}

        created = {"created": "2026-01-01T00:00:00Z"}
        keys = [{"id": f"user-{n}"} | half("embed", n) | half("recover", n) | created for n in range(users)]
        ring = Path(folder) / "keys.json"
        ring.touch(0o600)
        ring.write_text(json.dumps({"version": 1, "keys": keys}))
        command = [program, "evaluate", "--model", "lsb-chacha20", "--data", data, "--limit", "1", "--size", "16"]
        command += ["--keys", ring, "--state", folder, "--out", folder]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"stegomq evaluate with {users} keys: {said.decode()}")
        comparisons = (Path(folder) / "items.csv").read_text().count("\n") - 1
        return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, comparisons


def users(program, data, out, rounds):
    lines = ["| users | comparisons | CPU, s | CPU a user, ms | CPU a comparison, ms | memory, MiB |"]
    lines.append("|---|---|---|---|---|---|")
    found = {n: [] for n in USERS}
    for _ in range(rounds):
        for n in USERS:
            found[n].append(evaluation(program, data, n))
    for n, runs in found.items():
        cpu, memory, comparisons = (statistics.median(values) for values in zip(*runs, strict=True))
        each = f"{1e3 * cpu / n:.1f} | {1e3 * cpu / comparisons:.2f}"
        lines.append(f"| {n:,} | {comparisons:,} | {cpu:.2f} | {each} | {memory:.0f} |")
    print("\n".join(lines), flush=True)
    (out / "users.md").write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", help="stegomq, built")
    parser.add_argument("out", type=Path)
    parser.add_argument("--largest", type=int, default=100_000, help="leave out what is larger")
    parser.add_argument("--data", type=Path, help="photographs, to measure evaluations of more users and nothing else")
    parser.add_argument("--rounds", type=int, default=5, help="of these")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.data:
        return users(args.program, args.data, args.out, args.rounds)
    lines, curves = [], {}
    steps = [("jobs", n, ("--requests", str(n))) for n in JOBS]
    steps += [("workers", n, ("--requests", "5000", "--workers", str(n))) for n in WORKERS]
    steps += [("keys", n, ("--requests", "5000", "--keys", str(n))) for n in KEYS]
    for kind, n, arguments in steps:
        if n > args.largest:
            continue
        data, memory = bench(args.program, *arguments)
        cpu, rate = 1e3 * data["cpu_seconds_per_item"], data["items_per_second"]
        lines.append(f"| {kind} | {n:,} | {cpu:.2f} | {rate:.0f} | {memory:.0f} |")
        curves.setdefault(kind, []).append((n, cpu))
        print(lines[-1], flush=True)
    (args.out / "growth.md").write_text(
        "| what grows | n | CPU a job, ms | jobs a second | memory, MiB |\n|---|---|---|---|---|\n"
        + "\n".join(lines)
        + "\n"
    )
    (args.out / "growth.svg").write_text(plot(curves))


def plot(curves):
    """Lines of n against milliseconds, n on a logarithmic axis."""
    width, height, left, bottom = 640, 360, 60, 40
    most_n = max(math.log10(n) for points in curves.values() for n, _ in points)
    most = 1.1 * max(ms for points in curves.values() for _, ms in points)
    colours = ["#1b6ca8", "#c8553d", "#588157", "#6d597a"]
    box = f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {box}>']

    def place(n, ms):
        x = left + (width - left - 20) * math.log10(n) / most_n
        return x, (height - bottom) - (height - bottom - 20) * ms / most

    for i in range(int(most_n) + 1):
        x, y = place(10**i, 0)
        parts.append(f'<text x="{x:.0f}" y="{y + 18:.0f}" text-anchor="middle">{10**i:,}</text>')
    parts.append(f'<text x="8" y="16">ms of CPU a job (0 to {most:.1f})</text>')
    for (name, points), colour in zip(curves.items(), colours, strict=False):
        line = " ".join("{:.1f},{:.1f}".format(*place(n, ms)) for n, ms in points)
        x, y = place(*points[-1])
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{x - 4:.0f}" y="{y - 6:.0f}" text-anchor="end" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    main()
