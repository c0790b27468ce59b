"""
A broker is opened and closed by whichever task of its loop, in whatever order.

The kind: a task group within, which belongs to whoever entered it. Nobody who opens a
broker is cancelled by it, none leaves a cancellation behind, and closing takes no
longer than was agreed, whatever a provider's code does.
"""

import math
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from aitor.broker.broker import Broker
from aitor.broker.closing import CLOSE_SECONDS, GRACE_SECONDS
from aitor.errors import BrokerClosedError
from aitor.messages import Answer, Request
from aitor.testing.scripted import Hang, ScriptedProvider, Slow

pytestmark = pytest.mark.anyio

Leave = Callable[[Broker], Awaitable[Any]]


async def leave_the_block(broker: Broker) -> None:
    await broker.__aexit__(None, None, None)


async def leave_by_an_error(broker: Broker) -> None:
    await broker.__aexit__(ValueError, ValueError(), None)


async def close(broker: Broker) -> None:
    await broker.aclose()


leaving = pytest.mark.parametrize("leave", [leave_the_block, leave_by_an_error, close])


def make(script: Any = "ok", **settings: Any) -> Broker:
    return Broker([ScriptedProvider(script)], drain_timeout=1.0, **settings)


async def nothing_is_left() -> None:
    """Check that nobody has cancelled this task, now or for later."""
    for _ in range(5):
        await checkpoint()
    with anyio.CancelScope() as scope:
        await anyio.sleep(1.0)
        assert not scope.cancel_called
    assert anyio.current_effective_deadline() == math.inf


async def uses_of(broker: Broker) -> None:
    """Use everything that has a task behind it."""
    assert (await broker.submit("x", timeout=5.0)).text == "ok"
    assert (await broker.submit_nowait("x").reply()).text == "ok"
    assert [row.index async for row in broker.map(["x"] * 3, ordered=True)] == [0, 1, 2]


@leaving
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
async def test_several_are_left_in_any_order(
    leave: Leave, order: tuple[int, ...]
) -> None:
    brokers = [await make().__aenter__() for _ in range(3)]
    for number in order:
        await uses_of(brokers[number])
        await leave(brokers[number])
        with pytest.raises(BrokerClosedError):
            await brokers[number].submit("x")
    await nothing_is_left()


@leaving
async def test_one_is_left_in_another_task_than_it_was_entered_in(
    leave: Leave,
) -> None:
    broker = make()

    async def enter() -> None:
        await broker.__aenter__()

    async def exit_() -> None:
        await leave(broker)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(enter)
    await uses_of(broker)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(exit_)
    await nothing_is_left()


@leaving
async def test_its_opener_may_be_gone_by_cancellation(leave: Leave) -> None:
    """A start-up hook with a time limit, say."""
    broker = make()
    with anyio.CancelScope() as scope:
        await broker.__aenter__()
        scope.cancel()
        await anyio.sleep_forever()
    await uses_of(broker)
    await leave(broker)
    await nothing_is_left()


@leaving
async def test_it_is_left_by_a_task_that_is_cancelled(leave: Leave) -> None:
    provider = ScriptedProvider(Slow(0.5, "ok"))
    broker = await Broker([provider]).__aenter__()
    submission = broker.submit_nowait("x")
    await checkpoint()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await leave(broker)
    assert provider.closed
    assert provider.in_flight == 0
    with pytest.raises(BrokerClosedError):
        await submission.reply()
    await nothing_is_left()


async def test_a_scope_around_an_opening_is_not_its() -> None:
    """What is opened within a scope that has ended lives on."""
    with anyio.move_on_after(1.0):
        broker = await make().__aenter__()
    await anyio.sleep(2.0)
    await uses_of(broker)
    await broker.aclose()


async def test_two_tasks_close_it_at_once() -> None:
    broker = await make(Hang()).__aenter__()
    submission = broker.submit_nowait("x")
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(broker.aclose)
    with pytest.raises(BrokerClosedError):
        await submission.reply()
    await broker.aclose()
    await broker.__aexit__(None, None, None)


async def test_a_bug_in_one_of_its_tasks_is_nobody_else_s(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = make()

    async def run() -> None:
        raise RuntimeError("sk-live-123")

    monkeypatch.setattr(broker._watch.__class__, "run", lambda _: run())
    async with broker:
        await uses_of(broker)
    (record,) = caplog.records
    assert record.getMessage() == "task_failed error=RuntimeError"
    await nothing_is_left()


async def test_a_provider_that_exits_ends_its_own_request_alone() -> None:
    """`sys.exit` in a provider's code, in the tasks that a broker runs by itself."""
    broker = make(lambda number: exits if number == 0 else "ok")
    async with broker:
        submission = broker.submit_nowait("x")
        with pytest.raises(SystemExit):
            await submission.reply()
        await uses_of(broker)


async def exits(_: Request) -> Answer:
    raise SystemExit(3)


async def stubborn(_: Request) -> Answer:
    """Ignore every cancellation."""
    with anyio.CancelScope(shield=True):
        await anyio.sleep(600.0)
    raise AssertionError


@leaving
@pytest.mark.parametrize("verb", ["submit", "submit_nowait", "map", "thread"])
async def test_closing_waits_for_nobody_who_ignores_his_cancellation(
    leave: Leave, verb: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever started the call: a caller, the broker, its `map`, or a thread."""

    class Stubborn(ScriptedProvider):
        async def aclose(self) -> None:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(600.0)

    provider = Stubborn(lambda _: stubborn)
    other = ScriptedProvider("ok")
    broker = Broker({"stubborn": provider, "other": other}, drain_timeout=1.0)

    async def ask() -> None:
        with anyio.CancelScope(shield=True):
            if verb == "submit":
                with pytest.raises(BrokerClosedError):
                    await broker.submit("x")
            elif verb == "map":
                with pytest.raises(BrokerClosedError):
                    async for row in broker.map(["x"]):
                        raise row.error or AssertionError

    async with anyio.create_task_group() as tasks:
        await broker.__aenter__()
        if verb == "submit_nowait":
            broker.submit_nowait("x")
        elif verb == "thread":
            host = broker._residence.host
            assert host is not None
            host.start_soon(broker.submit, "x")
        tasks.start_soon(ask)
        await anyio.sleep(0.1)
        assert provider.in_flight == 1
        begin = anyio.current_time()
        await leave(broker)
        seconds = anyio.current_time() - begin
        assert seconds <= 1.0 + 2 * (CLOSE_SECONDS + GRACE_SECONDS)
        assert other.closed
        assert "provider_not_closed provider=stubborn error=TimeoutError" in caplog.text
        await nothing_is_left()
