"""The real service, on embedded servers, as its users start it."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

REPOSITORY = pathlib.Path(__file__).parents[3]
PROGRAM = pathlib.Path(os.environ.get("STEGOMQ_PROGRAM", REPOSITORY / ".bin" / "stegomq"))
START_TIMEOUT = 120.0


@dataclass
class Service:
    """A running service. Users are made with the program."""

    url: str
    admin: str
    run: Callable[..., str]


def start(home: pathlib.Path, *flags: str) -> tuple[subprocess.Popen[str], Service]:
    assert PROGRAM.exists(), f"these tests need {PROGRAM}: run `make build`"
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_STATE_HOME": str(home / "state"),
        "STEGOMQ_MODELS": str(home / "models"),
    }
    for model in ("sealed", "modulo"):  # which need no runtime library
        shutil.copytree(REPOSITORY / "models" / model, home / "models" / model)

    def run(*args: str) -> str:
        return subprocess.run([PROGRAM, *args], env=env, check=True, capture_output=True, text=True).stdout.strip()

    run("keys", "new", "alice")
    run("keys", "new", "bob")
    (home / "pictures").mkdir()
    for n in range(8):
        Image.fromarray(picture(n)).save(home / "pictures" / f"{n}.png")
    flags = (*flags, "--datasets", f"pictures={home / 'pictures'}")
    listen = ["--http", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0", "--redis-listen", "127.0.0.1:0"]
    process = subprocess.Popen([PROGRAM, "up", *listen, *flags], env=env, stderr=subprocess.PIPE, text=True)
    timer = threading.Timer(START_TIMEOUT, process.kill)
    timer.start()
    said = ""
    assert process.stderr is not None
    for line in process.stderr:
        said += line
        if line.startswith("ready"):
            break
    timer.cancel()
    url, token = re.search(r"HTTP at (\S+)", said), re.search(r"token (\S+)", said)
    assert url, said
    assert token, said
    threading.Thread(target=process.stderr.read, daemon=True).start()
    return process, Service(url[1], token[1], run)


def started(tmp_path_factory: pytest.TempPathFactory, *flags: str) -> Iterator[Service]:
    process, service = start(tmp_path_factory.mktemp("home"), *flags)
    yield service
    process.send_signal(signal.SIGTERM)
    assert process.wait(START_TIMEOUT) == 0


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    yield from started(tmp_path_factory)


@pytest.fixture(scope="session")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that takes one request at a time."""
    yield from started(tmp_path_factory, "--http-in-flight", "1")


def picture(n: int, side: int = 72) -> np.ndarray:
    """A smooth picture, height x width x 3, uint8, unlike that of any other n."""
    blots = np.random.default_rng(n).integers(40, 216, (5, 5, 3), np.uint8)
    return np.asarray(Image.fromarray(blots).resize((side, side), Image.Resampling.BICUBIC))


def psnr(a: object, b: object) -> float:
    difference = np.asarray(a).astype(float)[..., :3] - np.asarray(b).astype(float)[..., :3]
    return float(10 * np.log10(255**2 / max(np.mean(difference**2), 1e-9)))
