"""What more jobs, more keys and more workers cost: `make bench-growth`. Nothing may grow faster than the work.

Jobs compute nothing, so that the queue is measured, and keys take turns; workers have two slots each. For every step:
the processor's time of a job, and the memory of the process. A table and a plot (SVG) go into the folder.
"""

import argparse
import json
import math
import os
import subprocess
import tempfile
from pathlib import Path

JOBS = (100, 1_000, 10_000, 100_000)
KEYS = (1, 10, 100, 1_000, 10_000)
WORKERS = (1, 2, 4)


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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", help="stegomq, built")
    parser.add_argument("out", type=Path)
    parser.add_argument("--largest", type=int, default=100_000, help="leave out what is larger")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
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
