"""The network in memory behaves as sockets do, in virtual time, on both backends."""

import socket
from math import inf
from typing import Any

import anthropic
import anyio
import httpcore2
import httpx2
import openai
import pytest

from aitor.testing import FakeProvider
from aitor.testing.http import Connection, json_response
from aitor.testing.network import Network
from aitor.testing.streams import WINDOW, Stream, send_in_pieces
from aitor.testing.virtual import virtual_backend

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="session", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return virtual_backend(request.param)


def since(begin: float) -> float:
    """Return the seconds since *begin*, without what rounding adds to them."""
    return round(anyio.current_time() - begin, 9)


async def echo(stream: Stream) -> None:
    while True:
        await stream.send(await stream.receive())


async def everything(stream: Stream) -> bytes:
    data = b""
    try:
        while True:
            data += await stream.receive()
    except anyio.EndOfStream:
        return data


async def test_what_one_end_sends_the_other_reads() -> None:
    async with Network() as network:
        network.listen("host", 7, echo)
        stream = await network.connect("host", 7)
        await stream.send(b"hello")
        assert await stream.receive(2) == b"he"
        assert await stream.receive() == b"llo"
        assert (network.open, network.connected) == (1, 1)
        await stream.aclose()
        await stream.aclose()
        assert (network.open, network.connected) == (0, 1)
        with pytest.raises(anyio.ClosedResourceError):
            await stream.receive()
        with pytest.raises(anyio.ClosedResourceError):
            await stream.send(b"x")


async def test_an_unknown_name_is_not_found_and_a_closed_port_refuses() -> None:
    async with Network() as network:
        network.listen("host", 7, echo)
        with pytest.raises(socket.gaierror):
            await network.connect("elsewhere", 7)
        with pytest.raises(ConnectionRefusedError):
            await network.connect("host", 8)
        network.refuse("host", 7)
        with pytest.raises(ConnectionRefusedError):
            await network.connect("host", 7)


async def test_a_refused_port_keeps_the_connections_it_had() -> None:
    async with Network() as network:
        network.listen("host", 7, echo)
        stream = await network.connect("host", 7)
        network.refuse("host", 7)
        await stream.send(b"still here")
        assert await stream.receive() == b"still here"


async def test_connecting_takes_its_time_and_for_ever_if_told_so() -> None:
    async with Network() as network:
        network.listen("slow", 7, echo, connect_seconds=2.5)
        network.listen("never", 7, echo, connect_seconds=inf)
        begin = anyio.current_time()
        await network.connect("slow", 7)
        assert since(begin) == 2.5
        with anyio.move_on_after(1_000) as scope:
            await network.connect("never", 7)
        assert scope.cancelled_caught
        assert network.connected == 1


async def test_halves_close_one_after_the_other() -> None:
    async def shout(stream: Stream) -> None:
        said = await everything(stream)
        await anyio.sleep(3)
        await stream.send(said.upper())

    async with Network() as network:
        network.listen("host", 7, shout)
        stream = await network.connect("host", 7)
        await stream.send(b"hello")
        await stream.send_eof()
        with pytest.raises(anyio.ClosedResourceError):
            await stream.send(b"more")
        assert await everything(stream) == b"HELLO"


async def test_what_came_before_a_reset_can_still_be_read() -> None:
    async def cut(stream: Stream) -> None:
        await stream.receive()
        await stream.send(b"half of")
        await stream.reset()

    async with Network() as network:
        network.listen("host", 7, cut)
        stream = await network.connect("host", 7)
        await stream.send(b"?")
        await anyio.wait_all_tasks_blocked()
        assert stream.readable
        assert await stream.receive() == b"half of"
        with pytest.raises(anyio.BrokenResourceError) as caught:
            await stream.receive()
        assert isinstance(caught.value.__cause__, ConnectionResetError)
        with pytest.raises(anyio.BrokenResourceError):
            await stream.send(b"x")


async def test_sending_to_one_that_has_closed_is_answered_with_a_reset() -> None:
    async def leave(stream: Stream) -> None:
        await anyio.sleep(5)

    async with Network() as network:
        network.listen("host", 7, leave)
        stream = await network.connect("host", 7)
        assert not stream.readable
        await anyio.sleep(6)
        assert stream.readable
        await stream.send(b"taken, it seems")
        with pytest.raises(anyio.BrokenResourceError):
            await stream.send(b"and now it shows")
        with pytest.raises(anyio.BrokenResourceError):
            await stream.receive()


async def test_a_sender_waits_for_one_that_does_not_read() -> None:
    async def read_late(stream: Stream) -> None:
        await anyio.sleep(9)
        await everything(stream)

    async with Network() as network:
        network.listen("host", 7, read_late)
        stream = await network.connect("host", 7)
        await stream.send(b"x" * WINDOW)
        begin = anyio.current_time()
        await stream.send(b"y")
        assert since(begin) == 9


async def test_a_reset_ends_the_wait_for_room() -> None:
    async def reset_later(stream: Stream) -> None:
        await anyio.sleep(9)
        await stream.reset()

    async with Network() as network:
        network.listen("host", 7, reset_later)
        stream = await network.connect("host", 7)
        begin = anyio.current_time()
        with pytest.raises(anyio.BrokenResourceError):
            await stream.send(b"x" * (WINDOW + 1))
        assert since(begin) == 9


async def test_a_cancelled_receive_loses_nothing() -> None:
    async def late(stream: Stream) -> None:
        await anyio.sleep(2)
        await stream.send(b"kept")
        await anyio.sleep(9)

    async with Network() as network:
        network.listen("host", 7, late)
        stream = await network.connect("host", 7)
        with anyio.move_on_after(1):
            await stream.receive()
        assert await stream.receive() == b"kept"


async def test_pieces_are_read_as_they_were_cut() -> None:
    async def dictate(stream: Stream) -> None:
        await send_in_pieces(stream, b"abcdef", [1, 3], pause=10)

    async with Network() as network:
        network.listen("host", 7, dictate)
        stream = await network.connect("host", 7)
        begin = anyio.current_time()
        pieces = []
        with pytest.raises(anyio.EndOfStream):
            while True:
                pieces.append((await stream.receive(), since(begin)))
        assert pieces == [(b"a", 0), (b"bc", 10), (b"def", 20)]


async def test_pieces_wait_for_nobody_who_has_left() -> None:
    left = anyio.Event()

    async def dictate(stream: Stream) -> None:
        await send_in_pieces(stream, b"abcdef", range(1, 6))
        left.set()

    async with Network() as network:
        network.listen("host", 7, dictate)
        stream = await network.connect("host", 7)
        await stream.receive()
        await stream.aclose()
        await anyio.wait_all_tasks_blocked()
    assert not left.is_set()


async def test_servers_end_with_the_network_and_errors_leave_as_they_came() -> None:
    ended = []

    async def serve(stream: Stream) -> None:
        try:
            await everything(stream)
        finally:
            ended.append(stream)

    with pytest.raises(ZeroDivisionError):
        async with Network() as network:
            network.listen("host", 7, serve)
            await network.connect("host", 7)
            await anyio.wait_all_tasks_blocked()
            raise ZeroDivisionError
    assert len(ended) == 1
    with pytest.raises(ConnectionRefusedError):
        await network.connect("host", 7)


async def test_a_server_that_fails_ends_the_network() -> None:
    async def fail(stream: Stream) -> None:
        raise ZeroDivisionError

    with pytest.raises(ExceptionGroup) as caught:
        async with Network() as network:
            network.listen("host", 7, fail)
            await network.connect("host", 7)
            await anyio.sleep(1)
    assert caught.group_contains(ZeroDivisionError)


# Clients.


async def test_httpcore2_takes_the_network_for_a_real_one() -> None:
    provider = FakeProvider()
    async with Network() as network:
        network.listen("api.test", 80, provider.serve_connection)
        with network.installed():
            async with httpcore2.AsyncConnectionPool() as pool:
                headers = [("host", "api.test"), ("authorization", "Bearer k")]
                url = "http://api.test/v1/models"
                answer = await pool.request("GET", url, headers=headers)
                assert answer.status == 200
                assert network.open == 1
        assert network.open == 0


async def test_outside_of_installed_nothing_is_changed() -> None:
    async with Network() as network:
        network.listen("api.test", 80, echo)
        before = httpcore2._backends.auto.AutoBackend.connect_tcp  # type: ignore[attr-defined]  # private
        with network.installed():
            pass
        after = httpcore2._backends.auto.AutoBackend.connect_tcp  # type: ignore[attr-defined]  # private
        assert before is after
        assert network.connected == 0


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("refused", httpx2.ConnectError),
        ("unknown", httpx2.ConnectError),
        ("connect", httpx2.ConnectTimeout),
        ("read", httpx2.ReadTimeout),
        ("write", httpx2.WriteTimeout),
        ("reset", httpx2.ReadError),
        ("close", httpx2.RemoteProtocolError),
    ],
)
async def test_httpx2_raises_what_it_would_over_sockets(
    fault: str, expected: type[Exception]
) -> None:
    async def serve(stream: Stream) -> None:
        if fault == "write":
            await anyio.sleep_forever()
        await Connection(stream).read_request()
        if fault == "read":
            await anyio.sleep_forever()
        elif fault == "reset":
            await stream.reset()

    async with Network() as network:
        network.listen("api.test", 80, serve)
        network.listen("never.test", 80, serve, connect_seconds=inf)
        network.refuse("closed.test", 80)
        host = {"refused": "closed.test", "unknown": "x.test", "connect": "never.test"}
        url = f"http://{host.get(fault, 'api.test')}/"
        body = b"x" * (2 * WINDOW)
        begin = anyio.current_time()
        with network.installed():
            async with httpx2.AsyncClient(timeout=7, trust_env=False) as client:
                with pytest.raises(expected):
                    await client.post(url, content=body)
        late = {"connect", "read", "write"}
        assert since(begin) == (7 if fault in late else 0)
        assert network.open == 0


async def test_unused_connections_age_by_the_virtual_clock() -> None:
    async def serve(stream: Stream) -> None:
        connection = Connection(stream)
        while True:
            await connection.read_request()
            await connection.send(json_response(200, {}).wire())

    async with Network() as network:
        network.listen("api.test", 80, serve)
        with network.installed():
            limits = httpx2.Limits(keepalive_expiry=60.0)
            async with httpx2.AsyncClient(limits=limits, trust_env=False) as client:
                await client.get("http://api.test/")
                await anyio.sleep(60)
                await client.get("http://api.test/")
                assert network.connected == 1
                await anyio.sleep(60.001)
                await client.get("http://api.test/")
                assert network.connected == 2
                assert network.open == 1


async def test_both_sdks_have_a_minute_in_no_time() -> None:
    """The vendors' own clients, their own pools, and a provider that thinks 50 s."""
    provider = FakeProvider(latency=50.0)
    said: Any = [{"role": "user", "content": "Say hello to row-17"}]
    async with Network() as network:
        network.listen("api.test", 80, provider.serve_connection)
        with network.installed():
            async with (
                openai.AsyncOpenAI(
                    api_key="k", base_url="http://api.test/v1", max_retries=0
                ) as one,
                anthropic.AsyncAnthropic(
                    api_key="k", base_url="http://api.test", max_retries=0
                ) as other,
            ):
                # Asks a thread once, and virtual time waits for none.
                one._platform = other._platform = "Linux"
                start = anyio.current_time()
                chat = await one.chat.completions.create(model="m", messages=said)
                assert since(start) == 50
                message = await other.messages.create(
                    model="m", messages=said, max_tokens=9
                )
                assert since(start) == 100
            assert network.open == 0
    assert chat.choices[0].message.content == "Answer to row-17"
    assert message.content[0].type == "text"
