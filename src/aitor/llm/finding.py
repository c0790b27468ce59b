"""
The data in a model's text: what of it is closed, and meant as the answer.

The first thing that can be parsed is often something else: a part of a value that was
cut off, a draft, an example said again. So a value counts as a whole or not at all,
and only in a place where an answer stands.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from aitor.llm.thoughts import CLOSING, OPENING, Thoughts, split_thoughts

__all__ = ("Found", "UnclosedError", "values_in")

_NEXT = re.compile(
    rf"""(?P<opening>{OPENING}) | (?P<closing>{CLOSING})
    # What begins like data, or like an attempt at it; other brackets are prose.
    | \{{ (?= \s* (?: ["'{{}}/] | \w+\s*: | \Z ))
    | \[ (?= \s* (?: ["'\[\]{{}}/\d-] | (?:true|false|null)\b | \Z ))""",
    re.VERBOSE | re.IGNORECASE,
)
_BRACKETS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]"]', re.DOTALL)
_FENCE = re.compile(r"```[\w-]*\s*\Z")
_WHOLE_FENCE = re.compile(r"```[\w-]*\n(.*)\n\s*```", re.DOTALL)
_LINE_BEFORE = 100
"""Characters before and after a value that tell what it stands in."""


class UnclosedError(Exception):
    """A text ends in the middle of a value or of a thought."""


@dataclass(frozen=True, slots=True)
class Found:
    """
    A value in a text.

    Args:
        value: As JSON has it.
        fenced: Whether it stands in a block of code of its own, or is all there is.
        placed: Whether it stands where an answer does, and not within a sentence.
    """

    value: Any
    fenced: bool = True
    placed: bool = True


def values_in(text: str) -> list[Found]:
    """
    Return the values in *text* that are in no other and in no thought, in order.

    Raises:
        UnclosedError: If it ends within one, so that nothing in it is sure.
    """
    try:
        return [Found(json.loads(text))]
    except (ValueError, RecursionError):
        pass
    found: list[Found] = []
    for each in _scanned(text):
        if each is None:
            # All before was a thought, whose beginning stands in some templates.
            found.clear()
        else:
            found.append(each)
    return found or _bare(text)


def _scanned(text: str) -> Iterator[Found | None]:
    decode = json.JSONDecoder().raw_decode
    thoughts = Thoughts(text)
    place = 0
    while token := _NEXT.search(text, place):
        begin, place = token.span()
        if token["opening"]:
            end = thoughts.end(begin, place)
            if end == (len(text), len(text)):
                raise UnclosedError
            place = end[1] if end else place
        elif token["closing"]:
            yield None
        else:
            try:
                value, place = decode(text, begin)
            except (ValueError, RecursionError):
                place = _end(text, begin)
            else:
                yield _found(value, text, begin, place)


def _end(text: str, begin: int) -> int:
    """
    Return where the brackets from *begin* on are closed, whatever is in them.

    Nothing inside is looked at: a part of what cannot be read is not the answer.
    """
    depth = 0
    for token in _BRACKETS.finditer(text, begin):
        match token[0]:
            case "{" | "[":
                depth += 1
            case "}" | "]":
                depth -= 1
                if not depth:
                    return token.end()
            case '"':
                raise UnclosedError
    raise UnclosedError


def _found(value: Any, text: str, begin: int, end: int) -> Found:
    before = text[max(0, begin - _LINE_BEFORE) : begin]
    after = text[end : end + _LINE_BEFORE]
    if _FENCE.search(before) and after.lstrip().startswith("```"):
        return Found(value)
    ends = not after.partition("\n")[0].strip(" \t\r.`*")
    begins = before.rpartition("\n")[2].strip(" \t*`>")
    # A list may as well be a citation.
    placed = isinstance(value, dict) or not begins or begins.endswith((":", "\uff1a"))
    return Found(value, fenced=False, placed=bool(value) and ends and placed)


def _bare(text: str) -> list[Found]:
    """Return the value that a text without brackets is, but for thoughts and fences."""
    said, _ = split_thoughts(text)
    if fence := _WHOLE_FENCE.fullmatch(said):
        said = fence[1]
    try:
        return [Found(json.loads(said))]
    except (ValueError, RecursionError):
        return []
