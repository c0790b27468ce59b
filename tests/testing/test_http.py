"""HTTP/1.1, as clients really send it."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.streams.stapled import StapledObjectStream

from aitor.testing.http import (
    MAX_HEAD,
    ClientGoneError,
    Connection,
    HTTPResponse,
    MalformedRequestError,
    chunk,
    json_response,
)
from aitor.testing.virtual import virtual_backend

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return virtual_backend(request.param)


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[Connection, StapledObjectStream[bytes]]]:
    """A connection and the client's end of it."""
    to_server, at_server = anyio.create_memory_object_stream[bytes](math.inf)
    to_client, at_client = anyio.create_memory_object_stream[bytes](math.inf)
    connection = Connection(StapledObjectStream(to_client, at_server))
    async with StapledObjectStream(to_server, at_client) as client:
        yield connection, client
    await connection.aclose()


POST = b"POST /v1/x?key=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"


async def test_a_request_is_read_whole_with_its_headers() -> None:
    async with pair() as (connection, client):
        await client.send(POST)
        request = await connection.read_request()
        assert (request.method, request.path, request.body) == ("POST", "/v1/x", b"abc")
        assert request.head.get("host") == "a"
        assert request.head.get("content") == ""
        assert request.head.keep_alive


async def test_a_request_may_come_byte_by_byte_and_another_one_after_it() -> None:
    async with pair() as (connection, client):
        for byte in POST + POST.replace(b"abc", b"xyz"):
            await client.send(bytes([byte]))
        assert (await connection.read_request()).body == b"abc"
        assert (await connection.read_request()).body == b"xyz"


async def test_chunks_are_put_together_and_trailers_dropped() -> None:
    async with pair() as (connection, client):
        await client.send(
            b"POST / HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n"
            b"3;note=1\r\nabc\r\nA\r\n0123456789\r\n0\r\nx-sum: 1\r\n\r\n" + POST
        )
        assert (await connection.read_request()).body == b"abc0123456789"
        assert (await connection.read_request()).body == b"abc"


async def test_a_client_that_waits_for_leave_to_send_gets_it() -> None:
    async with pair() as (connection, client), anyio.create_task_group() as tasks:

        async def read() -> None:
            assert (await connection.read_request()).body == b"abc"

        tasks.start_soon(read)
        await client.send(POST[:-3].replace(b"Host: a", b"Expect: 100-continue"))
        assert await client.receive() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"abc")


@pytest.mark.parametrize(
    "head", [b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"]
)
async def test_some_connections_serve_one_request_only(head: bytes) -> None:
    async with pair() as (connection, client):
        await client.send(head)
        assert not (await connection.read_request()).head.keep_alive


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n\r\n",
        b"GET / HTTP/2\r\n\r\n",
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nx: " + b"x" * (MAX_HEAD + 1),
    ],
)
async def test_what_is_no_request_is_refused(data: bytes) -> None:
    async with pair() as (connection, client):
        await client.send(data)
        with pytest.raises(MalformedRequestError):
            await connection.read_request()


@pytest.mark.parametrize("sent", [b"", b"POST / HT", POST[:-1]])
async def test_a_client_that_leaves_is_noticed_while_reading(sent: bytes) -> None:
    async with pair() as (connection, client):
        if sent:
            await client.send(sent)
        await client.aclose()
        with pytest.raises(ClientGoneError):
            await connection.read_request()


async def test_a_client_that_leaves_is_noticed_at_once_while_waiting() -> None:
    async with pair() as (connection, client), anyio.create_task_group() as tasks:

        async def leave() -> None:
            await anyio.sleep(5)
            await client.aclose()

        start = anyio.current_time()
        tasks.start_soon(leave)
        with pytest.raises(ClientGoneError):
            await connection.wait(math.inf)
        assert anyio.current_time() - start == pytest.approx(5)


async def test_what_comes_while_waiting_is_the_next_request() -> None:
    async with pair() as (connection, client):
        await client.send(POST)
        start = anyio.current_time()
        await connection.wait(2)
        assert anyio.current_time() - start == pytest.approx(2)
        assert (await connection.read_request()).body == b"abc"


async def test_sending_to_a_client_that_left_is_noticed() -> None:
    async with pair() as (connection, client):
        await client.aclose()
        with pytest.raises(ClientGoneError):
            await connection.send(b"hello")


def test_answers_are_written_with_their_length_or_in_chunks() -> None:
    whole = json_response(200, {"a": 1}, x_note="b")
    assert whole.wire() == (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 8\r\n"
        b'x-note: b\r\n\r\n{"a": 1}'
    )
    stream = HTTPResponse(529, content_type="text/event-stream", frames=[b"a" * 17])
    assert stream.wire() == (
        b"HTTP/1.1 529 Unknown\r\ncontent-type: text/event-stream\r\n"
        b"transfer-encoding: chunked\r\n\r\n11\r\n" + b"a" * 17 + b"\r\n0\r\n\r\n"
    )
    assert chunk(b"") == b"0\r\n\r\n"
