"""Anthropic: what is sent, and what is made of its answers."""

from typing import Any

import pytest

from aitor.errors import BadRequestError, ConfigurationError
from aitor.messages import Usage
from aitor.providers import AnthropicProvider

from .fake import FakeWire, ask, message

CALL = {
    "id": "toolu_1",
    "type": "function",
    "function": {"name": "add", "arguments": '{"a":1}'},
}
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
USE = {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 1}}


def claude(**settings: Any) -> AnthropicProvider:
    return AnthropicProvider(
        **{"api_key": "sk-ant-test", "model": "claude-sonnet-5-5", **settings}
    )


@pytest.mark.anyio
async def test_a_simple_request(wire: FakeWire) -> None:
    wire.answer(message())
    await ask(claude())
    assert wire.sent[0].path == "/v1/messages"
    assert wire.body == {
        "model": "claude-sonnet-5-5",
        "max_tokens": 8_192,
        "messages": [{"role": "user", "content": "Hi"}],
    }
    headers = wire.settings[0].headers
    assert headers["authorization"] == "Bearer sk-ant-test"
    assert headers["anthropic-version"] == "2026-10-21"
    assert wire.settings[0].base_url == "https://api.anthropic.com"


@pytest.mark.anyio
async def test_an_answer_is_told_in_our_words(wire: FakeWire) -> None:
    wire.answer(
        message(THOUGHT, {"type": "text", "text": "Hello"}, USE, stop_reason="tool_use")
    )
    answer = await ask(claude())
    assert answer.text == "Hello"
    assert answer.model == "claude-sonnet-5-5"
    assert answer.finish_reason == "tool_calls"
    # Anthropic counts what came from the cache apart from the rest of the input.
    assert answer.usage == Usage(10, 20, 4, 1, 5)
    assert answer.message == {
        "role": "assistant",
        "content": "Hello",
        "tool_calls": [CALL],
        "thinking_blocks": [THOUGHT],
    }


@pytest.mark.anyio
async def test_an_answer_can_be_carried_on_with(wire: FakeWire) -> None:
    """The message of an answer with tool calls goes back with its thoughts."""
    wire.answer(
        message(THOUGHT, {"type": "text", "text": "Hello"}, USE, stop_reason="tool_use")
    )
    wire.answer(message())
    provider = claude()
    answer = await ask(provider)
    await ask(
        provider,
        [
            {"role": "user", "content": "Hi"},
            answer.message,
            {"role": "tool", "tool_call_id": "toolu_1", "content": "2"},
            {
                "role": "tool",
                "tool_call_id": "toolu_2",
                "content": [{"type": "text", "text": "3"}],
            },
            {"role": "user", "content": "Go on"},
        ],
    )
    assert wire.body["messages"] == [
        {"role": "user", "content": "Hi"},
        {
            "role": "assistant",
            "content": [THOUGHT, {"type": "text", "text": "Hello"}, USE],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "2"},
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_2",
                    "content": [{"type": "text", "text": "3"}],
                },
            ],
        },
        {"role": "user", "content": "Go on"},
    ]


@pytest.mark.anyio
async def test_everything_is_translated(wire: FakeWire) -> None:
    wire.answer(message())
    schema = {"type": "object"}
    await ask(
        claude(),
        [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "name": "ann",
                "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
                    {
                        "type": "image_url",
                        "image_url": {"url": "data:image/png;base64,AAAA"},
                    },
                    {
                        "type": "file",
                        "file": {
                            "file_data": "data:application/pdf;base64,BBBB",
                            "filename": "a.pdf",
                        },
                    },
                ],
            },
        ],
        max_completion_tokens=99,
        stop="END",
        tools=[
            {
                "type": "function",
                "function": {"name": "add", "parameters": schema, "strict": True},
            },
            {"type": "function", "function": {"name": "now"}},
            {"name": "native", "input_schema": schema},
        ],
        tool_choice="required",
        parallel_tool_calls=False,
        response_format={"type": "json_schema", "json_schema": {"schema": schema}},
        reasoning_effort="minimal",
        user="u1",
        n=1,
    )
    assert wire.body == {
        "model": "claude-sonnet-5-5",
        "max_tokens": 99,
        "system": "Be brief.",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is it?"},
                    {
                        "type": "image",
                        "source": {"type": "url", "url": "https://x/y.png"},
                    },
                    {
                        "type": "image",
                        "source": {
                            "type": "base64",
                            "media_type": "image/png",
                            "data": "AAAA",
                        },
                    },
                    {
                        "type": "document",
                        "source": {
                            "type": "base64",
                            "media_type": "application/pdf",
                            "data": "BBBB",
                        },
                        "title": "a.pdf",
                    },
                ],
            }
        ],
        "stop_sequences": ["END"],
        "tools": [
            {"name": "add", "input_schema": schema, "strict": True},
            {"name": "now", "input_schema": {"type": "object", "properties": {}}},
            {"name": "native", "input_schema": schema},
        ],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "output_config": {
            "effort": "low",
            "format": {"type": "json_schema", "schema": schema},
        },
        "metadata": {"user_id": "u1"},
    }


@pytest.mark.anyio
async def test_a_body_in_anthropics_own_shape_passes(wire: FakeWire) -> None:
    wire.answer(message())
    messages = [
        {
            "role": "user",
            "content": [{"type": "text", "text": "Hi", "cache_control": {}}],
        },
        {"role": "assistant", "content": [THOUGHT, USE]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "toolu_1"}],
        },
    ]
    own: dict[str, Any] = {
        "max_tokens": 7,
        "system": [{"type": "text", "text": "Be brief."}],
        "stop_sequences": ["END"],
        "tools": [{"name": "add", "input_schema": {}}],
        "tool_choice": {"type": "tool", "name": "add"},
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "max"},
        "metadata": {"user_id": "u"},
    }
    await ask(claude(), messages, **own)
    assert wire.body == {"model": "claude-sonnet-5-5", "messages": messages, **own}


@pytest.mark.anyio
async def test_system_messages_move_to_the_top_in_order(wire: FakeWire) -> None:
    wire.answer(message())
    block = {"type": "text", "text": "two", "cache_control": {"type": "ephemeral"}}
    await ask(
        claude(),
        [
            {"role": "system", "content": "one"},
            {"role": "user", "content": "Hi"},
            {"role": "developer", "content": [block]},
        ],
        system="zero",
    )
    assert wire.body["system"] == [
        {"type": "text", "text": "zero"},
        {"type": "text", "text": "one"},
        block,
    ]
    assert wire.body["messages"] == [{"role": "user", "content": "Hi"}]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        (
            {"type": "function", "function": {"name": "f"}},
            {"type": "tool", "name": "f"},
        ),
        ({"type": "any"}, {"type": "any"}),
    ],
)
async def test_the_choice_of_a_tool(wire: FakeWire, choice: Any, sent: Any) -> None:
    wire.answer(message())
    await ask(claude(), tools=[{"name": "f", "input_schema": {}}], tool_choice=choice)
    assert wire.body["tool_choice"] == sent


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "refusal"),
        ("pause_turn", "pause_turn"),
        ("model_context_window_exceeded", "length"),
    ],
)
async def test_endings(wire: FakeWire, reason: str, told: str) -> None:
    wire.answer(message(stop_reason=reason))
    assert (await ask(claude())).finish_reason == told


@pytest.mark.anyio
async def test_no_content_at_all_is_an_answer(wire: FakeWire) -> None:
    document = message()
    document["content"] = []
    wire.answer(document)
    assert (await ask(claude())).text == ""


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"response_format": {"type": "json_object"}}, "'response_format'"),
        ({"n": 2}, "'n'"),
        ({"tools": 5}, "shape that cannot be sent"),
    ],
)
async def test_what_cannot_be_said_here_is_refused(
    wire: FakeWire, parameters: dict[str, Any], told: str
) -> None:
    with pytest.raises(BadRequestError, match=told):
        await ask(claude(), **parameters)


@pytest.mark.anyio
@pytest.mark.parametrize("arguments", ["[1]", "{", "7"])
async def test_arguments_that_are_no_object_are_refused(
    wire: FakeWire, arguments: str
) -> None:
    call = {"id": "x", "function": {"name": "add", "arguments": arguments}}
    with pytest.raises(BadRequestError, match="arguments that are no object"):
        await ask(claude(), [{"role": "assistant", "tool_calls": [call]}])


@pytest.mark.anyio
async def test_sampling_needs_an_old_model_and_the_old_version(wire: FakeWire) -> None:
    wire.answer(message())
    old = claude(model="claude-sonnet-4-6", version="2023-06-01")
    await ask(old, temperature=0.5)
    assert wire.body["temperature"] == 0.5
    assert wire.settings[0].headers["anthropic-version"] == "2023-06-01"
    await ask(old, temperature=0.5, model="claude-opus-5-5")
    assert "temperature" not in wire.body
    await ask(claude(model="claude-sonnet-4-6"), temperature=0.5)
    assert "temperature" not in wire.body


@pytest.mark.anyio
async def test_the_limit_is_lowered_to_what_the_model_writes(wire: FakeWire) -> None:
    wire.answer(message())
    await ask(claude(model="claude-haiku-4-5"), max_tokens=200_000)
    assert wire.body["max_tokens"] == 64_000


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("environment", "settings", "sent"),
    [
        ({"ANTHROPIC_API_KEY": "k"}, {}, "Bearer k"),
        ({"ANTHROPIC_AUTH_TOKEN": "t"}, {}, "Bearer t"),
        ({"ANTHROPIC_API_KEY": "k", "ANTHROPIC_AUTH_TOKEN": "t"}, {}, "Bearer k"),
        ({"ANTHROPIC_API_KEY": "k"}, {"auth_token": "mine"}, "Bearer mine"),
        ({"ANTHROPIC_AUTH_TOKEN": "t"}, {"api_key": "mine"}, "Bearer mine"),
    ],
)
async def test_the_secret_is_found_as_the_sdk_finds_it(
    wire: FakeWire,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    settings: dict[str, str],
    sent: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    wire.answer(message())
    await ask(AnthropicProvider(model="claude-opus-5-5", **settings))
    assert wire.settings[0].headers["authorization"] == sent


def test_no_secret_or_two_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="ANTHROPIC_API_KEY"):
        AnthropicProvider(model="claude-opus-5-5")
    with pytest.raises(ConfigurationError, match="give one"):
        AnthropicProvider(api_key="a", auth_token="b")
