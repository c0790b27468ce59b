"""
JSON schemas, as far as answers of language models need them.

A schema is made of an example, closed so that a vendor can enforce it, and held
against a value. Keywords that are not known here are not checked, nor are those whose
value makes no sense: they are found out when an answer is there, and paid for. What is
wrong is told in words of the schema alone, never in those of the value.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ("closed", "is_closed", "kinds_of", "problems", "schema_of")

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


def is_closed(schema: Any) -> bool:
    """Whether every object in *schema* is closed and all its properties required."""
    if isinstance(schema, list):
        return all(map(is_closed, schema))
    if not isinstance(schema, Mapping):
        return True
    if "object" in kinds_of(schema) and (
        schema.get("additionalProperties") is not False
        or set(_required(schema)) != set(_given(schema, "properties", {}))
    ):
        return False
    return all(map(is_closed, schema.values()))


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
    if isinstance(value, dict):
        yield from _object(value, schema, root, place, depth - 1)
    elif isinstance(value, list) and "items" in schema and "prefixItems" not in schema:
        for number, item in enumerate(value):
            where = f"{place}[{number}]"
            yield from _check(item, schema["items"], root, where, depth - 1)


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
)


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
