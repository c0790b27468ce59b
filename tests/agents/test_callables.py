"""Callables of every sort as tools, and whatever they return or raise."""

import functools
import itertools
import math
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial, partialmethod
from typing import Any

import anyio
import pytest

from aitor.agents import Tool
from aitor.agents.results import LONGEST_RESULT, MOST_ITEMS
from aitor.agents.tools import Observation
from aitor.errors import ConfigurationError

pytestmark = pytest.mark.anyio


def weather(city: str, /, days: int = 1, *, token: str = "none") -> str:
    """Tell the weather.

    Args:
        city: Which city.
        token: Who asks.
    """
    return f"{city} {days} {token}"


def free(city: str, **more: Any) -> Any:
    """Tell anything."""
    return [city, more]


class Shop:
    """A shop."""

    def __call__(self, item: str) -> str:
        """Tell the price of an item."""
        return f"{item} costs 1"

    def price(self, item: str, *, token: str) -> str:
        """Tell a price."""
        return f"{item} {token}"

    cheap = partialmethod(price, token="secret")


class Plain:
    """What this shop does."""

    def __call__(self) -> str:
        return "done"


class Bound:
    """A shop with a method that is bound."""

    __call__ = partialmethod(Shop.price, token="secret")


@functools.wraps(weather)
def _wrapping(*args: Any, **more: Any) -> str:
    return partial(weather, token="secret")(*args, **more)


_wrapping.__wrapped__ = partial(weather, token="secret")  # as `wraps` has it

nested = partial(partial(weather, token="secret"), days=2)
told = partial(weather)
told.__doc__ = "Told anew."


# Names, descriptions, and what is bound.


@pytest.mark.parametrize(
    ("function", "name", "description"),
    [
        (weather, "weather", "Tell the weather."),
        (partial(weather), "weather", "Tell the weather."),
        (nested, "weather", "Tell the weather."),
        (told, "weather", "Told anew."),
        (Shop(), "Shop", "Tell the price of an item."),
        (partial(Shop(), item="tea"), "Shop", "Tell the price of an item."),
        (Plain(), "Plain", "What this shop does."),
        (Shop().price, "price", "Tell a price."),
        (Shop().cheap, "price", "Tell a price."),
        (lambda city: city, "anonymous", "anonymous(city)"),
        (math.sqrt, "sqrt", math.sqrt.__doc__),
        (len, "len", len.__doc__),
        ("a,b".split, "split", None),
    ],
)
def test_every_callable_has_a_name_and_a_description_of_its_own(
    function: Callable[..., Any], name: str, description: str | None
) -> None:
    """
    The kind: what a class says of all its objects, told of one.

    Siblings: partial methods, partials of objects, built-in methods.
    """
    made = Tool(function)
    assert made.name == name
    if description is None:
        assert made.description
    else:
        assert made.description.split() == description.split()


@pytest.mark.parametrize(
    "function",
    [
        partial(weather, token="secret"),
        nested,
        partial(free, token="secret"),
        Shop().cheap,
        Bound(),
        _wrapping,
    ],
)
async def test_what_is_bound_is_neither_shown_nor_changed(
    function: Callable[..., Any],
) -> None:
    """
    The kind: a secret where nobody expected one.

    Siblings: bound in several layers, for a function that takes anything, in a method,
    behind a decorator.
    """
    made = Tool(function, name="f")
    assert "secret" not in str(made.definition())
    assert "token" not in made.names
    first = made.names[0]
    observation = await made.observe({first: "x", "token": "changed"})
    assert observation.failed
    assert "argument 'token'" in observation.text
    assert "changed" not in observation.text
    assert "secret" in (await made.observe({first: "x"})).text


async def test_arguments_are_given_by_place_where_a_function_wants_it() -> None:
    assert (await Tool(weather).observe({"city": "X"})).text == "X 1 none"
    assert (await Tool(math.sqrt).observe({"x": 16})).text == "4.0"
    assert (await Tool(len).observe({"obj": [1, 2]})).text == "2"
    with pytest.raises(ConfigurationError, match="signature cannot be read"):
        Tool(max)


# Results.


def yielding() -> Iterator[int]:
    yield from (1, 2)


async def yielding_later() -> AsyncIterator[int]:
    for each in (1, 2):
        await anyio.sleep(1)
        yield each


async def returning_it() -> Iterator[int]:
    return yielding()


class Later:
    async def __call__(self) -> list[int]:
        await anyio.sleep(1)
        return [1, 2]


@pytest.mark.parametrize(
    "function",
    [
        yielding,
        yielding_later,
        returning_it,
        Later(),
        partial(yielding_later),
        lambda: map(int, "12"),
        lambda: yielding_later(),
    ],
)
async def test_what_is_yielded_is_the_result(function: Callable[..., Any]) -> None:
    """The kind: a function that returns, but not its result."""
    assert (await Tool(function, name="f").observe({})).text == "[1,2]"


async def test_a_generator_without_end_ends_and_is_closed() -> None:
    closed = []

    async def endless() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append("async")

    def plain() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append("plain")

    for function in (endless, plain):
        text = (await Tool(function).observe({})).text
        assert text.count("1") == MOST_ITEMS
        assert text.endswith('"…"]')
    assert closed == ["async", "plain"]
    assert not (await Tool(itertools.count, name="count").observe({})).failed


class HugeError(Exception):
    def __str__(self) -> str:
        return "x" * 10**7


def huge_error() -> None:
    raise HugeError


@pytest.mark.parametrize(
    "function",
    [lambda: "x" * 10**8, lambda: ["x" * 10**7], huge_error],
    ids=["text", "list", "error"],
)
async def test_a_result_is_told_as_far_as_a_model_can_read(
    function: Callable[..., Any],
) -> None:
    """The kind: what is fetched is paid for by the token."""
    text = (await Tool(function, name="f").observe({})).text
    assert LONGEST_RESULT < len(text) < LONGEST_RESULT + 200
    assert text.endswith("characters, of which these are the first)")


# Faults.


class Own(BaseException):
    pass


class MuteError(Exception):
    def __str__(self) -> str:
        raise SystemExit(1)


class Unwritable:
    def __str__(self) -> str:
        raise KeyboardInterrupt


def _group(error: BaseException) -> BaseException:
    for _ in range(5_000):
        error = BaseExceptionGroup("g", [error])
    return error


FAULTS: list[tuple[BaseException, str]] = [
    (SystemExit(3), "SystemExit: 3"),
    (Own("x"), "Own: x"),
    (MuteError(), "MuteError: its text cannot be told"),
    (
        ExceptionGroup("g", [ValueError("x"), MuteError()]),
        "ExceptionGroup: g [ValueError: ",
    ),
    (ExceptionGroup("g", [ValueError(n) for n in range(9)]), "; and 4 more]"),
    (_group(SystemExit(1)), "SystemExit: 1"),
    (StopIteration(4), "StopIteration"),
]


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize(("error", "text"), FAULTS)
async def test_whatever_a_tool_raises_is_told_to_the_model(
    error: BaseException,
    text: str,
    later: bool,
) -> None:
    """
    The kind: what ends more than the tool.

    Siblings: exceptions of one's own that are no `Exception`, groups in groups.
    """

    def raising() -> None:
        raise error

    async def raising_later() -> None:
        await anyio.sleep(1)
        raise error

    observation = await Tool(raising_later if later else raising, name="f").observe({})
    assert observation.failed
    assert text in observation.text


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), GeneratorExit(), _group(KeyboardInterrupt())]
)
async def test_an_interrupt_in_a_thread_is_nobodys_and_in_the_loop_may_be_the_users(
    error: BaseException,
) -> None:
    """Python gives the user's to the main thread, which no plain function runs in."""

    def raising() -> Any:
        raise error

    async def raising_later() -> None:
        raising()

    observation = await Tool(raising).observe({})
    assert observation.failed
    assert observation.text.startswith(f"error: {type(error).__name__}: ")
    with pytest.raises(type(error)):
        await Tool(raising_later).observe({})


async def test_a_result_that_cannot_be_written_is_a_fault() -> None:
    observation = await Tool(Unwritable, name="f").observe({})
    assert observation == Observation("error: KeyboardInterrupt: ", failed=True)


async def test_a_thread_that_is_told_of_a_cancellation_passes_it_on() -> None:
    def asking() -> None:
        anyio.from_thread.run_sync(scope.cancel)
        anyio.from_thread.check_cancelled()

    with anyio.CancelScope() as scope:
        await Tool(asking).observe({})
        pytest.fail("it goes on")
    assert scope.cancelled_caught
