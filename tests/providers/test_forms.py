"""An answer is read for what it is, not for what its headers say it is."""

import json
from typing import Any

import pytest

from aitor.errors import MalformedAnswerError, RateLimitError
from aitor.messages import Request
from aitor.providers import AnthropicProvider, HTTPProvider, OpenAIProvider

from .fake import (
    FakeWire,
    ask,
    chunk,
    claude_stream,
    completion,
    event,
    message,
    response,
)

pytestmark = pytest.mark.anyio

KINDS = [
    "application/json",
    "Application/JSON; charset=utf-8",
    "text/event-stream",
    "text/plain",
    "text/html",
    "application/x-ndjson",
    "",
    None,
]
DOCUMENTS = {"chat": completion(), "messages": message(), "responses": response()}
STREAMS: dict[str, list[Any]] = {
    "chat": [chunk("Hello"), chunk(finish="stop"), "[DONE]"],
    "messages": claude_stream("Hello"),
    "responses": [{"type": "response.completed", "response": response()}],
}


def provider(api: str, *, stream: bool = True) -> HTTPProvider:
    settings: dict[str, Any] = {"idle_timeout": 5.0} if stream else {}
    if api == "messages":
        return AnthropicProvider(api_key="k", model="claude-opus-5-5", **settings)
    return OpenAIProvider(api_key="k", model="gpt-4.1", api=api, **settings)


def headers(kind: str | None) -> dict[str, str]:
    return {} if kind is None else {"content-type": kind}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("api", DOCUMENTS)
async def test_a_document_is_read_under_any_name(
    wire: FakeWire, api: str, asked: bool, kind: str | None
) -> None:
    """The kind: a paid answer thrown away for the name that it came under."""
    for begin in (b"", b"\xef\xbb\xbf", b"\n \r\n"):
        wire.scripts.clear()
        body = begin + json.dumps(DOCUMENTS[api]).encode()
        wire.answer([body[i : i + 1] for i in range(len(body))], headers=headers(kind))
        assert (await ask(provider(api, stream=asked))).text == "Hello"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("api", STREAMS)
async def test_a_stream_is_read_under_any_name(
    wire: FakeWire, api: str, asked: bool, kind: str | None
) -> None:
    for begin in (b"", b"\xef\xbb\xbf", b": ping\n\n", b"\r\n\r\n", b"retry: 5\n\n"):
        wire.scripts.clear()
        body = begin + b"".join(event(each) for each in STREAMS[api])
        wire.answer([body[i : i + 1] for i in range(len(body))], headers=headers(kind))
        assert (await ask(provider(api, stream=asked))).text == "Hello"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("asked", [True, False])
async def test_an_error_keeps_its_meaning_under_any_name(
    wire: FakeWire, asked: bool, kind: str | None
) -> None:
    error = {"error": {"message": "Rate limit exceeded", "code": 429}}
    for body in (json.dumps(error).encode(), event(error)):
        wire.scripts.clear()
        wire.answer(body, headers=headers(kind))
        with pytest.raises(RateLimitError):
            await ask(provider("chat", stream=asked))
    wire.scripts.clear()
    code = {"error": {"message": "Later", "code": "rate_limit_exceeded"}}
    wire.answer(event(code), status=400, headers=headers(kind))
    with pytest.raises(RateLimitError):
        await ask(provider("chat", stream=asked))


@pytest.mark.parametrize("asked", [True, False])
async def test_blanks_before_an_answer_are_no_progress_and_no_answer(
    wire: FakeWire, asked: bool
) -> None:
    wire.answer([b" ", b"\n"] * 1_000)
    told: list[int] = []
    with pytest.raises(MalformedAnswerError, match=r"empty|no event"):
        await provider("chat", stream=asked).complete(
            Request.of("Hi"), lambda: told.append(1)
        )
    assert not told


MESSAGE = {"role": "assistant", "content": "Hello"}


def whole(content: str, **more: Any) -> dict[str, Any]:
    entry = {"index": 0, "message": {**MESSAGE, "content": content}, **more}
    return {"object": "chat.completion", "choices": [entry]}


@pytest.mark.parametrize(
    "events",
    [
        [whole("Hello", finish_reason="stop")],
        [whole("Hello", delta={}, finish_reason="stop")],
        [whole("Hello", delta=None, finish_reason="stop")],
        # What came in pieces is not told twice.
        [chunk("Hel"), chunk("lo"), whole("Hello", finish_reason="stop")],
        # Each event may hold a piece, or all that there is so far.
        [whole("Hel"), whole("lo", finish_reason="stop")],
        [whole("Hel"), whole("Hello"), whole("Hello", finish_reason="stop")],
    ],
)
async def test_a_message_in_the_place_of_a_delta_is_text(
    wire: FakeWire, events: list[Any]
) -> None:
    """The kind: a text that stands beside where it is looked for is an empty answer."""
    wire.stream(*events, "[DONE]")
    answer = await ask(provider("chat"))
    assert (answer.text, answer.finish_reason) == ("Hello", "stop")


async def test_a_message_in_an_event_brings_its_calls_once(wire: FakeWire) -> None:
    call = {"index": 0, "id": "c", "function": {"name": "now", "arguments": "{}"}}
    last = {"message": {"content": None, "tool_calls": [call]}}
    wire.stream(
        chunk(delta={"tool_calls": [call]}),
        {"choices": [{"index": 0, **last, "finish_reason": "tool_calls"}]},
    )
    answer = await ask(provider("chat"))
    assert [c["function"]["arguments"] for c in answer.message["tool_calls"]] == ["{}"]
    wire.scripts.clear()
    wire.stream({"choices": [{"index": 0, **last, "finish_reason": "tool_calls"}]})
    answer = await ask(provider("chat"))
    assert [c["id"] for c in answer.message["tool_calls"]] == ["c"]
