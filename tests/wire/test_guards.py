"""Guards of the wire that no other test would surely notice; see docs/mutation.md."""

import anyio
import pytest
from tests.wire.server import Server, Then, answer
from tests.wire.wires import ask, connect, pair

from aitor.errors import ConnectionFailedError
from aitor.wire.sse import EventReader


def test_a_carriage_return_and_its_line_feed_are_one_line_end_in_two_pieces() -> None:
    reader = EventReader(1_000)
    assert reader.feed(b"data: a\r") == []
    assert reader.feed(b"\ndata: b\n") == []
    (event,) = reader.feed(b"\n")
    assert event.data == b"a\nb"


@pytest.mark.anyio
async def test_a_connection_that_was_not_made_takes_no_place() -> None:
    with anyio.fail_after(10):
        async with connect("sockets", "http://127.0.0.1:1", max_connections=1) as wire:
            for _ in range(3):
                with pytest.raises(ConnectionFailedError, match="refused"):
                    await ask(wire)


@pytest.mark.anyio
async def test_a_connection_that_is_known_to_be_closed_is_replaced_unseen() -> None:
    now = anyio.Event()
    server = Server([answer(), now, Then.CLOSE], [answer(b"two")])
    async with pair("sockets", server) as wire:
        await ask(wire)
        now.set()
        await server.closed.wait()
        _, _, body = await ask(wire)
    assert body == b"two"
    assert server.connections == 2
