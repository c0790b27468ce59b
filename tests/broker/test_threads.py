"""The broker for programs, and threads, that are not asynchronous."""

import threading
from collections.abc import Iterator

import anyio
import anyio.to_thread
import pytest

from aitor.broker.blocking import BlockingBroker
from aitor.broker.broker import Broker
from aitor.errors import BrokerClosedError, ServerError
from aitor.testing.scripted import ScriptedProvider


@pytest.fixture(params=["asyncio", "trio"])
def broker(request: pytest.FixtureRequest) -> Iterator[BlockingBroker]:
    """Open a blocking broker, in real time: threads know no other."""
    provider = ScriptedProvider(["one", ServerError("no"), "three"], max_retries=0)
    with BlockingBroker(Broker([provider]), backend=request.param) as opened:
        yield opened


def test_a_program_that_is_not_asynchronous_submits(broker: BlockingBroker) -> None:
    assert broker.submit("x").text == "one"
    with pytest.raises(ServerError):
        broker.submit("x")
    assert broker.submit("x").text == "three"
    assert broker.statistics().answered == 2


def test_it_maps(broker: BlockingBroker) -> None:
    results = list(broker.map(["a", "b", "c"], max_in_flight=1))
    assert [result.reply is not None for result in results] == [True, False, True]


def test_many_threads_share_one(broker: BlockingBroker) -> None:
    broker.submit("x")
    with pytest.raises(ServerError):
        broker.submit("x")
    texts: list[str] = []
    threads = [
        threading.Thread(target=lambda: texts.append(broker.submit("x").text))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == ["three"] * 8


def test_it_needs_to_be_open() -> None:
    with pytest.raises(BrokerClosedError):
        BlockingBroker(Broker([ScriptedProvider()])).submit("x")


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_another_thread_submits_to_an_asynchronous_broker() -> None:
    async with Broker([ScriptedProvider("ok")]) as broker:
        reply = await anyio.to_thread.run_sync(broker.submit_from_thread, "x")
    assert reply.text == "ok"
    with pytest.raises(BrokerClosedError):
        broker.submit_from_thread("x")
