"""
Fuzzing: whatever comes in from outside, ends in a result or in an error of ours.

Each target is a function that takes bytes and raises if a promise was broken. The
ordinary tests feed the targets from Hypothesis (`tests/fuzz`); `make fuzz` feeds them
from Atheris, which watches what the code does and looks for inputs that make it do
something new. So every promise is written once, here.
"""

from collections.abc import Callable
from typing import TypeAlias

__all__ = ("BrokenPromiseError", "Target", "promise")

Target: TypeAlias = Callable[[bytes], None]


class BrokenPromiseError(AssertionError):
    """An input was found for which the code does not do what it promises."""


def promise(kept: bool, what: str) -> None:
    """
    Raise unless a promise was kept.

    Raises:
        BrokenPromiseError: Saying *what* was promised.
    """
    if not kept:
        raise BrokenPromiseError(what)
