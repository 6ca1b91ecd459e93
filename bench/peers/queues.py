"""Compares the CPU time of a job through our queue with that of a task through asynq and Celery, alternately.

`make bench-peers` runs it. Times are of all processes. A job is a request that computes nothing (`stegomq bench
--operation no-op`): an image in, an image and a result out, on embedded servers. A chain is an evaluation of one pair
by a model without a network: embed, recover, score and the baseline, with scores in Redis. The peers' tasks do nothing,
with a payload of 256 bytes and of the size of our message; a chain is three.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def peer(*command):
    out = subprocess.run(command, check=True, capture_output=True, text=True, cwd=HERE).stdout
    return json.loads(out.splitlines()[-1])


def ours(program, *arguments):
    """Milliseconds of CPU for an item, and the bytes of its message."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [
            program,
            "bench",
            *arguments,
            "--size",
            "16",
            "--in-flight",
            "4",
            "--state",
            folder,
            "--json",
            report,
        ]
        subprocess.run(command, check=True, capture_output=True)
        data = json.loads(report.read_text())
    return 1e3 * data["cpu_seconds_per_item"], data["measured"]["bytes_in"] // data["measured"]["items"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stegomq", help="our program")
    parser.add_argument("asynq", help="bench/peers/asynq, built")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    stegomq, asynq = (str(Path(p).resolve()) for p in (args.stegomq, args.asynq))

    rows = {}

    def note(name, job, chain):
        rows.setdefault(name, []).append((job, chain))

    for _ in range(args.rounds):
        job, size = ours(stegomq, "--operation", "no-op", "--requests", "3000", "--warm-up", "1s")
        chain, _ = ours(
            stegomq, "--operation", "evaluate", "--model", "lsb-chacha20", "--requests", "500", "--warm-up", "1s"
        )
        note("stegomq, embedded servers", job, chain)
        for payload in (256, size):
            found = peer(asynq, "-payload", str(payload), "-chains", "2000")
            note(f"asynq, {payload} bytes", found["cpu_ms_a_task"], found["cpu_ms_a_chain"])
        found = peer(sys.executable, "celery_chain.py", "--payload", str(size), "--chains", "200")
        note(f"Celery, {size} bytes", found["cpu_ms_a_task"], found["cpu_ms_a_chain"])

    mine = rows["stegomq, embedded servers"]
    print(f"processor's time in ms, medians of {args.rounds} rounds in turn; ratio: to ours\n")
    print("| | a job | ratio (least, largest) | a chain | ratio (least, largest) |")
    print("|---|---|---|---|---|")
    for name, times in rows.items():
        cells = [name]
        for i in range(2):
            ratios = sorted(t[i] / m[i] for t, m in zip(times, mine, strict=True))
            cells += [
                f"{statistics.median(t[i] for t in times):.2f}",
                f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}, {ratios[-1]:.2f})",
            ]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
