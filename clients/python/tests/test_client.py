from __future__ import annotations

import asyncio
import io
import pathlib
import pickle
import re
import socket

import httpx
import numpy as np
import pytest
from conftest import Service, picture, psnr
from PIL import Image

import stegomq

README = pathlib.Path(__file__).parents[1] / "README.md"
REPOSITORY_README = README.parents[2] / "README.md"


@pytest.fixture
def client(service: Service) -> stegomq.Client:
    return stegomq.Client(service.url, service.admin)


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize("model", [None, "modulo"])
def test_embed_and_recover(client: stegomq.Client, tmp_path: pathlib.Path, model: str | None) -> None:
    cover, secret = picture(1), picture(2)
    path = tmp_path / "cover.png"
    path.write_bytes(png(cover))
    inputs: list[tuple[stegomq.ImageInput, stegomq.ImageInput]] = [
        (cover, secret),
        (path, png(secret)),
        (str(path), Image.fromarray(secret)),
    ]
    for pair in inputs:
        stego = client.embed(*pair, key="alice", model=model)
        assert isinstance(stego, Image.Image)
        assert stego.size == (72, 72)
        assert psnr(stego, cover) > 38
        assert psnr(client.recover(stego, key="alice", model=model), secret) > 28


def test_grey_and_cmyk(client: stegomq.Client) -> None:
    stego = client.embed(picture(1)[..., 0], Image.fromarray(picture(2)).convert("CMYK"), key="alice")
    assert client.recover(stego, key="alice").size == (72, 72)


def test_sixteen_bits(client: stegomq.Client, tmp_path: pathlib.Path) -> None:
    """An image of 16 bits is read like its file, which keeps the high byte."""
    secret = picture(2)[..., 0]
    deep = Image.fromarray(secret.astype(np.uint16) * 257)
    path = tmp_path / "deep.png"
    deep.save(path)
    for one in (deep, Image.open(path), deep.convert("I"), path):
        stego = client.embed(picture(1), one, key="alice", model="modulo")
        assert psnr(client.recover(stego, key="alice", model="modulo"), np.dstack([secret] * 3)) > 28


def test_what_is_no_image() -> None:
    client = stegomq.Client("http://127.0.0.1:1", "token")
    with pytest.raises(TypeError, match="uint8"):
        client.embed(picture(1) / 255, picture(2), key="alice")
    with pytest.raises(TypeError, match="floating-point"):
        client.embed(Image.fromarray(picture(1)[..., 0]).convert("F"), picture(2), key="alice")
    with pytest.raises(TypeError, match="not int"):
        client.embed(1, picture(2), key="alice")  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        client.embed("nowhere.png", picture(2), key="alice")


def test_problems(client: stegomq.Client, service: Service) -> None:
    stego = client.embed(picture(1), picture(2), key="alice")
    with pytest.raises(stegomq.Refused) as refused:
        client.recover(stego, key="bob")
    assert (refused.value.code, refused.value.status) == ("refused", 422)
    assert refused.value.request_id
    with pytest.raises(stegomq.Problem) as unknown:
        client.recover(stego, key="nobody")
    assert unknown.value.code == "unknown_key"
    assert "GET /v1/keys" in unknown.value.detail
    assert pickle.loads(pickle.dumps(unknown.value)).code == "unknown_key"
    with pytest.raises(stegomq.Problem, match="unauthorized"):
        stegomq.Client(service.url, "stegomq_no").keys()
    with pytest.raises(stegomq.Problem, match="bad_image"):
        client.recover(b"text", key="alice")


def test_warnings(client: stegomq.Client) -> None:
    out = io.BytesIO()
    client.embed(picture(1), picture(2), key="alice", model="modulo").save(out, "JPEG")
    with pytest.warns(stegomq.ImageWarning, match="JPEG"):
        client.recover(out.getvalue(), key="alice", model="modulo")


def test_users_see_what_is_theirs(service: Service) -> None:
    token = service.run("users", "add", "bob", "--key", "bob", "--embed-for", "alice")
    with stegomq.Client(service.url, token) as bob:
        assert {k.id: k.allows for k in bob.keys()} == {"alice": ("embed",), "bob": ("embed", "recover")}
        assert {m.name for m in bob.models()} == {"sealed", "modulo"}
        stego = bob.embed(picture(1), picture(2), key="alice")
        with pytest.raises(stegomq.Problem, match="embed_only_key"):
            bob.recover(stego, key="alice")


def test_batches(client: stegomq.Client) -> None:
    secrets = [picture(n) for n in range(6)]
    stegos = [r.image for r in client.embed_many(((picture(9), s) for s in secrets), key="alice", concurrency=3)]
    broken: list[stegomq.ImageInput] = [*stegos[:2], b"text", *stegos[2:]]
    results = list(client.recover_many(broken, key="alice"))
    failed = results.pop(2)
    assert isinstance(failed.error, stegomq.Problem)
    with pytest.raises(stegomq.Problem, match="bad_image"):
        failed.image.save("nowhere.png")
    for secret, result in zip(secrets, results, strict=True):
        assert psnr(result.image, secret) > 28
    with pytest.raises(ValueError, match="at least 1"):
        client.recover_many(broken, key="alice", concurrency=0)


def upload(service: Service) -> socket.socket:
    """An upload that has the one place of a service until it is closed: the service has asked for its body."""
    host, port = service.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    head = f"POST /v1/embed HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {service.admin}\r\n"
    head += "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n"
    connection.sendall(head.encode())
    assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
    return connection


def test_a_full_service_is_asked_again(narrow: Service) -> None:
    """One request at a time is served, three are sent: a refused request is sent again at the named time."""
    client = stegomq.Client(narrow.url, narrow.admin)
    first = upload(narrow)
    sent: list[int] = []

    def answered(response: httpx.Response) -> None:
        sent.append(response.status_code)
        if response.status_code == 429:
            first.close()

    client._http.event_hooks["response"] = [answered]
    secrets = [picture(n, 200) for n in range(6)]
    stegos = list(client.embed_many(((picture(9, 200), s) for s in secrets), key="alice", concurrency=3))
    assert [r.error for r in stegos] == [None] * 6
    assert sent.count(200) == 6
    assert sent.count(429) > 0
    impatient = stegomq.Client(narrow.url, narrow.admin, patience=0)
    with upload(narrow):
        results = list(impatient.embed_many(((picture(8, 200), s) for s in secrets), key="alice", concurrency=6))
    assert [r.error.code for r in results if isinstance(r.error, stegomq.Problem)] == ["too_many_requests"] * 6


def test_nobody_is_there() -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        client = stegomq.Client(f"http://127.0.0.1:{s.getsockname()[1]}", "token", patience=0.5)
        with pytest.raises(httpx.TransportError):
            client.keys()


def test_async(service: Service) -> None:
    async def main() -> None:
        async with stegomq.AsyncClient(service.url, service.admin) as client:
            stego = await client.embed(picture(1), picture(2), key="alice")
            assert psnr(await client.recover(stego, key="alice"), picture(2)) > 28
            assert {k.id for k in await client.keys()} >= {"alice", "bob"}
            assert {m.name for m in await client.models()} == {"sealed", "modulo"}
            secrets = [picture(n) for n in range(5)]
            covers = ((picture(9), s) for s in secrets)
            stegos = [r.image async for r in client.embed_many(covers, key="alice", concurrency=2)]
            back = [r async for r in client.recover_many([*stegos, picture(3)], key="alice")]
            assert isinstance(back.pop().error, stegomq.Refused)
            for secret, result in zip(secrets, back, strict=True):
                assert psnr(result.image, secret) > 28

    asyncio.run(main())


def test_evaluate(client: stegomq.Client, capsys: pytest.CaptureFixture[str]) -> None:
    assert client.datasets() == ["pictures"]
    done = client.evaluate("pictures", model="modulo", keys=["alice", "bob"], size=64, limit=3, noise=0)
    assert done.run.state == "done"
    assert (done.run.pairs, done.run.failed) == (3, 0)
    assert done.run.scores == done.run.total
    items = done.items()
    assert len(items) == done.run.total
    assert items[items.role == "imperceptibility"].psnr.mean() == pytest.approx(
        done.summary["imperceptibility"]["psnr"]["mean"], abs=1e-9
    )
    assert items[items.role == "recoverability"].psnr.min() > 28
    assert items[items.role == "leakage_mismatched"].psnr.max() < 25  # of keys that are drawn, one in thousands has 15
    assert "modulo on pictures, done" in capsys.readouterr().err, "the progress bar"
    assert done.run.id in [run.id for run in client.runs()]
    assert client.result(done.run.id, progress=False).summary == done.summary
    assert capsys.readouterr().err == ""
    client.delete_run(done.run)
    with pytest.raises(stegomq.Problem) as gone:
        client.run(done.run)
    assert gone.value.code == "unknown_run"


def test_runs_that_are_not_made(client: stegomq.Client) -> None:
    with pytest.raises(stegomq.Problem) as unknown:
        client.evaluate("nowhere", model="modulo")
    assert unknown.value.code == "unknown_dataset"
    run = client.start_run("pictures", model="sealed", keys=["alice"], size=64)
    client.cancel_run(run)
    if client.run(run).state == "cancelled":  # it may have been faster
        with pytest.raises(stegomq.Problem, match="cancelled"):
            client.result(run, progress=False)
    client.delete_run(run)


def test_evaluate_async(service: Service) -> None:
    async def main() -> None:
        async with stegomq.AsyncClient(service.url, service.admin) as client:
            assert await client.datasets() == ["pictures"]
            done = await client.evaluate("pictures", model="modulo", keys=["alice"], size=64, limit=2, progress=False)
            assert len(done.items()) == done.run.total > 0
            assert (await client.run(done.run)).ended
            assert done.run in await client.runs()
            await client.delete_run(done.run)

    asyncio.run(main())


class Lossy(httpx.HTTPTransport):
    """Passes every request on to the service, and loses the first answer."""

    def __init__(self) -> None:
        super().__init__()
        self.places: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        self.places.append(response.headers.get("Location", ""))
        if len(self.places) == 1:
            response.close()
            raise httpx.RemoteProtocolError("the answer is lost")
        return response


def test_a_run_is_begun_once(service: Service) -> None:
    """A request whose answer is lost is sent again, and gives the same run."""
    with stegomq.Client(service.url, service.admin) as client:
        client._http._transport = lossy = Lossy()
        run = client.start_run("pictures", model="modulo", size=64, limit=2)
        assert lossy.places == [f"/v1/runs/{run.id}"] * 2
        client.delete_run(run)


def test_example(service: Service, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The notebook, as it stands."""
    monkeypatch.setenv("STEGOMQ_URL", service.url)
    monkeypatch.setenv("STEGOMQ_TOKEN", service.admin)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.chdir(tmp_path)
    example = README.parent / "examples" / "evaluate.py"
    text = example.read_text().replace('"photos"', '"pictures"').replace("size=256", "size=64")
    assert '"pictures"' in text
    exec(compile(text, str(example), "exec"), {})
    with Image.open("quality.png") as plot:
        assert min(plot.size) > 300


def test_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STEGOMQ_TOKEN", raising=False)
    with pytest.raises(ValueError, match="STEGOMQ_TOKEN"):
        stegomq.Client("http://127.0.0.1:1")


def test_what_is_no_token_and_no_address(service: Service) -> None:
    """Mistakes show at once, not after the client's patience. A file of a token ends with a newline."""
    for token in ("stegomq_a\nb", "stegomq_\N{EM DASH}"):
        with pytest.raises(ValueError, match="not one of stegomq") as wrong:
            stegomq.Client(service.url, token)
        assert token not in str(wrong.value)
    for url in ("127.0.0.1:8080", "nats://host"):
        with pytest.raises(ValueError, match=url):
            stegomq.Client(url, "token")
    assert stegomq.Client(service.url + "/", service.admin + "\n").keys()


@pytest.mark.parametrize("readme", [README, REPOSITORY_README])
def test_quick_start(
    service: Service, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, readme: pathlib.Path
) -> None:
    """The lines of the READMEs, as they stand."""
    code = re.search(r"```python\n(.*?)```", readme.read_text(), re.S)
    assert code
    assert code[1].count("\n") <= 11
    monkeypatch.setenv("STEGOMQ_URL", service.url)
    monkeypatch.setenv("STEGOMQ_TOKEN", service.admin)
    monkeypatch.chdir(tmp_path)
    for n, name in enumerate(("cover.png", "secret.png")):
        pathlib.Path(name).write_bytes(png(picture(n)))
    exec(compile(code[1], str(readme), "exec"), {})
    assert psnr(Image.open("recovered.png"), picture(1)) > 28
    assert pathlib.Path("stego-2.png").exists() == ("stego-{n}" in code[1])
