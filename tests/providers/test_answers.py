"""Status 200 proves nothing: what counts as an answer, and what is said of the rest."""

import json
from typing import Any

import pytest

from aitor.errors import (
    AnswerTooLargeError,
    ContentFilterError,
    LLMError,
    MalformedAnswerError,
    OverloadedError,
    QuotaError,
    RateLimitError,
    ServerError,
    TruncatedAnswerError,
)
from aitor.messages import Request, Usage
from aitor.providers import AnthropicProvider, HTTPProvider, OpenAIProvider

from .fake import (
    EVENTS,
    FakeWire,
    ask,
    chunk,
    claude_stream,
    completion,
    event,
    message,
    response,
    said,
)

LIMITED = {"idle_timeout": 5.0}


def provider(api: str, **settings: Any) -> HTTPProvider:
    if api == "messages":
        return AnthropicProvider(api_key="k", model="claude-opus-5-5", **settings)
    return OpenAIProvider(api_key="k", model="gpt-4.1", api=api, **settings)


APIS = pytest.mark.parametrize("api", ["chat", "responses", "messages"])


@pytest.mark.anyio
@APIS
@pytest.mark.parametrize(
    ("body", "kind", "told"),
    [
        (b"<html><body>Log in</body></html>", MalformedAnswerError, "base_url"),
        (b"", MalformedAnswerError, "empty"),
        (b"  \n", MalformedAnswerError, "empty"),
        (b'{"id": "x", "choices": [{"ind', TruncatedAnswerError, "cut off"),
        (b"Hello", MalformedAnswerError, "not JSON"),
        (b'{"a": "\xff"}', MalformedAnswerError, "not JSON"),
        (b"[" * 10_000, MalformedAnswerError, "not JSON"),
        (b"null", MalformedAnswerError, "not an object"),
        (b'["a"]', MalformedAnswerError, "not an object"),
        (b"{}", MalformedAnswerError, "has no"),
        (b'{"message": "Hi"}', MalformedAnswerError, "has no"),
        (b'{"error": {"code": 502, "message": "x"}}', ServerError, "502|200"),
        (b'{"error": {"code": 429}}', RateLimitError, "slow down"),
        (b'[{"error": {"code": 402}}]', QuotaError, "credit"),
        (
            b'{"type": "error", "error": {"type": "overloaded_error"}}',
            OverloadedError,
            "model_overloaded",
        ),
    ],
)
async def test_what_is_no_answer_of_any_api(
    wire: FakeWire, api: str, body: bytes, kind: type[LLMError], told: str
) -> None:
    wire.answer(body)
    with pytest.raises(kind, match=told) as caught:
        await ask(provider(api))
    assert type(caught.value) is kind
    assert caught.value.status == 200
    assert caught.value.request_id == "req_0123abcd"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("api", "document", "kind"),
    [
        ("chat", completion(choices=[]), MalformedAnswerError),
        ("chat", completion(choices=None), MalformedAnswerError),
        ("chat", completion(choices=["x"]), MalformedAnswerError),
        ("chat", completion(choices=[{"finish_reason": "stop"}]), MalformedAnswerError),
        ("chat", completion("", finish=None), TruncatedAnswerError),
        ("chat", completion(None, finish=""), TruncatedAnswerError),
        ("chat", completion(finish="error"), ServerError),
        (
            "chat",
            completion(choices=[{"message": {}, "error": {"code": 429}}]),
            RateLimitError,
        ),
        (
            "messages",
            {**message(stop_reason=None), "content": []},
            TruncatedAnswerError,
        ),
        ("messages", {**message(), "content": None}, MalformedAnswerError),
        ("messages", {**message(), "content": "text"}, MalformedAnswerError),
        ("responses", response(status="in_progress"), TruncatedAnswerError),
        ("responses", response(status="queued"), TruncatedAnswerError),
        ("responses", response(said(""), status=None), TruncatedAnswerError),
        ("responses", response(status="cancelled"), TruncatedAnswerError),
        ("responses", response(output=None), MalformedAnswerError),
        (
            "responses",
            response(status="failed", error={"code": "server_error", "message": "x"}),
            ServerError,
        ),
        (
            "responses",
            response(
                status="failed", error={"code": "rate_limit_exceeded", "message": "x"}
            ),
            RateLimitError,
        ),
    ],
)
async def test_what_is_no_answer_of_one_api(
    wire: FakeWire, api: str, document: Any, kind: type[LLMError]
) -> None:
    wire.answer(document)
    with pytest.raises(LLMError) as caught:
        await ask(provider(api))
    assert type(caught.value) is kind


@pytest.mark.anyio
async def test_a_huge_answer_is_dropped_while_it_comes(wire: FakeWire) -> None:
    read = []

    def pieces() -> Any:
        for number in range(100):
            read.append(number)
            yield b"x" * 1_000

    wire.answer(pieces())
    with pytest.raises(AnswerTooLargeError, match="max_answer_bytes"):
        await ask(provider("chat", max_answer_bytes=10_000))
    assert len(read) == 11


@pytest.mark.anyio
async def test_a_streams_size_is_that_of_what_is_kept(wire: FakeWire) -> None:
    """The frames around each word are not, so they do not count."""
    words = [chunk("0123456789") for _ in range(100)]
    wire.stream(*words, chunk(finish="stop"), "[DONE]")
    assert (
        len((await ask(provider("chat", max_answer_bytes=2_000, **LIMITED))).text)
        == 1_000
    )
    wire.scripts.clear()
    wire.stream(*words)
    with pytest.raises(AnswerTooLargeError):
        await ask(provider("chat", max_answer_bytes=900, **LIMITED))


# Streams.


@pytest.mark.anyio
@pytest.mark.parametrize("limit", ["first_token_timeout", "idle_timeout"])
async def test_a_limit_on_silence_asks_for_a_stream(wire: FakeWire, limit: str) -> None:
    wire.stream(chunk("Hi", finish="stop"), "[DONE]")
    wire.stream(*claude_stream("Hi"))
    await ask(provider("chat", **{limit: 5.0}))
    assert wire.body["stream"] is True
    assert wire.body["stream_options"] == {"include_usage": True}
    await ask(provider("messages", **{limit: 5.0}))
    assert wire.body["stream"] is True


@pytest.mark.anyio
async def test_a_streamed_completion_is_put_together(wire: FakeWire) -> None:
    call = {"index": 0, "id": "call_1", "type": "function"}
    named = {**call, "function": {"name": "add", "arguments": ""}}
    wire.stream(
        chunk(delta={"role": "assistant", "content": ""}),
        chunk("Hel"),
        b": OPENROUTER PROCESSING\n\n",
        chunk("lo"),
        chunk(delta={"reasoning_content": "Hm."}),
        chunk(delta={"tool_calls": [named]}),
        chunk(delta={"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]}),
        chunk(delta={"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}),
        chunk(finish="tool_calls"),
        {**chunk(), "choices": [], "usage": completion()["usage"]},
        "[DONE]",
    )
    answer = await ask(provider("chat", **LIMITED))
    assert answer.text == "Hello"
    assert answer.finish_reason == "tool_calls"
    assert answer.usage == Usage(10, 20, 4, 1, 5)
    assert answer.model == "gpt-5.5-2026-04-23"
    assert answer.message == {
        "role": "assistant",
        "content": "Hello",
        "reasoning_content": "Hm.",
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "add", "arguments": '{"a":1}'},
            }
        ],
    }
    assert answer.body["object"] == "chat.completion"


@pytest.mark.anyio
async def test_whatever_else_a_completion_holds_is_put_together_too(
    wire: FakeWire,
) -> None:
    first = chunk("a", delta={"function_call": {"name": "f", "arguments": "{"}})
    first["choices"][0]["logprobs"] = {"content": [{"token": "a"}], "refusal": None}
    second = chunk(
        delta={
            "content": [{"type": "text", "text": "b"}],
            "function_call": {"arguments": "}"},
            "annotations": [{"type": "url_citation"}],
            "refusal": "no",
        }
    )
    second["choices"][0]["logprobs"] = {"content": [{"token": "b"}]}
    wire.stream(first, second, chunk(delta={"refusal": "pe"}, finish="stop"), "[DONE]")
    answer = await ask(provider("chat", **LIMITED))
    assert (answer.text, answer.finish_reason) == ("ab", "refusal")
    assert answer.message["function_call"] == {"name": "f", "arguments": "{}"}
    assert answer.message["annotations"] == [{"type": "url_citation"}]
    assert answer.message["refusal"] == "nope"
    logprobs = answer.body["choices"][0]["logprobs"]
    assert logprobs["content"] == [{"token": "a"}, {"token": "b"}]


@pytest.mark.anyio
async def test_choices_grow_side_by_side(wire: FakeWire) -> None:
    def of(index: int, content: str | None, finish: str | None = None) -> Any:
        delta = {} if content is None else {"content": content}
        return {"choices": [{"index": index, "delta": delta, "finish_reason": finish}]}

    wire.stream(
        of(0, "a"),
        of(1, "b"),
        of(0, "c"),
        of(1, None, "stop"),
        of(0, None, "stop"),
        "[DONE]",
    )
    answer = await ask(provider("chat", **LIMITED), n=2)
    assert answer.text == "ac"
    assert answer.body["choices"][1]["message"]["content"] == "b"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "end",
    [
        [b"data: [DONE] \n\n"],
        [b"data: [DONE]\t\r\n\r\n"],
        [b"data:\n\n", "[DONE]"],
        [b"event: ping\r\ndata: \r\n\r\n", "[DONE]"],
        [b"data: \n\n"],
    ],
)
async def test_blanks_at_a_streams_end_mean_nothing(wire: FakeWire, end: Any) -> None:
    """Gateways pad the terminal mark, and keep alive with events that are empty."""
    wire.stream(b"data:\n\n", chunk("Hi"), b"data:\n\n", chunk(finish="stop"), *end)
    assert (await ask(provider("chat", **LIMITED))).text == "Hi"


@pytest.mark.anyio
async def test_a_stream_of_empty_events_is_no_answer(wire: FakeWire) -> None:
    """Nor is one of them progress."""
    wire.stream(b"data:\n\n", b"data: \n\n")
    told: list[int] = []
    with pytest.raises(MalformedAnswerError, match="no event came"):
        await provider("chat", **LIMITED).complete(
            Request.of("Hi"), lambda: told.append(1)
        )
    assert not told


@pytest.mark.anyio
async def test_a_streamed_message_is_put_together(wire: FakeWire) -> None:
    def delta(index: int, **delta: Any) -> Any:
        return {"type": "content_block_delta", "index": index, "delta": delta}

    def start(index: int, **block: Any) -> Any:
        return {"type": "content_block_start", "index": index, "content_block": block}

    begun = message(stop_reason=None)
    begun["usage"] = {
        "input_tokens": 5,
        "cache_read_input_tokens": 4,
        "output_tokens": 1,
    }
    wire.stream(
        {"type": "message_start", "message": {**begun, "content": []}},
        {"type": "ping"},
        start(0, type="thinking", thinking="", signature=""),
        delta(0, type="thinking_delta", thinking="Hm."),
        delta(0, type="signature_delta", signature="sig"),
        {"type": "content_block_stop", "index": 0},
        start(1, type="text", text=""),
        delta(1, type="text_delta", text="Hel"),
        delta(1, type="text_delta", text="lo"),
        delta(1, type="citations_delta", citation={"cited_text": "x"}),
        delta(1, type="something_new"),
        delta(9, type="text_delta", text="of no block"),
        start(2, type="tool_use", id="toolu_1", name="add", input={}),
        delta(2, type="input_json_delta", partial_json='{"a"'),
        delta(2, type="input_json_delta", partial_json=":1}"),
        start(3, type="tool_use", id="toolu_2", name="now", input={}),
        delta(3, type="input_json_delta", partial_json=""),
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use"},
            "usage": {"output_tokens": 20, "input_tokens": None},
        },
        {"type": "message_stop"},
    )
    answer = await ask(provider("messages", **LIMITED))
    assert answer.text == "Hello"
    assert answer.finish_reason == "tool_calls"
    assert answer.usage == Usage(9, 20, 4)
    assert [call["function"] for call in answer.message["tool_calls"]] == [
        {"name": "add", "arguments": '{"a":1}'},
        {"name": "now", "arguments": "{}"},
    ]
    assert answer.message["thinking_blocks"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "sig"}
    ]
    assert answer.body["content"][1]["citations"] == [{"cited_text": "x"}]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("max_tokens", None),
        ("model_context_window_exceeded", None),
        ("tool_use", MalformedAnswerError),
    ],
)
async def test_arguments_may_be_cut_by_a_limit_and_by_nothing_else(
    wire: FakeWire, reason: str, kind: type[LLMError] | None
) -> None:
    use = {"type": "tool_use", "id": "t", "name": "add", "input": {}}
    cut = {"type": "input_json_delta", "partial_json": '{"a": 1, "b'}
    wire.stream(
        {"type": "message_start", "message": message(stop_reason=None)},
        {"type": "content_block_start", "index": 0, "content_block": use},
        {"type": "content_block_delta", "index": 0, "delta": cut},
        {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {}},
        {"type": "message_stop"},
    )
    if kind is None:
        answer = await ask(provider("messages", **LIMITED))
        assert answer.finish_reason == "length"
        assert answer.message["tool_calls"][0]["function"]["arguments"] == '{"a":1}'
    else:
        with pytest.raises(kind):
            await ask(provider("messages", **LIMITED))


@pytest.mark.anyio
async def test_a_streamed_response_is_that_of_its_last_event(wire: FakeWire) -> None:
    wire.stream(
        {"type": "response.created", "response": response(status="in_progress")},
        {"type": "response.output_text.delta", "delta": "Hel"},
        {"type": "response.completed", "response": response()},
    )
    answer = await ask(provider("responses", **LIMITED))
    assert (answer.text, answer.finish_reason) == ("Hello", "stop")
    assert answer.usage == Usage(10, 20, 4, 1, 5)


@pytest.mark.anyio
async def test_an_incomplete_response_is_an_answer_cut_off(wire: FakeWire) -> None:
    details = {"reason": "max_output_tokens"}
    cut = response(status="incomplete", incomplete_details=details)
    wire.stream({"type": "response.incomplete", "response": cut})
    assert (await ask(provider("responses", **LIMITED))).finish_reason == "length"


OVERLOADED = {
    "type": "error",
    "error": {"type": "overloaded_error", "message": "Overloaded"},
}
BLOCKED = {
    "type": "error",
    "error": {
        "type": "invalid_request_error",
        "message": "Output blocked by content filtering policy",
    },
}
FAILED = response(status="failed", error={"code": "server_error", "message": "x"})


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("api", "documents", "kind"),
    [
        ("chat", [chunk("Hi")], TruncatedAnswerError),
        ("chat", [chunk(""), "[DONE]"], TruncatedAnswerError),
        ("chat", [chunk("Hi"), {"error": {"message": "x", "code": 502}}], ServerError),
        ("chat", [{"error": {"code": "rate_limit_exceeded"}}], RateLimitError),
        ("chat", [chunk("Hi", finish="error")], ServerError),
        ("chat", [chunk("Hi"), b"data: {broken\n\n"], MalformedAnswerError),
        ("chat", [chunk("Hi"), b"data: \xff\n\n"], MalformedAnswerError),
        ("chat", [chunk("Hi"), b"data: 7\n\n"], MalformedAnswerError),
        ("chat", [{"choices": ["x"]}], MalformedAnswerError),
        ("chat", ["[DONE]"], MalformedAnswerError),
        ("messages", claude_stream("Hi", stop=False), TruncatedAnswerError),
        ("messages", [*claude_stream("Hi", stop=False), OVERLOADED], OverloadedError),
        ("messages", [BLOCKED], ContentFilterError),
        ("messages", [b"event: error\ndata: oh no\n\n"], ServerError),
        ("messages", [{"type": "message_stop"}], TruncatedAnswerError),
        ("responses", [{"type": "response.failed", "response": FAILED}], ServerError),
        ("responses", [{"type": "response.failed"}], ServerError),
        (
            "responses",
            [{"type": "error", "code": "rate_limit_exceeded", "message": "x"}],
            RateLimitError,
        ),
        (
            "responses",
            [{"type": "response.created", "response": response()}],
            TruncatedAnswerError,
        ),
    ],
)
async def test_a_stream_that_is_no_answer(
    wire: FakeWire, api: str, documents: list[Any], kind: type[LLMError]
) -> None:
    wire.stream(*documents)
    with pytest.raises(LLMError) as caught:
        await ask(provider(api, **LIMITED))
    assert type(caught.value) is kind


@pytest.mark.anyio
@APIS
@pytest.mark.parametrize("kind", ["text/html", "text/plain", ""])
async def test_a_page_instead_of_a_stream(wire: FakeWire, api: str, kind: str) -> None:
    wire.answer(b"<html>\n\n<body>\n\n</html>", headers={"content-type": kind})
    with pytest.raises(MalformedAnswerError):
        await ask(provider(api, **LIMITED))


@pytest.mark.anyio
async def test_a_document_instead_of_a_stream_is_read(wire: FakeWire) -> None:
    wire.answer(completion("Hello"))
    assert (await ask(provider("chat", **LIMITED))).text == "Hello"


@pytest.mark.anyio
async def test_a_stream_instead_of_a_document_is_read(wire: FakeWire) -> None:
    wire.stream(chunk("Hello", finish="stop"), "[DONE]")
    assert (await ask(provider("chat"))).text == "Hello"


@pytest.mark.anyio
async def test_nothing_after_the_end_matters(wire: FakeWire) -> None:
    whole = [event(chunk("Hello", finish="stop")), event("[DONE]")]
    wire.answer([*whole, b"data: {broken\n\n"], headers=EVENTS)
    assert (await ask(provider("chat"))).text == "Hello"
    wire.scripts.clear()
    wire.answer([b"".join(whole) + b"data: {broken\n\n"], headers=EVENTS)
    assert (await ask(provider("chat"))).text == "Hello"
    wire.scripts.clear()
    wire.answer([*whole, ServerError("the connection broke")], headers=EVENTS)
    assert (await ask(provider("chat"))).text == "Hello"


def test_whole_and_streamed_documents_are_alike() -> None:
    """The helpers of these tests speak of the same answer."""
    assert json.loads(event(chunk("Hi")).removeprefix(b"data: "))["id"] == "chatcmpl-1"
