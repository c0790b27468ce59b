"""
What was asked and what is answered, in words that every vendor shares.

Tokens are counted by one simple rule, so that tests can do the sums: four
characters are a token, a rest counts as a whole one. Only texts count: roles,
tools and schemas are free.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from aitor.testing.errors import VendorError
from aitor.testing.schema import smallest

__all__ = (
    "Answer",
    "Ask",
    "RejectedError",
    "ToolCall",
    "count_tokens",
    "fingerprint",
    "make_answer",
    "text_of",
)

CHARACTERS_PER_TOKEN = 4

_CALL = re.compile(r"call:([\w-]+)\((\{.*\})\)", re.DOTALL)
_FILLER = " and so on"


class RejectedError(Exception):
    """
    A request that the vendor would refuse as wrong.
    """

    def __init__(self, error: VendorError) -> None:
        super().__init__(error.message)
        self.error = error


@dataclass(frozen=True, slots=True)
class Ask:
    """
    One request to a model.

    Args:
        model: As named by the request.
        prompt: All texts of the request, a line each.
        last: The text of the last message.
        stream: Whether events are asked for.
        max_tokens: The most that may be answered, if limited.
        stream_usage: Whether a stream shall end with the usage.
        tools: The names of the functions that may be called.
        schema: The JSON schema that the answer has to keep to.
    """

    model: str
    prompt: str = field(repr=False)
    last: str = field(repr=False)
    stream: bool = False
    max_tokens: int | None = None
    stream_usage: bool = False
    tools: frozenset[str] = frozenset()
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """
    A function that the model wants called; *arguments* are JSON.
    """

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What the model says.

    Args:
        text: The words, none with a tool call.
        input_tokens: Counted from the prompt.
        output_tokens: Counted from the text or the arguments.
        finish: Why it ended; `None` if the mark is to be left out.
        tool_call: The function to call instead.
    """

    text: str = field(repr=False)
    input_tokens: int
    output_tokens: int
    finish: Literal["stop", "length", "tool"] | None = "stop"
    tool_call: ToolCall | None = None

    def pieces(self) -> list[str]:
        """
        Return the text, or the arguments of the call, token by token.
        """
        whole = self.tool_call.arguments if self.tool_call else self.text
        step = CHARACTERS_PER_TOKEN
        return [whole[start : start + step] for start in range(0, len(whole), step)]


def count_tokens(text: str) -> int:
    """
    Return how many tokens *text* has: a quarter of its characters, rounded up.
    """
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def fingerprint(prompt: str) -> str:
    """
    Return what stands for *prompt* in the log and the bill, where no text may.
    """
    return hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def text_of(content: Any) -> str:
    """
    Return all text in the content of a message, of whatever vendor's shape.
    """
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(text_of(part) for part in content)
    if isinstance(content, dict):
        inner = (content.get(name) for name in ("text", "content", "output"))
        return text_of(next((value for value in inner if value), ""))
    return ""


def make_answer(
    ask: Ask, template: str | Callable[[Ask], str], least_tokens: int
) -> Answer:
    """
    Return the answer to *ask*: a tool call, minimal JSON, or the filled template.

    Args:
        ask: The request.
        template: A text in which `{last}` stands for the last word of the prompt,
            `{prompt}` for the last message and `{model}` for the model; or a
            function.
        least_tokens: Pad the text until it has so many tokens.

    Raises:
        RejectedError: If there is no telling what the schema wants.
    """
    input_tokens = count_tokens(ask.prompt)
    if call := _tool_call(ask):
        return Answer("", input_tokens, count_tokens(call.arguments), "tool", call)
    if ask.schema is not None:
        text = _structure(ask.schema, _last_word(ask.last))
    else:
        text = _pad(_fill(template, ask), least_tokens * CHARACTERS_PER_TOKEN)
    if ask.max_tokens is None or count_tokens(text) <= ask.max_tokens:
        return Answer(text, input_tokens, count_tokens(text))
    text = text[: ask.max_tokens * CHARACTERS_PER_TOKEN]
    return Answer(text, input_tokens, ask.max_tokens, "length")


def _tool_call(ask: Ask) -> ToolCall | None:
    """
    Return the call that the last message spells out: `call:NAME({"json": 1})`.
    """
    call = _CALL.search(ask.last) if ask.tools else None
    if call is None or call[1] not in ask.tools:
        return None
    try:
        json.loads(call[2])
    except ValueError:
        return None
    return ToolCall(call[1], call[2])


def _structure(schema: Mapping[str, Any], word: str) -> str:
    try:
        return json.dumps(smallest(schema, word))
    except (AttributeError, LookupError, RecursionError, TypeError):
        message = "Invalid schema: this server answers simple schemas only."
        error = VendorError(400, "invalid_request_error", message)
        raise RejectedError(error) from None


def _fill(template: str | Callable[[Ask], str], ask: Ask) -> str:
    if not isinstance(template, str):
        return template(ask)
    for name, value in (
        ("{model}", ask.model),
        ("{last}", _last_word(ask.last)),
        ("{prompt}", ask.last),
    ):
        if name in template:
            template = template.replace(name, value)
    return template


def _last_word(text: str) -> str:
    words = text.rsplit(maxsplit=1)
    return words[-1] if words else ""


def _pad(text: str, length: int) -> str:
    missing = length - len(text)
    if missing <= 0:
        return text
    return text + (_FILLER * (missing // len(_FILLER) + 1))[:missing]
