"""What an answer has used is known, or guessed and marked; never nothing by mistake."""

from typing import Any

import pytest

from aitor.messages import Usage
from aitor.providers import AnthropicProvider, OpenAIProvider

from .fake import FakeWire, ask, chunk, claude_stream, completion, message, response

pytestmark = pytest.mark.anyio

KNOWN = [(7, 0), (0, 3), (7.0, 3)]
UNKNOWN = [
    (None, None),
    (7, None),
    (None, 3),
    ("7", "3"),
    (-7, 3),
    (7, -3),
    (True, 3),
    (7.5, 3),
    (float("inf"), 3),
    (float("nan"), 3),
    (10**30, 3),
    ([7], {"total": 3}),
]

CHAT = ("prompt_tokens", "completion_tokens")
NATIVE = ("input_tokens", "output_tokens")
ANSWERS: dict[str, tuple[Any, str, tuple[str, str]]] = {
    "chat": (completion, "gpt-4.1", CHAT),
    "responses": (response, "gpt-6-astra", NATIVE),
    "messages": (message, "claude-opus-5-5", NATIVE),
}
every_dialect = pytest.mark.parametrize("dialect", ANSWERS)


async def used(wire: FakeWire, dialect: str, usage: Any) -> Usage:
    answer, model, _ = ANSWERS[dialect]
    wire.answer(answer(usage=usage))
    provider: Any = AnthropicProvider if dialect == "messages" else OpenAIProvider
    tools = [{"type": "function", "function": {"name": "f"}}]
    parameters = {"tools": tools} if dialect == "responses" else {}
    return (await ask(provider(api_key="k", model=model), **parameters)).usage


@every_dialect
@pytest.mark.parametrize("counts", KNOWN)
async def test_counts_are_known(
    wire: FakeWire, dialect: str, counts: tuple[Any, Any]
) -> None:
    usage = dict(zip(ANSWERS[dialect][2], counts, strict=True))
    assert await used(wire, dialect, usage) == Usage(int(counts[0]), counts[1])


@every_dialect
@pytest.mark.parametrize("counts", UNKNOWN, ids=repr)
async def test_counts_that_are_none_are_guessed_and_marked(
    wire: FakeWire, dialect: str, counts: tuple[Any, Any]
) -> None:
    """Or limits and costs would be settled with nothing."""
    usage = dict(zip(ANSWERS[dialect][2], counts, strict=True))
    got = await used(wire, dialect, usage)
    assert got.estimated
    assert got.input_tokens > 0
    assert got.output_tokens > 0


@every_dialect
@pytest.mark.parametrize(
    "usage",
    [None, [], "7", 7, {}, {"total_tokens": 7}, {"prompt_tokens": 7}],
    ids=repr,
)
async def test_a_usage_of_another_shape_is_guessed_and_marked(
    wire: FakeWire, dialect: str, usage: Any
) -> None:
    assert (await used(wire, dialect, usage)).estimated


async def test_counts_of_a_stream_may_be_unknown_too(wire: FakeWire) -> None:
    nothing = dict.fromkeys(CHAT)
    wire.stream(chunk("Hi", finish="stop"), {**chunk(), "usage": nothing}, "[DONE]")
    openai = OpenAIProvider(api_key="k", model="gpt-4.1", idle_timeout=9.0)
    assert (await ask(openai)).usage.estimated
    wire.scripts.clear()
    events = claude_stream("Hi")
    events[-2]["usage"] = {"output_tokens": "20"}
    wire.stream(*events)
    claude = AnthropicProvider(api_key="k", model="claude-opus-5-5", idle_timeout=9.0)
    assert (await ask(claude)).usage.estimated


TOLD_IN_PART: list[tuple[dict[str, Any], Usage]] = [
    ({"prompt_tokens": 20, "total_tokens": 1044}, Usage(20, 1024)),
    (
        {"prompt_tokens": 20, "completion_tokens": None, "total_tokens": 1044},
        Usage(20, 1024),
    ),
    (
        {"prompt_tokens": 20, "completion_tokens": 198, "total_tokens": 623},
        Usage(20, 603, reasoning_tokens=405),
    ),
    (
        {"prompt_tokens": 100, "completion_tokens": 5, "cached_tokens": 64},
        Usage(100, 5, 64),
    ),
    (
        {"prompt_tokens": 100, "completion_tokens": 5, "prompt_cache_hit_tokens": 64},
        Usage(100, 5, 64),
    ),
    # Siblings.
    ({"completion_tokens": 24, "total_tokens": 1044}, Usage(1020, 24)),
    (
        {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 3},
        Usage(9, 5),
    ),
    (
        {
            "prompt_tokens": 20,
            "completion_tokens": 198,
            "total_tokens": 623,
            "completion_tokens_details": {"reasoning_tokens": 400},
        },
        Usage(20, 603, reasoning_tokens=400),
    ),
]


@pytest.mark.parametrize(("told", "used_"), TOLD_IN_PART, ids=repr)
async def test_a_usage_told_in_part_is_used_in_part(
    wire: FakeWire, told: dict[str, Any], used_: Usage
) -> None:
    """The kind: what was told thrown away for what was not; limits settle on it."""
    assert await used(wire, "chat", told) == used_


@every_dialect
async def test_one_count_is_known_and_the_other_guessed(
    wire: FakeWire, dialect: str
) -> None:
    first, second = ANSWERS[dialect][2]
    got = await used(wire, dialect, {first: 1_234})
    assert (got.input_tokens, got.output_tokens, got.estimated) == (1_234, 2, True)
    wire.scripts.clear()
    got = await used(wire, dialect, {second: 1_234})
    assert (got.output_tokens, got.estimated) == (1_234, True)
    wire.scripts.clear()
    got = await used(wire, dialect, {first: 7, "total_tokens": 20})
    assert got == Usage(7, 13)
    wire.scripts.clear()
    got = await used(wire, dialect, {"total_tokens": 7_000})
    assert got.total_tokens == 7_000
    assert got.estimated


async def test_counts_of_a_stream_may_come_one_by_one(wire: FakeWire) -> None:
    """Or inside a choice, as one vendor has it; null takes nothing back."""
    first = {**chunk("Hi"), "usage": {"prompt_tokens": 7, "completion_tokens": None}}
    last = chunk(finish="stop")
    last["choices"][0]["usage"] = {"prompt_tokens": None, "completion_tokens": 3}
    wire.stream(first, last, "[DONE]")
    openai = OpenAIProvider(api_key="k", model="gpt-4.1", idle_timeout=9.0)
    assert (await ask(openai)).usage == Usage(7, 3)
