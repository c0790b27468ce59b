"""
Exit codes, and how an error becomes one: a line on standard error, no traceback.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from aitor.errors import ConfigurationError, LLMError
from aitor.terminal import one_line

__all__ = ("FAILED", "INTERRUPTED", "MISUSED", "exits_for_errors", "tell")

FAILED = 1
"""A request was not answered."""

MISUSED = 2
"""The options or the configuration are wrong; nothing was sent."""

INTERRUPTED = 130
"""Control and C, as shells count it."""


@contextmanager
def exits_for_errors() -> Iterator[None]:
    """Turn an error of ours into a line and an exit code."""
    try:
        yield
    except ConfigurationError as error:
        # One problem a line.
        for problem in error.message.splitlines():
            tell(problem)
        raise SystemExit(MISUSED) from None
    except LLMError as error:
        tell(str(error))
        raise SystemExit(FAILED) from None
    except BaseExceptionGroup as group:
        # Trio delivers an interrupt inside of whatever task groups there are. One by
        # itself is turned into the same code by typer.
        if group.subgroup(KeyboardInterrupt) is None:
            raise
        raise SystemExit(INTERRUPTED) from None


def tell(text: str, by: str = "aitor: ") -> None:
    """
    Write a line to standard error, whatever *text* holds.

    Where nothing can be written the exit code has to do: that a line is lost is no
    reason to lose an answer.
    """
    with suppress(OSError):
        sys.stderr.write(f"{by}{one_line(text)}\n")
