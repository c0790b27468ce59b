"""
Checks that data of a caller's own is JSON, before anything walks it.

What a caller passes may contain itself, be nested without end, share its parts so that
a few lists stand for a billion, or be a mapping with methods of its own. Whoever met
that while counting tokens, hashing or encoding would stop the whole process, or take
the fault for the provider's. So it is looked at once, where it comes in, without
recursion and within bounds; and what is JSON by meaning but not by type (a mapping
that is no dictionary, a subclass of `str`) is copied to what is, so that nobody calls
a caller's methods later.

The bounds count what would be written, so a part that is shared counts each time.
"""

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

from aitor.errors import BadRequestError

__all__ = (
    "MOST_CHARACTERS",
    "MOST_LEVELS",
    "MOST_VALUES",
    "as_json",
)

MOST_LEVELS = 100
"""How deep data may be nested; far below what Python's own encoder can do."""

MOST_VALUES = 250_000
"""How many values there may be in one request; checking so many takes 10 ms."""

MOST_CHARACTERS = 256 * 1024 * 1024
"""How long all texts of one request may be together; no vendor takes as much."""

TOO_DEEP = f"nested more than {MOST_LEVELS} levels deep, or containing itself"
TOO_MANY = f"more than {MOST_VALUES:,} values, counting what is shared each time"
TOO_LONG = f"more than {MOST_CHARACTERS:,} characters, counting what is shared too"

LARGEST_NUMBER = 10**300
"""Whole numbers beyond it are no number to most readers of JSON."""

_Slot: TypeAlias = tuple[Any, Any, Any]
"""Where a value stands: the container, the key in it, and the value."""

_NUMBERS = frozenset({int, float})
_SIMPLE = _NUMBERS | {bool, type(None)}


class _Beyond(Exception):  # noqa: N818  # nobody outside sees it
    """Something is beyond a bound, which is said in words."""


def as_json(parts: Any, what: str, part: str) -> Any:
    """
    Return *parts* if they are JSON as they are, or else a copy that is.

    Args:
        parts: A tuple or a mapping.
        what: What to call all of it in an error.
        part: What to call one of its items, before its number or its name.

    Raises:
        BadRequestError: If something cannot be written as JSON, or is beyond a bound.
    """
    try:
        return _as_json(parts, what)
    except _Beyond as bound:
        # Not looked for in the parts, which may all be as large.
        raise BadRequestError(f"{what}: {bound}") from None
    except BadRequestError as error:
        wrong = error
    # Outside the handler, so that the one is not the context of the other.
    if isinstance(parts, tuple):
        for number, one in enumerate(parts):
            _as_json(one, f"{part} {number}")
    elif type(parts) is dict:
        for name, one in parts.items():
            _as_json(one, f"{part} {name!r:.80}")
    raise wrong


def _as_json(value: Any, what: str) -> Any:
    try:
        return value if _is_plain(value, what) else _copied(value, what)
    except (BadRequestError, _Beyond):
        raise
    except Exception as error:  # noqa: BLE001  # of the caller's own methods
        # Its text may quote the prompt.
        problem = f"{what}: its own code raised {type(error).__name__}"
    raise BadRequestError(problem)


def _is_plain(value: Any, what: str) -> bool:
    """Whether *value* is JSON by type, all the way down; the cheap and usual case."""
    level, count, characters = [value], 0, 0
    for _ in range(MOST_LEVELS):
        following: list[Any] = []
        length = _look_through(level, following, what)
        if length is None:
            return False
        characters += length
        count += len(following)
        _check_size(count, characters)
        if not following:
            return True
        level = following
    raise _Beyond(TOO_DEEP)


def _look_through(level: list[Any], following: list[Any], what: str) -> int | None:
    """Add what *level* contains to *following*; return the length of its texts."""
    characters = 0
    for one in level:
        kind = type(one)
        if kind is str:
            characters += len(one)
        elif kind is dict:
            for key in one:
                if type(key) is not str:
                    return None
            following += one.values()
        elif kind is list or kind is tuple:
            following += one
        elif kind not in _SIMPLE:
            return None
        elif kind in _NUMBERS:
            _check_number(one, what)
        if len(following) > MOST_VALUES:
            break
    return characters


def _copied(value: Any, what: str) -> Any:
    """Return a copy of *value* in JSON's own types."""
    top: list[Any] = [None]
    level: list[_Slot] = [(top, 0, value)]
    count = characters = 0
    for _ in range(MOST_LEVELS):
        following: list[_Slot] = []
        for container, place, one in level:
            made = _scalar(one, what)
            if made is _CONTAINER:
                room = MOST_VALUES - count - len(following)
                made, inside = _opened(one, room, what)
                following += inside
            elif type(made) is str:
                characters += len(made)
            container[place] = made
        count += len(following)
        _check_size(count, characters)
        if not following:
            return top[0]
        level = following
    raise _Beyond(TOO_DEEP)


_CONTAINER = object()


def _scalar(value: Any, what: str) -> Any:
    """Return *value* as one of JSON's simple values, if it is one."""
    if value is None or value is True or value is False:
        return value
    # The base classes' own methods, since a subclass may have changed them.
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return _check_number(int.__int__(value), what)
    if isinstance(value, float):
        return _check_number(float.__float__(value), what)
    return _CONTAINER


def _opened(value: Any, room: int, what: str) -> tuple[Any, list[_Slot]]:
    """Return an empty copy of a container, and what goes into it."""
    inside: list[_Slot] = []
    made: dict[str, Any] | list[Any]
    if isinstance(value, Mapping):
        made = {}
        for key in value:
            if not isinstance(key, str):
                raise BadRequestError(
                    f"{what}: a key is no text but a {type(key).__name__}"
                )
            inside.append((made, str.__str__(key), value[key]))
            if len(inside) > room:
                raise _Beyond(TOO_MANY)
    elif isinstance(value, list | tuple):
        made = []
        for one in value:
            inside.append((made, len(inside), one))
            made.append(None)
            if len(inside) > room:
                raise _Beyond(TOO_MANY)
    else:
        raise BadRequestError(f"{what}: JSON has no {type(value).__name__}")
    return made, inside


def _check_number(number: Any, what: str) -> Any:
    if -LARGEST_NUMBER <= number <= LARGEST_NUMBER:
        return number
    if isinstance(number, float) and not math.isfinite(number):
        raise BadRequestError(f"{what}: a number is not finite ({number})")
    raise BadRequestError(f"{what}: a number has more than 300 digits")


def _check_size(count: int, characters: int) -> None:
    if count > MOST_VALUES:
        raise _Beyond(TOO_MANY)
    if characters > MOST_CHARACTERS:
        raise _Beyond(TOO_LONG)
