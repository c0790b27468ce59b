"""
Tools: functions of the application that a model may call.

A model sends nothing but text, so every call is checked against the function's own
signature before the function sees it. What goes wrong is not raised: it is told to
the model, which can mend its call or do without.
"""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, overload

import anyio.to_thread
from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, to_json

from aitor.agents.signature import arguments_model, read_docstring
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
    a cancelled `solve` waits for: a thread cannot be stopped.

    Args:
        function: What is called. Annotations say what arguments it takes, and its
            docstring, in Google's style, what they mean.
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
        own: str = getattr(function, "__name__", type(function).__name__)
        self.name = name or own
        if not _NAME.fullmatch(self.name):
            raise ConfigurationError(
                f"{self.name!r} is no name for a tool: up to 64 letters, digits, "
                f"'_' and '-' are; see 'name' of Tool"
            )
        told, documented = read_docstring(function)
        self.description = description or told
        self._model = arguments_model(function, self.name, documented)
        self.parameters = _schema(self._model.model_json_schema())

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

        An exception of the function is told by its type and its text. So is a
        cancellation that nobody asked for, as of a task that the function waited for.
        """
        try:
            checked = self._check(arguments)
        except ValidationError as error:
            return Observation.error(_told(error))
        try:
            return Observation(_text(await self._call(checked)))
        except Exception as error:  # noqa: BLE001  # a tool may raise anything
            return Observation.error(_sendable(f"{type(error).__name__}: {error}"))
        except BaseException as error:
            if is_stray(error):
                return CANCELLED
            raise

    def _check(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        model = instance_of(self._model, dict(arguments))
        given = {
            str(field.alias): getattr(model, name)
            for name, field in self._model.model_fields.items()
        }
        return {**given, **(model.model_extra or {})}

    async def _call(self, arguments: Mapping[str, Any]) -> Any:
        call = partial(self.function, **arguments)
        if inspect.iscoroutinefunction(self.function):
            return await call()
        result = await anyio.to_thread.run_sync(call)
        return await result if inspect.isawaitable(result) else result

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself, as if it were no tool."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"Tool({self.name}({', '.join(self.names)}))"


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


def _text(result: Any) -> str:
    if isinstance(result, str):
        return _sendable(result)
    try:
        return to_json(result).decode()
    except (PydanticSerializationError, ValueError):
        return _sendable(str(result))


def _sendable(text: str) -> str:
    # A file's name, say, may hold half a surrogate pair, which no request can.
    return text.encode("utf-8", "replace").decode()
