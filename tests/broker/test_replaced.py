"""A provider that another has taken the place of: it ends when its requests have."""

import gc
import weakref
from collections.abc import Iterator
from functools import partial

import anyio
import pytest

from aitor.broker.broker import Broker
from aitor.broker.limit import Limit
from aitor.errors import DeadlineExceededError, ServerError
from aitor.messages import Answer, Reply, Request
from aitor.providers.base import Progress
from aitor.providers.settings import LimitSettings
from aitor.testing.scripted import ScriptedProvider, Slow, Step

pytestmark = pytest.mark.anyio


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def test_all_who_come_back_to_it_are_woken() -> None:
    """What wakes its mailbox does not end in a moment in which nobody waits there."""
    down, late = ServerError("down"), Slow(30.0, "late")
    script: list[Step] = [down, down, late, late]
    old = ScriptedProvider(script, workers=1, retry_delay=10.0)
    replies: list[Reply] = []
    async with Broker({"p": old}, seed=3) as broker:

        async def ask() -> None:
            replies.append(await broker.submit("x"))

        with anyio.fail_after(1_000.0):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                tasks.start_soon(ask)
                await anyio.sleep(0.01)
                broker.add_provider("p", ScriptedProvider("new"))
                assert (await broker.submit("x")).text == "new"
    assert [reply.text for reply in replies] == ["late", "late"]


async def test_a_handle_that_is_kept_keeps_no_provider_open() -> None:
    old = ScriptedProvider("old")
    async with Broker({"p": old}) as broker:
        handle = broker.submit_nowait("x")
        assert (await handle.reply()).text == "old"
        broker.add_provider("p", ScriptedProvider("new"))
        await broker.submit("x")
        await anyio.sleep(1.0)
        assert old.closed


@pytest.mark.usefixtures("no_collector")
async def test_nothing_is_left_of_those_that_were_replaced() -> None:
    """A broker that gets a new key every minute is no larger after a year."""
    limit = Limit("account", LimitSettings(requests_per_minute=60_000))
    gone: list[weakref.ref[ScriptedProvider]] = []

    def make() -> ScriptedProvider:
        provider = ScriptedProvider("ok", limits="account")
        gone.append(weakref.ref(provider))
        return provider

    async with Broker({"p": make()}, limits={"account": limit}) as broker:
        for _ in range(100):
            broker.add_provider("p", make())
            await broker.submit("x")
        await anyio.sleep(1.0)
        assert sum(one() is not None for one in gone) == 1
        assert len(limit._sharers) <= 2


@pytest.mark.parametrize("shared", [False, True])
def test_by_another_clock_limits_and_circuits_begin_anew(*, shared: bool) -> None:
    """Each run of trio has a clock of its own, that begins anywhere."""
    limit = LimitSettings(requests_per_minute=1)
    settings = {"limits": "one"} if shared else {"requests_per_minute": 1}
    provider = ScriptedProvider("ok", **settings)
    broker = Broker([provider], limits={"one": Limit("one", limit)})

    async def ask() -> None:
        with anyio.fail_after(5.0):
            await broker.submit("x")

    for _ in range(6):
        anyio.run(ask, backend="trio")
    anyio.run(ask)
    assert not provider.closed
    with pytest.raises(DeadlineExceededError):
        # One clock holds for all of asyncio's.
        anyio.run(partial(broker.submit, "x", timeout=1.0))


def test_a_limit_that_brokers_share_goes_by_one_clock() -> None:
    """Whoever of them is asked first in another run; and opened there, too."""
    limit = Limit("one", LimitSettings(requests_per_minute=1))
    one, two = (
        Broker([ScriptedProvider("ok", limits="one")], limits={"one": limit})
        for _ in range(2)
    )

    async def ask(broker: Broker, *, opened: bool = False) -> None:
        with anyio.fail_after(5.0):
            if opened:
                async with broker:
                    await broker.submit("x")
            else:
                await broker.submit("x")

    for each in (one, two, one):
        anyio.run(ask, each, backend="trio")
    anyio.run(partial(ask, two, opened=True), backend="trio")


async def test_a_provider_that_keeps_its_progress_keeps_no_broker() -> None:
    class Keeps(ScriptedProvider):
        async def complete(self, request: Request, progress: Progress) -> Answer:
            self.kept = progress
            return await super().complete(request, progress)

    broker = Broker({"p": Keeps("ok")})
    await broker.submit("x")
    broker.add_provider("p", ScriptedProvider("ok"))
    known = weakref.ref(broker)
    del broker
    gc.collect()
    assert known() is None
