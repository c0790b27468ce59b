"""How an answer ended: known, interrupted, or in a word that nobody knows."""

from typing import Any

import pytest

from aitor.errors import (
    APIError,
    ContentFilterError,
    OverloadedError,
    TruncatedAnswerError,
)
from aitor.providers import AnthropicProvider, HTTPProvider, OpenAIProvider

from .fake import (
    FakeWire,
    ask,
    chunk,
    claude_stream,
    completion,
    message,
    response,
)

pytestmark = pytest.mark.anyio

STREAM = {"idle_timeout": 5.0}
APIS = ("chat", "responses", "messages")
FORMS = ("whole", "stream")

INTERRUPTED: list[tuple[str, type[APIError]]] = [
    ("abort", TruncatedAnswerError),
    ("network_error", TruncatedAnswerError),
    ("insufficient_system_resource", OverloadedError),
    ("content_filter: PROHIBITED_CONTENT", ContentFilterError),
    ("function_call_filter: MALFORMED_FUNCTION_CALL", TruncatedAnswerError),
    # Siblings.
    ("ABORTED", TruncatedAnswerError),
    ("cancelled", TruncatedAnswerError),
    ("internal-error", TruncatedAnswerError),
    ("MALFORMED_FUNCTION_CALL", TruncatedAnswerError),
    ("timeout", TruncatedAnswerError),
    ("server_overloaded", OverloadedError),
]

KNOWN = [
    ("STOP", "stop"),
    ("eos_token", "stop"),
    ("MAX_TOKENS", "length"),
    ("tool_use", "tool_calls"),
    ("SAFETY", "content_filter"),
]


def provider(api: str, form: str) -> HTTPProvider:
    settings: dict[str, Any] = STREAM if form == "stream" else {}
    if api == "messages":
        return AnthropicProvider(api_key="k", model="claude-opus-5-5", **settings)
    return OpenAIProvider(api_key="k", model="gpt-4.1", api=api, **settings)


def script(wire: FakeWire, api: str, form: str, reason: Any, text: str = "Hal") -> None:
    """Let the vendor answer *text*, ended by *reason* in this API's own place."""
    if api == "chat":
        if form == "whole":
            wire.answer(completion(text, finish=reason))
        else:
            wire.stream(chunk(text), chunk(finish=reason), "[DONE]")
    elif api == "messages":
        if form == "whole":
            content = [{"type": "text", "text": text}] if text else []
            wire.answer({**message(stop_reason=reason), "content": content})
        else:
            events = claude_stream(text)
            events[-2]["delta"]["stop_reason"] = reason
            wire.stream(*events)
    else:
        part = {"type": "output_text", "text": text}
        item = {"type": "message", "content": [part] if text else []}
        details = {"reason": reason}
        ended = response(item, status="incomplete", incomplete_details=details)
        if form == "whole":
            wire.answer(ended)
        else:
            wire.stream({"type": "response.incomplete", "response": ended})


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(("reason", "kind"), INTERRUPTED)
async def test_an_ending_that_says_interrupted_is_a_failure(
    wire: FakeWire, api: str, form: str, reason: str, kind: type[APIError]
) -> None:
    """The kind: half an answer handed out, cached and journalled as a whole one."""
    script(wire, api, form, reason)
    with pytest.raises(APIError) as caught:
        await ask(provider(api, form))
    assert type(caught.value) is kind
    assert "Hal" not in str(caught.value)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(("reason", "ours"), KNOWN)
async def test_an_ending_is_known_however_it_is_written(
    wire: FakeWire, api: str, form: str, reason: str, ours: str
) -> None:
    script(wire, api, form, reason)
    assert (await ask(provider(api, form))).finish_reason == ours


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("api", APIS)
async def test_an_ending_that_nobody_knows_keeps_its_word(
    wire: FakeWire, api: str, form: str
) -> None:
    script(wire, api, form, "repetition")
    answer = await ask(provider(api, form))
    assert (answer.text, answer.finish_reason) == ("Hal", "repetition")
    wire.scripts.clear()
    script(wire, api, form, "repetition", "")
    with pytest.raises(TruncatedAnswerError, match="empty"):
        await ask(provider(api, form))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("api", ["chat", "messages"])
@pytest.mark.parametrize("reason", [None, "", 7])
async def test_an_answer_whose_end_is_not_told_is_marked(
    wire: FakeWire, api: str, form: str, reason: Any
) -> None:
    """The kind: a whole and paid answer thrown away, and paid for four times."""
    script(wire, api, form, reason)
    answer = await ask(provider(api, form))
    assert (answer.text, answer.finish_reason) == ("Hal", "unknown")
    wire.scripts.clear()
    script(wire, api, form, reason, "")
    with pytest.raises(TruncatedAnswerError):
        await ask(provider(api, form))


async def test_a_response_without_a_status_is_marked(wire: FakeWire) -> None:
    wire.answer(response(status=None))
    answer = await ask(provider("responses", "whole"))
    assert (answer.text, answer.finish_reason) == ("Hello", "unknown")


async def test_the_mark_of_another_api_ends_a_stream_too(wire: FakeWire) -> None:
    deltas = [
        {"type": "response.output_text.delta", "delta": piece} for piece in ("He", "y")
    ]
    wire.stream(*deltas, "[DONE]")
    answer = await ask(provider("responses", "stream"))
    assert (answer.text, answer.finish_reason) == ("Hey", "unknown")
    wire.scripts.clear()
    wire.stream(*claude_stream("Hey", stop=False), "[DONE]")
    assert (await ask(provider("messages", "stream"))).text == "Hey"
    for api in APIS:
        wire.scripts.clear()
        cut: list[Any] = {
            "chat": [chunk("He")],
            "responses": deltas,
            "messages": claude_stream("He", stop=False),
        }[api]
        wire.stream(*cut)
        with pytest.raises(TruncatedAnswerError):
            await ask(provider(api, "stream"))


async def test_a_call_may_not_be_lost_with_a_responses_end(wire: FakeWire) -> None:
    wire.stream(
        {"type": "response.output_text.delta", "delta": "I look it up."},
        {"type": "response.function_call_arguments.delta", "delta": '{"city"'},
        "[DONE]",
    )
    with pytest.raises(TruncatedAnswerError):
        await ask(provider("responses", "stream"))
