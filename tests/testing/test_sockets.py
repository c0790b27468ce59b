"""The fake provider on real sockets: resets, closings and TLS."""

import contextlib
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import httpx2
import pytest
from tests.testing.client import CHAT, MESSAGES, PATHS, connect, question

from aitor.testing import FakeProvider

pytestmark = pytest.mark.anyio


async def until(condition: Callable[[], object]) -> None:
    """Wait for the server's side of something that just happened at ours."""
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - the server tells nobody
            await anyio.sleep(0.001)


@pytest.mark.parametrize("path", PATHS)
async def test_connections_serve_one_request_after_another(path: str) -> None:
    provider = FakeProvider()
    async with provider.serve() as url, connect(url) as client:
        for _ in range(3):
            assert (await client.ask(path)).text == "Answer to row-17"
    assert provider.statistics().all_connections == 1


async def test_chunked_uploads_are_taken() -> None:
    async with FakeProvider().serve() as url, httpx2.AsyncClient() as client:

        async def parts() -> AsyncIterator[bytes]:
            body = question(CHAT)
            for start in range(0, len(body), 7):
                yield body[start : start + 7]

        headers = {"authorization": "Bearer sk-any"}
        answer = await client.post(url + CHAT, content=parts(), headers=headers)
        assert answer.json()["choices"][0]["message"]["content"] == "Answer to row-17"


@pytest.mark.parametrize("fault", ["reset", "dead"])
async def test_a_reset_is_one_on_the_wire(fault: str) -> None:
    async with FakeProvider(faults=[fault]).serve() as url, connect(url) as client:
        await client.send(CHAT, question(CHAT))
        with pytest.raises(anyio.BrokenResourceError) as caught:
            await client.stream.receive()
        assert isinstance(caught.value.__cause__, ConnectionResetError)


async def test_an_answer_may_be_no_http() -> None:
    async with FakeProvider(faults=["not_http"]).serve() as url, connect(url) as client:
        await client.send(CHAT, question(CHAT))
        assert await client.everything() == b"the upstream service says hello"


async def test_a_closing_is_clean_and_without_a_byte() -> None:
    async with FakeProvider(faults=["close"]).serve() as url, connect(url) as client:
        await client.send(CHAT, question(CHAT))
        assert await client.everything() == b""


@pytest.mark.parametrize("path", PATHS)
async def test_a_truncated_answer_ends_before_its_length(path: str) -> None:
    async with FakeProvider(faults=["truncate"]).serve() as url, connect(url) as client:
        await client.send(path, question(path))
        _, headers = await client.head()
        body = await client.everything()
        assert len(body) == int(headers["content-length"]) // 2


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_may_be_reset_in_its_body(stream: bool) -> None:
    provider = FakeProvider(faults=["truncate_reset"])
    async with provider.serve() as url, connect(url) as client:
        await client.send(CHAT, question(CHAT, stream=stream))
        with pytest.raises(anyio.BrokenResourceError):
            await client.everything()
    assert (provider.log[0].status, provider.log[0].outcome) == (200, "faulty")


@pytest.mark.parametrize("path", PATHS)
async def test_a_truncated_stream_ends_without_its_last_chunk(path: str) -> None:
    async with FakeProvider(faults=["truncate"]).serve() as url, connect(url) as client:
        await client.send(path, question(path, stream=True))
        _, headers = await client.head()
        assert headers["transfer-encoding"] == "chunked"
        body = await client.everything()
        assert b"model-1" in body
        assert not body.endswith(b"0\r\n\r\n")


async def test_a_stale_connection_is_closed_after_the_answer_without_saying_so() -> (
    None
):
    provider = FakeProvider(faults=["stale first=1"])
    async with provider.serve() as url, connect(url) as client:
        answer = await client.ask()
        assert answer.status == 200
        assert "connection" not in answer.headers
        assert await client.everything() == b""
    assert provider.bill().requests == 1


async def test_a_stale_connection_may_be_reset_on_its_next_use() -> None:
    provider = FakeProvider(faults=["stale_reset first=1"])
    async with provider.serve() as url, connect(url) as client:
        assert (await client.ask()).status == 200
        await client.send(CHAT, question(CHAT))
        with pytest.raises(anyio.BrokenResourceError):
            await client.stream.receive()
        async with connect(url) as other:
            assert (await other.ask()).status == 200
    assert [seen.fault for seen in provider.log] == ["stale_reset", "reset", ""]
    assert provider.bill().requests == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cancelled_call_is_seen_at_once(stream: bool) -> None:
    provider = FakeProvider(latency=3600)
    async with provider.serve() as url:
        async with connect(url) as client:
            await client.send(CHAT, question(CHAT, stream=stream))
            await until(lambda: provider.statistics().in_flight)
        await until(lambda: provider.log)
        assert provider.log[0].client_gone
        assert provider.statistics().connections == 0


async def test_a_reset_by_the_client_is_seen_too() -> None:
    provider = FakeProvider(faults=["hang"])
    async with provider.serve() as url:
        host, _, port = url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port))) as raw:
            raw.sendall(b"POST /v1/messages HTTP/1.1\r\ncontent-length: 0\r\n\r\n")
            await until(lambda: provider.statistics().in_flight)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await until(lambda: provider.log)
        assert provider.log[0].client_gone


async def test_requests_open_at_the_end_of_the_server_are_stopped() -> None:
    provider = FakeProvider(latency=3600)
    async with AsyncExitStack() as stack:
        async with provider.serve() as url:
            client = await stack.enter_async_context(connect(url))
            await client.send(CHAT, question(CHAT))
            await until(lambda: provider.statistics().in_flight)
        assert await client.everything() == b""
    assert provider.log[0].outcome == "stopped"
    with pytest.raises(OSError, match="failed"):
        async with connect(url):
            pass


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key, made on the spot."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    directory = tmp_path_factory.mktemp("tls")
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
        f"-keyout {key} -out {certificate} -days 2 -subj /CN=fake "
        "-addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    return certificate, key


async def test_it_serves_under_tls_too(certificate: tuple[Path, Path]) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    provider = FakeProvider(faults=["reset at=2"])
    async with provider.serve(ssl_context=context) as url:
        assert url.startswith("https://127.0.0.1:")
        headers = {"authorization": "Bearer sk-any"}
        async with httpx2.AsyncClient(verify=trusting, headers=headers) as client:
            answer = await client.post(url + CHAT, content=question(CHAT))
            assert answer.status_code == 200
            with pytest.raises(httpx2.TransportError):
                await client.post(url + CHAT, content=question(CHAT))
            # A client that speaks no TLS is turned away and harms nobody.
            async with connect(url.replace("https", "http")) as plain:
                await plain.send(CHAT, question(CHAT))
                with contextlib.suppress(anyio.BrokenResourceError):
                    assert b"HTTP" not in await plain.everything()
            answer = await client.post(url + CHAT, content=question(CHAT))
            assert answer.status_code == 200


async def test_an_error_of_the_test_leaves_as_it_came() -> None:
    with pytest.raises(ZeroDivisionError):
        async with FakeProvider().serve():
            raise ZeroDivisionError


async def test_an_error_in_an_answer_function_is_not_hidden() -> None:
    def answer(asked: object) -> str:
        raise LookupError("no such answer")

    with pytest.raises(ExceptionGroup) as caught:
        async with FakeProvider(answer=answer).serve() as url, connect(url) as client:
            await client.send(MESSAGES, question(MESSAGES))
            await anyio.sleep_forever()
    assert caught.group_contains(LookupError, match="no such answer")


async def test_one_provider_may_serve_at_two_addresses() -> None:
    provider = FakeProvider()
    async with provider.serve() as one, provider.serve() as two:
        assert one != two
        for url in (one, two):
            async with connect(url) as client:
                assert (await client.ask()).status == 200
    assert provider.bill().requests == 2
