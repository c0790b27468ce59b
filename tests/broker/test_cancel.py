"""After any cancellation nothing is held: no worker, no token, no place, no call."""

import itertools

import anyio
import pytest

from aitor.broker.broker import Broker
from aitor.errors import BrokerClosedError, LLMError, RateLimitError, ServerError
from aitor.testing.scripted import Hang, ScriptedProvider, Slow

pytestmark = pytest.mark.anyio


def held(broker: Broker) -> dict[str, float]:
    statistics = broker.statistics()
    provider = next(iter(statistics.providers.values()))
    actor = next(iter(broker._actors.values()))
    return {
        "open": statistics.open,
        "queued": provider.queued,
        "at the door": provider.at_the_door,
        "in flight": provider.in_flight,
        "reserved": sum(actor.limit.bucket.reserved),
    }


NOTHING = dict.fromkeys(["open", "queued", "at the door", "in flight", "reserved"], 0)


async def test_on_the_wire() -> None:
    provider = ScriptedProvider(Hang(), requests_per_minute=600)
    broker = Broker([provider])
    with anyio.move_on_after(1.0):
        await broker.submit("x")
    assert provider.in_flight == 0
    assert held(broker) == NOTHING
    assert broker.statistics().cancelled == 1


async def test_in_the_mailbox_the_place_is_free_in_the_same_tick() -> None:
    provider = ScriptedProvider(Hang(), workers=1, queue_size=1)
    async with Broker([provider]) as broker:
        broker.submit_nowait("on the wire")
        waiting = broker.submit_nowait("in the mailbox")
        await anyio.sleep(1.0)
        assert broker.statistics().providers["scripted"].queued == 1
        waiting.cancel()
        with pytest.raises(BrokerClosedError):
            await waiting.reply()
        broker.submit_nowait("takes the place")
        assert broker.statistics().providers["scripted"].queued == 1
        await broker.aclose(drain_timeout=0.0)


async def test_at_the_door() -> None:
    provider = ScriptedProvider(Slow(10.0, "ok"), workers=1, queue_size=1)
    broker = Broker([provider])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(broker.submit, "wire")
        tasks.start_soon(broker.submit, "mailbox")
        await anyio.sleep(1.0)
        with anyio.move_on_after(1.0):
            await broker.submit("door")
        assert held(broker)["at the door"] == 0
        assert held(broker)["queued"] == 1
    assert held(broker) == NOTHING
    assert len(provider.sent) == 2


async def test_in_the_backoff() -> None:
    provider = ScriptedProvider(ServerError("no", retry_after=50.0))
    broker = Broker([provider])
    with anyio.move_on_after(5.0):
        await broker.submit("x")
    assert held(broker) == NOTHING
    await anyio.sleep(100.0)
    assert len(provider.sent) == 1


async def test_while_it_waits_for_the_limit() -> None:
    provider = ScriptedProvider("ok", requests_per_minute=6)
    broker = Broker([provider])
    await broker.submit("first")
    with anyio.move_on_after(1.0):
        await broker.submit("given up")
    assert held(broker) == NOTHING
    begin = anyio.current_time()
    await broker.submit("third")
    # The request that was given up took nothing from the limit.
    assert anyio.current_time() - begin < 60.0 / 5
    assert len(provider.sent) == 2


async def test_the_head_s_leaving_passes_the_clock_on() -> None:
    provider = ScriptedProvider("ok", requests_per_minute=60)
    broker = Broker([provider])
    done: list[float] = []

    async def ask(timeout: float | None) -> None:
        with anyio.move_on_after(timeout):
            await broker.submit("x")
            done.append(anyio.current_time())

    async with anyio.create_task_group() as tasks:
        for timeout in (None, 0.2, None, None):
            tasks.start_soon(ask, timeout)
            await anyio.sleep(0.01)
    gaps = [after - before for before, after in itertools.pairwise(done)]
    assert len(done) == 3
    assert gaps == pytest.approx([60.0 / 60, 60.0 / 60], rel=0.1)


async def test_a_storm_of_cancellations_leaves_a_working_broker() -> None:
    provider = ScriptedProvider(
        lambda number: Slow(0.1 * (number % 7), "ok"), workers=4, queue_size=8
    )
    broker = Broker([provider])

    async def impatient(number: int) -> None:
        with anyio.move_on_after(0.05 * (number % 11)):
            await broker.submit(f"{number}")

    async with anyio.create_task_group() as tasks:
        for number in range(500):
            tasks.start_soon(impatient, number)
            if number % 5 == 0:
                await anyio.sleep(0.01)
    assert held(broker) == NOTHING
    assert provider.most_in_flight <= 4
    assert (await broker.submit("x")).text == "ok"


async def test_closing_ends_everything_with_an_error_for_each() -> None:
    provider = ScriptedProvider(Hang(), workers=1, queue_size=1)
    broker = Broker([provider], drain_timeout=5.0)
    errors: list[LLMError] = []

    async def ask() -> None:
        with pytest.raises(BrokerClosedError) as caught:
            await broker.submit("x")
        errors.append(caught.value)

    async with anyio.create_task_group() as tasks:
        async with broker:
            for _ in range(3):
                tasks.start_soon(ask)
            await anyio.sleep(1.0)
            begin = anyio.current_time()
        assert anyio.current_time() - begin == pytest.approx(5.0)
    assert len(errors) == 3
    assert held(broker) == NOTHING
    assert provider.closed


async def test_closing_ends_a_backoff() -> None:
    broker = Broker([ScriptedProvider(ServerError("no", retry_after=500.0))])
    async with anyio.create_task_group() as tasks:

        async def ask() -> None:
            with pytest.raises(BrokerClosedError):
                await broker.submit("x")

        tasks.start_soon(ask)
        await anyio.sleep(1.0)
        await broker.aclose(drain_timeout=1.0)
    assert anyio.current_time() < 400.0 or held(broker) == NOTHING


async def test_draining_lets_what_runs_and_waits_finish() -> None:
    provider = ScriptedProvider(Slow(3.0, "ok"), workers=1)
    texts: list[str] = []

    async def ask(broker: Broker) -> None:
        texts.append((await broker.submit("x")).text)

    async with anyio.create_task_group() as tasks:
        async with Broker([provider]) as broker:
            tasks.start_soon(ask, broker)
            tasks.start_soon(ask, broker)
            await anyio.sleep(1.0)
        with pytest.raises(BrokerClosedError):
            await broker.submit("too late")
    assert texts == ["ok", "ok"]


async def test_a_pause_does_not_hold_up_a_caller_who_leaves() -> None:
    provider = ScriptedProvider(RateLimitError("slow", retry_after=1_000.0))
    broker = Broker([provider])
    with anyio.move_on_after(2.0) as scope:
        await broker.submit("x")
    assert scope.cancelled_caught
    assert held(broker) == NOTHING
