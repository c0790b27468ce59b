"""Providers whose closing fails or takes for ever are nobody else's trouble."""

import logging
from collections.abc import Awaitable, Callable

import anyio
import pytest

from aitor.broker.broker import Broker
from aitor.errors import BrokerClosedError
from aitor.messages import Answer, Request
from aitor.testing.scripted import Hang, ScriptedProvider

pytestmark = pytest.mark.anyio

SECRET = "sk-live-123"


class Unclosable(ScriptedProvider):
    """One whose closing does what it is told to."""

    def __init__(self, close: Callable[[], Awaitable[None]]) -> None:
        super().__init__("ok")
        self._close = close

    async def aclose(self) -> None:
        await self._close()


async def fail() -> None:
    await anyio.sleep(1.0)
    raise RuntimeError(f"cannot close {SECRET}")


async def hang() -> None:
    await anyio.sleep_forever()


both = pytest.mark.parametrize("close", [fail, hang])


@both
async def test_a_replaced_provider_is_closed_at_nobody_s_cost(
    close: Callable[[], Awaitable[None]],
) -> None:
    async with Broker({"p": Unclosable(close)}) as broker:
        broker.add_provider("p", ScriptedProvider("new"))
        begin = anyio.current_time()
        assert (await broker.submit("x", timeout=1.0)).text == "new"
        assert anyio.current_time() == begin
        await anyio.sleep(60.0)
        assert (await broker.submit("x")).text == "new"


@both
async def test_in_a_broker_that_is_not_open_it_costs_a_few_seconds_at_most(
    close: Callable[[], Awaitable[None]],
) -> None:
    broker = Broker({"p": Unclosable(close)})
    broker.add_provider("p", ScriptedProvider("new"))
    begin = anyio.current_time()
    assert (await broker.submit("x", timeout=1.0)).text == "new"
    assert anyio.current_time() - begin < 5.1
    begin = anyio.current_time()
    assert (await broker.submit("x")).text == "new"
    assert anyio.current_time() == begin


async def test_all_others_are_closed_all_the_same() -> None:
    async def close_late() -> None:
        await anyio.sleep(4.0)
        last.closed = True

    last = Unclosable(close_late)
    first, replaced = ScriptedProvider("ok"), ScriptedProvider("ok")
    named = {"fails": Unclosable(fail), "r": replaced, "hangs": Unclosable(hang)}
    begin = anyio.current_time()
    async with Broker({**named, "first": first, "last": last}) as broker:
        broker.add_provider("r", ScriptedProvider("ok"))
    assert first.closed
    assert replaced.closed
    assert last.closed
    assert anyio.current_time() - begin == pytest.approx(5.0)


async def test_what_will_not_end_takes_no_time_from_closing() -> None:
    async def stubborn(_: Request) -> Answer:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(60.0)
        await anyio.sleep_forever()
        raise AssertionError

    async def close_slowly() -> None:
        await anyio.sleep(1.0)
        slow.closed = True

    slow, other = Unclosable(close_slowly), ScriptedProvider(lambda _: stubborn)
    broker = Broker({"slow": slow, "other": other})
    async with anyio.create_task_group() as tasks:

        async def ask() -> None:
            with pytest.raises(BrokerClosedError):
                await broker.submit("x", provider="other")

        tasks.start_soon(ask)
        await anyio.sleep(1.0)
        await broker.aclose(drain_timeout=0.0)
        assert other.in_flight == 1
        assert other.closed
        assert slow.closed


async def test_an_owner_who_is_cancelled_closes_all_though_others_still_wait() -> None:
    provider = ScriptedProvider(Hang())
    broker = Broker([provider])
    async with anyio.create_task_group() as tasks:

        async def ask() -> None:
            with pytest.raises(BrokerClosedError):
                await broker.submit("x")

        tasks.start_soon(ask)
        with anyio.move_on_after(1.0):
            async with broker:
                await anyio.sleep_forever()
        assert provider.in_flight == 0
        assert provider.closed


async def test_a_provider_with_two_names_is_closed_once() -> None:
    closed: list[str] = []

    async def close() -> None:
        closed.append("closed")

    provider = Unclosable(close)
    await Broker({"one": provider, "two": provider}).aclose()
    assert closed == ["closed"]


@both
async def test_an_operator_is_told_and_no_secret_is(
    close: Callable[[], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="aitor")
    await Broker({"p": Unclosable(close)}).aclose()
    (record,) = caplog.records
    error = "RuntimeError" if close is fail else "TimeoutError"
    assert record.getMessage() == f"provider_not_closed provider=p error={error}"
    assert record.levelname == "WARNING"
    assert SECRET not in logging.Formatter().format(record)
