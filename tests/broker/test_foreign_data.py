"""
The caller's data, walked only once it is known to be JSON.

The kind: whatever a caller passes in place of JSON stops nobody else and is blamed on
nobody else. It is found where it comes in, in bounded time, before tokens are counted,
keys hashed or bodies written.
"""

import sys
from collections import OrderedDict, UserDict, UserList
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any

import anyio
import pytest

from aitor.broker.broker import Broker
from aitor.broker.cache import Cache
from aitor.errors import BadRequestError
from aitor.json_check import MOST_CHARACTERS, MOST_LEVELS, MOST_VALUES
from aitor.messages import Request
from aitor.providers import AnthropicProvider, CompatibleProvider, OpenAIProvider
from aitor.providers.base import Provider
from aitor.testing.scripted import ScriptedProvider

SECRET = "sk-live-123"


class Raising(Mapping[str, Any]):
    """A mapping of the caller's own, with a bug."""

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[str]:
        return iter(["role"])

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError(SECRET)


class Endless(Raising):
    """A mapping that never ends."""

    def __iter__(self) -> Iterator[str]:
        while True:
            yield "role"

    def __getitem__(self, key: str) -> Any:
        return "user"


class RaisingDict(dict[str, Any]):
    """A dictionary by type, and not by what it does."""

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError(SECRET)


class RaisingList(UserList[Any]):
    """A conversation of the caller's own, with a bug."""

    def __iter__(self) -> Iterator[Any]:
        raise RuntimeError(SECRET)


class Word(str):
    """A text that says something else of itself."""

    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError(SECRET)

    def __len__(self) -> int:
        raise RuntimeError(SECRET)


class Effort(StrEnum):
    """Words as most programs keep them."""

    LOW = "low"


class Number(IntEnum):
    """Numbers as some programs keep them."""

    TWO = 2


def circle() -> Any:
    one: list[Any] = []
    one.append(one)
    return one


def circle_of_two() -> Any:
    one: dict[str, Any] = {}
    one["left"] = {"up": one}
    one["right"] = {"up": one}
    return one


def deep(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


def shared() -> Any:
    value: Any = "x"
    for _ in range(30):
        value = [value] * 10
    return value


def long() -> Any:
    return ["x" * 1_000_000] * (MOST_CHARACTERS // 1_000_000 + 1)


WRONG: dict[str, tuple[str, Any]] = {
    "circle": ("containing itself", circle()),
    "circle of two": ("values", circle_of_two()),
    "deep": ("nested more than", deep(100_000)),
    "shared": ("values", shared()),
    "long": ("characters", long()),
    "raising": ("its own code raised RuntimeError", Raising()),
    "raising dict": ("its own code raised RuntimeError", RaisingDict(role="user")),
    "endless": ("values", Endless()),
    "nan": ("not finite", float("nan")),
    "infinite": ("not finite", [float("-inf")]),
    "digits": ("more than 300 digits", 10**5_000),
    "number as key": ("a key is no text", {1: "x"}),
    "none as key": ("a key is no text", {"a": {None: "x"}}),
    "bytes": ("JSON has no bytes", b"x"),
    "set": ("JSON has no set", {"a": {1, 2}}),
    "decimal": ("JSON has no Decimal", Decimal(1)),
    "object": ("JSON has no object", object()),
}


def conversation(content: Any) -> Any:
    return [{"role": "system", "content": "x"}, {"role": "user", "content": content}]


def clear(error: BadRequestError) -> bool:
    return SECRET not in f"{error!r}{error.__cause__!r}{error.__context__!r}"


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_json_is_found_where_it_comes_in(name: str) -> None:
    told, wrong = WRONG[name]
    makes: list[Callable[[], Request]] = [
        lambda: Request.of(conversation(wrong)),
        lambda: Request.of(Request(tuple(conversation(wrong)))),
        lambda: Request.of([{"role": "user", "content": "x", "name": wrong}]),
        lambda: Request.of("x", parameters={"metadata": wrong}),
        lambda: Request.of(Request(({"role": "user"},), None, {"tools": [wrong]})),
        lambda: Request.of(Request(({"role": "user"},)), parameters={"stop": wrong}),
    ]
    for make in makes:
        with pytest.raises(BadRequestError, match=told) as caught:
            make()
        assert clear(caught.value)


@pytest.mark.parametrize("name", ["raising", "raising dict", "endless"])
def test_a_message_or_parameters_of_the_caller_s_own_too(name: str) -> None:
    _, wrong = WRONG[name]
    with pytest.raises(BadRequestError) as caught:
        Request.of([wrong])
    assert clear(caught.value)
    with pytest.raises(BadRequestError) as caught:
        Request.of(Request(({"role": "user"},), None, wrong))
    assert clear(caught.value)
    with pytest.raises(BadRequestError) as caught:
        Request.of(RaisingList([{"role": "user"}]))
    assert clear(caught.value)


def test_the_error_says_where() -> None:
    with pytest.raises(BadRequestError, match="message 1: JSON has no bytes"):
        Request.of(conversation(b"x"))
    with pytest.raises(BadRequestError, match="parameter 'seed': a number is not"):
        Request.of("x", parameters={"top_p": 1.0, "seed": float("inf")})


def test_what_is_json_by_meaning_becomes_json_by_type() -> None:
    message: Any = MappingProxyType(
        {
            "role": Effort.LOW,
            "content": Word("hello"),
            "parts": (UserDict(a=Number.TWO), OrderedDict(b=True), [None, 0.5]),
        }
    )
    request = Request.of(UserList([message]))
    assert request.messages == (
        {
            "role": "low",
            "content": "hello",
            "parts": [{"a": 2}, {"b": True}, [None, 0.5]],
        },
    )
    (made,) = request.messages
    assert type(made) is dict
    assert type(made["content"]) is str
    parts: Any = made["parts"]
    assert type(made["role"]) is str
    assert type(parts[0]["a"]) is int
    request = Request.of(Word("hello"), parameters={"reasoning_effort": Effort.LOW})
    assert type(request.messages[0]["content"]) is str
    assert type(request.parameters["reasoning_effort"]) is str


def test_what_is_json_already_is_not_copied() -> None:
    messages = conversation([{"type": "text", "text": "x"}])
    request = Request.of(messages, parameters={"temperature": 0.5, "stop": ["a"]})
    assert all(a is b for a, b in zip(request.messages, messages, strict=True))
    assert Request.of(request) is request


def test_the_bounds_leave_room_for_what_is_real() -> None:
    Request.of(conversation(deep(MOST_LEVELS - 4)))
    Request.of(conversation([{"type": "text", "text": "x"}] * (MOST_VALUES // 4)))
    Request.of(conversation("x" * 50_000_000))
    assert sys.getrecursionlimit() > MOST_LEVELS * 3


SOME = ("circle", "deep", "shared", "raising", "raising dict", "nan", "bytes")


def vendors() -> list[Provider]:
    limits: dict[str, Any] = {"tokens_per_minute": 1_000_000, "max_retries": 0}
    return [
        OpenAIProvider(api_key="k", **limits),
        AnthropicProvider(api_key="k", **limits),
        CompatibleProvider(base_url="http://127.0.0.1:9/v1", model="m", **limits),
        ScriptedProvider("ok", **limits),
    ]


@pytest.mark.anyio
@pytest.mark.parametrize("provider", vendors(), ids=lambda one: str(one.kind))
async def test_no_circuit_hears_of_it_and_nobody_waits_for_it(
    provider: Provider,
) -> None:
    """Five such requests would have opened it for everybody."""
    cache = Cache()
    async with Broker({"p": provider}, cache=cache) as broker:
        for _, wrong in (WRONG[name] for name in SOME):
            with pytest.raises(BadRequestError):
                await broker.submit(conversation(wrong))
            with pytest.raises(BadRequestError):
                broker.submit_nowait(conversation(wrong))
        wrong_rows = [conversation(WRONG[name][1]) for name in SOME]
        rows = [row async for row in broker.map(wrong_rows)]
        assert all(isinstance(row.error, BadRequestError) for row in rows)
        assert len(rows) == len(SOME)
        seen = broker.statistics()
    assert seen.providers["p"].circuit == "closed"
    assert seen.totals.sent == seen.submitted == 0


@pytest.mark.anyio
async def test_a_mapping_of_the_caller_s_own_is_sent_as_what_it_holds() -> None:
    sent: list[Any] = []

    class Seeing(ScriptedProvider):
        async def complete(self, request: Request, progress: Any) -> Any:
            sent.append(request.messages)
            return await super().complete(request, progress)

    provider = Seeing("ok", tokens_per_minute=1_000)
    message = UserDict(role="user", content=[UserDict(type="text", text="hi")])
    async with Broker([provider], cache=Cache()) as broker:
        await broker.submit([message])
    assert sent == [({"role": "user", "content": [{"type": "text", "text": "hi"}]},)]


@pytest.mark.anyio
async def test_a_row_that_is_no_json_costs_its_neighbours_nothing() -> None:
    async with Broker([ScriptedProvider("ok")]) as broker:
        with anyio.fail_after(5.0):
            prompts: list[Any] = ["a", conversation(circle()), "b"]
            rows = {row.index: row.error async for row in broker.map(prompts)}
    assert isinstance(rows.pop(1), BadRequestError)
    assert rows == {0: None, 2: None}
