"""Functions as tools: what a model is told of them, and what it may send them."""

import dataclasses
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack
from contextvars import ContextVar
from datetime import date
from functools import partial
from typing import Annotated, Any, Literal

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from aitor.agents import Tool, tool
from aitor.agents.tools import Observation, by_name
from aitor.errors import ConfigurationError


def weather(city: str, days: int = 1, unit: Literal["C", "F"] = "C") -> str:
    """
    Tell the weather.

    It is never right.

    Args:
        city (str): Where; a name
            in any language.
        days: How many days ahead.

    Returns:
        Words.
    """
    return f"{city} {days} {unit}"


def observe(tool: Tool, /, **arguments: Any) -> Observation:
    async def main() -> Observation:
        return await tool.observe(arguments)

    return anyio.run(main)


def test_the_signature_and_the_docstring_become_the_declaration() -> None:
    assert Tool(weather).definition() == {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Tell the weather.\n\nIt is never right.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {
                        "type": "string",
                        "description": "Where; a name in any language.",
                    },
                    "days": {
                        "type": "integer",
                        "default": 1,
                        "description": "How many days ahead.",
                    },
                    "unit": {"type": "string", "enum": ["C", "F"], "default": "C"},
                },
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    }


def test_a_function_without_annotations_or_docstring_is_a_tool_all_the_same() -> None:
    def anything(x, y=None):  # type: ignore[no-untyped-def]  # that is the point
        return [x, y]

    made = Tool(anything)
    assert made.description == "anything(x, y)"
    assert made.parameters["properties"] == {"x": {}, "y": {"default": None}}
    assert observe(made, x={"a": 1}).text == '[{"a":1},null]'


def test_name_and_description_may_be_given() -> None:
    made = Tool(weather, name="get-weather", description="Ask it.")
    assert made.definition()["function"]["name"] == "get-weather"
    assert made.description == "Ask it."

    @tool(name="other")
    def some() -> int:
        return 1

    @tool
    def plain() -> int:
        return 2

    assert (some.name, plain.name) == ("other", "plain")
    assert plain() == 2
    assert repr(Tool(weather)) == "Tool(weather(city, days, unit))"


def test_parameters_may_be_called_as_pydantic_calls_its_own() -> None:
    def odd(model_config: int, copy: int, json: int = 3, _x: int = 4) -> int:
        return model_config + copy + json + _x

    made = Tool(odd)
    assert made.names == ("model_config", "copy", "json", "_x")
    assert observe(made, model_config=1, copy=2).text == "10"


def test_annotated_descriptions_and_bounds_count() -> None:
    def dice(sides: Annotated[int, Field(ge=2, description="How many")] = 6) -> int:
        return sides

    made = Tool(dice)
    assert made.parameters["properties"]["sides"] == {
        "type": "integer",
        "minimum": 2,
        "default": 6,
        "description": "How many",
    }
    assert "greater than or equal to 2" in observe(made, sides=1).text


def test_structured_arguments_arrive_as_what_the_signature_says() -> None:
    class Place(BaseModel):
        x: int
        y: int

    @dataclasses.dataclass
    class Distance:
        between: float

    def distance(of: Place, to: Place = Place(x=0, y=0)) -> Distance:  # noqa: B008  # on purpose
        return Distance(abs(of.x - to.x) + abs(of.y - to.y))

    assert observe(Tool(distance), of={"x": 3, "y": 4}).text == '{"between":7}'


def test_a_strict_argument_takes_what_json_has_no_type_for() -> None:
    def weekday(day: Annotated[date, Field(strict=True)]) -> int:
        return day.isoweekday()

    assert observe(Tool(weekday), day="2024-01-02").text == "2"
    assert observe(Tool(weekday), day=date(2024, 1, 2)).text == "2"
    assert "valid date" in observe(Tool(weekday), day="2").text


def test_more_arguments_pass_where_the_function_takes_them() -> None:
    def free(first: int, **more: Any) -> Any:
        return first, more

    assert observe(Tool(free), first=1, second=[2]).text == '[1,{"second":[2]}]'


def test_methods_partials_and_objects_are_tools() -> None:
    class Shop:
        def price(self, item: str) -> str:
            return f"{item} costs 1"

        def __call__(self, item: str) -> str:
            return f"{item} is here"

    assert observe(Tool(Shop().price), item="tea").text == "tea costs 1"
    assert observe(Tool(Shop()), item="tea").text == "tea is here"
    bound = partial(weather, unit="F")
    assert observe(Tool(bound, name="warm"), city="X").text == "X 1 F"


def args_only(*args: int) -> None: ...


def unknown_type(a: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821  # the point


def own_type(a: threading.Event) -> None: ...


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (args_only, "'args' cannot be given by its name"),
        (unknown_type, "its signature cannot be read"),
        (own_type, "an argument's type cannot be written as JSON"),
        ("text", "a function or a Tool, not str"),
        (partial(print, "x"), "'args' cannot be given by its name"),
    ],
)
def test_what_a_model_cannot_call_is_refused_at_once(
    function: Callable[..., Any], told: str
) -> None:
    with pytest.raises(ConfigurationError, match=told):
        Tool(function)


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="two tools are named 'weather'"):
        by_name([weather, Tool(weather)])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "error: argument 'city': Field required"),
        ({"city": 3}, "error: argument 'city': Input should be a valid string"),
        (
            {"city": "X", "day": 1},
            "error: argument 'day': Extra inputs are not permitted",
        ),
        ({"city": "X", "unit": "K"}, "error: argument 'unit': Input should be 'C' or"),
    ],
)
def test_bad_arguments_are_told_and_never_reach_the_function(
    arguments: dict[str, Any], told: str
) -> None:
    observation = observe(Tool(weather), **arguments)
    assert observation.failed
    assert observation.text.startswith(told)


def test_an_exception_is_told_by_its_type_and_text() -> None:
    def broken() -> None:
        raise LookupError("no such page")

    assert observe(Tool(broken)) == Observation(
        "error: LookupError: no such page", failed=True
    )


def test_a_validation_error_inside_the_tool_is_the_tools() -> None:
    def broken() -> None:
        Observed(x="no")  # type: ignore[arg-type]  # on purpose

    class Observed(BaseModel):
        x: int

    assert observe(Tool(broken)).text.startswith("error: ValidationError: 1 validation")


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ("as it is", "as it is"),
        (None, "null"),
        ({"a": [1, 2.5]}, '{"a":[1,2.5]}'),
        ("half \ud800", "half ?"),
        (object, "<class 'object'>"),
    ],
)
def test_results_become_text(result: Any, text: str) -> None:
    assert observe(Tool(lambda: result, name="f")).text == text


def test_a_plain_function_runs_in_a_thread_and_a_coroutine_function_does_not() -> None:
    def plain() -> int:
        return threading.get_ident()

    async def coroutine() -> int:
        return threading.get_ident()

    here = str(threading.get_ident())
    assert observe(Tool(plain)).text != here
    assert observe(Tool(coroutine)).text == here
    assert observe(Tool(lambda: coroutine(), name="late")).text == here


@given(
    st.dictionaries(
        st.text(max_size=8),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        ),
    )
)
def test_any_arguments_are_either_right_or_told_to_be_wrong(
    arguments: dict[str, Any],
) -> None:
    """Nothing that JSON can hold gets past the check, or breaks it."""
    observation = observe(Tool(weather), **{"city": "X", **arguments})
    known = {"city", "days", "unit"}
    assert observation.failed or set(arguments) <= known


def test_a_tool_may_keep_what_it_opened_for_its_next_call() -> None:
    """And what it says of its task is said of the agent's."""
    var: ContextVar[int] = ContextVar("var", default=0)
    stack = AsyncExitStack()

    async def opens() -> str:
        await stack.enter_async_context(anyio.create_task_group())
        var.set(5)
        return "open"

    async def main() -> None:
        assert (await Tool(opens).observe({})).text == "open"
        assert var.get() == 5
        await stack.aclose()

    for backend in ("asyncio", "trio"):
        anyio.run(main, backend=backend)
