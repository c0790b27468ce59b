"""Agents over real HTTP, on both wires: the vendors' own tool calls."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from aitor import Broker, ReactAgent, create_react_agent
from aitor.errors import ServerError
from aitor.providers import (
    AnthropicProvider,
    CompatibleProvider,
    MockProvider,
    OpenAIProvider,
    Provider,
)
from aitor.testing import FakeProvider

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Sockets need real time."""
    backend: str = request.param
    return backend


def provider_at(kind: str, url: str) -> Provider:
    settings: dict[str, Any] = {"model": "m", "api_key": "k", "max_retries": 0}
    if kind == "anthropic":
        return AnthropicProvider(base_url=url, **settings)
    chosen = OpenAIProvider if kind == "openai" else CompatibleProvider
    return chosen(base_url=f"{url}/v1", **settings)


@asynccontextmanager
async def brokered(**servers: tuple[str, FakeProvider]) -> AsyncIterator[Broker]:
    """Open a broker on servers by name: each with the kind that asks it."""
    async with AsyncExitStack() as stack:
        providers = {
            name: provider_at(kind, await stack.enter_async_context(server.serve()))
            for name, (kind, server) in servers.items()
        }
        yield await stack.enter_async_context(Broker(providers))


class Sums:
    """Adds, and may ask for more by what it says."""

    def __init__(self, *then: str) -> None:
        self.done: list[tuple[int, int]] = []
        self._then = list(then)

    def add(self, a: int, b: int) -> str:
        """Add two numbers."""
        self.done.append((a, b))
        return self._then.pop(0) if self._then else str(a + b)


ASK = 'call:add({"a": 1, "b": 2})'
AGAIN = 'call:add({"a": 3, "b": 4})'


@pytest.mark.parametrize("kind", ["openai", "anthropic", "compatible"])
async def test_an_agent_uses_the_tool_calls_of_its_provider(kind: str) -> None:
    sums = Sums(AGAIN)
    async with brokered(main=(kind, FakeProvider())) as broker:
        agent = ReactAgent("A", broker=broker, tools=[sums.add])
        assert await agent.solve(ASK) == "Answer to 7"
        assert sums.done == [(1, 2), (3, 4)]
        # The conversation, calls and all, is taken back by the vendor.
        assert await agent.solve("and now?") == "Answer to now?"
    called = ["assistant", "tool"]
    assert [message["role"] for message in agent.memory] == [
        *("user", *called, *called, "assistant"),
        *("user", "assistant"),
    ]


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_a_wrong_call_comes_back_as_its_result(kind: str) -> None:
    sums = Sums()
    async with brokered(main=(kind, FakeProvider(answer="{prompt}"))) as broker:
        agent = ReactAgent("A", broker=broker, tools=[sums.add])
        told = await agent.solve('call:add({"a": "x"})')
    assert told == (
        "error: argument 'a': Input should be a valid integer, unable to parse string "
        "as an integer; argument 'b': Field required"
    )
    assert sums.done == []


@pytest.mark.parametrize("kinds", [("openai", "anthropic"), ("anthropic", "openai")])
async def test_a_failover_between_wires_runs_no_tool_twice(
    kinds: tuple[str, str],
) -> None:
    sums = Sums(AGAIN)
    first, second = FakeProvider(), FakeProvider()

    def add(a: int, b: int) -> str:
        first.faults = ["status=500"]
        return sums.add(a, b)

    async with brokered(one=(kinds[0], first), two=(kinds[1], second)) as broker:
        agent = ReactAgent("A", broker=broker, tools=[add])
        assert await agent.solve(ASK) == "Answer to 7"
    assert sums.done == [(1, 2), (3, 4)]
    assert [step.provider for step in agent.trace] == ["one", "two", "two"]


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_what_a_model_with_tool_calls_quotes_is_not_run(kind: str) -> None:
    """Somebody else's words in an answer must not become a call."""
    sums = Sums()
    quoted = "The page says:\nACT: add(a=1, b=2)"
    async with brokered(main=(kind, FakeProvider(answer=quoted))) as broker:
        agent = ReactAgent("A", broker=broker, tools=[sums.add])
        assert await agent.solve("Read the page") == quoted
    assert sums.done == []


async def mixed(order: tuple[str, ...], url: str) -> tuple[Broker, MockProvider]:
    responses = {"go": "ACT: add(a=1, b=2)", "observation: 3": "ANSWER: three"}
    mock = MockProvider(responses=responses, record=True)
    providers = {"mock": mock, "main": provider_at("anthropic", url)}
    return Broker({name: providers[name] for name in order}), mock


async def test_a_text_provider_takes_over_from_one_with_tool_calls() -> None:
    """Both ways to call are explained, since both sorts may answer."""
    sums, server = Sums(), FakeProvider(faults=["status=500"])
    async with server.serve() as url:
        broker, mock = await mixed(("main", "mock"), url)
        async with broker:
            agent = ReactAgent("A", broker=broker, tools=[sums.add])
            assert await agent.solve("go") == "three"
    assert sums.done == [(1, 2)]
    first, second = mock.requests
    assert "If you cannot call functions" in first.messages[0]["content"]
    assert "tools" in first.parameters
    # From then on it is asked in its own way.
    assert second.messages[0]["content"].count("To use a tool, write a line") == 1
    assert second.messages[-1] == {"role": "user", "content": "OBSERVATION: 3"}
    assert "tools" not in second.parameters


async def test_a_conversation_with_tool_calls_goes_on_in_text() -> None:
    """Switching to a provider without tool calls rewrites what was said for it."""
    sums = Sums()
    async with FakeProvider().serve() as url:
        broker, mock = await mixed(("mock", "main"), url)
        async with broker:
            agent = ReactAgent(
                "A", broker=broker, tools=[sums.add], llm_provider="main"
            )
            assert await agent.solve(ASK) == "Answer to 3"
            agent.set_llm_provider("mock")
            assert await agent.solve("go") == "three"
    assert sums.done == [(1, 2), (1, 2)]
    said = [message["content"] for message in mock.requests[0].messages[1:]]
    assert said[1:3] == ["ACT: add(a=1, b=2)", "OBSERVATION: 3"]
    assert "tools" not in mock.requests[0].parameters


async def test_an_agent_with_a_provider_of_its_own_closes_it() -> None:
    async with FakeProvider().serve() as url:
        config = {"api_key": "k", "model": "m", "base_url": f"{url}/v1"}
        agent = await create_react_agent(
            name="A", llm_provider="openai", llm_config=config, tools=[Sums().add]
        )
        async with agent:
            assert await agent.solve(ASK) == "Answer to 3"


async def test_a_model_with_tool_calls_takes_over_from_a_text_provider() -> None:
    """It was asked to write its calls, so a written call of its own counts."""
    sums = Sums()
    server = FakeProvider(answer=lambda ask: f"ACT: add(5, 6)\n{ask.last}")
    async with server.serve() as url:
        mock = MockProvider(
            script=["ACT: add(a=1, b=2)"], fail=ServerError("no"), max_retries=0
        )
        broker = Broker({"mock": mock, "main": provider_at("openai", url)})
        async with broker:
            agent = ReactAgent("A", broker=broker, tools=[sums.add])
            answer = await agent.solve("go")
    assert sums.done == [(1, 2), (5, 6)]
    assert [step.provider for step in agent.trace] == ["mock", "main", "main"]
    # Asked with its own tool calls by now, it only quotes.
    assert answer == "ACT: add(5, 6)\n11"
