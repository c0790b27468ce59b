"""
A provider that hangs is cut off, also where its callers have less patience than it.

Their own deadline ends every call before the provider's `timeout` could. What tells is
how long its calls usually take.
"""

import anyio
import pytest
from tests.broker.conftest import opens_after

from aitor.broker.broker import Broker
from aitor.errors import CircuitOpenError, DeadlineExceededError
from aitor.messages import Answer, Request, Usage
from aitor.providers.base import Progress
from aitor.testing.scripted import Hang, ScriptedProvider, Slow, Step

pytestmark = pytest.mark.anyio


def hangs_after(number: int, step: Step) -> ScriptedProvider:
    """Return a provider whose first calls take *step*, and the rest for ever."""
    return ScriptedProvider(
        lambda sent: step if sent < number else Hang(),
        breaker=opens_after(3),
    )


async def expire(broker: Broker, timeout: float) -> None:
    with pytest.raises(DeadlineExceededError):
        await broker.submit("x", timeout=timeout)


async def test_calls_that_outlive_the_usual_by_far_open_the_circuit() -> None:
    async with Broker([hangs_after(10, Slow(1.0, "ok"))]) as broker:
        for _ in range(10):
            await broker.submit("x", timeout=10.0)
        for _ in range(3):
            await expire(broker, 10.0)
        with pytest.raises(CircuitOpenError):
            await broker.submit("x", timeout=10.0)


async def test_a_probe_that_hangs_opens_it_again() -> None:
    async with Broker([hangs_after(10, Slow(1.0, "ok"))]) as broker:
        for _ in range(10):
            await broker.submit("x", timeout=10.0)
        for _ in range(3):
            await expire(broker, 10.0)
        await anyio.sleep(31.0)
        await expire(broker, 10.0)
        with pytest.raises(CircuitOpenError):
            await broker.submit("x", timeout=10.0)


async def test_callers_with_little_patience_say_nothing_of_it() -> None:
    """A deadline not long after the usual time is the caller's choice."""
    provider = ScriptedProvider(Slow(1.0, "ok"), breaker=opens_after(1))
    async with Broker([provider]) as broker:
        for _ in range(10):
            await broker.submit("x")
        provider._script = Slow(3.0, "ok")
        for _ in range(5):
            await expire(broker, 1.5)
        assert (await broker.submit("x")).text == "ok"


async def test_where_nothing_is_usual_yet_nothing_is_too_long() -> None:
    async with Broker([hangs_after(0, "ok")]) as broker:
        for _ in range(10):
            await expire(broker, 10.0)
        seen = broker.statistics().providers["scripted"]
        assert seen.circuit == "closed"


async def test_who_leaves_by_cancelling_says_nothing_of_it() -> None:
    async with Broker([hangs_after(10, Slow(1.0, "ok"))]) as broker:
        for _ in range(10):
            await broker.submit("x")
        for _ in range(5):
            with anyio.move_on_after(10.0):
                await broker.submit("x")
        seen = broker.statistics().providers["scripted"]
        assert seen.circuit == "closed"


async def test_an_answer_that_comes_piece_by_piece_does_not_hang() -> None:
    class Talking(ScriptedProvider):
        talks = False

        async def complete(self, request: Request, progress: Progress) -> Answer:
            while self.talks:
                progress()
                await anyio.sleep(1.0)
            await anyio.sleep(1.0)
            return Answer("ok", "scripted", "stop", Usage(1, 1))

    provider = Talking(breaker=opens_after(1))
    async with Broker([provider]) as broker:
        for _ in range(10):
            await broker.submit("x")
        provider.talks = True
        for _ in range(3):
            await expire(broker, 10.0)
        provider.talks = False
        assert (await broker.submit("x")).text == "ok"
