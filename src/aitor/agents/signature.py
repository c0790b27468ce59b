"""
What a function's signature and docstring tell a model about its arguments.

Pydantic does the work: the signature becomes a model of its own, which writes the
JSON schema and later checks what a language model sends. A function that a model
cannot call is refused when the tool is made, not in the middle of a task. What the
application has bound (`functools.partial`) is its own: a model neither sees it nor may
replace it.
"""

import inspect
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.errors import PydanticUserError

from aitor.errors import ConfigurationError

__all__ = (
    "Documentation",
    "arguments_model",
    "bound_names",
    "name_of",
    "positional_names",
    "read_docstring",
)

_BY_PLACE = inspect.Parameter.POSITIONAL_ONLY
_WITH_A_NAME = (
    _BY_PLACE,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
)
_SECTION = re.compile(
    r"(Args|Arguments|Attributes|Examples?|Notes?|Raises|Returns|Yields):\s*"
)
_ARGUMENT = re.compile(r"^\*{0,2}(\w+)\s*(?:\([^)]*\))?:\s*(.*)$")

Documentation = tuple[str, Mapping[str, str]]
"""What a docstring says of a function, and of its arguments by name."""


def arguments_model(
    function: Callable[..., Any], name: str, documented: Mapping[str, str]
) -> type[BaseModel]:
    """
    Return a model that takes what *function* takes.

    Its fields have names of their own, with the parameters' names as aliases, since
    a parameter may be called what a model's method is called.

    Args:
        function: What is to be called.
        name: What errors call it.
        documented: Descriptions by parameter.

    Raises:
        ConfigurationError: Naming the tool, and the parameter where it is one's fault.
    """
    fields: dict[str, Any] = {}
    extra, bound = "forbid", bound_names(function)
    for number, parameter in enumerate(_signature(function, name).values()):
        if parameter.name in bound:
            continue
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            extra = "allow"
        elif parameter.kind in _WITH_A_NAME:
            told = documented.get(parameter.name)
            fields[f"argument_{number}"] = _field(parameter, told)
        else:
            raise ConfigurationError(
                f"tool {name!r}: '{parameter.name}' cannot be given by its name, "
                f"which is how a model calls"
            )
    config = ConfigDict(extra=extra, title=name)  # type: ignore[typeddict-item]  # one of two
    try:
        model: type[BaseModel] = create_model("Arguments", __config__=config, **fields)
        model.model_json_schema()
    except PydanticUserError as error:
        told = str(error).partition("\n")[0]
        raise ConfigurationError(
            f"tool {name!r}: an argument's type cannot be written as JSON: {told}"
        ) from error
    return model


def _signature(
    function: Callable[..., Any], name: str
) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function, eval_str=True).parameters
    except (TypeError, ValueError, NameError, SyntaxError) as error:
        raise ConfigurationError(
            f"tool {name!r}: its signature cannot be read ({error})"
        ) from error


def _field(parameter: inspect.Parameter, description: str | None) -> tuple[Any, Any]:
    empty = parameter.empty
    kind = Any if parameter.annotation is empty else parameter.annotation
    more: dict[str, Any] = {"alias": parameter.name}
    if description:
        more["description"] = description
    default = parameter.default
    if default is empty:
        return kind, Field(**more)
    if default is None or isinstance(default, str | int | float):
        return kind, Field(default, **more)
    # The function has its default anyway; one that JSON may not know is not shown.
    return kind, Field(default_factory=lambda: default, **more)


def positional_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the parameters of *function* that it takes by their place alone."""
    parameters = inspect.signature(function).parameters.values()
    return tuple(each.name for each in parameters if each.kind is _BY_PLACE)


def bound_names(function: Callable[..., Any]) -> frozenset[str]:
    """Return the names of the arguments that *function* was given beforehand."""
    return frozenset(
        name
        for layer in _layers(function)
        if isinstance(layer, partial)
        for name in layer.keywords
    )


def _layers(function: Any) -> Iterator[Any]:
    """Yield *function* and what it calls, as far as it shows that."""
    seen: list[Any] = []
    while function is not None and not any(function is each for each in seen):
        seen.append(function)
        yield function
        if isinstance(function, partial):
            function = function.func
        elif wrapped := getattr(function, "__wrapped__", None):
            function = wrapped
        elif hasattr(function, "__name__"):
            function = None
        else:
            # An object, whose own method may be a partial one.
            function = getattr(function, "__call__", None)  # noqa: B004  # not whether


def name_of(function: Callable[..., Any]) -> str:
    """Return what *function*, or what is behind it, is called."""
    while "__name__" not in getattr(function, "__dict__", {}) and isinstance(
        function, partial
    ):
        function = function.func
    name: str = getattr(function, "__name__", type(function).__name__)
    return "anonymous" if name == "<lambda>" else name


def read_docstring(function: Callable[..., Any]) -> Documentation:
    """
    Return what the docstring of *function*, in Google's style, says.

    Of a partial or of an object that is called it is the one of what is behind it.
    """
    summary: list[str] = []
    sections: dict[str, list[str]] = {}
    section = summary
    for line in _docstring(function).splitlines():
        if heading := _SECTION.fullmatch(line):
            section = sections.setdefault(heading[1], [])
        else:
            section.append(line)
    arguments = sections.get("Args") or sections.get("Arguments") or []
    return "\n".join(summary).strip(), _arguments(arguments)


def _docstring(function: Any) -> str:
    of_class = ""
    for layer in _layers(function):
        # What a class says of all its partials, or of being called, is of none.
        if isinstance(layer, partial):
            own = vars(layer).get("__doc__")
        elif not hasattr(layer, "__name__"):
            of_class = of_class or type(layer).__doc__ or ""
            continue
        elif layer.__name__ == "__call__":
            own = layer.__doc__
        else:
            own = inspect.getdoc(layer)
        if own:
            return inspect.cleandoc(own)
    return inspect.cleandoc(of_class)


def _arguments(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    for line in textwrap.dedent("\n".join(lines)).splitlines():
        if head := _ARGUMENT.match(line):
            name = head[1]
            found[name] = head[2].strip()
        elif name and line.strip():
            found[name] = f"{found[name]} {line.strip()}".strip()
    return found
