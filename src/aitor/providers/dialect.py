"""
A dialect: how one API writes a request and an answer.

It is a handful of functions and knows no socket, no key and no limit. An answer has
one road: pieces of a stream are put together to the same document that the API sends
when it does not stream, and one function makes the answer of that document. So a
streamed answer cannot mean anything else than a whole one.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from aitor.errors import (
    AnswerTooLargeError,
    APIError,
    LLMError,
    MalformedAnswerError,
)
from aitor.messages import Answer, Message, Request, Usage
from aitor.providers.base import CHARACTERS_A_TOKEN, guess_tokens
from aitor.providers.documents import whole_characters, write_json

__all__ = (
    "Assembler",
    "Counts",
    "Dialect",
    "Exchange",
    "Growth",
    "Piece",
    "PieceKind",
    "Text",
    "argument_text",
    "count",
    "counted",
    "request_id_in",
    "text_in",
)


MOST_TOKENS = 1e12
"""Whoever counts more has not counted."""

PieceKind: TypeAlias = Literal["text", "reasoning", "other"]


class Piece(NamedTuple):
    """
    A piece of an answer, as it came in.

    Args:
        text: What it adds to the answer's text, or to the reasoning.
        kind: `text`; `reasoning`; or `other` for what can only be understood whole,
            such as a part of a tool call, and so has no text.
    """

    text: str
    kind: PieceKind


class Counts(NamedTuple):
    """
    The tokens that a vendor told, None for what it did not.

    Args:
        inputs: All input.
        outputs: All output, reasoning included.
        cached: Input that was read from the vendor's cache.
        written: Input that was written to it.
        reasoning: Output that was spent on reasoning.
        total: Input and output, where it tells no more than that.
    """

    inputs: int | None
    outputs: int | None
    cached: int = 0
    written: int = 0
    reasoning: int = 0
    total: int | None = None


NOTHING_TOLD = Counts(None, None)


# Not frozen: one is made for each call, which would take thrice as long.
@dataclass(slots=True)
class Exchange:
    """
    What has to be known of an exchange to understand its body.

    Args:
        request: What was asked.
        model: The model that was asked.
        status: The answer's status.
        headers: The answer's headers, names in lower case.
        max_bytes: No answer is larger.
        refuse: Makes the error of a decoded error body.
    """

    request: Request
    model: str
    status: int
    headers: Mapping[str, str]
    max_bytes: int
    refuse: Callable[[Any], LLMError]

    def malformed(
        self, message: str, kind: type[APIError] = MalformedAnswerError
    ) -> APIError:
        """Return the error to raise for what is no answer, or not a whole one."""
        request_id = request_id_in(self.headers)
        return kind(message, status=self.status, request_id=request_id)

    def answer(
        self,
        document: Mapping[str, Any],
        message: Message,
        text: str,
        finish_reason: str,
        counts: Counts | None,
    ) -> Answer:
        """Return the answer that *document* holds."""
        model = document.get("model")
        name = request_id_in(self.headers) or document.get("id")
        return Answer(
            text,
            model if isinstance(model, str) else self.model,
            finish_reason,
            self._usage(counts, text),
            name if isinstance(name, str) else None,
            document,
            self.headers,
            message,
        )

    def _usage(self, counts: Counts | None, text: str) -> Usage:
        inputs, outputs, cached, written, reasoning, total = counts or NOTHING_TOLD
        if inputs is not None and outputs is not None:
            return Usage(inputs, outputs, cached, written, reasoning)
        if inputs is None:
            inputs = math.ceil(guess_tokens(self.request.messages))
            inputs = inputs if total is None else min(inputs, total)
        if outputs is None:
            outputs = math.ceil(len(text) / CHARACTERS_A_TOKEN)
            outputs = outputs if total is None else total - inputs
        return Usage(inputs, outputs, cached, written, reasoning, estimated=True)


class Growth:
    """
    Counts what is kept of an answer while it comes in.

    Args:
        most: Characters and entries that may be kept.
    """

    __slots__ = ("_most", "_size")

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0

    def add(self, size: int) -> None:
        """
        Count *size* more.

        Raises:
            AnswerTooLargeError: If that is too much.
        """
        self._size += size
        if self._size > self._most:
            raise AnswerTooLargeError(
                f"the answer passed {self._most} bytes and was dropped: "
                f"see 'max_answer_bytes'"
            )


class Text:
    """
    A text that grows, in memory that grows no faster.

    Args:
        growth: Counts it.
    """

    __slots__ = ("_growth", "_text")

    def __init__(self, growth: Growth) -> None:
        self._growth = growth
        self._text = StringIO(newline="")

    def add(self, piece: Any) -> str:
        """Add *piece* if it is a text, and return what was added."""
        if not isinstance(piece, str) or not piece:
            return ""
        self._growth.add(len(piece))
        self._text.write(piece)
        return piece

    def __str__(self) -> str:
        return whole_characters(self._text.getvalue())


class Assembler(Protocol):
    """Puts the documents of a stream's events together to one."""

    done: bool
    """Whether the stream has said that it is at its end."""

    def take(self, document: Mapping[str, Any]) -> Piece | None:
        """
        Take the next event's document and return what it brought of the answer.

        Raises:
            LLMError: If it tells of a failure.
        """
        ...

    def whole(self) -> dict[str, Any]:
        """
        Return the document that the API would have sent without streaming.

        Raises:
            TruncatedAnswerError: If its end did not come.
        """
        ...


@dataclass(frozen=True, slots=True)
class Dialect:
    """
    How one API writes a request and an answer.

    Args:
        path: Where requests go, after the base URL.
        encode: Makes the body of a model, messages and parameters.
        decode: Makes the answer of a body.
        assemble: Makes what puts a stream together.
        stream: What a body says to get a stream.
        least_output: The smallest limit of the answer that it takes.
        output_limit: Name of the answer's limit; None where that is the model's
            matter.
        foreign: Parameters of Chat Completions that have no counterpart here.
    """

    path: str
    encode: Callable[[str, Sequence[Message], dict[str, Any]], dict[str, Any]]
    decode: Callable[[Mapping[str, Any], Exchange], Answer]
    assemble: Callable[[Exchange], Assembler]
    stream: Mapping[str, Any]
    least_output: int = 1
    output_limit: str | None = None
    foreign: frozenset[str] = frozenset()


def count(document: Any, *path: str) -> int:
    """Return the number at *path* in *document*; 0 if there is none that can be."""
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    if isinstance(document, int | float) and 0 <= document < MOST_TOKENS:
        return int(document)
    return 0


def counted(
    usage: Any,
    first: str,
    second: str,
    *,
    besides: int = 0,
    cached: int = 0,
    written: int = 0,
    reasoning: int = 0,
) -> Counts | None:
    """
    Return what *usage* tells of tokens, None if nothing.

    What is told in part is used in part, and the total makes up for what is missing.
    Some vendors count what was thought in the total alone; that is output, too.

    Args:
        usage: What the vendor told.
        first: Name of the input's count.
        second: Name of the output's count.
        besides: Input that its count leaves out.
        cached: Input that was read from the vendor's cache.
        written: Input that was written to it.
        reasoning: Output that was spent on reasoning.
    """
    if not isinstance(usage, dict):
        return None
    inputs, outputs = _tokens(usage.get(first)), _tokens(usage.get(second))
    total = _tokens(usage.get("total_tokens"))
    if inputs is not None:
        inputs += besides
    if total is None or total < (inputs or 0) + (outputs or 0):
        return Counts(inputs, outputs, cached, written, reasoning)
    if inputs is not None:
        thought = 0 if outputs is None else total - inputs - outputs
        outputs = total - inputs
        reasoning = reasoning or thought
    elif outputs is not None:
        inputs = total - outputs
    return Counts(inputs, outputs, cached, written, reasoning, total)


def argument_text(arguments: Any) -> str:
    """Return a tool call's *arguments* as text; some send them as an object."""
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else write_json(arguments)


def _tokens(told: Any) -> int | None:
    if isinstance(told, bool) or not isinstance(told, int | float):
        return None
    # Some languages know no whole numbers, and write 7.0 for seven.
    return int(told) if 0 <= told < MOST_TOKENS and told % 1 == 0 else None


def request_id_in(headers: Mapping[str, str]) -> str | None:
    """Return the vendor's name for an exchange."""
    name = headers.get("x-request-id") or headers.get("request-id")
    return name[:128] if name else None


def text_in(content: Any) -> str:
    """Return the text of a message's *content*, which may come in parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "".join(
        part["text"]
        for part in content
        if isinstance(part, dict) and isinstance(part.get("text"), str)
    )
