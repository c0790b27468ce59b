"""One timer ends all calls, and each of them when its own time is up."""

import gc
import weakref
from collections import UserDict
from contextlib import AsyncExitStack
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from aitor.broker import exchange
from aitor.broker.broker import Broker
from aitor.errors import (
    AttemptTimeoutError,
    ConnectionFailedError,
    DeadlineExceededError,
    LLMError,
)
from aitor.messages import Answer, Request
from aitor.providers.base import Progress
from aitor.providers.mock import MockProvider
from aitor.testing.scripted import Hang, ScriptedProvider, Slow
from aitor.testing.virtual import leap

pytestmark = pytest.mark.anyio

opened = pytest.mark.parametrize("is_open", [True, False], ids=["open", "not open"])


async def ends_after(broker: Broker, seconds: float, **arguments: Any) -> None:
    begin = anyio.current_time()
    with pytest.raises((AttemptTimeoutError, DeadlineExceededError)):
        await broker.submit("x", **arguments)
    assert anyio.current_time() - begin == pytest.approx(seconds)


@opened
async def test_each_call_ends_at_its_own_limit(is_open: bool) -> None:
    """Whether it is earlier or later than those of the calls before."""
    providers = {
        "patient": ScriptedProvider(Hang(), timeout=60.0, max_retries=0),
        "hasty": ScriptedProvider(Hang(), timeout=5.0, max_retries=0),
    }
    broker = Broker(providers)
    async with AsyncExitStack() as stack:
        if is_open:
            await stack.enter_async_context(broker)
        tasks = await stack.enter_async_context(anyio.create_task_group())

        def ask(seconds: float, provider: str, timeout: float | None = None) -> None:
            ask = {"provider": [provider], "timeout": timeout}
            tasks.start_soon(lambda: ends_after(broker, seconds, **ask))

        ask(60.0, "patient")
        ask(5.0, "hasty")
        ask(3.0, "patient", 3.0)
        await anyio.sleep(1.0)
        ask(1.0, "hasty", 1.0)
        ask(5.0, "hasty")
        await anyio.sleep(58.0)
        ask(60.0, "patient")
    assert not any(provider.in_flight for provider in providers.values())


@opened
async def test_a_limit_moves_as_content_comes(is_open: bool) -> None:
    """Also where another call's limit passes in between, and a later piece is due."""

    class Trickle(ScriptedProvider):
        async def complete(self, request: Request, progress: Progress) -> Answer:
            for _ in range(10):
                await anyio.sleep(0.9)
                progress()
            return await super().complete(request, progress)

    limits = {"first_token_timeout": 1.0, "idle_timeout": 1.0, "max_retries": 0}
    steady, stalled = Trickle("ok", **limits), Trickle(Hang(), **limits)
    silent = ScriptedProvider(Hang(), **limits)
    broker = Broker({"steady": steady, "stalled": stalled, "silent": silent})
    async with AsyncExitStack() as stack:
        if is_open:
            await stack.enter_async_context(broker)
        tasks = await stack.enter_async_context(anyio.create_task_group())
        tasks.start_soon(lambda: ends_after(broker, 10.0, provider=["stalled"]))
        tasks.start_soon(lambda: ends_after(broker, 1.0, provider=["silent"]))
        assert (await broker.submit("x", provider=["steady"])).text == "ok"


async def test_a_call_that_ran_before_its_broker_was_opened_ends_as_well() -> None:
    broker = Broker([ScriptedProvider(Hang(), timeout=5.0, max_retries=0)])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ends_after, broker, 5.0)
        await anyio.sleep(1.0)
        async with broker:
            await ends_after(broker, 5.0)


class Careful(MockProvider):
    """Notes what was sent, at a point where a call that is cancelled does not come."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.sent: list[float] = []

    async def complete(self, request: Request, progress: Progress) -> Answer:
        await anyio.lowlevel.checkpoint_if_cancelled()
        self.sent.append(anyio.current_time())
        return await super().complete(request, progress)


@opened
async def test_nothing_is_sent_whose_time_was_up_while_nothing_ran(
    is_open: bool,
) -> None:
    """Its caller would not wait for the answer, and it would be paid all the same."""
    provider = Careful(workers=1, delay=5.0)
    broker = Broker([provider])
    async with AsyncExitStack() as stack:
        if is_open:
            await stack.enter_async_context(broker)
        tasks = await stack.enter_async_context(anyio.create_task_group())

        async def keeps_the_processor() -> None:
            await broker.submit("first")
            leap(20.0)

        tasks.start_soon(keeps_the_processor)
        await anyio.sleep(0.001)
        with pytest.raises(DeadlineExceededError):
            await broker.submit("second", timeout=10.0)
    assert len(provider.sent) == 1


async def test_nor_what_was_taken_in_at_once_and_came_to_run_too_late() -> None:
    provider = Careful()
    async with Broker([provider]) as broker:
        submission = broker.submit_nowait("x", timeout=10.0)
        leap(20.0)
        with pytest.raises(DeadlineExceededError):
            await submission.reply()
    assert not provider.sent


@opened
async def test_nor_again_on_another_connection(is_open: bool) -> None:
    class Stale(Careful):
        async def complete(self, request: Request, progress: Progress) -> Answer:
            await super().complete(request, progress)
            leap(20.0)
            raise ConnectionFailedError("it was closed", unused=True)

    provider = Stale(delay=1.0)
    broker = Broker([provider])
    async with AsyncExitStack() as stack:
        if is_open:
            await stack.enter_async_context(broker)
        with pytest.raises(DeadlineExceededError):
            await broker.submit("x", timeout=10.0)
    assert len(provider.sent) == 1


async def test_a_timeout_that_is_no_number_is_told() -> None:
    with pytest.raises(ValueError, match=r"'timeout' must be a number.*nan"):
        await Broker([MockProvider()]).submit("x", timeout=float("nan"))


async def test_thousands_of_calls_come_and_go_and_the_last_one_ends_in_time() -> None:
    provider = ScriptedProvider(
        lambda number: Hang() if number == 2_500 else Slow(0.1, "ok"),
        workers=1_000,
        timeout=5.0,
        max_retries=0,
    )
    begin, errors = anyio.current_time(), list[tuple[float, LLMError]]()
    async with Broker([provider]) as broker, anyio.create_task_group() as tasks:

        async def ask(times: int) -> None:
            for _ in range(times):
                try:
                    await broker.submit("x")
                except LLMError as error:
                    errors.append((anyio.current_time(), error))

        for _ in range(1_000):
            tasks.start_soon(ask, 5)
    ((when, error),) = errors
    assert isinstance(error, AttemptTimeoutError)
    assert when - begin == pytest.approx(0.2 + 5.0)


async def test_what_was_asked_is_not_kept_for_the_sake_of_a_timer() -> None:
    class Prompt(UserDict[str, Any]):
        """A message that can be watched as it goes."""

    slow, quick = MockProvider(delay=50.0), MockProvider()
    async with (
        Broker({"slow": slow, "quick": quick}) as broker,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(broker.submit, "takes its time")
        await anyio.sleep(1.0)
        prompt = Prompt(role="user", content="private")
        gone = weakref.ref(prompt)
        await broker.submit([prompt], provider="quick")
        del prompt
        gc.collect()
        assert gone() is None


async def test_an_interrupt_before_a_call_is_watched_frees_its_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On trio it may land anywhere, and is nobody's fault."""

    def interrupt(_: object) -> float:
        raise KeyboardInterrupt

    broker = Broker([MockProvider(workers=1)])
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(exchange, "_first_limit", interrupt)
        await broker.submit("x")
    assert (await broker.submit("x", timeout=1.0)).text
