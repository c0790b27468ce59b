"""
What comes of a tool, as a text that a model can be sent.

A tool may return anything and raise anything; whatever that is, and whatever its own
methods do, there is a text in the end, and one of bounded length.
"""

import inspect
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import anyio
from pydantic_core import to_json

__all__ = (
    "LONGEST_RESULT",
    "MOST_ITEMS",
    "Failed",
    "Pending",
    "collected",
    "fault_of",
    "gathered",
    "shown",
    "worded",
)

LONGEST_RESULT = 100_000
"""Characters of a result that are told; more are in no model's interest."""

MOST_ITEMS = 10_000
"""Items that are taken from a generator, which may have no end."""

MOST_FAULTS = 5
"""Exceptions of a group that are told."""

MEANT = (KeyboardInterrupt, GeneratorExit)
"""What may come from outside, in the event loop: the user, or whoever closes it."""


@dataclass(frozen=True, slots=True)
class Failed:
    """What was raised in a worker thread."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class Pending:
    """What a worker thread brought that only the event loop can wait for."""

    it: Any


def collected(result: Any) -> Any:
    """Return *result*, or what it yields if it is an iterator."""
    if not isinstance(result, Iterator):
        return result
    items: list[Any] = []
    try:
        for item in result:
            if len(items) >= MOST_ITEMS:
                return [*items, "…"]
            items.append(item)
    finally:
        if inspect.isgenerator(result):
            result.close()
    return items


async def gathered(result: Any) -> Any:
    """Return *result* when nothing in it is still to be awaited."""
    if inspect.isawaitable(result):
        result = await result
    if not isinstance(result, AsyncIterator):
        return collected(result)
    items: list[Any] = []
    closing: Any = aclosing(result) if hasattr(result, "aclose") else nullcontext()
    async with closing:
        async for item in result:
            if len(items) >= MOST_ITEMS:
                return [*items, "…"]
            items.append(item)
    return items


def shown(result: Any) -> str:
    """
    Return *result* as text: a text as it is, and else as JSON where that can be.

    Raises:
        Exception: What its own methods raise.
    """
    if isinstance(result, str):
        return _sendable(result)
    try:
        return _sendable(to_json(result).decode())
    except Exception:  # noqa: BLE001  # it may hold anything
        return _sendable(str(result))


def worded(error: BaseException, *, named: bool = True) -> str:
    """Return what *error* says, after its type's name if it is *named*."""
    if isinstance(error, BaseExceptionGroup):
        leaves = list(_leaves(error))
        told = [worded(each) for each in leaves[:MOST_FAULTS]]
        if len(leaves) > MOST_FAULTS:
            told.append(f"and {len(leaves) - MOST_FAULTS} more")
        text = f"{type(error).__name__}: {error.message} [{'; '.join(told)}]"
        return _sendable(text)
    text = "its text cannot be told"
    with suppress(BaseException):
        text = _sendable(str(error))
    return f"{type(error).__name__}: {text}" if named else text


def fault_of(error: BaseException) -> str | None:
    """Return what to tell of *error*, or None where it is not the tool's to raise."""
    meant = (*MEANT, anyio.get_cancelled_exc_class())
    leaves = _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return None if any(isinstance(each, meant) for each in leaves) else worded(error)


def _leaves(error: BaseExceptionGroup[Any]) -> Iterator[BaseException]:
    # Not by recursion: groups may be nested as deep as they like.
    left: list[BaseException] = [error]
    while left:
        each = left.pop()
        if isinstance(each, BaseExceptionGroup):
            left += reversed(each.exceptions)
        else:
            yield each


def _sendable(text: str) -> str:
    if len(text) > LONGEST_RESULT:
        told = f"… ({len(text):,} characters, of which these are the first)"
        text = text[:LONGEST_RESULT] + told
    # A file's name, say, may hold half a surrogate pair, which no request can.
    return text.encode("utf-8", "replace").decode()
