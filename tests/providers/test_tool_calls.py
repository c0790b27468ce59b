"""Tool calls of a stream stay apart, whatever their vendor gives to tell them by."""

import json
from typing import Any

import pytest

from aitor.providers import AnthropicProvider, OpenAIProvider

from .fake import FakeWire, ask, chunk, completion, message, response

pytestmark = pytest.mark.anyio

NOTHING = object()
ROME, UTC = '{"city":"Rome"}', '{"tz":"UTC"}'
TWO = [("weather", ROME), ("time", UTC)]


def piece(index: Any, identity: Any, name: Any, arguments: Any) -> dict[str, Any]:
    function: dict[str, Any] = {"name": name, "arguments": arguments}
    call: dict[str, Any] = {"index": index, "id": identity, "type": "function"}
    call["function"] = {k: v for k, v in function.items() if v is not NOTHING}
    return {k: v for k, v in call.items() if v is not NOTHING}


def event(*pieces: dict[str, Any]) -> dict[str, Any]:
    return chunk(delta={"tool_calls": list(pieces)})


STREAMS: dict[str, list[dict[str, Any]]] = {
    "one index for all": [
        event(piece(0, "c1", "weather", ROME)),
        event(piece(0, "c2", "time", UTC)),
    ],
    "no index": [
        event(piece(NOTHING, "c1", "weather", ROME)),
        event(piece(NOTHING, "c2", "time", UTC)),
    ],
    "null for an index": [
        event(piece(None, "c1", "weather", ROME)),
        event(piece(None, "c2", "time", UTC)),
    ],
    "arguments as objects": [
        event(piece(0, "c1", "weather", json.loads(ROME))),
        event(piece(1, "c2", "time", json.loads(UTC))),
    ],
    # Siblings.
    "one index and no id": [
        event(piece(0, NOTHING, "weather", ROME)),
        event(piece(0, NOTHING, "time", UTC)),
    ],
    "one index and one empty id": [
        event(piece(0, "", "weather", ROME), piece(0, "", "time", UTC)),
    ],
    "one id for all": [
        event(piece(0, "call", "weather", ROME)),
        event(piece(1, "call", "time", UTC)),
    ],
    "no index, in pieces": [
        event(piece(NOTHING, "c1", "weather", '{"city"')),
        event(piece(NOTHING, NOTHING, NOTHING, ':"Rome"}')),
        event(piece(NOTHING, "c2", "time", '{"tz"')),
        event(piece(NOTHING, NOTHING, NOTHING, ':"UTC"}')),
    ],
    "no index, in pieces that name the id": [
        event(piece(None, "c1", "weather", '{"city"')),
        event(piece(None, "c2", "time", '{"tz"')),
        event(piece(None, "c1", NOTHING, ':"Rome"}')),
        event(piece(None, "c2", NOTHING, ':"UTC"}')),
    ],
    "a new id and null for a name in each piece": [
        event(piece(0, "c1", "weather", "")),
        event(piece(0, "x1", None, ROME)),
        event(piece(1, "c2", "time", "")),
        event(piece(1, "x2", None, UTC)),
    ],
    "the name in every piece": [
        event(piece(0, NOTHING, "weather", '{"city"')),
        event(piece(0, NOTHING, "weather", ':"Rome"}')),
        event(piece(0, NOTHING, "weather", "")),
        event(piece(1, NOTHING, "time", UTC)),
    ],
    "the index as a text": [
        event(piece("0", "c1", "weather", ROME)),
        event(piece("1", "c2", "time", UTC)),
    ],
    "side by side": [
        event(piece(0, "c1", "weather", '{"city"'), piece(1, "c2", "time", '{"tz"')),
        event(
            piece(0, NOTHING, NOTHING, ':"Rome"}'),
            piece(1, NOTHING, NOTHING, ':"UTC"}'),
        ),
    ],
    "the second one first": [
        event(piece(1, "c2", "time", UTC)),
        event(piece(0, "c1", "weather", ROME)),
    ],
}


def called(calls: Any) -> list[tuple[str, str]]:
    return [(call["function"]["name"], call["function"]["arguments"]) for call in calls]


@pytest.mark.parametrize("how", STREAMS)
async def test_two_calls_are_two(wire: FakeWire, how: str) -> None:
    """The kind: parts of a stream keyed by what not every vendor gives."""
    wire.stream(*STREAMS[how], chunk(finish="tool_calls"), "[DONE]")
    openai = OpenAIProvider(api_key="k", model="gpt-4.1", idle_timeout=5.0)
    answer = await ask(openai)
    assert called(answer.message["tool_calls"]) == TWO


async def test_the_same_function_called_twice_is_two_calls(wire: FakeWire) -> None:
    other = '{"city":"Oslo"}'
    wire.stream(
        event(piece(0, NOTHING, "weather", ROME)),
        event(piece(0, NOTHING, "weather", other)),
        chunk(finish="tool_calls"),
    )
    openai = OpenAIProvider(api_key="k", model="gpt-4.1", idle_timeout=5.0)
    answer = await ask(openai)
    assert called(answer.message["tool_calls"]) == [
        ("weather", ROME),
        ("weather", other),
    ]


async def test_blocks_with_one_index_stay_apart(wire: FakeWire) -> None:
    """Anthropic's form of the same kind."""

    def use(name: str, given: Any) -> list[dict[str, Any]]:
        block = {"type": "tool_use", "id": name, "name": name, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": given}
        return [
            {"type": "content_block_start", "content_block": block},
            {"type": "content_block_delta", "delta": delta},
        ]

    wire.stream(
        {"type": "message_start", "message": {**message(), "content": []}},
        *use("weather", ROME),
        *use("time", json.loads(UTC)),
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
        {"type": "message_stop"},
    )
    claude = AnthropicProvider(api_key="k", model="claude-opus-5-5", idle_timeout=5.0)
    assert called((await ask(claude)).message["tool_calls"]) == TWO


async def test_arguments_as_an_object_are_text_in_a_whole_answer_too(
    wire: FakeWire,
) -> None:
    calls = [
        {"id": "c1", "function": {"name": "weather", "arguments": json.loads(ROME)}},
        {"id": "c2", "function": {"name": "time", "arguments": UTC}},
    ]
    wire.answer(completion(None, message={"tool_calls": calls}, finish="tool_calls"))
    answer = await ask(OpenAIProvider(api_key="k", model="gpt-4.1"))
    assert called(answer.message["tool_calls"]) == TWO
    wire.scripts.clear()
    items = [
        {"type": "function_call", "call_id": "c", "name": name, "arguments": given}
        for name, given in (("weather", json.loads(ROME)), ("time", UTC))
    ]
    wire.answer(response(*items))
    openai = OpenAIProvider(api_key="k", model="gpt-4.1", api="responses")
    assert called((await ask(openai)).message["tool_calls"]) == TWO


@pytest.mark.parametrize("calls", [[None], ["x"], [{"function": "x"}], [{}]])
async def test_what_is_no_call_breaks_nothing(wire: FakeWire, calls: Any) -> None:
    wire.stream(chunk("Hi", delta={"tool_calls": calls}), chunk(finish="stop"))
    openai = OpenAIProvider(api_key="k", model="gpt-4.1", idle_timeout=5.0)
    assert (await ask(openai)).text == "Hi"
