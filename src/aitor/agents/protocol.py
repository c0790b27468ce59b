"""
Tools for models that have no tool calls of their own: a protocol in plain text.

    THINK: I have to add these first.
    ACT: calculator(expression='2+2')
    OBSERVATION: 4
    ANSWER: It is 4.

A call is read, never run: its text is parsed as Python, and only literals in it have
a value. Whatever a model writes, reading it gives a value of ours and raises nothing.
The words are found however a model likes to dress them (`**Act:**`, `1. Action :`), but
not in what it only thinks.
"""

import ast
import json
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aitor.agents.tools import Tool
from aitor.llm.thoughts import split_thoughts
from aitor.messages import Message

__all__ = (
    "GO_ON",
    "Call",
    "Said",
    "as_json",
    "as_text",
    "instructions",
    "observed",
    "read_text",
)

_MARK = re.compile(
    r"""^ (?P<before> [ \t]* (?: [-+•#]+ [ \t]* | \d+[.)] [ \t]* )* )
        (?P<dress> [*_`~]* ) [ \t]*
        (?P<word> think(?:ing)? | thought | act(?:ion)? | (?:final[ \t])? answer
          | observation )
        (?: [ \t]* [*_`~]* [ \t]* [:\uff1a] [*_`~]* )""",
    re.MULTILINE | re.VERBOSE | re.IGNORECASE,
)
"""A word of the protocol at the beginning of a line."""

_WORDS = {"thinking": "THINK", "thought": "THINK", "action": "ACT"}
_NAME = re.compile(
    r"\s*(?:```\w*\n\s*|`)?(?P<name>[A-Za-z_][\w-]*)\s*(?P<call>\(?)", re.ASCII
)
_FENCED = re.compile(r"```\w*\n(.*?)\n?\s*```", re.DOTALL)
_HEAD = re.compile(r"\s*([A-Za-z_][\w-]*)\s*(?=\()", re.ASCII)

LONGEST_CALL = 100_000
"""Characters; nothing that long is a call."""

GO_ON = "Go on: ACT or ANSWER."

PLAIN_MARKS = ("THINK:", "ACT:", "ANSWER:", "OBSERVATION:")
"""The words as a model is told to write them."""

UNREADABLE = (
    "error: this ACT could not be read and nothing was run; write a call such as "
    "ACT: name(argument='value'), with literal values only"
)


@dataclass(frozen=True, slots=True, repr=False)
class Call:
    """
    A call that a model asked for.

    Args:
        name: The tool, whether or not there is one.
        arguments: By name, as JSON has them.
        problem: Why it cannot be carried out, if it cannot.
        id: The model's own name for the call, where it has one.
    """

    name: str
    arguments: Mapping[str, Any]
    problem: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Said:
    """
    What a model said in one answer.

    Args:
        thought: What it said besides the rest.
        calls: The tools it wants called.
        answer: Its final answer, if this is one.
        correction: What to tell it when there is neither.
        hidden: What it only thought, between marks of its own; none of it counts.
    """

    thought: str = ""
    calls: tuple[Call, ...] = ()
    answer: str | None = None
    correction: str = ""
    hidden: str = ""


class _UnreadableError(Exception):
    """A call cannot be read."""


def instructions(tools: Iterable[Tool], *, only: bool) -> str:
    """
    Return what to tell a model about the protocol.

    Args:
        tools: What it may call.
        only: Whether this is its one way to call; else it is for models that cannot
            call by themselves.
    """
    listed = "\n".join(
        f"- {tool.name}: {tool.description}\n"
        f"  arguments: {json.dumps(tool.parameters['properties'])}"
        for tool in tools
    )
    begin = "" if only else "If you cannot call functions by themselves, do it so. "
    return (
        f"{begin}To use a tool, write a line\n"
        "ACT: name(argument='value')\n"
        "with the tool's name and literal values, and stop; you may write several. "
        "You get a line OBSERVATION for each. Before, you may write THINK: and what "
        "you think. When you know the answer, write ANSWER: and the answer.\n"
        f"These are the tools:\n{listed}"
    )


def observed(texts: Iterable[str]) -> str:
    """Return the message that tells the results of calls."""
    return "\n".join(f"OBSERVATION: {text}" for text in texts)


def read_text(text: str, tools: Mapping[str, Tool]) -> Said:
    """
    Return what *text* says.

    A text without any mark is an answer. What comes after a call as its observation,
    or as an answer, is invented, since nothing was called yet, and is dropped.

    Args:
        text: The model's answer.
        tools: By name; they tell what arguments without a name are called.
    """
    text, hidden = split_thoughts(text)
    marks = _marks(text, tools)
    if not marks:
        # Nothing but a thought is none.
        correction = "" if text or not hidden else GO_ON
        return Said(
            hidden=hidden,
            answer=text or None if hidden else text,
            correction=correction,
        )
    thoughts = [text[: marks[0].start()]]
    acts: list[str] = []
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    for mark, end in zip(marks, ends, strict=True):
        body = _undressed(text[mark.end() : end], mark)
        match _word(mark):
            case "ANSWER" if not acts:
                # To the end of all: an answer may well speak of this protocol.
                answer = _undressed(text[mark.end() :], mark)
                return Said(_joined(thoughts), answer=answer, hidden=hidden)
            case "ANSWER" | "OBSERVATION":
                break
            case "THINK":
                thoughts.append(body)
            case _:
                acts.append(body)
    thought = _joined(thoughts)
    if not acts:
        return Said(thought, correction=GO_ON, hidden=hidden)
    try:
        calls = tuple(read_call(act, tools) for act in acts)
    except _UnreadableError:
        return Said(thought, correction=observed([UNREADABLE]), hidden=hidden)
    return Said(thought, calls, hidden=hidden)


def _marks(text: str, tools: Mapping[str, Tool]) -> list[re.Match[str]]:
    """
    Return the marks in *text*.

    Words that are dressed or written otherwise than they were told are marks only
    where they do what the protocol says: a list may well begin with "Act:".
    """

    def is_meant(mark: re.Match[str]) -> bool:
        if _is_plain(mark) or _word(mark) != "ACT":
            return True
        name = _NAME.match(text, mark.end())
        return name is not None and (bool(name["call"]) or name["name"] in tools)

    marks = [mark for mark in _MARK.finditer(text) if is_meant(mark)]
    if any(_is_plain(mark) or _word(mark) in ("ACT", "ANSWER") for mark in marks):
        return marks
    return []


def _is_plain(mark: re.Match[str]) -> bool:
    return mark[0].strip() in PLAIN_MARKS


def _word(mark: re.Match[str]) -> str:
    word = mark["word"].casefold()
    return "ANSWER" if word.endswith("answer") else _WORDS.get(word, word.upper())


def _undressed(body: str, mark: re.Match[str]) -> str:
    """Return *body* without what closes the dress that *mark* opened."""
    body, dress = body.strip(), mark["dress"]
    if dress and mark[0].count(dress) == 1:
        line, separator, rest = body.partition("\n")
        body = line.rstrip().removesuffix(dress[::-1]) + separator + rest
    return body


def _joined(texts: Iterable[str]) -> str:
    return "\n".join(stripped for text in texts if (stripped := text.strip()))


def read_call(text: str, tools: Mapping[str, Tool]) -> Call:
    """Return the call that *text* is, or that its first line is."""
    if len(text) > LONGEST_CALL:
        raise _UnreadableError
    text = text.strip()
    if fenced := _FENCED.match(text):
        text = fenced[1]
    text = text.strip("`")
    head = _HEAD.match(text)
    if head is None:
        raise _UnreadableError
    arguments = text[head.end() :]
    call = _parsed(arguments) or _parsed(arguments.partition("\n")[0])
    if call is None:
        raise _UnreadableError
    name = head[1]
    try:
        return Call(name, as_json(_named(call, name, tools)))
    except ValueError as error:
        return Call(name, {}, problem=str(error))


def _parsed(arguments: str) -> ast.Call | None:
    try:
        with warnings.catch_warnings():
            # The compiler's warnings are about the model's text, and quote it.
            warnings.simplefilter("ignore")
            expression = ast.parse(f"_{arguments}", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if isinstance(expression, ast.Call) and isinstance(expression.func, ast.Name):
        return expression
    return None


def _named(call: ast.Call, name: str, tools: Mapping[str, Tool]) -> dict[str, Any]:
    """
    Return the arguments of *call* by name.

    Raises:
        ValueError: Saying what is wrong with them.
    """
    known = tools[name].names if name in tools else ()
    if len(call.args) > len(known):
        told = ", ".join(known) or "none"
        raise ValueError(f"give arguments by name: {name} takes {told}")
    pairs = [
        *zip(known, call.args, strict=False),
        *((keyword.arg, keyword.value) for keyword in call.keywords),
    ]
    found: dict[str, Any] = {}
    for argument, value in pairs:
        if argument is None:
            raise ValueError("'**' is not allowed: give each argument by its name")
        if argument in found:
            raise ValueError(f"argument '{argument}' is given twice")
        found[argument] = _literal(argument, value)
    return found


def _literal(argument: str, value: ast.expr) -> Any:
    try:
        return ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise ValueError(f"argument '{argument}' is not a literal value") from None


def as_json(arguments: dict[str, Any]) -> dict[str, Any]:
    """
    Return *arguments* as they are after a way through JSON.

    Raises:
        ValueError: If there is no such way.
    """
    try:
        found: dict[str, Any] = json.loads(json.dumps(arguments, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        raise ValueError("the arguments cannot be written as JSON") from None
    return found


def as_text(messages: Iterable[Message]) -> Iterator[Message]:
    """
    Yield *messages* with tool calls and their results written in this protocol.

    For a model that has none of its own, and was not the one who made these calls.
    """
    results: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            results.append(message["content"])
            continue
        if results:
            yield {"role": "user", "content": observed(results)}
            results = []
        calls = message.get("tool_calls")
        content = message.get("content")
        text = _written(content, calls) if calls else content
        yield {"role": message["role"], "content": text}
    if results:
        yield {"role": "user", "content": observed(results)}


def _written(thought: Any, calls: Sequence[Any]) -> str:
    lines = [f"THINK: {thought}"] if thought else []
    for call in calls:
        function = call["function"]
        given = json.loads(function["arguments"])
        arguments = ", ".join(f"{name}={value!r}" for name, value in given.items())
        lines.append(f"ACT: {function['name']}({arguments})")
    return "\n".join(lines)
