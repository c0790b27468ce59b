"""Agents over real HTTP, on both wires: the vendors' own tool calls."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from tests.providers.fake import FakeWire, Sent, completion

from aitor import Broker, ReactAgent, create_react_agent
from aitor.errors import BadRequestError, ConfigurationError, ServerError
from aitor.providers import (
    AnthropicProvider,
    CompatibleProvider,
    MockProvider,
    OpenAIProvider,
    Provider,
)
from aitor.testing import FakeProvider
from aitor.wire import Response

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


# Protocols.


class Toolless(FakeWire):
    """A server whose models take no tools, and write their calls."""

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__()
        self._refusal = {"error": {"message": sentence, "type": "x"}}
        self._status = status

    @asynccontextmanager
    async def post(
        self, path: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Response]:
        asked = json.loads(body)
        self.scripts.clear()
        self.sent.append(Sent(path, body, headers or {}))
        if "tools" in asked:
            self.answer(self._refusal, status=self._status)
        elif "OBSERVATION" in json.dumps(asked["messages"][-1]):
            self.answer(completion("ANSWER: three"))
        else:
            self.answer(completion("ACT: add(a=1, b=2)"))
        self.sent.pop()
        async with super().post(path, body, headers) as answer:
            yield answer

    @property
    def ways(self) -> list[str]:
        return ["tools" if "tools" in sent.body else "text" for sent in self.sent]


def toolless_at(
    wire: FakeWire, monkeypatch: pytest.MonkeyPatch, **names: str
) -> Broker:
    monkeypatch.setattr("aitor.providers.http.open_wire", wire.open)
    return Broker(
        {
            name: CompatibleProvider(
                base_url="http://x.example/v1", model=model, max_retries=0
            )
            for name, model in names.items()
        }
    )


@pytest.mark.parametrize(
    ("sentence", "status"),
    [
        ("registry.ollama.ai/library/gemma:2b does not support tools", 400),
        ('"auto" tool choice requires --enable-auto-tool-choice to be set', 400),
        ("No endpoints found that support tool use.", 404),
        ("This model does not support function calling", 422),
        ("tools is not supported in this model", 400),
        ("Invalid schema for function 'add': 'a' is not permitted", 400),
        ("tools param requires --jinja flag", 500),
    ],
)
async def test_a_model_that_takes_no_tools_is_asked_in_text_from_then_on(
    sentence: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kind: a way that is closed, tried anew by every agent and every step."""
    wire, sums = Toolless(sentence, status), Sums()
    async with toolless_at(wire, monkeypatch, main="small") as broker:
        for _ in range(2):
            agent = ReactAgent("A", broker=broker, tools=[sums.add])
            assert await agent.solve("go") == "three"
            assert len(agent.trace) == 2
        assert wire.ways == ["tools", *["text"] * 4]
        other = ReactAgent("B", broker=broker, tools=[sums.add], model="other")
        await other.solve("go")
        assert wire.ways[5:] == ["tools", "text", "text"]
    assert sums.done == [(1, 2)] * 3


@pytest.mark.parametrize("down", [None, "able"])
async def test_who_takes_no_tools_is_known_wherever_it_stands(
    down: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The kind: one request for all who may answer.

    Siblings: another one answers; the only one left takes no tools.
    """

    class Both(Toolless):
        def answer(self, body: Any = b"", **more: Any) -> None:
            if self.sent[-1].body["model"] == down:
                super().answer({"error": {"message": "no", "type": "x"}}, status=500)
            elif "tools" in self.sent[-1].body and self.asked("able"):
                super().answer(completion("It is three"))
            else:
                super().answer(body, **more)

        def asked(self, model: str) -> bool:
            return bool(self.sent[-1].body["model"] == model)

    wire, sums = Both("it does not support tools"), Sums()
    names = {"one": "small", "two": "able"}
    if down:
        names = {"two": "able", "one": "small"}
    async with toolless_at(wire, monkeypatch, **names) as broker:
        for _ in range(2):
            agent = ReactAgent("A", broker=broker, tools=[sums.add])
            assert "three" in await agent.solve("go")
    refused = [
        sent
        for sent in wire.sent
        if "tools" in sent.body and sent.body["model"] == "small"
    ]
    assert len(refused) == 1


async def test_another_fault_of_a_request_with_tools_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sentence = "messages with role 'tool' must be a response to 'tool_calls'"
    wire = Toolless(sentence)
    async with toolless_at(wire, monkeypatch, main="small") as broker:
        agent = ReactAgent("A", broker=broker, tools=[Sums().add])
        with pytest.raises(BadRequestError):
            await agent.solve("go")
    assert wire.ways == ["tools"]


@pytest.mark.parametrize("kind", ["openai", "anthropic", "compatible"])
@pytest.mark.parametrize("protocol", ["text", {"main": "text"}])
async def test_a_protocol_can_be_chosen_for_any_provider(
    kind: str, protocol: Any
) -> None:
    sums = Sums()

    def answer(ask: Any) -> str:
        return "ANSWER: 3" if "OBSERVATION" in ask.last else "ACT: add(1, 2)"

    async with brokered(main=(kind, FakeProvider(answer=answer))) as broker:
        agent = ReactAgent("A", broker=broker, tools=[sums.add], protocol=protocol)
        assert await agent.solve("go") == "3"
    assert sums.done == [(1, 2)]


async def test_a_protocol_that_was_chosen_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wire = Toolless("it does not support tools")
    async with toolless_at(wire, monkeypatch, main="small") as broker:
        agent = ReactAgent("A", broker=broker, tools=[Sums().add], protocol="tools")
        with pytest.raises(BadRequestError):
            await agent.solve("go")
        assert wire.ways == ["tools"]
        # Another that may choose is not told of what was no choice.
        agent = ReactAgent("A", broker=broker, tools=[Sums().add])
        assert await agent.solve("go") == "three"
    assert wire.ways == ["tools", "tools", "text", "text"]


@pytest.mark.parametrize(
    ("protocol", "told"),
    [
        ("txt", "'protocol' must be 'tools', 'text' or None, not 'txt'"),
        ({"main": "json"}, "'protocol' of 'main' must be"),
        ({"mian": "text"}, "there is no provider 'mian'; there are: main"),
    ],
)
def test_a_protocol_that_there_is_not_is_an_error(protocol: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        ReactAgent("A", broker=Broker({"main": MockProvider()}), protocol=protocol)


@pytest.mark.parametrize("kind", ["openai", "anthropic", "compatible"])
async def test_what_a_model_with_tool_calls_thinks_is_no_answer(kind: str) -> None:
    thinking = FakeProvider(answer="<think>\nANSWER: 4, or {prompt}\n</think>\n5")
    async with brokered(main=(kind, thinking)) as broker:
        agent = ReactAgent("A", broker=broker, tools=[Sums().add])
        assert await agent.solve("go") == "5"
    assert "or go" in agent.trace[0].thought
