"""Answers that come compressed, although nobody asked for it."""

import gzip
import tracemalloc
import zlib
from collections.abc import Sequence

import httpx2
import pytest
from tests.wire.server import CHUNKED, Server, answer
from tests.wire.wires import ask, failure_of, our_wires, pair

from aitor.errors import MalformedAnswerError
from aitor.wire import WireSettings
from aitor.wire.base import WholeResponse
from aitor.wire.coding import decoded
from aitor.wire.httpx2 import Httpx2Wire

pytestmark = pytest.mark.anyio

TEXT = b'{"text": "' + bytes(range(97, 123)) * 10_000 + b'"}'


def raw(data: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflate.compress(data) + deflate.flush()


def compressed(coding: str, body: bytes) -> Server:
    return Server([answer(body, headers=[f"Content-Encoding: {coding}"])])


@our_wires
@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(TEXT)),
        ("GZip", gzip.compress(TEXT)),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", raw(TEXT)),
        ("identity", TEXT),
        ("snow", TEXT),
    ],
    ids=["gzip", "spelt otherwise", "deflate", "bare deflate", "identity", "unknown"],
)
async def test_an_answer_compressed_unasked_is_decoded(
    kind: str, coding: str, body: bytes
) -> None:
    """Some gateways do not look at what was accepted; what nobody knows passes."""
    async with pair(kind, compressed(coding, body)) as wire:
        for _ in range(2):
            status, _, got = await ask(wire)
            assert (status, got) == (200, TEXT)


async def test_a_body_of_several_members_is_one_text() -> None:
    """As gzip allows, and as a server may write a stream."""
    body = gzip.compress(b"one") + gzip.compress(b"") + gzip.compress(b", two")
    async with pair("sockets", compressed("x-gzip", body)) as wire:
        assert (await ask(wire))[2] == b"one, two"


@pytest.mark.parametrize("size", [1, 2, 7, 64])
async def test_an_event_is_there_as_soon_as_its_bytes_are(size: int) -> None:
    """However they come cut up, nothing is held back for what follows."""
    deflate = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    events = [
        deflate.compress(b"data: %d\n\n" % number) + deflate.flush(zlib.Z_SYNC_FLUSH)
        for number in range(3)
    ]
    server = Server([gzip_head(), *chunks(events, size)])
    got = b""
    async with (
        pair("sockets", server) as wire,
        wire.post("/echo", b"{}") as response,
    ):
        async for piece in response:
            got += piece
            if got.endswith(b"2\n\n"):
                break
    assert got == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"


def gzip_head() -> bytes:
    return CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")


def chunks(pieces: Sequence[bytes], size: int) -> list[bytes]:
    data = b"".join(pieces)
    cut = [data[start : start + size] for start in range(0, len(data), size)]
    return [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in cut]


async def test_a_small_body_that_unfolds_to_a_huge_one_fills_no_memory() -> None:
    """It comes in pieces, so that whoever reads can stop at a limit."""
    body = gzip.compress(bytes(256 * 1024 * 1024), 1)
    tracemalloc.start()
    try:
        size = 0
        async for piece in decoded(
            WholeResponse(200, {"content-encoding": "gzip"}, body)
        ):
            size += len(piece)
            if size > 32 * 1024 * 1024:
                break
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * 1024 * 1024 + len(body)


async def test_a_body_that_is_not_what_it_says_is_no_answer() -> None:
    """And nothing of it is told."""

    def handle(_: httpx2.Request) -> httpx2.Response:
        headers = {"content-encoding": "gzip"}
        return httpx2.Response(200, headers=headers, stream=httpx2.ByteStream(TEXT))

    settings = WireSettings("http://provider.invalid")
    in_memory = Httpx2Wire(settings, httpx2.MockTransport(handle))
    async with pair("sockets", compressed("gzip", TEXT)) as wire:
        for one in (wire, in_memory):
            error = await failure_of(one)
            assert isinstance(error, MalformedAnswerError)
            assert error.message == "the answer's compression is broken"
    await in_memory.aclose()
