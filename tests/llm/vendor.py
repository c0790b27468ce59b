"""A vendor's side that refuses schemas as its documents say it does."""

import json
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from tests.providers.fake import FakeWire, completion, message, response, said

from aitor.wire import Response

__all__ = ("Vendor", "without_formats", "without_schemas")

SCHEMAS = ("items", "not", "if", "then", "else", "contains", "propertyNames")
OPENAI_FORMATS = {
    *("date-time", "time", "date", "duration", "email", "hostname"),
    *("ipv4", "ipv6", "uuid"),
}
LOOKAROUND = re.compile(r"\(\?[=!<]")


def parts(schema: Any) -> Iterator[Any]:
    """Yield every schema in *schema*, itself first."""
    yield schema
    if not isinstance(schema, dict):
        return
    for word in ("properties", "$defs", "definitions", "patternProperties"):
        for each in schema.get(word, {}).values():
            yield from parts(each)
    for word in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for each in schema.get(word, ()):
            yield from parts(each)
    for word in (*SCHEMAS, "additionalProperties"):
        if isinstance(schema.get(word), dict):
            yield from parts(schema[word])


def openai(form: Mapping[str, Any]) -> str | None:
    """Return what strict mode has against *form*."""
    if not form.get("strict"):
        return None
    for part in parts(form["schema"]):
        if problem := _openai(part, root=part is form["schema"]):
            return f"Invalid schema for response_format 'answer': {problem}"
    return None


def _openai(part: Any, *, root: bool) -> str | None:
    if not isinstance(part, dict):
        return "a schema must be an object"
    refused = {
        *("default", "uniqueItems", "prefixItems", "patternProperties", "oneOf"),
        *("propertyNames", "allOf", "not", "if", "then", "else", "contains"),
        *("minLength", "maxLength", "minProperties", "maxProperties"),
    }
    if found := refused & part.keys():
        return f"'{found.pop()}' is not permitted."
    if "$ref" in part and part.keys() - {"$ref"} - ({"$defs"} if root else set()):
        return "$ref cannot have keywords beside it"
    if not part.keys() & {"type", "anyOf", "$ref", "enum", "const"}:
        return "schema must have a 'type' key."
    return _narrowed(part)


def _narrowed(part: Mapping[str, Any]) -> str | None:
    if part.get("format", "date") not in OPENAI_FORMATS:
        return "that is not a valid format."
    if LOOKAROUND.search(part.get("pattern", "")):
        return "pattern is not supported"
    if "object" in part.get("type", ()):
        if part.get("additionalProperties") is not False:
            return "'additionalProperties' is required to be supplied and to be false."
        if set(part.get("required", ())) != set(part.get("properties", ())):
            return "'required' is required to include every key in properties."
    if "array" in part.get("type", ()) and "items" not in part:
        return "array schema missing items."
    return None


def anthropic(form: Mapping[str, Any]) -> str | None:
    """Return what Anthropic has against *form*."""
    for part in parts(form["schema"]):
        if problem := _anthropic(part):
            return f"output_config.format.schema: {problem}"
    return None


def _anthropic(part: Any) -> str | None:
    if not isinstance(part, dict):
        return "a schema must be an object"
    refused = {
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("minLength", "maxLength", "maxItems", "uniqueItems", "oneOf", "prefixItems"),
        *("patternProperties", "propertyNames", "not", "if", "contains"),
    }
    if found := refused & part.keys():
        return f"property '{found.pop()}' is not supported"
    if part.get("minItems", 0) not in (0, 1):
        return "'minItems' values other than 0 or 1 are not supported"
    if "object" in part.get("type", ()) and part.get("additionalProperties", 1):
        return "'additionalProperties' must be explicitly set to false"
    if isinstance(part.get("type"), list):
        return "type must be a string"
    if any(isinstance(each, dict | list) for each in part.get("enum", ())):
        return "complex types in enum are not supported"
    return None


def without_schemas(form: Mapping[str, Any]) -> str | None:
    """Refuse whatever is a schema, as DeepSeek does."""
    if form["type"] == "json_schema":
        return "This response_format type is unavailable now"
    return None


def without_formats(form: Mapping[str, Any]) -> str | None:
    """Refuse every format."""
    return "'response_format' is not supported by this model"


class Vendor(FakeWire):
    """Answers with *text*, unless *refuses* has something against the format."""

    def __init__(
        self,
        text: str,
        refuses: Callable[[Mapping[str, Any]], str | None],
        *,
        finish: str = "stop",
    ) -> None:
        super().__init__()
        self.text, self.finish, self._refuses = text, finish, refuses

    @property
    def forms(self) -> list[Any]:
        """The format of each request, as its API has it."""
        return [_form(sent.body) for sent in self.sent]

    @asynccontextmanager
    async def post(
        self, path: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Response]:
        asked = json.loads(body)
        form = _form(asked)
        problem = self._refuses({**form, "model": asked["model"]}) if form else None
        self.scripts.clear()
        if problem:
            error = {"message": problem, "type": "invalid_request_error"}
            self.answer({"type": "error", "error": error}, status=400)
        elif path.endswith("/messages"):
            ending = {"length": "max_tokens"}.get(self.finish, self.finish)
            block = {"type": "text", "text": self.text}
            self.answer(message(block, stop_reason=ending))
        elif path.endswith("/responses"):
            self.answer(response(said(self.text)))
        else:
            self.answer(completion(self.text, finish=self.finish))
        async with super().post(path, body, headers) as answer:
            yield answer


def _form(body: Mapping[str, Any]) -> Any:
    if form := (body.get("text") or {}).get("format"):
        return form
    if form := (body.get("output_config") or {}).get("format"):
        return form
    form = body.get("response_format")
    return {**form, **form.get("json_schema", {})} if form else None
