"""What every provider promises, whatever comes back: an answer, or an error of ours."""

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aitor.errors import LLMError
from aitor.messages import Answer, Request
from aitor.providers import (
    AnthropicProvider,
    CompatibleProvider,
    MockProvider,
    OpenAIProvider,
    Provider,
)

from .fake import (
    EVENTS,
    JSON,
    FakeWire,
    Scripted,
    ask,
    chunk,
    claude_stream,
    completion,
    event,
    message,
    response,
)

KEY = "sk-contract"

MAKERS: dict[str, Callable[..., Provider]] = {
    "chat": lambda **more: OpenAIProvider(api_key=KEY, model="gpt-4.1", **more),
    "responses": lambda **more: OpenAIProvider(
        api_key=KEY, model="gpt-6-astra", api="responses", **more
    ),
    "messages": lambda **more: AnthropicProvider(
        api_key=KEY, model="claude-opus-5-5", **more
    ),
    "compatible": lambda **more: CompatibleProvider(
        base_url="http://x", model="m", **more
    ),
    "mock": lambda **more: MockProvider(model="m", default_response="Hello", **more),
}

DELTA = {"type": "response.output_text.delta", "delta": "Hello"}
WHOLE: dict[str, Any] = {
    "chat": completion(),
    "compatible": completion(),
    "responses": response(),
    "messages": message(),
}
STREAMS: dict[str, list[Any]] = {
    "chat": [chunk("Hel"), chunk("lo"), chunk(finish="stop"), "[DONE]"],
    "responses": [DELTA, {"type": "response.completed", "response": response()}],
    "messages": claude_stream("Hel", "lo"),
}
ENDS = {
    "chat": b'"finish_reason": "stop"',
    "responses": b"response.completed",
    "messages": b"message_stop",
}

EVERY = pytest.mark.parametrize("name", list(MAKERS))
HTTP = pytest.mark.parametrize("name", [name for name in MAKERS if name != "mock"])
STREAMED = pytest.mark.parametrize("name", list(STREAMS))


@pytest.fixture(scope="module")
def vendor() -> Iterator[FakeWire]:
    """Stand in for every pool; shared by the examples of a test."""
    wire = FakeWire()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aitor.providers.http.open_wire", wire.open)
        yield wire


def script(wire: FakeWire, name: str) -> None:
    wire.scripts.clear()
    wire.answer(WHOLE.get(name, b""))


@pytest.mark.anyio
@EVERY
async def test_it_answers_and_tells_of_progress(vendor: FakeWire, name: str) -> None:
    script(vendor, name)
    provider, progress = MAKERS[name](), []
    answer = await provider.complete(Request.of("Hi"), lambda: progress.append(1))
    assert isinstance(answer, Answer)
    assert answer.text == "Hello"
    assert answer.finish_reason == "stop"
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens > 0
    assert answer.message["role"] == "assistant"
    assert answer.message["content"] == "Hello"
    assert progress
    await provider.aclose()
    await provider.aclose()


@pytest.mark.anyio
@EVERY
async def test_a_restart_and_a_close_leave_it_of_use(
    vendor: FakeWire, name: str
) -> None:
    script(vendor, name)
    provider = MAKERS[name]()
    provider.restart()
    assert (await ask(provider)).text == "Hello"
    provider.restart()
    provider.restart()
    assert (await ask(provider)).text == "Hello"
    await provider.aclose()
    assert (await ask(provider)).text == "Hello"
    await provider.aclose()


@EVERY
def test_an_actor_learns_what_it_has_to_know(name: str) -> None:
    provider = MAKERS[name](workers=7)
    request = Request.of("Hello there", model="other", parameters={"max_tokens": 5})
    assert provider.settings.workers == 7
    assert provider.model_of(request) == "other"
    assert provider.model_of(Request.of("Hi")) == provider.settings.model
    assert provider.output_limit(request) == 5
    assert provider.guess_input(request) > 0
    assert provider.window(request) is None
    assert isinstance(provider.check(), list)
    assert KEY not in repr(provider)


@pytest.mark.anyio
@STREAMED
async def test_a_stream_and_a_document_give_the_same(
    vendor: FakeWire, name: str
) -> None:
    script(vendor, name)
    whole = await ask(MAKERS[name]())
    vendor.scripts.clear()
    vendor.stream(*STREAMS[name])
    streamed = await ask(MAKERS[name](idle_timeout=5.0))
    assert streamed.text == whole.text
    assert streamed.finish_reason == whole.finish_reason
    assert streamed.message == whole.message
    assert streamed.model == whole.model


# Any bytes. What is read does not depend on the backend, so one is enough.

ONE_BACKEND = pytest.mark.parametrize("anyio_backend", ["asyncio"])


async def outcome(
    vendor: FakeWire, name: str, body: bytes, cuts: list[int], **more: Any
) -> Answer | LLMError:
    """Return what comes of *body* cut into pieces."""
    edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    pieces = [body[a:b] for a, b in pairwise(edges)]
    headers = more.pop("headers", JSON)
    status = more.pop("status", 200)
    vendor.scripts[:] = [Scripted(status, headers, pieces)]
    try:
        answer = await ask(MAKERS[name](**more), temperature=0.5)
    except LLMError as error:
        return error
    assert isinstance(answer.text, str)
    assert isinstance(answer.model, str)
    assert answer.finish_reason
    assert isinstance(answer.finish_reason, str)
    for number in (answer.usage.input_tokens, answer.usage.output_tokens):
        assert isinstance(number, int)
        assert number >= 0
    return answer


CUTS = st.lists(st.integers(0, 10_000), max_size=5)
KINDS = st.sampled_from([JSON, EVENTS, {"content-type": "text/plain"}, {}])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "type", "code", "message", "text", "index", "id"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


@pytest.mark.anyio
@ONE_BACKEND
@HTTP
@given(st.binary(max_size=200), CUTS, KINDS, st.sampled_from([200, 400, 429, 503, 999]))
@settings(max_examples=30, deadline=None)
async def test_any_bytes_end_in_an_answer_or_an_error(
    vendor: FakeWire,
    name: str,
    body: bytes,
    cuts: list[int],
    headers: dict[str, str],
    status: int,
) -> None:
    result = await outcome(vendor, name, body, cuts, headers=headers, status=status)
    assert isinstance(result, LLMError)


def replaced(document: Any, steps: list[int], value: Any) -> Any:
    """Return *document* with *value* somewhere in it, found by *steps*."""
    if not steps or not isinstance(document, dict | list) or not document:
        return value
    keys = sorted(document) if isinstance(document, dict) else range(len(document))
    key = list(keys)[steps[0] % len(document)]
    inner = replaced(document[key], steps[1:], value)
    if isinstance(document, dict):
        return {**document, key: inner}
    return [*document[:key], inner, *document[key + 1 :]]


STEPS = st.lists(st.integers(0, 20), min_size=1, max_size=6)


@pytest.mark.anyio
@ONE_BACKEND
@HTTP
@given(STEPS, VALUES, st.sampled_from([200, 400, 429]))
@settings(max_examples=50, deadline=None)
async def test_a_document_with_anything_in_any_place(
    vendor: FakeWire, name: str, steps: list[int], value: Any, status: int
) -> None:
    document = replaced(WHOLE[name], steps, value)
    await outcome(vendor, name, json.dumps(document).encode(), [], status=status)


@pytest.mark.anyio
@ONE_BACKEND
@HTTP
@given(STEPS, VALUES, st.sampled_from([200, 400, 429, 529]))
@settings(max_examples=50, deadline=None)
async def test_an_error_with_anything_in_any_place(
    vendor: FakeWire, name: str, steps: list[int], value: Any, status: int
) -> None:
    error = {
        "message": "Please try again in 20s",
        "type": "x",
        "param": "temperature",
        "code": "unsupported_value",
        "details": {"error_code": "y"},
        "metadata": {"raw": "{}"},
    }
    document = replaced({"error": error, "request_id": "req_1"}, steps, value)
    await outcome(vendor, name, json.dumps(document).encode(), [], status=status)


@pytest.mark.anyio
@ONE_BACKEND
@STREAMED
@given(st.integers(0, 20), STEPS, VALUES, CUTS)
@settings(max_examples=80, deadline=None)
async def test_a_stream_with_anything_in_any_place(
    vendor: FakeWire,
    name: str,
    which: int,
    steps: list[int],
    value: Any,
    cuts: list[int],
) -> None:
    documents = list(STREAMS[name])
    which %= len(documents)
    documents[which] = replaced(documents[which], steps, value)
    body = b"".join(
        b"data: " + json.dumps(each).encode() + b"\n\n"
        if not isinstance(each, str)
        else event(each)
        for each in documents
    )
    await outcome(vendor, name, body, cuts, headers=EVENTS)


@pytest.mark.anyio
@ONE_BACKEND
@STREAMED
@given(st.integers(0, 10_000), st.binary(max_size=6), st.integers(0, 30), CUTS)
@settings(max_examples=50, deadline=None)
async def test_a_damaged_stream_ends_in_an_answer_or_an_error(
    vendor: FakeWire, name: str, at: int, put: bytes, lost: int, cuts: list[int]
) -> None:
    body = b"".join(event(each) for each in STREAMS[name])
    at %= len(body)
    damaged = body[:at] + put + body[at + lost :]
    await outcome(vendor, name, damaged, cuts, headers=EVENTS)


@pytest.mark.anyio
@ONE_BACKEND
@HTTP
@given(st.integers(0, 10_000), CUTS)
@settings(max_examples=30, deadline=None)
async def test_a_document_that_is_cut_off_is_never_an_answer(
    vendor: FakeWire, name: str, at: int, cuts: list[int]
) -> None:
    body = json.dumps(WHOLE[name]).encode()
    result = await outcome(vendor, name, body[: at % len(body)], cuts)
    assert isinstance(result, LLMError)


@pytest.mark.anyio
@ONE_BACKEND
@STREAMED
@given(st.integers(0, 10_000), CUTS)
@settings(max_examples=50, deadline=None)
async def test_a_stream_that_is_cut_off_is_an_answer_only_after_its_mark(
    vendor: FakeWire, name: str, at: int, cuts: list[int]
) -> None:
    body = b"".join(event(each) for each in STREAMS[name])
    cut = body[: at % (len(body) + 1)]
    result = await outcome(vendor, name, cut, cuts, headers=EVENTS)
    mark = ENDS[name]
    whole = mark in cut and b"\n\n" in cut[cut.rindex(mark) :]
    if name == "responses":
        whole = cut == body
    assert isinstance(result, Answer) == whole
