"""
Answers that are data: asked for, found in the text, and checked.

A format may be a JSON schema, an example, or a model of pydantic. Whatever enforces it
elsewhere, the answer is checked here; a wrong one goes back to the model once, with
what is wrong about it. There is no second repair and no silent fallback: a program
that asked for data must not get a text that looks like it. An answer that was cut off
or declined is no data whatever it holds, and asking again would pay for the same.
"""

import json
import re
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.errors import PydanticUserError

from aitor.errors import BadRequestError, ConfigurationError, LLMError
from aitor.llm.dialects import Dialect, InexpressibleError, translated
from aitor.llm.finding import Found, UnclosedError, values_in
from aitor.llm.reading import instance_of
from aitor.llm.response import Response, text_in
from aitor.llm.schema import closed, kinds_of, problems, schema_of
from aitor.messages import Answer, Request
from aitor.outcomes import Outcome

__all__ = ("Format", "MismatchError", "StructuredOutputError", "ask_for")

Ask = Callable[[list[Any]], Awaitable[Any]]
"""Has messages answered: with a text, a `Response`, or an `Answer`."""

SCHEMA_WORDS = frozenset({"$schema", "$ref", "properties", "anyOf", "oneOf", "allOf"})
ENDINGS = {
    "length": "the answer was cut off at its limit: see 'max_tokens'",
    "content_filter": "the answer was declined or cut off by a content filter",
    "refusal": "the model declined to answer",
}
"""What each `finish_reason` means after which a text is no answer."""

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

    def parameter(self, dialect: Dialect) -> dict[str, Any] | None:
        """
        Return the format as OpenAI's parameter `response_format`, in *dialect*.

        None where it cannot be said there.
        """
        if not self.is_object or self.schema == {"type": "object"}:
            return None
        strict = True
        try:
            schema = translated(self.schema, dialect)
        except InexpressibleError:
            if not dialect.lax:
                return None
            schema, strict = dict(self.schema), False
        name = self.model.__name__ if self.model else "answer"
        # OpenAI takes no others: a generic model's has brackets.
        name = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:LONGEST_NAME]
        inner = {"name": name, "schema": schema, "strict": strict}
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
        try:
            found = values_in(text)
        except UnclosedError:
            raise MismatchError("the answer ends in the middle") from None
        fitting: list[tuple[Found, Any]] = []
        problem = "the answer is no JSON"
        for each in found:
            try:
                fitting.append((each, self._checked(each.value)))
            except MismatchError as error:
                problem = str(error)
        if not fitting:
            raise MismatchError(problem)
        last, value = fitting[-1]
        if last.fenced:
            return value
        if not last.placed:
            raise MismatchError("the answer is a text with JSON in its words")
        if any(each.value != last.value for each, _ in fitting):
            raise MismatchError("there is more than one answer")
        return value

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


async def ask_for(ask: Ask, messages: Any, form: Format) -> Any:
    """
    Return an answer to *messages* that keeps to *form*.

    Args:
        ask: Has messages answered, and tells the format.
        messages: The conversation, or a text; it is left as it is.
        form: What the answer has to look like.

    Raises:
        BadRequestError: *messages* are none.
        StructuredOutputError: Two answers did not, or one was cut off or declined.
        LLMError: What *ask* raises.
    """
    if isinstance(messages, Request):
        # Its model and parameters would be lost.
        raise BadRequestError("'messages' are a text or messages here, not a Request")
    asked = list(Request.of(messages).messages)
    replies, repaired = [], ""
    for _ in range(2):
        said = await ask(asked)
        text = text_in(said, ask)
        if isinstance(said, Response):
            replies.append(said.reply)
        # What was cut may still read well, and mean something else.
        if problem := ENDINGS.get(_ending(said), ""):
            break
        try:
            return form.read(text)
        except MismatchError as error:
            problem = str(error)
        repaired = ", and none after a repair"
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
        f"no answer in the format asked for{repaired}: {problem}",
        text=str(text),
        provider=replies[-1].provider if replies else None,
        request_id=replies[-1].request_id if replies else None,
        attempts=tuple(each for reply in replies for each in reply.attempts),
    )


def _ending(said: Any) -> str:
    if isinstance(said, Response):
        return said.reply.finish_reason
    return said.finish_reason if isinstance(said, Answer) else ""


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
