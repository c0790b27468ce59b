"""What we send is what the vendors' SDKs send, and their clients can carry it."""

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from aitor.errors import ConfigurationError, RateLimitError
from aitor.providers import AnthropicProvider, HTTPProvider, OpenAIProvider

from .fake import FakeWire, ask, chunk, completion, event, message, response

MESSAGES: Any = [
    {"role": "user", "content": "Hé"},
    {"role": "assistant", "content": "Ho"},
    {"role": "user", "content": [{"type": "text", "text": "Hu"}]},
]
TOOLS: Any = [
    {
        "type": "function",
        "function": {"name": "add", "parameters": {"type": "object", "properties": {}}},
    }
]
SCHEMA: Any = {"type": "object", "properties": {}, "additionalProperties": False}
OURS = {
    "accept",
    "content-type",
    "authorization",
    "anthropic-version",
    "openai-organization",
    "openai-project",
}


def played(
    answer: Callable[[httpx2.Request], httpx2.Response],
) -> tuple[httpx2.AsyncClient, list[httpx2.Request]]:
    """Return a client that is answered by *answer*, and what it was asked."""
    seen: list[httpx2.Request] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return answer(request)

    transport = httpx2.MockTransport(handle)
    return httpx2.AsyncClient(transport=transport), seen


def relevant(headers: Any) -> dict[str, str]:
    return {
        name.lower(): value for name, value in headers.items() if name.lower() in OURS
    }


@pytest.mark.anyio
async def test_chat_completions(wire: FakeWire) -> None:
    wire.answer(completion())
    parameters: dict[str, Any] = {
        "temperature": 0.5,
        "max_tokens": 9,
        "stop": ["x"],
        "tools": TOOLS,
        "tool_choice": "auto",
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": SCHEMA},
        },
    }
    await ask(
        OpenAIProvider(api_key="sk-1", model="gpt-4.1", organization="o", project="p"),
        MESSAGES,
        **parameters,
    )
    client, seen = played(lambda _: httpx2.Response(200, json=completion()))
    async with AsyncOpenAI(
        api_key="sk-1", organization="o", project="p", http_client=client
    ) as sdk:
        await sdk.chat.completions.create(
            model="gpt-4.1",
            messages=MESSAGES,
            **parameters,
        )
    assert wire.body == json.loads(seen[0].content)
    assert relevant(wire.settings[0].headers) == relevant(seen[0].headers)
    assert wire.settings[0].base_url + wire.sent[0].path == str(seen[0].url)


@pytest.mark.anyio
async def test_chat_completions_in_a_stream(wire: FakeWire) -> None:
    wire.stream(chunk("Hi", finish="stop"), "[DONE]")
    await ask(
        OpenAIProvider(api_key="sk-1", model="gpt-4.1", idle_timeout=5.0), MESSAGES
    )
    stream = event(chunk("Hi", finish="stop")) + event("[DONE]")
    client, seen = played(lambda _: httpx2.Response(200, content=stream))
    async with AsyncOpenAI(api_key="sk-1", http_client=client) as sdk:
        await sdk.chat.completions.create(
            model="gpt-4.1",
            messages=MESSAGES,
            stream=True,
            stream_options={"include_usage": True},
        )
    assert wire.body == json.loads(seen[0].content)
    assert relevant(wire.settings[0].headers) == relevant(seen[0].headers)


@pytest.mark.anyio
async def test_responses(wire: FakeWire) -> None:
    wire.answer(response())
    await ask(
        OpenAIProvider(api_key="sk-1", model="gpt-6-astra"),
        MESSAGES[:2],
        tools=TOOLS,
        max_tokens=19,
        reasoning_effort="low",
    )
    client, seen = played(lambda _: httpx2.Response(200, json=response()))
    async with AsyncOpenAI(api_key="sk-1", http_client=client) as sdk:
        await sdk.responses.create(
            model="gpt-6-astra",
            input=MESSAGES[:2],
            max_output_tokens=19,
            reasoning={"effort": "low"},
            store=False,
            tools=[
                {
                    "type": "function",
                    "name": "add",
                    "strict": False,
                    "parameters": {"type": "object", "properties": {}},
                }
            ],
        )
    assert wire.body == json.loads(seen[0].content)
    assert wire.settings[0].base_url + wire.sent[0].path == str(seen[0].url)


@pytest.mark.anyio
@pytest.mark.parametrize("secret", ["api_key", "auth_token"])
async def test_messages(wire: FakeWire, secret: str) -> None:
    wire.answer(message())
    own: dict[str, Any] = {secret: "sk-ant-1"}
    await ask(
        AnthropicProvider(model="claude-opus-5-5", **own),
        [{"role": "system", "content": "Be brief."}, *MESSAGES],
        max_tokens=9,
        stop=["x"],
        response_format={"type": "json_schema", "json_schema": {"schema": SCHEMA}},
        tools=TOOLS,
        tool_choice="required",
    )
    client, seen = played(lambda _: httpx2.Response(200, json=message()))
    async with AsyncAnthropic(http_client=client, **own) as sdk:
        await sdk.messages.create(
            model="claude-opus-5-5",
            max_tokens=9,
            system="Be brief.",
            messages=MESSAGES,
            stop_sequences=["x"],
            output_config={"format": {"type": "json_schema", "schema": SCHEMA}},
            tools=[
                {
                    "name": "add",
                    "input_schema": {"type": "object", "properties": {}},
                }
            ],
            tool_choice={"type": "any"},
        )
    assert wire.body == json.loads(seen[0].content)
    assert relevant(wire.settings[0].headers) == relevant(seen[0].headers)
    assert wire.settings[0].base_url + wire.sent[0].path == str(seen[0].url)


def clients(http_client: httpx2.AsyncClient) -> list[tuple[HTTPProvider, Any]]:
    openai = AsyncOpenAI(api_key="sk-own", http_client=http_client)
    claude = AsyncAnthropic(api_key="sk-own", http_client=http_client)
    return [
        (OpenAIProvider(client=openai, model="gpt-4.1"), openai),
        (AnthropicProvider(client=claude, model="claude-opus-5-5"), claude),
    ]


def answered(request: httpx2.Request) -> httpx2.Response:
    document = message() if request.url.path == "/v1/messages" else completion()
    return httpx2.Response(200, json=document)


@pytest.mark.anyio
async def test_a_callers_own_client_carries_requests_and_stays_open() -> None:
    http_client, seen = played(answered)
    async with http_client:
        for provider, client in clients(http_client):
            assert (await ask(provider)).text == "Hello"
            await provider.aclose()
            assert not client.is_closed()
    assert [request.url.path for request in seen] == [
        "/v1/chat/completions",
        "/v1/messages",
    ]
    assert {request.headers["authorization"] for request in seen} == {"Bearer sk-own"}


def test_a_key_of_the_environment_stays_out_of_a_callers_own_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-env")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-env")
    for provider, _ in clients(played(answered)[0]):
        assert provider.settings.api_key is None


@pytest.mark.anyio
async def test_an_sdk_client_makes_no_second_try() -> None:
    limited = httpx2.Response(429, json={"error": {"code": "slow_down"}})
    http_client, seen = played(lambda _: limited)
    async with http_client:
        for provider, _ in clients(http_client):
            with pytest.raises(RateLimitError):
                await ask(provider)
    assert len(seen) == 2


@pytest.mark.anyio
@pytest.mark.parametrize(
    "provider",
    [
        OpenAIProvider(
            api_key="sk-1", model="gpt-4.1", transport="sdk", headers={"x-a": "b"}
        ),
        AnthropicProvider(
            api_key="sk-1",
            model="claude-opus-5-5",
            transport="sdk",
            version="2023-06-01",
            headers={"x-a": "b"},
        ),
    ],
    ids=["openai", "anthropic"],
)
async def test_an_sdk_client_is_made_of_the_settings_and_closed(
    provider: HTTPProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[httpx2.Request] = []
    made: list[httpx2.AsyncClient] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return answered(request)

    class Client(httpx2.AsyncClient):
        def __init__(self, **options: Any) -> None:
            transport = httpx2.MockTransport(handle)
            super().__init__(**{**options, "transport": transport})
            made.append(self)

    monkeypatch.setattr(httpx2, "AsyncClient", Client)
    assert (await ask(provider)).text == "Hello"
    headers = seen[0].headers
    assert headers["authorization"] == "Bearer sk-1"
    assert headers["x-a"] == "b"
    assert headers.get("anthropic-version", "2023-06-01") == "2023-06-01"
    await provider.aclose()
    assert [client.is_closed for client in made] == [True]


def test_what_a_client_brings_cannot_be_given_twice() -> None:
    http_client, _ = played(answered)
    client = AsyncOpenAI(api_key="sk-own", http_client=http_client)
    for name, value in {
        "api_key": "k",
        "base_url": "http://x",
        "keep_alive": True,
    }.items():
        with pytest.raises(ConfigurationError, match=f"'{name}': a client brings"):
            OpenAIProvider(client=client, **{name: value})
    with pytest.raises(ConfigurationError, match="'client' is a dict"):
        OpenAIProvider(client={})
