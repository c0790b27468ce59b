"""What every wire promises to who leaves: early, cancelled, or for good."""

# A native cancellation, as a web framework sends it, is asyncio's own.
import asyncio  # noqa: TID251
from collections.abc import Callable

import anyio
import pytest
from tests.wire.server import CHUNKED, HEAD, Server, Then, answer
from tests.wire.wires import OURS, ask, connect, every_wire, failure_of, our_wires, pair

from aitor.wire import Wire

pytestmark = pytest.mark.anyio

# Leaving early.


@every_wire
async def test_leaving_before_the_end_closes_the_connection(kind: str) -> None:
    """A reader who has seen enough of an endless body leaves, and the server sees."""
    server = Server([CHUNKED, b"a00000\r\n" + b"x" * 0xA00000, Then.HANG])
    async with pair(kind, server) as wire:
        taken = 0
        async with wire.post("/echo", b"{}") as response:
            async for piece in response:
                taken += len(piece)
                if taken > 100_000:
                    break
        await server.left.wait()
        assert 100_000 < taken < 1_000_000


@every_wire
async def test_leaving_without_reading_closes_the_connection(kind: str) -> None:
    """The head may be all that was wanted."""
    server = Server([HEAD, Then.HANG])
    async with pair(kind, server) as wire:
        async with wire.post("/echo", b"{}") as response:
            assert response.status == 200
        await server.left.wait()


@every_wire
async def test_an_exception_inside_the_block_passes_as_it_is(kind: str) -> None:
    """The wire minds its own errors only, and closes the connection."""
    server = Server([HEAD, Then.HANG])
    async with pair(kind, server) as wire:
        with pytest.raises(ValueError, match="mine"):
            async with wire.post("/echo", b"{}"):
                raise ValueError("mine")
        await server.left.wait()


# Cancellation.

MOMENTS: dict[str, Callable[[], Server]] = {
    "while connecting": lambda: Server(deaf=True),
    "waiting for the head": lambda: Server([Then.HANG]),
    "in the body": lambda: Server([HEAD + b"abc", Then.HANG]),
}


@every_wire
@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_cancelled_call_closes_its_connection(
    kind: str, moment: str, anyio_backend: str
) -> None:
    """The scope around it is cancelled, and the server sees the client leave."""
    if moment == "while connecting" and kind not in OURS and anyio_backend == "trio":
        pytest.skip("httpcore2 leaves this socket to the garbage collector")
    server = MOMENTS[moment]()
    scheme = "https" if server.deaf else "http"
    async with pair(kind, server, scheme=scheme) as wire:
        async with anyio.create_task_group() as group:
            reading = anyio.Event()
            group.start_soon(_read, wire, reading)
            await _until(moment, server, reading)
            group.cancel_scope.cancel()
        await server.left.wait()


@every_wire
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_natively_cancelled_call_closes_its_connection(
    kind: str, moment: str
) -> None:
    """So does `Task.cancel`, which hits one await only."""
    server = MOMENTS[moment]()
    scheme = "https" if server.deaf else "http"
    async with pair(kind, server, scheme=scheme) as wire:
        reading = anyio.Event()
        task = asyncio.create_task(_read(wire, reading))
        await _until(moment, server, reading)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.left.wait()


@every_wire
async def test_a_call_whose_time_is_up_is_not_sent(kind: str) -> None:
    """In a scope that is cancelled already nothing leaves."""
    server = Server()
    async with pair(kind, server) as wire:
        await ask(wire)
        with anyio.move_on_after(0):
            await ask(wire)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await ask(wire)
        await ask(wire)
    assert len(server.requests) == 2


@every_wire
async def test_the_next_call_after_a_cancelled_one_is_answered(kind: str) -> None:
    """Cancelled calls leave no hole in the pool."""
    server = Server([Then.HANG], [Then.HANG], [answer(b"yes")])
    async with pair(kind, server, max_connections=2) as wire:
        for number in (1, 2):
            async with anyio.create_task_group() as group:
                group.start_soon(ask, wire)
                await server.requests_reach(number)
                group.cancel_scope.cancel()
        assert (await ask(wire))[2] == b"yes"


async def _read(wire: Wire, reading: anyio.Event) -> None:
    async with wire.post("/echo", b"{}") as response:
        async for _ in response:
            reading.set()


async def _until(moment: str, server: Server, reading: anyio.Event) -> None:
    events = {
        "while connecting": server.connected,
        "waiting for the head": server.asked,
        "in the body": reading,
    }
    await events[moment].wait()


# Closing.


@every_wire
async def test_closing_twice_does_nothing(kind: str) -> None:
    """Also after a call, and before any."""
    async with pair(kind, Server()) as wire:
        await ask(wire)
        await wire.aclose()
        await wire.aclose()
    async with connect(kind, "http://127.0.0.1:9") as wire:
        await wire.aclose()
        await wire.aclose()


@our_wires
async def test_closing_closes_idle_connections(kind: str) -> None:
    """And a closed wire says so."""
    server = Server()
    async with pair(kind, server) as wire:
        await ask(wire)
        await wire.aclose()
        await server.left.wait()
        error = await failure_of(wire)
    assert error.message == "the connection pool is closed"
