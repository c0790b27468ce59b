"""What is JSON to its sender and to no strict reader is not thrown away."""

import json
from typing import Any

import pytest

from aitor.errors import MalformedAnswerError, TruncatedAnswerError
from aitor.providers import AnthropicProvider, CompatibleProvider
from aitor.providers.documents import read_json, whole_characters

from .fake import EVENTS, FakeWire, ask, chunk, claude_stream, completion, message

pytestmark = pytest.mark.anyio

MARK = b"\xef\xbb\xbf"
HALF = "ok \ud83d"
SMILE = "\N{GRINNING FACE}"
FIRST, SECOND = "\ud83d", "\ude00"


def provider(**settings: Any) -> CompatibleProvider:
    return CompatibleProvider(model="m", base_url="http://x.test/v1", **settings)


def claude(**settings: Any) -> AnthropicProvider:
    return AnthropicProvider(model="claude-sonnet-5-5", api_key="k", **settings)


async def test_half_a_character_in_an_answer_is_kept(wire: FakeWire) -> None:
    """Models do send them, and the rest of the answer is paid for."""
    wire.answer(completion(HALF))
    answer = await ask(provider())
    assert answer.text == HALF
    assert answer.usage.input_tokens == 10


async def test_a_mark_before_an_answer_is_read_over(wire: FakeWire) -> None:
    for text in ("ok", HALF):
        wire.answer(MARK + json.dumps(completion(text)).encode())
        assert (await ask(provider())).text == text
        wire.scripts.clear()


async def test_a_character_that_came_in_two_halves_is_whole(wire: FakeWire) -> None:
    """Each in an event of its own; in the text, the reasoning, a tool and a refusal."""
    call = [{"index": 0, "id": "c", "function": {"name": "f", "arguments": FIRST}}]
    rest = [{"index": 0, "function": {"arguments": SECOND}}]
    wire.stream(
        chunk(f"a{FIRST}", delta={"reasoning": FIRST, "tool_calls": call}),
        chunk(f"{SECOND}b", delta={"reasoning": SECOND, "tool_calls": rest}),
        chunk(f"c{FIRST}", finish="stop"),
        "[DONE]",
    )
    answer = await ask(provider(idle_timeout=9.0))
    assert answer.text == f"a{SMILE}bc{FIRST}"
    assert answer.message["reasoning_content"] == SMILE
    assert answer.message["tool_calls"][0]["function"]["arguments"] == SMILE
    wire.scripts.clear()
    wire.stream(
        chunk(delta={"refusal": FIRST}),
        chunk(delta={"refusal": SECOND}, finish="stop"),
    )
    assert (await ask(provider(idle_timeout=9.0))).text == SMILE


async def test_claude_sends_halves_too(wire: FakeWire) -> None:
    wire.stream(*claude_stream(f"a{FIRST}", f"{SECOND}b", FIRST))
    assert (await ask(claude(idle_timeout=9.0))).text == f"a{SMILE}b{FIRST}"


async def test_half_a_character_in_the_arguments_of_a_tool(wire: FakeWire) -> None:
    tool = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": HALF}}
    wire.answer(message(tool, stop_reason="tool_use"))
    answer = await ask(claude())
    (call,) = answer.message["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"a": HALF}


async def test_half_a_character_in_arguments_that_came_in_pieces(
    wire: FakeWire,
) -> None:
    block = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    pieces = [
        {"type": "input_json_delta", "partial_json": piece}
        for piece in ('{"a": "ok \\ud8', '3d"}')
    ]
    events = claude_stream()
    events[1] = {"type": "content_block_start", "index": 0, "content_block": block}
    events[2:3] = [
        {"type": "content_block_delta", "index": 0, "delta": piece} for piece in pieces
    ]
    wire.stream(*events)
    (call,) = (await ask(claude(idle_timeout=9.0))).message["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"a": HALF}


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": "\\ud83d"',
        b'{"a": "\\ud83d", \xff}',
        b'{"a": "\\ud83d\n"}',
        b'"\\ud8"',
        MARK + MARK + b"{}",
        b'["\\ud83d",' + b"[" * 100_000,
    ],
    ids=["cut", "no text", "control character", "no escape", "two marks", "deep"],
)
async def test_what_is_no_json_either_way_is_no_answer(
    wire: FakeWire, data: bytes
) -> None:
    for headers in (None, EVENTS):
        wire.answer(data if headers is None else [b"data: " + data + b"\n\n"])
        with pytest.raises(MalformedAnswerError):
            await ask(provider())
        wire.scripts.clear()


async def test_a_cut_answer_is_told_as_such_whatever_is_in_it(wire: FakeWire) -> None:
    """Although another reader looks at it, too."""
    wire.answer(json.dumps(completion(SMILE)).encode()[:-20])
    with pytest.raises(TruncatedAnswerError, match="cut off"):
        await ask(provider())


@pytest.mark.parametrize("text", ["", "a", "é", SMILE, f"{SECOND}{FIRST}", HALF])
def test_texts_without_a_pair_in_two_halves_stay_as_they_are(text: str) -> None:
    assert whole_characters(text) == text
    assert read_json(json.dumps(text)) == text
    assert read_json(json.dumps(text).encode()) == text
