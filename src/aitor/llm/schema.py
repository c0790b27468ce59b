"""
JSON schemas, as far as answers of language models need them.

A schema is made of an example, closed so that a vendor can enforce it, and held
against a value. Keywords that are not known here are not checked, nor are those whose
value makes no sense: they are found out when an answer is there, and paid for. What is
wrong is told in words of the schema alone, never in those of the value.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time
from ipaddress import IPv4Address, IPv6Address
from typing import Any
from uuid import UUID

__all__ = ("DEEPEST", "closed", "kinds_of", "problems", "schema_of")

Schema = Mapping[str, Any] | bool

IS_OF: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: (
        isinstance(value, int | float) and not isinstance(value, bool)
    ),
    "integer": lambda value: (
        not isinstance(value, bool)
        and (isinstance(value, int) or (isinstance(value, float) and value % 1 == 0))
    ),
}

DEEPEST = 100


def schema_of(example: Any) -> dict[str, Any]:
    """Return the schema of values that look like *example*; None allows anything."""
    match example:
        case Mapping():
            if not example:
                return {"type": "object"}
            properties = {str(key): schema_of(each) for key, each in example.items()}
            return {
                "type": "object",
                "properties": properties,
                "required": list(properties),
                "additionalProperties": False,
            }
        case list() | tuple():
            items = {"items": schema_of(example[0])} if example else {}
            return {"type": "array", **items}
        case bool():
            return {"type": "boolean"}
        case int() | float():
            return {"type": "number"}
        case str():
            return {"type": "string"}
    return {}


def closed(schema: Any) -> Any:
    """
    Return *schema* with every object closed and each of its properties required.

    That is what vendors want of a schema that they enforce. Defaults go: they belong
    to properties that may be absent. A union with a discriminator, which pydantic tells
    as `oneOf`, becomes one without.
    """
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "$defs") and isinstance(value, Mapping):
            made[key] = {name: closed(each) for name, each in value.items()}
        elif key == "oneOf":
            made["anyOf"] = closed(value)
        elif key in ("const", "enum"):
            made[key] = value
        elif key not in ("default", "discriminator"):
            made[key] = closed(value)
    if "properties" in made:
        made.setdefault("additionalProperties", False)
        made["required"] = list(made["properties"])
    return made


def kinds_of(schema: Mapping[str, Any]) -> list[str]:
    """Return the types that *schema* names; none where one of them is not known."""
    kinds = schema.get("type")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if isinstance(kinds, list) and all(
        isinstance(kind, str) and kind in IS_OF for kind in kinds
    ):
        return kinds
    return []


def _given(schema: Mapping[str, Any], word: str, otherwise: Any) -> Any:
    """Return what *schema* has under *word* if it is of the kind of *otherwise*."""
    value = schema.get(word)
    return value if isinstance(value, type(otherwise)) else otherwise


def _required(schema: Mapping[str, Any]) -> list[str]:
    return [name for name in _given(schema, "required", []) if isinstance(name, str)]


def problems(value: Any, schema: Schema) -> Iterator[str]:
    """Yield what about *value* does not keep to *schema*, with its place."""
    yield from _check(value, schema, schema, "the answer", DEEPEST)


def _check(
    value: Any, schema: Schema, root: Schema, place: str, depth: int
) -> Iterator[str]:
    if schema is False:
        yield f"{place} is not allowed"
    if not isinstance(schema, Mapping) or not depth:
        return
    if reference := _given(schema, "$ref", ""):
        yield from _check(value, _referred(reference, root), root, place, depth - 1)
    yield from _alternatives(value, schema, root, place, depth)
    kinds = kinds_of(schema)
    if kinds and not any(IS_OF[kind](value) for kind in kinds):
        yield f"{place} is not of type {' or '.join(kinds)}"
        return
    if value not in _given(schema, "enum", [value]):
        yield f"{place} is none of the values in 'enum'"
    if "const" in schema and value != schema["const"]:
        yield f"{place} is not the value of 'const'"
    yield from _bounds(value, schema, place)
    yield from _conditions(value, schema, root, place, depth - 1)
    if isinstance(value, dict):
        yield from _object(value, schema, root, place, depth - 1)
    elif isinstance(value, list):
        yield from _array(value, schema, root, place, depth - 1)


def _alternatives(
    value: Any, schema: Mapping[str, Any], root: Schema, place: str, depth: int
) -> Iterator[str]:
    for each in _given(schema, "allOf", []):
        yield from _check(value, each, root, place, depth - 1)
    for word in ("anyOf", "oneOf"):
        options = _given(schema, word, [])
        if options and not any(
            next(_check(value, each, root, place, depth - 1), None) is None
            for each in options
        ):
            yield f"{place} is none of what '{word}' allows"


def _conditions(
    value: Any, schema: Mapping[str, Any], root: Schema, place: str, depth: int
) -> Iterator[str]:
    def keeps(part: str) -> bool:
        return next(_check(value, schema[part], root, place, depth), None) is None

    if isinstance(schema.get("not"), Mapping) and keeps("not"):
        yield f"{place} is what 'not' forbids"
    if isinstance(schema.get("if"), Mapping):
        then = "then" if keeps("if") else "else"
        if then in schema and not keeps(then):
            yield f"{place} breaks '{then}'"


def _array(
    value: list[Any],
    schema: Mapping[str, Any],
    root: Schema,
    place: str,
    depth: int,
) -> Iterator[str]:
    first = _given(schema, "prefixItems", [])
    for number, item in enumerate(value):
        part = first[number] if number < len(first) else schema.get("items", True)
        yield from _check(item, part, root, f"{place}[{number}]", depth)
    if schema.get("uniqueItems") is True and len(set(map(_canonical, value))) < len(
        value
    ):
        yield f"{place} has an item twice ('uniqueItems')"
    if "contains" in schema and not any(
        next(_check(item, schema["contains"], root, place, depth), None) is None
        for item in value
    ):
        yield f"{place} has nothing that 'contains' asks for"


def _object(
    value: dict[str, Any],
    schema: Mapping[str, Any],
    root: Schema,
    place: str,
    depth: int,
) -> Iterator[str]:
    properties = _given(schema, "properties", {})
    for name in _required(schema):
        if name not in value:
            yield f"{place} has no '{name}'"
    for name, needed in _given(schema, "dependentRequired", {}).items():
        if (
            name in value
            and isinstance(needed, list)
            and not all(each in value for each in needed)
        ):
            yield f"{place} breaks 'dependentRequired'"
    names = schema.get("propertyNames", True)
    if any(True for name in value for _ in _check(name, names, root, place, depth)):
        yield f"{place} has a name that breaks 'propertyNames'"
    others = schema.get("additionalProperties", True)
    if "patternProperties" in schema:
        # Which of the others are meant, only these say, and they are not known here.
        others = True
    for name, each in value.items():
        if name in properties:
            where = f"{place}.{name}"
            yield from _check(each, properties[name], root, where, depth)
        elif others is False:
            # Its name is the model's own word.
            yield f"{place} has a property that is not in the schema"
        else:
            yield from _check(each, others, root, f"a property of {place}", depth)


BOUNDS: tuple[tuple[str, type | tuple[type, ...], Callable[[Any, Any], bool]], ...] = (
    ("minimum", (int, float), lambda value, bound: value >= bound),
    ("maximum", (int, float), lambda value, bound: value <= bound),
    ("exclusiveMinimum", (int, float), lambda value, bound: value > bound),
    ("exclusiveMaximum", (int, float), lambda value, bound: value < bound),
    ("minLength", str, lambda value, bound: len(value) >= bound),
    ("maxLength", str, lambda value, bound: len(value) <= bound),
    ("minItems", list, lambda value, bound: len(value) >= bound),
    ("maxItems", list, lambda value, bound: len(value) <= bound),
    ("minProperties", dict, lambda value, bound: len(value) >= bound),
    ("maxProperties", dict, lambda value, bound: len(value) <= bound),
    ("multipleOf", (int, float), lambda value, bound: _is_multiple(value, bound)),
)

FORMATS: dict[str, Callable[[str], object]] = {
    "date": date.fromisoformat,
    "date-time": lambda text: datetime.fromisoformat(text.replace("z", "Z")),
    "ipv4": IPv4Address,
    "ipv6": IPv6Address,
    "time": lambda text: time.fromisoformat(text.replace("z", "Z")),
    "uuid": UUID,
}
"""What reads a text of a format, or raises a ValueError; others are not checked."""


def _bounds(value: Any, schema: Mapping[str, Any], place: str) -> Iterator[str]:
    for word, kind, holds in BOUNDS:
        bound = schema.get(word)
        if not isinstance(value, kind) or isinstance(value, bool):
            continue
        if IS_OF["number"](bound) and not holds(value, bound):
            yield f"{place} breaks '{word}' of {bound!r}"
    pattern = _given(schema, "pattern", "")
    if isinstance(value, str) and not _matches(value, pattern):
        yield f"{place} breaks 'pattern' of {pattern!r}"
    form = _given(schema, "format", "")
    if isinstance(value, str) and not _is_format(value, form):
        yield f"{place} is no '{form}'"


def _is_format(text: str, name: str) -> bool:
    try:
        FORMATS.get(name, str)(text)
    except ValueError:
        return False
    return True


def _is_multiple(value: float, step: float) -> bool:
    try:
        parts = value / step
    except (ZeroDivisionError, OverflowError):
        return True
    return not math.isfinite(parts) or math.isclose(
        parts, round(parts), rel_tol=1e-9, abs_tol=1e-9
    )


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _matches(text: str, pattern: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except (re.error, OverflowError, RecursionError):
        # Right elsewhere, perhaps: patterns are JavaScript's.
        return True


def _referred(reference: str, root: Schema) -> Schema:
    target: Any = root
    for name in reference.removeprefix("#").strip("/").split("/"):
        target = (
            target.get(name, {}) if name and isinstance(target, Mapping) else target
        )
    return target if isinstance(target, Mapping | bool) else {}
