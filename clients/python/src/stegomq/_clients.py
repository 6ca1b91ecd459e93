"""The two clients: one waits, the other is for asyncio. _protocol makes requests and reads answers."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import httpx
from PIL import Image

from . import _protocol as protocol
from ._images import ImageInput
from ._protocol import LOOK_EVERY, Evaluation, Key, Model, Request, Result, Run

DEFAULT_PATIENCE = 120.0
DEFAULT_CONCURRENCY = 4

T = TypeVar("T")


class Client:
    """A connection to a service, for any number of threads.

    `url` and `token` default to STEGOMQ_URL (else http://127.0.0.1:8080) and STEGOMQ_TOKEN. If the service is full or
    away, the client tries again at the time that the service names (Retry-After), for `patience` seconds in all. A
    request is done once, however often it is sent. Every method raises Problem if the service refuses, and
    httpx.TransportError if it cannot be reached.
    """

    def __init__(self, url: str | None = None, token: str | None = None, *, patience: float = DEFAULT_PATIENCE) -> None:
        self._http = httpx.Client(**protocol.settings(url, token))
        self._patience = patience

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def embed(self, cover: ImageInput, secret: ImageInput, *, key: str, model: str | None = None) -> Image.Image:
        """Hides secret in cover. Save the stego image in a lossless format: PNG."""
        request = protocol.operation("embed", {"cover": cover, "secret": secret}, key, model)
        return protocol.image_of(self._send(request))

    def recover(self, stego: ImageInput, *, key: str, model: str | None = None) -> Image.Image:
        """The secret of a stego image. Raises Refused if recovery is authenticated and the key is wrong."""
        return protocol.image_of(self._send(protocol.operation("recover", {"stego": stego}, key, model)))

    def purify(self, image: ImageInput, *, model: str | None = None) -> Image.Image:
        """The image with less noise."""
        return protocol.image_of(self._send(protocol.operation("purify", {"image": image}, None, model)))

    def embed_many(
        self,
        pairs: Iterable[tuple[ImageInput, ImageInput]],
        *,
        key: str,
        model: str | None = None,
        concurrency: int = DEFAULT_CONCURRENCY,
    ) -> Iterator[Result]:
        """Embeds pairs of cover and secret, `concurrency` at once, and gives a result for each, in their order.

        Pairs are read as needed. A failed pair does not end the batch: its result has the error.
        """
        return self._many(lambda pair: self.embed(*pair, key=key, model=model), pairs, concurrency)

    def recover_many(
        self,
        stegos: Iterable[ImageInput],
        *,
        key: str,
        model: str | None = None,
        concurrency: int = DEFAULT_CONCURRENCY,
    ) -> Iterator[Result]:
        """Recovers from stego images; works like embed_many."""
        return self._many(lambda stego: self.recover(stego, key=key, model=model), stegos, concurrency)

    def keys(self) -> list[Key]:
        return protocol.keys_of(self._send(Request("GET", "/v1/keys")))

    def models(self) -> list[Model]:
        return protocol.models_of(self._send(Request("GET", "/v1/models")))

    def datasets(self) -> list[str]:
        """The data sets that the operator lets you evaluate on."""
        return protocol.datasets_of(self._send(Request("GET", "/v1/datasets")))

    def start_run(self, dataset: str, *, model: str, keys: Sequence[str] = (), **options: Any) -> Run:
        """Begins an evaluation of a model on a data set of the service, and does not wait.

        `keys` are ids of your keys; the default is the model's public keys. `options` are those of POST /v1/runs,
        such as size=256, limit=32, random_keys=1, attacks=["jpeg-90"].
        """
        return protocol.run_of(self._send(protocol.start(dataset, model, keys, options)).json())

    def evaluate(
        self, dataset: str, *, model: str, keys: Sequence[str] = (), progress: bool = True, **options: Any
    ) -> Evaluation:
        """Evaluates a model on a data set of the service and waits for the end, with a progress bar if tqdm is there.

        Arguments are those of start_run. Raises Problem if the run failed. After Ctrl-C the run goes on in the
        service: `result` waits for it again.
        """
        return self.result(self.start_run(dataset, model=model, keys=keys, **options), progress=progress)

    def result(self, run: Run | str, *, progress: bool = True) -> Evaluation:
        """Waits for a run, and gives its outcome."""
        bar = protocol.Bar(progress)
        try:
            while not (now := self.run(run)).ended:
                bar.show(now)
                time.sleep(LOOK_EVERY)
            bar.show(now)
        finally:
            bar.close()
        protocol.raise_failed(now)
        files = f"{protocol.run_path(now)}/files"
        summary = self._send(Request("GET", f"{files}/summary.json")).json()
        return Evaluation(now, summary, self._send(Request("GET", f"{files}/items.csv")).content)

    def runs(self) -> list[Run]:
        """Your runs, the newest first."""
        return [protocol.run_of(r) for r in self._send(Request("GET", "/v1/runs")).json()["runs"]]

    def run(self, run: Run | str) -> Run:
        return protocol.run_of(self._send(Request("GET", protocol.run_path(run))).json())

    def cancel_run(self, run: Run | str) -> Run:
        """Takes the waiting jobs of a run out of the queue. Its scores stay."""
        return protocol.run_of(self._send(Request("POST", f"{protocol.run_path(run)}/cancel")).json())

    def delete_run(self, run: Run | str) -> None:
        """Cancels a run and deletes it with its scores."""
        self._send(Request("DELETE", protocol.run_path(run)))

    def _send(self, r: Request) -> httpx.Response:
        deadline = time.monotonic() + self._patience
        tries = 0
        while True:
            response = error = None
            try:
                response = self._http.request(
                    r.method, r.path, data=r.data, files=r.files or None, headers=r.headers, json=r.json
                )
            except httpx.TransportError as e:
                error = e
            wait = protocol.pause(tries, response)
            if wait is None or time.monotonic() + wait > deadline:
                if response is None:
                    assert error is not None
                    raise error
                return protocol.check(response)
            tries += 1
            time.sleep(wait)

    @staticmethod
    def _many(one: Callable[[T], Image.Image], items: Iterable[T], concurrency: int) -> Iterator[Result]:
        if concurrency < 1:
            raise ValueError(f"concurrency {concurrency}: it is at least 1")

        def results() -> Iterator[Result]:
            running: deque[Future[Image.Image]] = deque()
            pool = ThreadPoolExecutor(concurrency)
            try:
                for item in items:
                    if len(running) == concurrency:
                        yield outcome(running.popleft())
                    running.append(pool.submit(one, item))
                while running:
                    yield outcome(running.popleft())
            finally:
                pool.shutdown(cancel_futures=True)

        def outcome(future: Future[Image.Image]) -> Result:
            error = future.exception()
            if isinstance(error, Exception):
                return Result(error=error)
            return Result(future.result())

        return results()


class AsyncClient:
    """Client for asyncio: the same methods, awaited; the batches are asynchronous iterators."""

    def __init__(self, url: str | None = None, token: str | None = None, *, patience: float = DEFAULT_PATIENCE) -> None:
        self._http = httpx.AsyncClient(**protocol.settings(url, token))
        self._patience = patience

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def embed(self, cover: ImageInput, secret: ImageInput, *, key: str, model: str | None = None) -> Image.Image:
        request = protocol.operation("embed", {"cover": cover, "secret": secret}, key, model)
        return protocol.image_of(await self._send(request))

    async def recover(self, stego: ImageInput, *, key: str, model: str | None = None) -> Image.Image:
        return protocol.image_of(await self._send(protocol.operation("recover", {"stego": stego}, key, model)))

    async def purify(self, image: ImageInput, *, model: str | None = None) -> Image.Image:
        return protocol.image_of(await self._send(protocol.operation("purify", {"image": image}, None, model)))

    def embed_many(
        self,
        pairs: Iterable[tuple[ImageInput, ImageInput]],
        *,
        key: str,
        model: str | None = None,
        concurrency: int = DEFAULT_CONCURRENCY,
    ) -> AsyncIterator[Result]:
        async def one(pair: tuple[ImageInput, ImageInput]) -> Image.Image:
            return await self.embed(*pair, key=key, model=model)

        return self._many(one, pairs, concurrency)

    def recover_many(
        self,
        stegos: Iterable[ImageInput],
        *,
        key: str,
        model: str | None = None,
        concurrency: int = DEFAULT_CONCURRENCY,
    ) -> AsyncIterator[Result]:
        async def one(stego: ImageInput) -> Image.Image:
            return await self.recover(stego, key=key, model=model)

        return self._many(one, stegos, concurrency)

    async def keys(self) -> list[Key]:
        return protocol.keys_of(await self._send(Request("GET", "/v1/keys")))

    async def models(self) -> list[Model]:
        return protocol.models_of(await self._send(Request("GET", "/v1/models")))

    async def datasets(self) -> list[str]:
        return protocol.datasets_of(await self._send(Request("GET", "/v1/datasets")))

    async def start_run(self, dataset: str, *, model: str, keys: Sequence[str] = (), **options: Any) -> Run:
        return protocol.run_of((await self._send(protocol.start(dataset, model, keys, options))).json())

    async def evaluate(
        self, dataset: str, *, model: str, keys: Sequence[str] = (), progress: bool = True, **options: Any
    ) -> Evaluation:
        return await self.result(await self.start_run(dataset, model=model, keys=keys, **options), progress=progress)

    async def result(self, run: Run | str, *, progress: bool = True) -> Evaluation:
        bar = protocol.Bar(progress)
        try:
            while not (now := await self.run(run)).ended:
                bar.show(now)
                await asyncio.sleep(LOOK_EVERY)
            bar.show(now)
        finally:
            bar.close()
        protocol.raise_failed(now)
        files = f"{protocol.run_path(now)}/files"
        summary = (await self._send(Request("GET", f"{files}/summary.json"))).json()
        return Evaluation(now, summary, (await self._send(Request("GET", f"{files}/items.csv"))).content)

    async def runs(self) -> list[Run]:
        return [protocol.run_of(r) for r in (await self._send(Request("GET", "/v1/runs"))).json()["runs"]]

    async def run(self, run: Run | str) -> Run:
        return protocol.run_of((await self._send(Request("GET", protocol.run_path(run)))).json())

    async def cancel_run(self, run: Run | str) -> Run:
        return protocol.run_of((await self._send(Request("POST", f"{protocol.run_path(run)}/cancel"))).json())

    async def delete_run(self, run: Run | str) -> None:
        await self._send(Request("DELETE", protocol.run_path(run)))

    async def _send(self, r: Request) -> httpx.Response:
        deadline = time.monotonic() + self._patience
        tries = 0
        while True:
            response = error = None
            try:
                response = await self._http.request(
                    r.method, r.path, data=r.data, files=r.files or None, headers=r.headers, json=r.json
                )
            except httpx.TransportError as e:
                error = e
            wait = protocol.pause(tries, response)
            if wait is None or time.monotonic() + wait > deadline:
                if response is None:
                    assert error is not None
                    raise error
                return protocol.check(response)
            tries += 1
            await asyncio.sleep(wait)

    @staticmethod
    def _many(
        one: Callable[[T], Coroutine[None, None, Image.Image]],
        items: Iterable[T],
        concurrency: int,
    ) -> AsyncIterator[Result]:
        if concurrency < 1:
            raise ValueError(f"concurrency {concurrency}: it is at least 1")

        async def results() -> AsyncIterator[Result]:
            running: deque[asyncio.Task[Image.Image]] = deque()
            try:
                for item in items:
                    if len(running) == concurrency:
                        yield await outcome(running.popleft())
                    running.append(asyncio.create_task(one(item)))
                while running:
                    yield await outcome(running.popleft())
            finally:
                for task in running:
                    task.cancel()
                await asyncio.gather(*running, return_exceptions=True)

        async def outcome(task: asyncio.Task[Image.Image]) -> Result:
            try:
                return Result(await task)
            except Exception as e:
                return Result(error=e)

        return results()
