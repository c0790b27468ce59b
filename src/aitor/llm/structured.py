"""
Answers that are data: asked for, found in the text, and checked.

A format may be a JSON schema, an example, or a model of pydantic. Whatever enforces it
elsewhere, the answer is checked here; a wrong one goes back to the model once, with
what is wrong about it. There is no second repair and no silent fallback: a program
that asked for data must not get a text that looks like it.
"""

import json
import re
from collections.abc import Awaitable, Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.errors import PydanticUserError

from aitor.errors import BadRequestError, ConfigurationError, LLMError
from aitor.llm.reading import instance_of
from aitor.llm.response import Response
from aitor.llm.schema import closed, is_closed, kinds_of, problems, schema_of
from aitor.messages import Request
from aitor.outcomes import Outcome

__all__ = ("Format", "MismatchError", "StructuredOutputError", "ask_for")

Ask = Callable[[list[Any]], Awaitable[str]]

SCHEMA_WORDS = frozenset({"$schema", "$ref", "properties", "anyOf", "oneOf", "allOf"})
FENCED = re.compile(r"```[a-z]*[^\S\n]*\n(.*?)```", re.DOTALL | re.IGNORECASE)
MOST_PLACES = 50
"""How many braces of a text are tried as the beginning of the answer."""
MOST_PROBLEMS = 5
LONGEST_NAME = 64


class StructuredOutputError(LLMError):
    """
    The model gave no answer in the format asked for, not even when told what is wrong.

    Args:
        message: What is wrong, in words of the format.
        text: The last answer. It is no part of the message, for it is private.
        fields: As for `LLMError`.
    """

    outcome = Outcome.MALFORMED

    def __init__(self, message: str, *, text: str, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.text = text


class MismatchError(Exception):
    """A text is no answer in the format; says why, in words of the format."""


@dataclass(frozen=True, slots=True)
class Format:
    """
    What an answer has to look like.

    Args:
        schema: The JSON schema of it.
        model: The class of pydantic that it becomes, if one was given.
    """

    schema: Mapping[str, Any]
    model: type[BaseModel] | None = None

    @classmethod
    def of(cls, given: Any) -> "Format":
        """
        Return the format that *given* means.

        Args:
            given: A model of pydantic; a JSON schema, bare or as OpenAI's
                `response_format` has it; or else an example of the answer.

        Raises:
            ConfigurationError: If it is none of these.
        """
        if isinstance(given, type) and issubclass(given, BaseModel):
            return cls(closed(_rooted(_schema(given))), given)
        match given:
            case {
                "type": "json_schema",
                "json_schema": {"schema": Mapping() as schema},
            }:
                return cls(_plain(schema))
            case {"type": "json_schema"}:
                raise ConfigurationError(
                    "'response_format' of type 'json_schema' has no 'schema'"
                )
            case {"type": "json_object"}:
                return cls({"type": "object"})
            case Mapping() if SCHEMA_WORDS & given.keys() or kinds_of(given):
                return cls(_plain(given))
            case Mapping():
                return cls(schema_of(given))
            case [_, *_]:
                return cls(schema_of(given))
        raise ConfigurationError(
            f"'response_format' is a JSON schema, an example or a model of pydantic, "
            f"not {type(given).__name__}"
        )

    @property
    def is_object(self) -> bool:
        """Whether it is an object, as vendors want it at the root."""
        return kinds_of(self.schema) == ["object"]

    @property
    def native(self) -> dict[str, Any]:
        """The format as OpenAI's parameter `response_format`."""
        name = self.model.__name__ if self.model else "answer"
        inner = {
            # OpenAI takes no others: a generic model's has brackets.
            "name": re.sub(r"[^A-Za-z0-9_-]", "_", name)[:LONGEST_NAME],
            "schema": dict(self.schema),
            "strict": is_closed(self.schema),
        }
        return {"type": "json_schema", "json_schema": inner}

    def explained(self, messages: Sequence[Any]) -> list[Any]:
        """Return a copy of *messages* that tells the format in words."""
        told = (
            "Answer with JSON alone, without any other word, that keeps to this JSON "
            f"schema:\n{json.dumps(self.schema)}"
        )
        first = messages[0]
        if first.get("role") == "system" and isinstance(first.get("content"), str):
            told = f"{first['content']}\n\n{told}"
            messages = messages[1:]
        return [{"role": "system", "content": told}, *messages]

    def read(self, text: str) -> Any:
        """
        Return the data in *text*: a model's instance if one was given, else as JSON.

        Raises:
            MismatchError: If there is none that keeps to the format.
        """
        first = "the answer is no JSON"
        for number, value in enumerate(_values(text)):
            try:
                return self._checked(value)
            except MismatchError as error:
                first = str(error) if not number else first
        raise MismatchError(first)

    def _checked(self, value: Any) -> Any:
        if self.model is None:
            found = list(islice(problems(value, self.schema), MOST_PROBLEMS))
        else:
            try:
                return instance_of(self.model, value)
            except ValidationError as error:
                # Neither values nor names of their own: both are the model's words.
                details = error.errors(
                    include_input=False, include_url=False, include_context=False
                )
                names = {*self.model.model_fields, *self.schema.get("properties", ())}
                found = [_told(detail, names) for detail in details]
        if found:
            raise MismatchError("; ".join(found[:MOST_PROBLEMS]))
        return value


async def ask_for(
    ask: Ask, messages: Sequence[Any], response_format: Any, *, native: bool = False
) -> Any:
    """
    Return an answer to *messages* that keeps to *response_format*.

    Args:
        ask: Has messages answered.
        messages: The conversation, or a text; it is left as it is.
        response_format: See `Format.of`.
        native: True when whoever answers has been given the format already.

    Raises:
        BadRequestError: *messages* are none.
        StructuredOutputError: Two answers did not.
        LLMError: What *ask* raises.
    """
    form = Format.of(response_format)
    if isinstance(messages, Request):
        # Its model and parameters would be lost.
        raise BadRequestError("'messages' are a text or messages here, not a Request")
    messages = Request.of(messages).messages
    asked = list(messages) if native else form.explained(messages)
    replies = []
    for _ in range(2):
        text = await ask(asked)
        if isinstance(text, Response):
            replies.append(text.reply)
        try:
            return form.read(text)
        except MismatchError as error:
            problem = str(error)
        asked = [
            *asked,
            # No vendor takes an empty message back.
            {"role": "assistant", "content": str(text) or "…"},
            {
                "role": "user",
                "content": f"That cannot be used: {problem}. Answer again, with the "
                f"corrected JSON alone.",
            },
        ]
    raise StructuredOutputError(
        f"no answer in the format asked for, and none after a repair: {problem}",
        text=str(text),
        provider=replies[-1].provider if replies else None,
        request_id=replies[-1].request_id if replies else None,
        attempts=tuple(each for reply in replies for each in reply.attempts),
    )


def _values(text: str) -> Iterator[Any]:
    """Yield what may be the data in *text*, the likeliest first."""
    for part in (text, *FENCED.findall(text)):
        try:
            yield json.loads(part)
        except (ValueError, RecursionError):
            continue
    decoder = json.JSONDecoder()
    for place in islice(re.finditer(r"[{\[]", text), MOST_PLACES):
        try:
            yield decoder.raw_decode(text, place.start())[0]
        except (ValueError, RecursionError):
            continue


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    try:
        return model.model_json_schema()
    except PydanticUserError as error:
        told = str(error).partition("\n")[0]
        raise ConfigurationError(
            f"'response_format': {model.__name__} cannot be written as a JSON schema: "
            f"{told}"
        ) from error


def _plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(schema)))
    except (TypeError, ValueError, RecursionError):
        raise ConfigurationError(
            "'response_format' is a schema that cannot be written as JSON"
        ) from None
    return plain


def _rooted(schema: dict[str, Any]) -> dict[str, Any]:
    """Return *schema* with an object at its root, as vendors want it."""
    # A model that holds itself is only referred to there.
    name = schema.get("$ref", "").removeprefix("#/$defs/")
    if not name:
        return schema
    return {**schema["$defs"][name], "$defs": schema["$defs"]}


def _told(detail: Any, names: Container[Any]) -> str:
    place = detail["loc"][0] if detail["loc"] else None
    if place not in names:
        return f"the answer: {detail['type']}"
    return f"'{place}': {detail['type']}"
