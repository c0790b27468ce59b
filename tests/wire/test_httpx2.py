"""What is particular to the wire in pure Python."""

import gzip
from collections.abc import AsyncIterator

import anyio
import httpx2
import pytest
from tests.wire.wires import ask

from aitor.errors import ConnectionFailedError
from aitor.wire import WireSettings
from aitor.wire.failures import Fault
from aitor.wire.httpx2 import Httpx2Wire

pytestmark = pytest.mark.anyio

SETTINGS = WireSettings("http://provider.invalid/v1", {"x-pool": "yes"})


async def test_a_transport_in_memory_takes_the_place_of_the_pool() -> None:
    """No socket is opened, and requests are those that would have been sent."""
    seen: list[httpx2.Request] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(429, headers={"Retry-After": "3"}, content=b"slow")

    wire = Httpx2Wire(SETTINGS, httpx2.MockTransport(handle))
    status, headers, body = await ask(wire, b"{}")
    await wire.aclose()
    assert (status, headers["retry-after"], body) == (429, "3", b"slow")
    assert str(seen[0].url) == "http://provider.invalid/v1/echo"
    assert seen[0].headers["x-pool"] == "yes"
    assert seen[0].content == b"{}"


async def test_a_transport_in_memory_may_fail() -> None:
    """Its errors are told like those of the network."""

    def handle(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadError("secret", request=request)

    wire = Httpx2Wire(SETTINGS, httpx2.MockTransport(handle))
    with pytest.raises(ConnectionFailedError) as caught:
        await ask(wire)
    await wire.aclose()
    assert caught.value.message.startswith(Fault.LOST.value)


async def test_an_endless_answer_in_memory_can_be_left() -> None:
    """Leaving ends the stream, also one that would wait for ever."""
    ended = anyio.Event()

    async def trickle() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await anyio.sleep_forever()
        finally:
            ended.set()

    def handle(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=trickle())

    wire = Httpx2Wire(SETTINGS, httpx2.MockTransport(handle))
    with anyio.fail_after(10):
        async with wire.post("/echo", b"{}") as response:
            async for piece in response:
                assert piece == b"first"
                break
        await ended.wait()
    await wire.aclose()


async def test_an_answer_compressed_unasked_is_decoded() -> None:
    """Some gateways do not look at what was accepted."""

    def handle(request: httpx2.Request) -> httpx2.Response:
        assert request.headers["accept-encoding"] == "identity"
        headers = {"content-encoding": "gzip"}
        return httpx2.Response(200, headers=headers, content=gzip.compress(b"text"))

    wire = Httpx2Wire(SETTINGS, httpx2.MockTransport(handle))
    assert (await ask(wire))[2] == b"text"
    await wire.aclose()
