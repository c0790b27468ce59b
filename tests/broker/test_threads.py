"""The broker for programs, and threads, that are not asynchronous."""

import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future

import anyio
import anyio.to_thread
import pytest

from aitor.broker.blocking import BlockingBroker
from aitor.broker.broker import Broker
from aitor.errors import BrokerClosedError, ServerError
from aitor.messages import Reply
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


def test_it_cannot_be_opened_twice_and_lets_the_program_end() -> None:
    program = """
from aitor import BlockingBroker, Broker
from aitor.errors import BrokerClosedError
from aitor.testing.scripted import ScriptedProvider

broker = BlockingBroker(Broker([ScriptedProvider("ok")]))
with broker:
    pass
try:
    broker.__enter__()
except BrokerClosedError as error:
    print(error)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert (ran.stdout, ran.stderr) == ("a closed broker cannot be opened again\n", "")


def test_a_second_opening_leaves_the_first_as_it_is(broker: BlockingBroker) -> None:
    with pytest.raises(RuntimeError, match="open already"):
        broker.__enter__()
    assert broker.submit("x").text == "one"


def test_a_stream_ends_with_its_broker(broker: BlockingBroker) -> None:
    results = broker.map(["a", "b", "c"])
    abandoned = broker.map(["a", "b", "c"])
    next(results)
    next(abandoned)
    broker.__exit__(None, None, None)
    with pytest.raises(BrokerClosedError):
        next(results)
    abandoned.close()  # type: ignore[attr-defined]  # it is a generator


def test_a_thread_that_comes_as_it_closes_is_told_so(
    broker: BlockingBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has looked whether the broker is open, and then it is no longer."""
    portal = broker._portal
    assert portal is not None
    start = portal.start_task_soon

    def start_late(function: Callable[[], Awaitable[Reply]]) -> Future[Reply]:
        monkeypatch.undo()
        broker.__exit__(None, None, None)
        return start(function)

    monkeypatch.setattr(portal, "start_task_soon", start_late)
    with pytest.raises(BrokerClosedError):
        broker.submit("x")


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_another_thread_that_comes_as_the_broker_closes_is_told_so() -> None:
    async with Broker([ScriptedProvider("ok")]) as broker:
        host = broker._residence.host
        assert host is not None
        await broker.aclose()
        # It has looked whether the broker is open, and then it is no longer.
        broker._residence.host = host
        with pytest.raises(BrokerClosedError):
            await anyio.to_thread.run_sync(broker.submit_from_thread, "x")
        broker._residence.close()


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_the_broker_s_own_thread_is_told_that_it_is_the_wrong_one() -> None:
    async with Broker([ScriptedProvider("ok")]) as broker:
        with pytest.raises(RuntimeError, match="event loop thread"):
            broker.submit_from_thread("x")
        assert (await broker.submit("x")).text == "ok"


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_another_thread_submits_to_an_asynchronous_broker() -> None:
    async with Broker([ScriptedProvider("ok")]) as broker:
        reply = await anyio.to_thread.run_sync(broker.submit_from_thread, "x")
    assert reply.text == "ok"
    with pytest.raises(BrokerClosedError):
        broker.submit_from_thread("x")
