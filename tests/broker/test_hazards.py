"""
asyncio's own hazards: native cancellation, wherever it strikes, leaves nothing behind.

Native `task.cancel()` is another thing than an anyio scope: it is delivered once, may
come twice, may come in the tick in which a wait has just ended, and knows no shields.
After each case the broker serves the next request, and nothing is held.
"""

import asyncio  # noqa: TID251  # these hazards are asyncio's own
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, Literal

import anyio
import pytest
from tests.broker.conftest import opens_after

from aitor.broker.broker import Broker
from aitor.errors import BrokerClosedError, LLMError, ServerError
from aitor.messages import Reply
from aitor.testing.scripted import Hang, ScriptedProvider, Slow
from aitor.testing.virtual import VirtualTimeLoop, virtual_backend

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return virtual_backend("asyncio")


def held(broker: Broker) -> dict[str, float]:
    seen = broker.statistics()
    return {
        "open": seen.open,
        "queued": sum(one.queued for one in seen.providers.values()),
        "at the door": sum(one.at_the_door for one in seen.providers.values()),
        "in flight": sum(one.in_flight for one in seen.providers.values()),
        "reserved": sum(
            sum(actor.limit.bucket.reserved) for actor in broker._actors.values()
        ),
        "busy": sum(
            actor.settings.workers - actor._free for actor in broker._actors.values()
        ),
        "backing off": len(broker._delivery._backing_off),
    }


NOTHING = dict.fromkeys(
    ["open", "queued", "at the door", "in flight", "reserved", "busy", "backing off"],
    0,
)


class Scene:
    """
    A broker in which one more request would be in a certain state.

    Args:
        provider: The broker's provider.
        where: What of `held` the request will be found in.
        ahead: Requests that bring the state about; they are cancelled at the end.
        when_unavailable: As for `submit`.
    """

    def __init__(
        self,
        provider: ScriptedProvider,
        where: str,
        *,
        ahead: int = 0,
        when_unavailable: Literal["wait"] | None = None,
    ) -> None:
        self.broker = Broker([provider], seed=1)
        self.provider = provider
        self.where = where
        self.when_unavailable = when_unavailable
        self._ahead = ahead
        self._tasks: list[asyncio.Task[Reply]] = []

    async def set(self) -> None:
        for _ in range(self._ahead):
            self._tasks.append(asyncio.create_task(self.broker.submit("ahead")))
            await asyncio.sleep(0.1)

    def ask(self) -> Coroutine[Any, Any, Reply]:
        return self.broker.submit("victim", when_unavailable=self.when_unavailable)

    async def check(self) -> None:
        """After everything was cancelled, nothing is held and the next is served."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        assert held(self.broker) == NOTHING
        self.provider._script = "next"
        reply = await asyncio.wait_for(
            self.broker.submit("next", when_unavailable="wait"), timeout=1_000.0
        )
        assert reply.text == "next"
        assert held(self.broker) == NOTHING


def in_the_mailbox() -> Scene:
    return Scene(ScriptedProvider(Hang(), workers=1), "queued", ahead=1)


def at_the_door() -> Scene:
    return Scene(
        ScriptedProvider(Hang(), workers=1, queue_size=1), "at the door", ahead=2
    )


def at_the_limit() -> Scene:
    return Scene(ScriptedProvider("ok", requests_per_minute=6), "queued", ahead=1)


def in_the_backoff() -> Scene:
    return Scene(ScriptedProvider(ServerError("no", retry_after=50.0)), "backing off")


def on_the_wire() -> Scene:
    return Scene(ScriptedProvider(Hang(), requests_per_minute=60), "in flight")


def at_the_circuit() -> Scene:
    provider = ScriptedProvider(
        ServerError("no"), max_retries=0, breaker=opens_after(1)
    )
    return Scene(provider, "queued", ahead=1, when_unavailable="wait")


SCENES = [
    in_the_mailbox,
    at_the_door,
    at_the_limit,
    in_the_backoff,
    on_the_wire,
    at_the_circuit,
]

Kill = Callable[[Scene], Awaitable[None]]


async def _running(scene: Scene) -> "asyncio.Task[Reply]":
    task = asyncio.create_task(scene.ask())
    await asyncio.sleep(0.3)
    assert held(scene.broker)[scene.where] == 1
    return task


async def once(scene: Scene) -> None:
    task = await _running(scene)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def twice_in_a_row(scene: Scene) -> None:
    task = await _running(scene)
    task.cancel()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def one_tick_apart(scene: Scene) -> None:
    task = await _running(scene)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def before_it_ran(scene: Scene) -> None:
    task = asyncio.create_task(scene.ask())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def after_its_first_tick(scene: Scene) -> None:
    task = asyncio.create_task(scene.ask())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def by_wait_for(scene: Scene) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(scene.ask(), timeout=0.3)


async def by_timeout(scene: Scene) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await scene.ask()


async def inside_a_scope(scene: Scene) -> None:
    async def ask() -> None:
        with anyio.CancelScope():
            await scene.ask()

    task = asyncio.create_task(ask())
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def inside_a_shield(scene: Scene) -> None:
    """A shield is for scopes; native cancellation passes it."""

    async def ask() -> None:
        with anyio.CancelScope(shield=True):
            await scene.ask()

    task = asyncio.create_task(ask())
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def by_scope_and_natively(scene: Scene) -> None:
    scope = anyio.CancelScope()

    async def ask() -> None:
        with scope:
            await scene.ask()

    task = asyncio.create_task(ask())
    await asyncio.sleep(0.3)
    scope.cancel()
    task.cancel()
    await asyncio.wait([task])
    assert task.done()


async def in_a_cancelled_task_group(scene: Scene) -> None:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(scene.ask())
        await asyncio.sleep(0.3)
        task.cancel()


async def behind_asyncio_s_shield(scene: Scene) -> None:
    inner = asyncio.ensure_future(scene.ask())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await asyncio.shield(inner)
    assert not inner.done()
    inner.cancel()
    await asyncio.wait([inner])


KILLS: list[Kill] = [
    once,
    twice_in_a_row,
    one_tick_apart,
    before_it_ran,
    after_its_first_tick,
    by_wait_for,
    by_timeout,
    inside_a_scope,
    inside_a_shield,
    by_scope_and_natively,
    in_a_cancelled_task_group,
    behind_asyncio_s_shield,
]


@pytest.mark.parametrize("kill", KILLS, ids=lambda kill: kill.__name__)
@pytest.mark.parametrize("make", SCENES, ids=lambda make: make.__name__)
async def test_nothing_is_held_after(make: Callable[[], Scene], kill: Kill) -> None:
    scene = make()
    await scene.set()
    await kill(scene)
    await scene.check()


@pytest.mark.parametrize("ticks", range(12))
@pytest.mark.parametrize("again", [False, True])
async def test_in_the_tick_in_which_it_may_start(ticks: int, again: bool) -> None:
    """
    The race of every queue: the place comes up just as its owner leaves.
    """
    provider = ScriptedProvider(Hang(), workers=1, requests_per_minute=6_000)
    broker = Broker([provider])
    first = asyncio.create_task(broker.submit("first"))
    await asyncio.sleep(0.1)
    second = asyncio.create_task(broker.submit("second"))
    await asyncio.sleep(0.1)
    first.cancel()
    for _ in range(ticks):
        await asyncio.sleep(0)
    second.cancel()
    if again:
        await asyncio.sleep(0)
        second.cancel()
    await asyncio.wait([first, second])
    assert held(broker) == NOTHING
    provider._script = "ok"
    assert (await broker.submit("third")).text == "ok"
    assert held(broker) == NOTHING


@pytest.mark.parametrize("ticks", range(10))
async def test_in_the_tick_in_which_the_answer_comes(ticks: int) -> None:
    """An answer that came is handed over or dropped; it is counted once."""
    gate = anyio.Event()

    async def answer(_: object) -> Any:
        await gate.wait()
        raise ServerError("late")

    provider = ScriptedProvider(lambda number: answer, workers=1, max_retries=0)
    broker = Broker([provider])
    task = asyncio.create_task(broker.submit("x"))
    await asyncio.sleep(0.1)
    gate.set()
    for _ in range(ticks):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert held(broker) == NOTHING
    assert broker.statistics().submitted == 1


async def test_a_map_that_is_abandoned_natively() -> None:
    provider = ScriptedProvider(Slow(1.0, "ok"), workers=4)
    async with Broker([provider]) as broker:

        async def consume() -> None:
            async with broker.map(f"{number}" for number in range(100)) as results:
                async for _ in results:
                    await asyncio.sleep(0.5)

        task = asyncio.create_task(consume())
        await asyncio.sleep(3.0)
        task.cancel()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        await asyncio.sleep(0.1)
        assert held(broker) == NOTHING
        assert (await broker.submit("x")).text == "ok"


async def test_a_map_whose_consumer_dies_without_closing_it() -> None:
    """Without `async with` the iterator is dropped, and what runs ends with it."""
    provider = ScriptedProvider(Slow(1.0, "ok"), workers=4)
    async with Broker([provider]) as broker:

        async def consume() -> None:
            async for _ in broker.map(f"{number}" for number in range(100)):
                await asyncio.sleep(0.5)

        task = asyncio.create_task(consume())
        await asyncio.sleep(3.0)
        task.cancel()
        await asyncio.wait([task])
        del task
        await asyncio.sleep(0.1)
        assert held(broker) == NOTHING


async def test_a_map_with_an_asynchronous_source_that_is_cancelled() -> None:
    async def source() -> AsyncIterator[str]:
        while True:
            await asyncio.sleep(0.1)
            yield "x"

    async with Broker([ScriptedProvider("ok")]) as broker:

        async def consume() -> None:
            async with broker.map(source()) as results:
                async for _ in results:
                    pass

        task = asyncio.create_task(consume())
        await asyncio.sleep(1.0)
        task.cancel()
        await asyncio.wait([task])
        assert held(broker) == NOTHING


@pytest.mark.parametrize("ticks", range(8))
async def test_a_handle_that_is_cancelled_at_any_tick(ticks: int) -> None:
    provider = ScriptedProvider([Hang(), "ok"], workers=1)
    async with Broker([provider]) as broker:
        handle = broker.submit_nowait("x")
        for _ in range(ticks):
            await asyncio.sleep(0)
        handle.cancel()
        handle.cancel()
        with pytest.raises(BrokerClosedError):
            await handle.reply()
        assert held(broker) == NOTHING
        provider._script = "ok"
        assert (await broker.submit("x")).text == "ok"


async def test_waiting_for_a_handle_may_be_cancelled_and_the_request_goes_on() -> None:
    async with Broker([ScriptedProvider(Slow(1.0, "ok"))]) as broker:
        handle = broker.submit_nowait("x")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(handle.reply(), timeout=0.5)
        assert (await handle.reply()).text == "ok"


@pytest.mark.parametrize("again", [False, True])
async def test_a_broker_whose_owner_is_cancelled_closes_and_holds_nothing(
    again: bool,
) -> None:
    provider = ScriptedProvider(Hang(), workers=1, queue_size=1)
    outcomes: list[LLMError] = []
    brokers: list[Broker] = []

    async def own() -> None:
        async with Broker([provider], drain_timeout=1_000.0) as broker:
            brokers.append(broker)
            await asyncio.sleep(1_000_000.0)

    async def ask() -> None:
        try:
            await brokers[0].submit("x")
        except LLMError as error:
            outcomes.append(error)

    owner = asyncio.create_task(own())
    await asyncio.sleep(0.1)
    callers = []
    for _ in range(3):
        callers.append(asyncio.create_task(ask()))
        await asyncio.sleep(0.1)
    begin = anyio.current_time()
    owner.cancel()
    if again:
        await asyncio.sleep(0)
        owner.cancel()
    await asyncio.wait([owner])
    assert owner.cancelled()
    assert anyio.current_time() - begin < 1.0
    await asyncio.wait_for(asyncio.gather(*callers), timeout=10.0)
    assert [type(one) for one in outcomes] == [BrokerClosedError] * 3
    assert held(brokers[0]) == NOTHING
    assert provider.closed


async def test_an_owner_who_is_cancelled_before_the_request_began() -> None:
    provider = ScriptedProvider(Hang(), requests_per_minute=60)
    brokers: list[Broker] = []

    async def own() -> None:
        async with Broker([provider]) as broker:
            brokers.append(broker)
            broker.submit_nowait("x")
            owner.cancel()
            await asyncio.sleep(1.0)

    owner = asyncio.create_task(own())
    await asyncio.wait([owner])
    assert owner.cancelled()
    assert held(brokers[0]) == NOTHING


async def test_a_closing_that_is_cancelled_natively_closes_all_the_same() -> None:
    provider = ScriptedProvider(Hang())
    broker = Broker([provider], drain_timeout=1_000.0)
    caller = asyncio.create_task(broker.submit("x"))
    await asyncio.sleep(0.1)
    closing = asyncio.create_task(broker.aclose())
    await asyncio.sleep(0.1)
    closing.cancel()
    await asyncio.wait([closing, caller])
    assert isinstance(caller.exception(), BrokerClosedError)
    assert held(broker) == NOTHING
    assert provider.closed


def test_a_loop_that_ends_leaves_no_complaint() -> None:
    """`asyncio.run` cancels what is left natively; that closes the broker too."""
    provider = ScriptedProvider(Hang())

    async def main() -> None:
        async def own() -> None:
            async with Broker([provider]) as broker:
                broker.submit_nowait("x")
                await broker.submit("y")

        task = asyncio.create_task(own())
        await asyncio.sleep(1.0)
        assert not task.done()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())
    assert provider.closed
    assert provider.in_flight == 0
