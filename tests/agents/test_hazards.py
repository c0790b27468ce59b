"""A cancellation that a tool brings about itself, and one that is meant: asyncio's."""

import asyncio  # noqa: TID251  # these hazards are asyncio's own
from typing import Any

import anyio
import pytest

from aitor.agents import ReactAgent, Tool
from aitor.broker.broker import Broker
from aitor.testing.scripted import ScriptedProvider
from aitor.testing.virtual import virtual_backend

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return virtual_backend("asyncio")


async def shared() -> int:
    """Wait for what somebody else cancels."""
    lookup = asyncio.ensure_future(anyio.sleep(2))
    await anyio.sleep(1)
    lookup.cancel()
    await lookup
    return 1


async def other() -> int:
    """Take longer."""
    await anyio.sleep(3)
    return 7


def agent() -> ReactAgent:
    broker = Broker([ScriptedProvider(["ACT: shared()\nACT: other()", "ANSWER: 5"])])
    return ReactAgent("A", broker=broker, tools=[shared, other])


async def test_a_tool_that_is_cancelled_by_nobody_here_has_failed() -> None:
    solving = agent()
    assert await solving.solve("x") == "5"
    failed, well = solving.trace[0].calls
    assert failed.failed
    assert failed.observation == "error: what the tool waited for was cancelled"
    assert (well.observation, well.seconds) == ("7", 3)
    observation = await Tool(shared).observe({})
    assert observation.text == failed.observation


async def _turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_whoever_is_cancelled_from_outside_ends_in_whatever_turn() -> None:
    async def brief() -> None:
        await _turns(3)
        raise asyncio.CancelledError

    ends = set()
    for turns in range(30):
        task = asyncio.ensure_future(Tool(brief).observe({}))
        await _turns(turns)
        wanted = task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() is wanted
        ends.add(wanted)
    assert ends == {True, False}


async def test_a_scope_that_is_cancelled_ends_the_tool_in_it() -> None:
    solving = agent()
    with anyio.move_on_after(0.5) as scope:
        await solving.solve("x")
    assert scope.cancelled_caught
    assert solving.memory == ()
