"""Measures a chain of three empty tasks (embed, recover, score) through Celery and a redis-server of its own.

Prints one line of JSON with the CPU time of the client, the worker and Redis, in milliseconds for each chain.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from celery import Celery, chain

URL = os.environ.get("PEERS_REDIS", "redis://127.0.0.1:6379")
app = Celery("celery_chain", broker=URL, backend=URL)
app.conf.worker_hijack_root_logger = False


@app.task
def embed(body: str) -> str:
    return body


@app.task
def recover(body: str) -> str:
    return body


@app.task
def score(body: str) -> int:
    return len(body)


def ticks(pid: int) -> float:
    """The CPU time of a process and of its living children, in seconds."""
    total = 0.0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(folder.name) == pid or int(fields[1]) == pid:
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def own() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chains", type=int, default=500)
    parser.add_argument("--payload", type=int, default=256)
    parser.add_argument("--in-flight", type=int, default=4)
    options = parser.parse_args()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""]
        redis = subprocess.Popen([*command, "--appendonly", "yes"], stdout=subprocess.DEVNULL)
        url = f"redis://127.0.0.1:{port}"
        app.conf.update(broker_url=url, result_backend=url)
        while True:
            try:
                with socket.create_connection(("127.0.0.1", port), 1):
                    break
            except OSError:
                time.sleep(0.05)
        command = ["-m", "celery", "-A", "celery_chain", "worker", "--concurrency", "2", "--loglevel", "ERROR"]
        worker = subprocess.Popen(
            [sys.executable, *command],
            cwd=Path(__file__).parent,
            env=os.environ | {"PEERS_REDIS": url},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            measure(options, redis.pid, worker.pid)
        finally:
            os.killpg(worker.pid, signal.SIGKILL)  # nothing is under way, and a warm shutdown may take minutes
            worker.wait(30)
            subprocess.run(["redis-cli", "-p", str(port), "shutdown", "nosave"], check=False, stdout=subprocess.DEVNULL)
            redis.wait(30)


def measure(options: argparse.Namespace, redis: int, worker: int) -> None:
    body = "x" * options.payload
    work = chain(embed.s(body), recover.s(), score.s())

    def go(chains: int) -> None:
        for first in range(0, chains, options.in_flight):
            for result in [work.apply_async() for _ in range(min(options.in_flight, chains - first))]:
                if result.get(timeout=60) != options.payload:
                    sys.exit("a chain came back with another payload")

    go(options.chains // 5)
    before, start = own() + ticks(redis) + ticks(worker), time.perf_counter()
    go(options.chains)
    took, used = time.perf_counter() - start, own() + ticks(redis) + ticks(worker) - before
    each = 1e3 * used / options.chains
    found = {
        "peer": "celery",
        "payload": options.payload,
        "chains": options.chains,
        "chains_a_second": options.chains / took,
    }
    print(json.dumps(found | {"cpu_ms_a_chain": each, "cpu_ms_a_task": each / 3}))


if __name__ == "__main__":
    main()
