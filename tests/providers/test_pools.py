"""One provider in several event loops: each has pools of its own, which end with it."""

import gc
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Barrier, Thread
from typing import Any

import anyio
import pytest
from tests.wire.server import HastyServer

from aitor import Broker
from aitor.messages import Request
from aitor.providers import OpenAIProvider
from aitor.providers.pools import Pools
from aitor.wire import WireSettings, open_wire

BODY = b'{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}'
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    % (len(BODY), BODY)
)

every_backend = pytest.mark.parametrize("backend", ["asyncio", "trio"])
every_transport = pytest.mark.parametrize("transport", ["sockets", "httpx2", "sdk"])


@pytest.fixture
def server() -> Iterator[HastyServer]:
    with HastyServer(None) as it:
        it.then = ANSWER
        yield it


def provider(server: HastyServer, transport: Any) -> OpenAIProvider:
    return OpenAIProvider(
        base_url=server.url, api_key="k", model="m", transport=transport, api="chat"
    )


@every_backend
@every_transport
@pytest.mark.parametrize("leave", ["whole", "by a failure"])
def test_an_unopened_broker_leaves_nothing_behind(
    server: HastyServer, transport: str, backend: str, leave: str
) -> None:
    """
    The kind: what is closed by the garbage collector alone.

    The connections end with the event loop, however it ends, and no warning is left.
    """
    broker = Broker({"one": provider(server, transport)})
    ended: list[int] = []

    async def main() -> None:
        assert (await broker.submit("x", timeout=5)).text == "hi"
        if leave == "by a failure":
            raise KeyError

    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            with suppress(KeyError):
                anyio.run(main, backend=backend)
            ended.append(_connections(server))
    finally:
        gc.enable()
    assert ended == [0, 0, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gc.collect()


def _connections(server: HastyServer) -> int:
    """Count what is open to *server*, in whoever's hands."""
    port = int(server.url.rpartition(":")[2])
    count = 0
    for one in gc.get_objects():
        # By its type: some libraries' placeholders load what they stand for when asked.
        if issubclass(type(one), socket.socket) and one.fileno() != -1:
            with suppress(OSError):
                count += one.getpeername()[1] == port
    return count


@every_backend
@every_transport
def test_several_loops_at_once_have_pools_of_their_own(
    server: HastyServer, transport: str, backend: str
) -> None:
    """
    The kind: what belongs to one loop and is used by two at once.

    Here it is the provider alone; no connection is ever seen by two threads.
    """
    one = provider(server, transport)
    together = Barrier(4)
    got: list[str] = []
    wires: list[object] = []

    async def main() -> None:
        together.wait(10)
        for _ in range(10):
            request = Request.of("x")
            got.append((await one.complete(request, lambda: None)).text)
        line = one._pools.take()
        wires.append(line.wire)
        one._pools.give_back(line)
        together.wait(10)

    threads = [
        Thread(target=anyio.run, args=[main], kwargs={"backend": backend})
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert got == ["hi"] * 40
    assert len({id(wire) for wire in wires}) == 4


@every_backend
def test_pools_end_with_the_loop_in_which_they_were_opened(backend: str) -> None:
    """Retired ones too; a pool that fails to close is nobody else's trouble."""
    closed: list[str] = []

    class Wire:
        stale = False
        post: Callable[..., Any]

        def __init__(self, name: str) -> None:
            self.name = name

        async def aclose(self) -> None:
            closed.append(self.name)

    names = iter("abc")
    pools = Pools(lambda: Wire(next(names)))

    async def main() -> None:
        pools.take()
        pools.retire()
        pools.take()
        assert closed == []

    anyio.run(main, backend=backend)
    assert sorted(closed) == ["a", "b"]


@every_backend
def test_a_pool_that_was_closed_is_not_closed_again(backend: str) -> None:
    """Who opens a broker closes it himself, and the end of the loop finds nothing."""
    closed: list[object] = []

    async def main() -> None:
        wire = open_wire("sockets", WireSettings("http://127.0.0.1:9"))
        aclose = wire.aclose

        async def once() -> None:
            closed.append(wire)
            await aclose()

        wire.aclose = once  # type: ignore[method-assign]
        pools = Pools(lambda: wire)
        pools.take()
        await pools.aclose()

    anyio.run(main, backend=backend)
    assert len(closed) == 1
