"""
What a checker is: a function from a history to what is wrong with it.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

from aitor.testing.simulator.history import History

__all__ = ("Checker", "Violation")


class Violation(NamedTuple):
    """
    A promise that was broken.

    Args:
        rule: The promise's number, as in `aitor.testing.simulator.checkers.RULES`.
        time: When.
        what: What happened.
    """

    rule: int
    time: float
    what: str

    def __str__(self) -> str:
        return f"rule {self.rule} at {self.time:.4f} s: {self.what}"


Checker: TypeAlias = Callable[[History], Iterator[Violation]]
"""Takes time in proportion to the history's length, or nearly so."""
