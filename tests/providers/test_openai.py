"""OpenAI: what is sent, and what is made of its answers."""

from typing import Any

import pytest

from aitor.errors import BadRequestError
from aitor.messages import Request, Usage
from aitor.providers import OpenAIProvider

from .fake import FakeWire, ask, completion, response, said

TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds",
        "parameters": {"type": "object"},
    },
}
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "add", "arguments": '{"a":1}'},
}


def openai(**settings: Any) -> OpenAIProvider:
    return OpenAIProvider(**{"api_key": "sk-test", "model": "gpt-4.1", **settings})


@pytest.mark.anyio
async def test_a_request_goes_out_as_it_is(wire: FakeWire) -> None:
    wire.answer(completion())
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hé"}]},
    ]
    await ask(openai(), messages, temperature=0.5, stop=["x"], anything={"new": 1})
    assert wire.sent[0].path == "/chat/completions"
    assert wire.body == {
        "model": "gpt-4.1",
        "messages": messages,
        "temperature": 0.5,
        "stop": ["x"],
        "anything": {"new": 1},
    }


@pytest.mark.anyio
async def test_an_answer_is_told_in_our_words(wire: FakeWire) -> None:
    wire.answer(completion("Hello"))
    answer = await ask(openai())
    assert answer.text == "Hello"
    assert answer.model == "gpt-5.5-2026-04-23"
    assert answer.finish_reason == "stop"
    assert answer.usage == Usage(10, 20, 4, 1, 5)
    assert answer.request_id == "req_0123abcd"
    assert answer.body["id"] == "chatcmpl-1"
    assert answer.message == {"role": "assistant", "content": "Hello"}
    assert answer.headers["x-request-id"] == "req_0123abcd"


@pytest.mark.anyio
async def test_the_call_wins_over_the_configuration(wire: FakeWire) -> None:
    wire.answer(completion())
    provider = openai(
        temperature=0.1, max_tokens=5, parameters={"seed": 7, "user": "u"}
    )
    await ask(provider, temperature=0.9, user=None)
    assert wire.body["temperature"] == 0.9
    assert wire.body["seed"] == 7
    assert "user" not in wire.body
    assert provider.output_limit(Request.of("Hi")) == 5
    assert provider.output_limit(Request.of("Hi", parameters={"max_tokens": 6})) == 6


@pytest.mark.anyio
async def test_the_calls_output_limit_stands_for_the_configured_one(
    wire: FakeWire,
) -> None:
    wire.answer(completion())
    await ask(openai(max_tokens=5), max_completion_tokens=9)
    assert wire.body["max_completion_tokens"] == 9
    assert "max_tokens" not in wire.body


@pytest.mark.anyio
async def test_two_output_limits_in_one_call_are_refused(wire: FakeWire) -> None:
    with pytest.raises(BadRequestError, match="'max_completion_tokens' and 'max_tok"):
        await ask(openai(), max_tokens=5, max_completion_tokens=9)
    assert wire.sent == []


@pytest.mark.anyio
async def test_a_reasoning_model_gets_the_limits_new_name(wire: FakeWire) -> None:
    wire.answer(completion())
    await ask(openai(model="gpt-5.5", max_tokens=500))
    assert wire.body["max_completion_tokens"] == 500
    assert "max_tokens" not in wire.body


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("content", "more", "text", "reason"),
    [
        (None, {}, "", "stop"),
        ("", {"finish": "length"}, "", "length"),
        ("cut", {"finish": "content_filter"}, "cut", "content_filter"),
        (None, {"finish": "tool_calls"}, "", "tool_calls"),
        (None, {"finish": "function_call"}, "", "tool_calls"),
        ("x", {"finish": "eos"}, "x", "stop"),
        ("x", {"finish": "something"}, "x", "something"),
        (None, {"message": {"refusal": "I will not."}}, "I will not.", "refusal"),
        (
            [{"type": "text", "text": "in"}, {"type": "text", "text": " parts"}],
            {},
            "in parts",
            "stop",
        ),
    ],
)
async def test_endings(
    wire: FakeWire, content: Any, more: dict[str, Any], text: str, reason: str
) -> None:
    wire.answer(completion(content, **more))
    answer = await ask(openai())
    assert (answer.text, answer.finish_reason) == (text, reason)


@pytest.mark.anyio
async def test_tool_calls_are_reached_through_the_message(wire: FakeWire) -> None:
    wire.answer(completion(None, finish="tool_calls", message={"tool_calls": [CALL]}))
    answer = await ask(openai(), tools=[TOOL])
    assert wire.sent[0].path == "/chat/completions"
    assert answer.message["tool_calls"] == [CALL]


@pytest.mark.anyio
async def test_usage_that_is_not_told_is_guessed_and_marked(wire: FakeWire) -> None:
    wire.answer(completion("x" * 40, usage=None))
    answer = await ask(openai(), "y" * 40)
    assert answer.usage == Usage(14, 10, estimated=True)


@pytest.mark.anyio
async def test_another_vendors_thoughts_stay_at_home(wire: FakeWire) -> None:
    wire.answer(completion())
    thinking = {"role": "assistant", "content": "a", "thinking_blocks": [{"x": 1}]}
    await ask(openai(), [{"role": "user", "content": "q"}, thinking])
    assert wire.body["messages"][1] == {"role": "assistant", "content": "a"}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("model", "parameters", "path"),
    [
        ("gpt-6-astra", {"tools": [TOOL]}, "/responses"),
        ("gpt-6-astra", {}, "/chat/completions"),
        ("gpt-6-sol", {"tools": [TOOL]}, "/responses"),
        (
            "gpt-6-sol",
            {"tools": [TOOL], "reasoning_effort": "none"},
            "/chat/completions",
        ),
        ("gpt-5.5-pro", {}, "/responses"),
        ("gpt-9", {"tools": [TOOL]}, "/chat/completions"),
    ],
)
async def test_the_api_follows_the_models_rule(
    wire: FakeWire, model: str, parameters: dict[str, Any], path: str
) -> None:
    wire.answer(response() if path == "/responses" else completion())
    await ask(openai(model=model), **parameters)
    assert wire.sent[0].path == path


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("api", "path"), [("chat", "/chat/completions"), ("responses", "/responses")]
)
async def test_the_api_can_be_chosen(wire: FakeWire, api: str, path: str) -> None:
    wire.answer(response() if path == "/responses" else completion())
    await ask(openai(model="gpt-6-astra", api=api))
    assert wire.sent[0].path == path


@pytest.mark.anyio
async def test_a_request_is_translated_for_the_responses_api(wire: FakeWire) -> None:
    wire.answer(response())
    schema = {"type": "object", "properties": {}}
    await ask(
        openai(model="gpt-6-astra", api="responses", max_tokens=99),
        [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
                    {"type": "file", "file": {"file_id": "f1"}},
                ],
            },
            {"role": "assistant", "content": "Wait", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "call_1", "content": "2"},
            {"role": "assistant", "content": [{"type": "text", "text": "Two"}]},
        ],
        tools=[TOOL, {"type": "web_search"}],
        tool_choice={"type": "function", "function": {"name": "add"}},
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": schema, "strict": True},
        },
        reasoning_effort="low",
        verbosity="low",
        n=1,
    )
    assert wire.body == {
        "model": "gpt-6-astra",
        "store": False,
        "max_output_tokens": 99,
        "input": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "What is it?"},
                    {
                        "type": "input_image",
                        "image_url": "https://x/y.png",
                        "detail": "auto",
                    },
                    {"type": "input_file", "file_id": "f1"},
                ],
            },
            {"role": "assistant", "content": "Wait"},
            {
                "type": "function_call",
                "call_id": "call_1",
                "name": "add",
                "arguments": '{"a":1}',
            },
            {"type": "function_call_output", "call_id": "call_1", "output": "2"},
            {"role": "assistant", "content": [{"type": "output_text", "text": "Two"}]},
        ],
        "tools": [
            {
                "type": "function",
                "name": "add",
                "description": "Adds",
                "parameters": {"type": "object"},
                "strict": False,
            },
            {"type": "web_search"},
        ],
        "tool_choice": {"type": "function", "name": "add"},
        "text": {
            "format": {
                "type": "json_schema",
                "name": "n",
                "schema": schema,
                "strict": True,
            },
            "verbosity": "low",
        },
        "reasoning": {"effort": "low"},
    }


@pytest.mark.anyio
async def test_an_answer_of_the_responses_api_is_told_in_our_words(
    wire: FakeWire,
) -> None:
    wire.answer(
        response(
            {"type": "reasoning", "summary": []},
            said("Hel"),
            {
                "type": "function_call",
                "call_id": "call_1",
                "name": "add",
                "arguments": '{"a":1}',
            },
        )
    )
    answer = await ask(openai(model="gpt-6-astra", api="responses"))
    assert answer.text == "Hel"
    assert answer.finish_reason == "tool_calls"
    assert answer.usage == Usage(10, 20, 4, 1, 5)
    assert answer.message == {
        "role": "assistant",
        "content": "Hel",
        "tool_calls": [CALL],
    }


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("document", "text", "reason"),
    [
        (response(), "Hello", "stop"),
        (
            response(
                status="incomplete",
                incomplete_details={"reason": "max_output_tokens"},
            ),
            "Hello",
            "length",
        ),
        (
            response(
                status="incomplete", incomplete_details={"reason": "content_filter"}
            ),
            "Hello",
            "content_filter",
        ),
        (
            response(
                {
                    "type": "message",
                    "content": [{"type": "refusal", "refusal": "I will not."}],
                }
            ),
            "I will not.",
            "refusal",
        ),
    ],
)
async def test_endings_of_the_responses_api(
    wire: FakeWire, document: Any, text: str, reason: str
) -> None:
    wire.answer(document)
    answer = await ask(openai(api="responses"))
    assert (answer.text, answer.finish_reason) == (text, reason)


@pytest.mark.anyio
async def test_more_than_one_answer_is_refused_where_there_is_but_one(
    wire: FakeWire,
) -> None:
    with pytest.raises(BadRequestError, match="'n'"):
        await ask(openai(api="responses"), n=2)


@pytest.mark.anyio
async def test_organization_and_project_are_sent(
    wire: FakeWire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-One: 1\nnonsense\nx-two:2")
    wire.answer(completion())
    await ask(openai(project="proj-1", headers={"X-One": "mine"}))
    headers = wire.settings[0].headers
    assert headers["authorization"] == "Bearer sk-test"
    assert headers["openai-organization"] == "org-1"
    assert headers["openai-project"] == "proj-1"
    assert (headers["x-one"], headers["x-two"]) == ("mine", "2")
    assert wire.settings[0].base_url == "https://api.openai.com/v1"
