"""
Tools: functions of the application that a model may call.

A model sends nothing but text, so every call is checked against the function's own
signature before the function sees it. What goes wrong is not raised: it is told to
the model, which can correct its call or do without.
"""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, overload

import anyio.to_thread
from pydantic import ValidationError

from aitor.agents.results import (
    Failed,
    Pending,
    collected,
    fault_of,
    gathered,
    shown,
    worded,
)
from aitor.agents.signature import (
    arguments_model,
    bound_names,
    name_of,
    positional_names,
    read_docstring,
)
from aitor.broker.native import is_stray
from aitor.errors import ConfigurationError
from aitor.llm.reading import instance_of

__all__ = ("Observation", "Tool", "by_name", "tool")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True, repr=False)
class Observation:
    """
    What a model is told of a call.

    Args:
        text: The result, or what went wrong.
        failed: Whether it went wrong.
    """

    text: str
    failed: bool = False

    @classmethod
    def error(cls, text: str) -> "Observation":
        """Return the observation of a call that failed."""
        return cls(f"error: {text}", failed=True)


CANCELLED = Observation.error("what the tool waited for was cancelled")


class Tool:
    """
    A function that a model may call by arguments that fit its signature.

    A coroutine function runs in the event loop, any other in a worker thread, which
    a cancelled `solve` waits for: a thread cannot be stopped. What a generator yields,
    of either kind, is its result, as a list.

    Args:
        function: What is called. Annotations say what arguments it takes, and its
            docstring, in Google's style, what they mean. What was bound before
            (`functools.partial`) is neither shown to a model nor taken from one.
        name: What the model calls it; by default the function's name.
        description: What it does; by default the docstring's first part.

    Raises:
        ConfigurationError: If the function cannot be called by a model.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        description: str | None = None,
    ) -> None:
        if not callable(function):
            raise ConfigurationError(
                f"a tool is a function or a Tool, not {type(function).__name__}"
            )
        self.function = function
        self.name = name or name_of(function)
        if not _NAME.fullmatch(self.name):
            raise ConfigurationError(
                f"{self.name!r} is no name for a tool: up to 64 letters, digits, "
                f"'_' and '-' are; see 'name' of Tool"
            )
        told, documented = read_docstring(function)
        self._model = arguments_model(function, self.name, documented)
        self.parameters = _schema(self._model.model_json_schema())
        self._bound = bound_names(function)
        self._by_place = positional_names(function)
        # Some servers take no function without a description.
        self.description = description or told or f"{self.name}{self._signature()}"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its arguments, in the function's order."""
        return tuple(self.parameters["properties"])

    def definition(self) -> dict[str, Any]:
        """Return the tool as Chat Completions declares it."""
        function = {
            "name": self.name,
            "description": self.description,
            "parameters": self.parameters,
        }
        return {"type": "function", "function": function}

    async def observe(self, arguments: Mapping[str, Any]) -> Observation:
        """
        Call the function if *arguments* fit, and return what to tell the model.

        Whatever the function raises is told by its type and its text, an attempt to
        end the program too. So is a cancellation that nobody asked for, as of a task
        that the function waited for. A `KeyboardInterrupt` in a coroutine function is
        raised, since it may be the user's own; none of theirs reaches a thread.
        """
        try:
            checked = self._check(arguments)
        except ValidationError as error:
            return Observation.error(_told(error))
        except ValueError as error:
            return Observation.error(worded(error, named=False))
        try:
            result = await self._call(checked)
        except BaseException as error:
            if is_stray(error):
                return CANCELLED
            told = fault_of(error)
            if told is None:
                raise
            return Observation.error(told)
        return result if isinstance(result, Observation) else Observation(result)

    def _check(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        for name in self._bound & arguments.keys():
            raise ValueError(f"argument '{name}': Extra inputs are not permitted")
        model = instance_of(self._model, dict(arguments))
        given = {
            str(field.alias): getattr(model, name)
            for name, field in self._model.model_fields.items()
        }
        return {**given, **(model.model_extra or {})}

    async def _call(self, arguments: dict[str, Any]) -> str | Observation:
        by_place = [arguments.pop(name) for name in self._by_place if name in arguments]
        call = partial(self.function, *by_place, **arguments)
        if inspect.iscoroutinefunction(self.function):
            return shown(await gathered(await call()))
        result = await anyio.to_thread.run_sync(_in_thread, call)
        if isinstance(result, Failed):
            return _failure(result.error)
        return result if isinstance(result, str) else shown(await gathered(result.it))

    def _signature(self) -> str:
        return f"({', '.join(self.names)})"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself, as if it were no tool."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"Tool({self.name}{self._signature()})"


@overload
def tool(function: Callable[..., Any]) -> Tool: ...


@overload
def tool(
    *, name: str | None = None, description: str | None = None
) -> Callable[[Callable[..., Any]], Tool]: ...


def tool(
    function: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    description: str | None = None,
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """
    Make a function a `Tool`: `@tool`, or `@tool(name="search")`.

    Raises:
        ConfigurationError: If the function cannot be called by a model.
    """
    if function is None:
        return partial(Tool, name=name, description=description)
    return Tool(function, name=name, description=description)


def by_name(tools: Sequence[Tool | Callable[..., Any]]) -> dict[str, Tool]:
    """
    Return *tools* by their names, each function made a tool.

    Raises:
        ConfigurationError: If two have one name, or one is no tool.
    """
    named: dict[str, Tool] = {}
    for each in tools:
        made = each if isinstance(each, Tool) else Tool(each)
        if made.name in named:
            raise ConfigurationError(
                f"two tools are named {made.name!r}: give one another 'name'"
            )
        named[made.name] = made
    return named


def _schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Return *schema* without the titles that repeat its names."""
    properties = {
        name: {key: value for key, value in each.items() if key != "title"}
        for name, each in schema.get("properties", {}).items()
    }
    rest = {key: value for key, value in schema.items() if key != "title"}
    return {**rest, "properties": properties}


def _told(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_input=False)
    return "; ".join(
        f"argument '{'.'.join(map(str, each['loc']))}': {each['msg']}"
        for each in problems
    )


def _in_thread(call: Callable[[], Any]) -> str | Pending | Failed:
    try:
        result = call()
        if inspect.isawaitable(result) or hasattr(result, "__aiter__"):
            return Pending(result)
        return shown(collected(result))
    except BaseException as error:  # noqa: BLE001  # a thread is nobody's to end
        return Failed(error)


def _failure(error: BaseException) -> Observation:
    if not isinstance(error, anyio.get_cancelled_exc_class()):
        return Observation.error(worded(error))
    # One of the task, of which its thread was told, is the task's.
    if is_stray(error):
        return CANCELLED
    raise error
