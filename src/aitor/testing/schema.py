"""
Small JSON values that keep to simple JSON schemas.

For answers to requests that ask for a structure. Patterns, formats and lengths
are not looked at; whoever needs them gives the fake provider an answer function.
"""

from collections.abc import Mapping
from typing import Any

__all__ = ("smallest",)


def smallest(schema: Mapping[str, Any], word: str) -> Any:
    """
    Return a small value that keeps to *schema*, with *word* for every string.
    """
    return _value(schema, schema, word)


def _value(schema: Mapping[str, Any], root: Mapping[str, Any], word: str) -> Any:
    for name in ("const", "default"):
        if name in schema:
            return schema[name]
    for name in ("enum", "examples"):
        if schema.get(name):
            return schema[name][0]
    for name in ("anyOf", "oneOf", "allOf"):
        if options := schema.get(name):
            # Nothing, where it is allowed: so schemas that hold themselves end.
            is_empty = {"type": "null"} in options
            return None if is_empty else _value(options[0], root, word)
    if "$ref" in schema:
        return _value(_referred(schema["$ref"], root), root, word)
    return _plain(schema, root, word)


def _referred(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    target = root
    for name in reference.removeprefix("#/").split("/"):
        target = target[name]
    return target


def _plain(schema: Mapping[str, Any], root: Mapping[str, Any], word: str) -> Any:
    kinds = schema.get("type", "object")
    match kinds[0] if isinstance(kinds, list) else kinds:
        case "object":
            properties = schema.get("properties", {})
            return {
                name: _value(properties.get(name, {}), root, word)
                for name in schema.get("required", properties)
            }
        case "array":
            count = schema.get("minItems", 0)
            return [_value(schema.get("items", {}), root, word)] * count
        case "string":
            return word
        case "boolean":
            return True
        case "null":
            return None
        case _:
            above = schema.get("exclusiveMinimum", -1) + 1
            return max(schema.get("minimum", 0), above)
