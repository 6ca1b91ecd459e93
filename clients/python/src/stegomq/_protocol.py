"""The protocol over HTTP for both clients: requests, answers, and when to try again."""

from __future__ import annotations

import io
import os
import random
import uuid
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx
from PIL import Image

from ._images import ImageInput, decode, encode

DEFAULT_URL = "http://127.0.0.1:8080"

# How long one try waits for its answer: longer than the service lets a request take.
TRY_TIMEOUT = httpx.Timeout(120, connect=10)

# Seconds between tries without a Retry-After, and the longest wait.
FIRST_PAUSE, LAST_PAUSE = 0.2, 30.0

# Seconds between two polls of a run.
LOOK_EVERY = 0.5


class ImageWarning(UserWarning):
    """A warning of the service about an image."""


class Problem(Exception):
    """The reason why the service refused or failed (RFC 9457). `code` is a stable word: docs/http.md lists them."""

    def __init__(self, status: int, code: str, detail: str, request_id: str = "") -> None:
        super().__init__(f"{code}: {detail}" + (f" (request {request_id})" if request_id else ""))
        self.status, self.code, self.detail, self.request_id = status, code, detail, request_id

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.status, self.code, self.detail, self.request_id)


class Refused(Problem):
    """Authenticated recovery refused the image: another key, a changed image, or nothing hidden in it."""


@dataclass(frozen=True)
class Result:
    """The result of one item of a batch: an image, or an error."""

    output: Image.Image | None = None
    error: Exception | None = None

    @property
    def image(self) -> Image.Image:
        """The image. Raises the error if there is one."""
        if self.output is None:
            assert self.error is not None
            raise self.error
        return self.output


@dataclass(frozen=True)
class Key:
    """A key of yours. The key itself never leaves the service."""

    id: str
    fingerprint: str
    allows: tuple[str, ...]


@dataclass(frozen=True)
class Model:
    """A model of the service, and those of your keys that it works with."""

    name: str
    digest: str
    keying: str
    operations: tuple[str, ...]
    trained: bool
    keys: tuple[str, ...]
    default_for: tuple[str, ...] = ()


@dataclass(frozen=True)
class Request:
    """A request that may be sent again."""

    method: str
    path: str
    data: dict[str, str] = field(default_factory=dict)
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    json: dict[str, Any] | None = None


@dataclass(frozen=True)
class Run:
    """An evaluation and its progress.

    Of `total` comparisons `scores` are made or refused, and `failed` cannot be made.
    """

    id: str
    state: str
    """waiting, running, done, failed or cancelled"""
    dataset: str
    model: str
    pairs: int
    total: int
    scores: int
    failed: int
    problem: Problem | None = None

    @property
    def ended(self) -> bool:
        return self.state not in ("waiting", "running")


@dataclass(frozen=True)
class Evaluation:
    """The outcome of a run that has ended."""

    run: Run
    summary: dict[str, Any]
    """summary.json: what was measured, by role; docs/protocol.md has the roles."""
    items_csv: bytes
    """A row for each comparison."""

    def items(self) -> Any:
        """The comparisons as a pandas DataFrame: item, role, keys, psnr (dB), ssim, mae, rmse (on [0, 1]) and more."""
        try:
            import pandas
        except ModuleNotFoundError:
            raise ModuleNotFoundError("items() needs pandas: pip install 'stegomq[evaluate]'") from None
        return pandas.read_csv(io.BytesIO(self.items_csv))


class Bar:
    """A progress bar of a run if tqdm is installed; otherwise nothing."""

    def __init__(self, wanted: bool) -> None:
        self._bar: Any = None
        if wanted:
            try:
                from tqdm.auto import tqdm
            except ModuleNotFoundError:
                return
            self._bar = tqdm(unit=" comparisons", total=0)

    def show(self, run: Run) -> None:
        if self._bar is not None:
            self._bar.total = run.total
            self._bar.set_description(f"{run.model} on {run.dataset}, {run.state}", refresh=False)
            self._bar.n = run.scores + run.failed
            self._bar.refresh()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def settings(url: str | None, token: str | None) -> dict[str, Any]:
    """The settings of an httpx client."""
    token = (token or os.environ.get("STEGOMQ_TOKEN", "")).strip()  # a file of a token ends with a newline
    if not token:
        raise ValueError("no token: give one, or set STEGOMQ_TOKEN (stegomq users add NAME makes one)")
    if not token.isascii() or not token.isprintable():
        raise ValueError("the token is not one of stegomq: it has a character that no token has")
    base = url or os.environ.get("STEGOMQ_URL") or DEFAULT_URL
    if not base.lower().startswith(("http://", "https://")):
        raise ValueError(f"{base!r} is no address of a service: write it as {DEFAULT_URL}")
    return {
        "base_url": base,
        "headers": {"Authorization": f"Bearer {token}"},
        "timeout": TRY_TIMEOUT,
    }


def operation(name: str, images: dict[str, ImageInput], key: str | None, model: str | None) -> Request:
    """A request that embeds, recovers or purifies."""
    words = {"key": key, "model": model}
    return Request(
        "POST",
        f"/v1/{name}",
        data={field: word for field, word in words.items() if word is not None},
        files={field: (field, encode(image)) for field, image in images.items()},
        headers=_once(),
    )


def _once() -> dict[str, str]:
    """The headers that make the service do a request once, however often it is sent."""
    return {"Idempotency-Key": uuid.uuid4().hex}


def check(response: httpx.Response) -> httpx.Response:
    """The response. Raises Problem if it is one."""
    for warning in response.headers.get_list("Stegomq-Warning"):
        warnings.warn(warning, ImageWarning, stacklevel=5)
    if response.is_success:
        return response
    try:
        body = response.json()
        code, detail, request = body["code"], body["detail"], body.get("request_id", "")
    except (ValueError, KeyError, TypeError):
        raise Problem(response.status_code, "unknown", "this is no answer of stegomq: is the address right?") from None
    raise (Refused if code == "refused" else Problem)(response.status_code, code, detail, request)


def datasets_of(response: httpx.Response) -> list[str]:
    return [d["name"] for d in response.json()["datasets"]]


def run_of(value: dict[str, Any]) -> Run:
    p = value.get("problem")
    return Run(
        value["id"],
        value["state"],
        value["request"]["dataset"],
        value["request"]["model"],
        value["pairs"],
        value["total"],
        value["scores"],
        value["failed"],
        Problem(p["status"], p["code"], p["detail"], p.get("request_id", "")) if p else None,
    )


def start(dataset: str, model: str, keys: Sequence[str], options: dict[str, Any]) -> Request:
    asked = {"dataset": dataset, "model": model, **({"keys": list(keys)} if keys else {}), **options}
    return Request("POST", "/v1/runs", json=asked, headers=_once())


def run_path(run: Run | str) -> str:
    return f"/v1/runs/{quote(run if isinstance(run, str) else run.id, safe='')}"


def raise_failed(run: Run) -> None:
    """Raises the problem of a failed run. Failed comparisons alone raise nothing: their rows give the reasons."""
    if run.state == "cancelled":
        raise Problem(409, "cancelled", f"run {run.id} was cancelled")
    if run.state == "failed":
        raise run.problem or Problem(500, "unknown", f"run {run.id} failed")


def image_of(response: httpx.Response) -> Image.Image:
    return decode(response.content)


def keys_of(response: httpx.Response) -> list[Key]:
    return [Key(k["id"], k["fingerprint"], tuple(k["allows"])) for k in response.json()["keys"]]


def models_of(response: httpx.Response) -> list[Model]:
    return [
        Model(
            m["name"],
            m["digest"],
            m["keying"],
            tuple(m["operations"]),
            m["trained"],
            tuple(m["keys"]),
            tuple(m.get("default_for", ())),
        )
        for m in response.json()["models"]
    ]


def pause(tries: int, response: httpx.Response | None) -> float | None:
    """Seconds until the next try, or None for no further try. Without a response the service was not reached."""
    if response is None:
        wait = min(FIRST_PAUSE * 2.0 ** min(tries, 16), LAST_PAUSE)
    elif (after := response.headers.get("Retry-After")) is None or response.is_success:
        return None
    else:
        wait = min(float(after), LAST_PAUSE) if after.isdecimal() else FIRST_PAUSE
    # Random, so that clients that were refused together do not come back together.
    spread: float = random.uniform(1, 1.25)
    return wait * spread
