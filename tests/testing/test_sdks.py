"""Both official SDKs take the fake provider for the real one."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import openai
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI
from pydantic import BaseModel

from aitor.testing import FakeProvider

pytestmark = [
    pytest.mark.anyio,
    # Both SDKs leave their generators to the garbage collector after the last event
    # of a stream, and trio says so.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SETTINGS: Any = {"api_key": "sk-any", "max_retries": 0, "timeout": 10.0}
PROMPT = "Say hello to row-17"
CALL = 'call:add({"left": 1, "right": 2})'
PARAMETERS = {
    "type": "object",
    "properties": {"left": {"type": "integer"}, "right": {"type": "integer"}},
    "required": ["left", "right"],
}


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


class Person(BaseModel):
    name: str
    age: int


@asynccontextmanager
async def openai_client(**behaviour: Any) -> AsyncIterator[AsyncOpenAI]:
    async with (
        FakeProvider(**behaviour).serve() as url,
        AsyncOpenAI(base_url=f"{url}/v1", **SETTINGS) as client,
    ):
        yield client


@asynccontextmanager
async def anthropic_client(**behaviour: Any) -> AsyncIterator[AsyncAnthropic]:
    async with (
        FakeProvider(**behaviour).serve() as url,
        AsyncAnthropic(base_url=url, **SETTINGS) as client,
    ):
        yield client


async def test_chat_completions_are_parsed() -> None:
    async with openai_client() as client:
        completion = await client.chat.completions.create(
            model="gpt-5.5", messages=user(PROMPT)
        )
    assert completion.choices[0].message.content == "Answer to row-17"
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.total_tokens) == (5, 9)
    type(completion).model_validate(completion.model_dump(), strict=True)


async def test_chat_streams_are_parsed() -> None:
    async with openai_client(tokens_per_second=1000) as client:
        stream = await client.chat.completions.create(
            model="gpt-5.5",
            messages=user(PROMPT),
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "Answer to row-17"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 4
    assert {chunk.id for chunk in chunks} == {"chatcmpl-fake1"}


async def test_chat_helpers_put_a_stream_of_a_tool_call_together() -> None:
    tool: Any = {
        "type": "function",
        "function": {"name": "add", "parameters": PARAMETERS},
    }
    async with openai_client() as client:
        asked: Any = {"model": "gpt-5.5", "messages": user(CALL), "tools": [tool]}
        whole = await client.chat.completions.create(**asked)
        async with client.chat.completions.stream(**asked) as stream:
            streamed = await stream.get_final_completion()
    for completion in (whole, streamed):
        choice = completion.choices[0]
        assert choice.finish_reason == "tool_calls"
        assert choice.message.content is None
        assert choice.message.tool_calls
        (call,) = choice.message.tool_calls
        assert (call.id, call.function.name) == (f"call_fake{completion.id[-1]}", "add")
        assert json.loads(call.function.arguments) == {"left": 1, "right": 2}


async def test_a_tool_result_is_answered_in_words() -> None:
    tool: Any = {
        "type": "function",
        "function": {"name": "add", "parameters": PARAMETERS},
    }
    call = {"name": "add", "arguments": "{}"}
    messages: Any = [
        *user(CALL),
        {
            "role": "assistant",
            "tool_calls": [{"id": "1", "type": "function", "function": call}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "The sum is 3"},
    ]
    async with openai_client() as client:
        completion = await client.chat.completions.create(
            model="gpt-5.5", messages=messages, tools=[tool]
        )
    assert completion.choices[0].message.content == "Answer to 3"


async def test_chat_answers_in_the_structure_asked_for() -> None:
    async with openai_client() as client:
        completion = await client.chat.completions.parse(
            model="gpt-5.5", messages=user(PROMPT), response_format=Person
        )
    assert completion.choices[0].message.parsed == Person(name="row-17", age=0)


async def test_responses_are_parsed() -> None:
    async with openai_client() as client:
        response = await client.responses.create(
            model="gpt-5.5", input=PROMPT, instructions="Be kind"
        )
        parsed = await client.responses.parse(
            model="gpt-5.5", input=user(PROMPT), text_format=Person
        )
        cut = await client.responses.create(
            model="gpt-5.5", input=PROMPT, max_output_tokens=2
        )
    assert response.output_text == "Answer to row-17"
    assert response.status == "completed"
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens) == (7, 4)
    assert parsed.output_parsed == Person(name="row-17", age=0)
    assert cut.status == "incomplete"
    assert cut.incomplete_details is not None
    assert cut.incomplete_details.reason == "max_output_tokens"


@pytest.mark.parametrize("prompt", [PROMPT, CALL])
async def test_response_streams_are_put_together(prompt: str) -> None:
    tool: Any = {"type": "function", "name": "add", "parameters": PARAMETERS}
    async with (
        openai_client() as client,
        client.responses.stream(model="gpt-5.5", input=prompt, tools=[tool]) as stream,
    ):
        kinds = [event.type async for event in stream]
        response = await stream.get_final_response()
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    if prompt == PROMPT:
        assert response.output_text == "Answer to row-17"
        assert kinds.count("response.output_text.delta") == 4
    else:
        (item,) = response.output
        assert item.type == "function_call"
        assert json.loads(item.arguments) == {"left": 1, "right": 2}


async def test_a_failed_response_is_an_event() -> None:
    async with openai_client(faults=["error_in_200"]) as client:
        stream = await client.responses.create(
            model="gpt-5.5", input=PROMPT, stream=True
        )
        events = [event async for event in stream]
    last = events[-1]
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert last.response.status == "failed"


async def test_models_are_listed_by_both() -> None:
    names = ["model-1", "model-2"]
    async with openai_client(models=names) as client:
        assert [model.id async for model in client.models.list()] == names
    async with anthropic_client(models=names) as other:
        assert [model.id async for model in other.models.list()] == names


async def test_messages_are_parsed() -> None:
    async with anthropic_client() as client:
        message = await client.messages.create(
            model="claude-opus-5-5",
            max_tokens=100,
            messages=user(PROMPT),
            system="Be kind",
        )
        count = await client.messages.count_tokens(
            model="claude-opus-5-5", messages=user(PROMPT)
        )
        cut = await client.messages.create(
            model="claude-opus-5-5", max_tokens=2, messages=user(PROMPT)
        )
    block = message.content[0]
    assert block.type == "text"
    assert block.text == "Answer to row-17"
    assert message.stop_reason == "end_turn"
    assert (message.usage.input_tokens, message.usage.output_tokens) == (7, 4)
    assert count.input_tokens == 5
    assert cut.stop_reason == "max_tokens"


@pytest.mark.parametrize("prompt", [PROMPT, CALL])
async def test_message_streams_are_put_together(prompt: str) -> None:
    tool: Any = {"name": "add", "input_schema": PARAMETERS}
    async with (
        anthropic_client(tokens_per_second=1000) as client,
        client.messages.stream(
            model="claude-opus-5-5",
            max_tokens=100,
            messages=user(prompt),
            tools=[tool],
        ) as stream,
    ):
        message = await stream.get_final_message()
    (block,) = message.content
    if prompt == PROMPT:
        assert block.type == "text"
        assert block.text == "Answer to row-17"
        assert message.stop_reason == "end_turn"
    else:
        assert block.type == "tool_use"
        assert (block.name, block.input) == ("add", {"left": 1, "right": 2})
        assert message.stop_reason == "tool_use"
    assert message.usage.output_tokens > 1


async def test_messages_answer_in_the_structure_asked_for() -> None:
    async with anthropic_client() as client:
        message = await client.messages.parse(
            model="claude-opus-5-5",
            max_tokens=100,
            messages=user(PROMPT),
            output_format=Person,
        )
    assert message.parsed_output == Person(name="row-17", age=0)


@pytest.mark.parametrize(
    ("fault", "expected", "code"),
    [
        ("rate_limit", openai.RateLimitError, "rate_limit_exceeded"),
        ("insufficient_quota", openai.RateLimitError, "insufficient_quota"),
        ("authentication", openai.AuthenticationError, "invalid_api_key"),
        (
            "permission",
            openai.PermissionDeniedError,
            "unsupported_country_region_territory",
        ),
        ("model_not_found", openai.NotFoundError, "model_not_found"),
        ("context_length", openai.BadRequestError, "context_length_exceeded"),
        ("conflict", openai.ConflictError, None),
        ("unprocessable", openai.UnprocessableEntityError, None),
        ("overloaded", openai.InternalServerError, "server_is_overloaded"),
        ("status=502", openai.InternalServerError, None),
        ("reset", openai.APIConnectionError, None),
        ("close", openai.APIConnectionError, None),
        ("truncate", openai.APIConnectionError, None),
        ("cut_json", json.JSONDecodeError, None),
        ("empty", json.JSONDecodeError, None),
    ],
)
async def test_faults_are_what_the_openai_sdk_raises(
    fault: str, expected: type[Exception], code: str | None
) -> None:
    async with openai_client(faults=[fault]) as client:
        with pytest.raises(expected) as caught:
            await client.chat.completions.create(model="gpt-5.5", messages=user(PROMPT))
    assert getattr(caught.value, "code", None) == code


@pytest.mark.parametrize(
    ("fault", "expected", "kind"),
    [
        ("rate_limit", anthropic.RateLimitError, "rate_limit_error"),
        ("slow_down", anthropic.RampLimitExceededError, "rate_limit_error"),
        (
            "insufficient_quota",
            anthropic.EnforcedSpendLimitReachedError,
            "rate_limit_error",
        ),
        ("credit_balance", anthropic.BadRequestError, "invalid_request_error"),
        ("billing", anthropic.PaymentRequiredError, "billing_error"),
        ("overloaded", anthropic.OverloadedError, "overloaded_error"),
        ("gateway_timeout", anthropic.GatewayTimeoutError, "timeout_error"),
        ("too_large", anthropic.ContentTooLargeError, "request_too_large"),
        ("cloudflare", anthropic.InternalServerError, None),
        ("reset", anthropic.APIConnectionError, None),
    ],
)
async def test_faults_are_what_the_anthropic_sdk_raises(
    fault: str, expected: type[Exception], kind: str | None
) -> None:
    async with anthropic_client(faults=[fault]) as client:
        with pytest.raises(expected) as caught:
            await client.messages.create(
                model="claude-opus-5-5", max_tokens=100, messages=user(PROMPT)
            )
    assert getattr(caught.value, "type", None) == kind


async def test_an_error_within_a_stream_reaches_both_sdks() -> None:
    async with openai_client(faults=["error_in_200"]) as client:
        stream = await client.chat.completions.create(
            model="gpt-5.5", messages=user(PROMPT), stream=True
        )
        with pytest.raises(openai.APIError, match="overloaded"):
            [chunk async for chunk in stream]
    async with (
        anthropic_client(faults=["error_in_200"]) as other,
        other.messages.stream(
            model="claude-opus-5-5", max_tokens=100, messages=user(PROMPT)
        ) as events,
    ):
        with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
            [event async for event in events]
