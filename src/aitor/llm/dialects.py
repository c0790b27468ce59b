"""
JSON schemas as vendors take them.

Each vendor enforces a part of JSON Schema and refuses the rest with a 400. A schema
is put into that part here: what only narrows a value (bounds, lengths, formats) is
taken out and said in a description instead, and the answer is checked against it
afterwards. A schema that would mean something else without what is taken out, such as
an object with names that nobody knows, is not translated at all.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aitor.llm.schema import DEEPEST, kinds_of

__all__ = ("ANTHROPIC", "OPENAI", "Dialect", "InexpressibleError", "translated")


class InexpressibleError(Exception):
    """A schema cannot be said in a dialect."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """
    What of JSON Schema a vendor enforces.

    Args:
        keywords: Those that narrow a value, and may stand as they are.
        formats: The values of `format` that may.
        all_required: Whether each property of an object has to be required.
        recursive: Whether a schema may refer to what it is a part of.
        most_min_items: The largest `minItems`; None for any.
        lax: Whether a schema that it does not enforce may be sent all the same.
        json_mode: Whether there is a mode for any object, without a schema.
    """

    keywords: frozenset[str]
    formats: frozenset[str]
    all_required: bool
    recursive: bool
    most_min_items: int | None
    lax: bool
    json_mode: bool

    def __and__(self, other: "Dialect") -> "Dialect":
        """Return what both take, for a request that either may answer."""
        both = (self.most_min_items, other.most_min_items)
        most = [each for each in both if each is not None]
        return Dialect(
            self.keywords & other.keywords,
            self.formats & other.formats,
            self.all_required or other.all_required,
            self.recursive and other.recursive,
            min(most, default=None),
            self.lax and other.lax,
            self.json_mode and other.json_mode,
        )


FORMATS = frozenset(
    {
        *("date-time", "time", "date", "duration", "email", "hostname"),
        *("ipv4", "ipv6", "uuid"),
    }
)

OPENAI = Dialect(
    keywords=frozenset(
        {
            *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
            *("multipleOf", "pattern", "minItems", "maxItems"),
        }
    ),
    formats=FORMATS,
    all_required=True,
    recursive=True,
    most_min_items=None,
    lax=True,
    json_mode=True,
)
"""Strict mode, in both APIs; compatible servers are asked in the same way."""

ANTHROPIC = Dialect(
    keywords=frozenset({"minItems"}),
    formats=FORMATS | {"uri"},
    all_required=False,
    recursive=False,
    most_min_items=1,
    lax=False,
    json_mode=False,
)

ANNOTATIONS = ("title", "description")
SILENT = frozenset(
    {
        *("$schema", "$id", "$comment", "$anchor", "discriminator", "deprecated"),
        *("readOnly", "writeOnly", "title", "description", "$defs", "definitions"),
    }
)
"""Keywords that say nothing of a value."""

ALTERNATIVES = ("anyOf", "oneOf")
OPENING = ("patternProperties", "unevaluatedProperties", "dependentSchemas")
LOOKAROUND = re.compile(r"\(\?[=!<]")
DEFINITION = re.compile(r"#/(?:\$defs|definitions)/([^/]+)")
MOST_NODES = 5_000
"""Of a schema that is written out; no vendor takes larger ones."""

PLAIN = (str, int, float, bool, type(None))
IMPLIED = {"properties": "object", "items": "array", "prefixItems": "array"}
STRUCTURE = {
    "object": {"type", "properties", "required", "additionalProperties"},
    "array": {"type", "items"},
}
"""Keywords that a translation writes itself."""


def translated(schema: Mapping[str, Any], dialect: Dialect) -> dict[str, Any]:
    """
    Return *schema*, whose root is an object, in *dialect*.

    Raises:
        InexpressibleError: If it would mean something else there.
    """
    return _Translation(schema, dialect).result()


class _Translation:
    """One schema on its way into a dialect."""

    def __init__(self, root: Mapping[str, Any], dialect: Dialect) -> None:
        self._root = root
        self._dialect = dialect
        self._definitions = {
            **_mapping(root.get("definitions")),
            **_mapping(root.get("$defs")),
        }
        self._wanted: list[str] = []
        self._written_out: list[str] = []
        self._nodes = 0

    def result(self) -> dict[str, Any]:
        made = self._node(self._root, DEEPEST)
        if made.get("type") != "object":
            raise InexpressibleError
        definitions = {}
        # The list grows while it is gone through.
        for name in self._wanted:
            definitions[name] = self._node(self._definitions[name], DEEPEST)
        if not self._dialect.recursive and _is_recursive(definitions):
            raise InexpressibleError
        return {**made, "$defs": definitions} if definitions else made

    def _node(self, schema: Any, depth: int) -> dict[str, Any]:
        self._nodes += 1
        if not isinstance(schema, Mapping) or not depth or self._nodes > MOST_NODES:
            raise InexpressibleError
        depth -= 1
        if "$ref" in schema:
            return self._reference(schema, depth)
        if "allOf" in schema:
            rest = {key: each for key, each in schema.items() if key != "allOf"}
            for part in _list(schema["allOf"]):
                rest = _merged(rest, self._resolved(part, depth))
            return self._node(rest, depth)
        for word in ALTERNATIVES:
            if word in schema:
                return self._alternatives(schema, word, depth)
        if "enum" in schema or "const" in schema:
            return self._literal(schema)
        kinds = kinds_of(schema) or [
            kind for word, kind in IMPLIED.items() if word in schema
        ]
        if len(set(kinds)) > 1:
            bare = {key: schema[key] for key in schema if key not in ANNOTATIONS}
            variants = [self._node({**bare, "type": kind}, depth) for kind in kinds]
            return {"anyOf": variants, **_annotations(schema)}
        if not kinds:
            raise InexpressibleError
        return self._typed(schema, kinds[0], depth)

    # References.

    def _reference(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        reference = str(schema["$ref"])
        alone = schema.keys() <= SILENT | {"$ref"}
        if reference == "#" and self._dialect.recursive and alone:
            return {"$ref": "#"}
        found = DEFINITION.fullmatch(reference)
        name = found[1] if found else ""
        if name in self._definitions and alone:
            within_itself = self._dialect.recursive and reference in self._written_out
            if not _annotations(schema) or within_itself:
                if name not in self._wanted:
                    self._wanted.append(name)
                return {"$ref": f"#/$defs/{name}"}
        # Nothing may stand beside a reference, so it is written out, but once.
        if reference in self._written_out:
            raise InexpressibleError
        self._written_out.append(reference)
        made = self._node(self._resolved(schema, depth), depth)
        self._written_out.pop()
        return made

    def _resolved(self, schema: Any, depth: int) -> dict[str, Any]:
        if not isinstance(schema, Mapping) or not depth:
            raise InexpressibleError
        if "$ref" not in schema:
            return dict(schema)
        target: Any = self._root
        begin, *names = str(schema["$ref"]).split("/")
        for name in names:
            name = name.replace("~1", "/").replace("~0", "~")
            target = target.get(name) if isinstance(target, Mapping) else None
        if begin != "#" or target is self._root:
            raise InexpressibleError
        beside = {key: each for key, each in schema.items() if key != "$ref"}
        return {**self._resolved(target, depth - 1), **beside}

    # Values.

    def _alternatives(
        self, schema: Mapping[str, Any], word: str, depth: int
    ) -> dict[str, Any]:
        shared = {
            key: each
            for key, each in schema.items()
            if key != word and key not in SILENT and key != "default"
        }
        variants = [
            self._node(
                _merged(shared, self._resolved(each, depth)) if shared else each, depth
            )
            for each in _list(schema[word])
        ]
        return {"anyOf": variants, **_annotations(schema)}

    def _literal(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        values = [schema["const"]] if "const" in schema else _list(schema["enum"])
        if not values or not all(isinstance(value, PLAIN) for value in values):
            raise InexpressibleError
        word = "const" if "const" in schema else "enum"
        made = {word: schema[word], **_annotations(schema)}
        kinds = kinds_of(schema)
        # Where all of them are texts, the servers that want a type get it.
        if kinds == ["string"] or (
            not kinds and all(isinstance(value, str) for value in values)
        ):
            made = {"type": "string", **made}
        return made

    def _typed(
        self, schema: Mapping[str, Any], kind: str, depth: int
    ) -> dict[str, Any]:
        made: dict[str, Any] = {"type": kind}
        if kind == "object":
            made.update(self._object(schema, depth))
        elif kind == "array":
            made["items"] = self._items(schema, depth)
        done = {*SILENT, *STRUCTURE.get(kind, {"type"})}
        left = {}
        for key, value in schema.items():
            if key in done or _is_for_another(key, kind):
                continue
            if self._may_stand(key, value):
                made[key] = value
            else:
                left[key] = value
        return {**made, **_annotations(schema, left)}

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = _mapping(schema.get("properties"))
        closed = schema.get("additionalProperties", not properties)
        if closed is not False or any(word in schema for word in OPENING):
            raise InexpressibleError
        required = _list(schema.get("required", []))
        if not properties.keys() >= set(required) or (
            self._dialect.all_required and properties.keys() != set(required)
        ):
            raise InexpressibleError
        return {
            "properties": {
                name: self._node(each, depth) for name, each in properties.items()
            },
            "required": list(required),
            "additionalProperties": False,
        }

    def _items(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        parts = _list(schema.get("prefixItems", []))
        rest = schema.get("items")
        if isinstance(rest, Mapping):
            parts = [*parts, rest]
        made: list[dict[str, Any]] = []
        for part in parts:
            each = self._node(part, depth)
            if each not in made:
                made.append(each)
        if not made:
            raise InexpressibleError
        return made[0] if len(made) == 1 else {"anyOf": made}

    def _may_stand(self, key: str, value: Any) -> bool:
        if key == "format":
            return value in self._dialect.formats
        if key not in self._dialect.keywords:
            return False
        if key == "pattern":
            return isinstance(value, str) and not LOOKAROUND.search(value)
        most = self._dialect.most_min_items
        return (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and (key != "minItems" or most is None or value <= most)
        )


NARROWING = {
    "string": {"minLength", "maxLength", "pattern", "format"},
    "number": {
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
    },
    "array": {"items", "prefixItems", "minItems", "maxItems", "uniqueItems"},
    "object": {"properties", "required", "additionalProperties", "propertyNames"},
}


def _is_for_another(key: str, kind: str) -> bool:
    # Of several types each has keywords of its own, without effect on the others.
    own = "number" if kind == "integer" else kind
    return any(key in words for of, words in NARROWING.items() if of != own)


def _annotations(
    schema: Mapping[str, Any], left: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return what describes *schema*, with what is *left* of it put into words."""
    told = {
        word: schema[word] for word in ANNOTATIONS if isinstance(schema.get(word), str)
    }
    if left:
        words = ", ".join(f"{key}: {json.dumps(each)}" for key, each in left.items())
        description = told.get("description", "")
        told["description"] = f"{description} ({words})".strip()
    return told


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema that means both, where that can be told by their keywords."""
    made = dict(one)
    for key, value in other.items():
        known = made.get(key, value)
        if known == value or key in ANNOTATIONS:
            made.setdefault(key, value)
        elif key == "properties":
            twice = known.keys() & value.keys()
            if any(known[name] != value[name] for name in twice):
                raise InexpressibleError
            made[key] = {**known, **value}
        elif key == "required":
            made[key] = list(dict.fromkeys([*known, *value]))
        else:
            raise InexpressibleError
    return made


def _is_recursive(definitions: Mapping[str, Any]) -> bool:
    refers = {name: set(_references(each)) for name, each in definitions.items()}
    while refers:
        # Those that refer to nothing that is left are not in a circle.
        ends = {name for name, to in refers.items() if not to & refers.keys()}
        if not ends:
            return True
        refers = {name: to for name, to in refers.items() if name not in ends}
    return False


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        if isinstance(reference := schema.get("$ref"), str):
            yield reference.removeprefix("#/$defs/")
        schema = list(schema.values())
    if isinstance(schema, list):
        for each in schema:
            yield from _references(each)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise InexpressibleError
    return value
