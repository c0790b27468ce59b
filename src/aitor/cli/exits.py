"""
Exit codes, and how an error becomes one: a line on standard error, no traceback.

Those beyond 2 are the ones of BSD's `sysexits`. 1 says that what was asked for was
done and is not all good. A crash is a bug of ours or of a provider's class; it says
where it is, and has a code of its own: a script that goes on after a 1 must not then.
"""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from aitor.errors import ConfigurationError, LLMError
from aitor.terminal import one_line

__all__ = (
    "CRASHED",
    "FAILED",
    "INTERRUPTED",
    "MISUSED",
    "UNAVAILABLE",
    "exits_for_crashes",
    "exits_for_errors",
    "tell",
)

FAILED = 1
"""A request was not answered."""

MISUSED = 2
"""The options or the configuration are wrong; nothing was sent."""

UNAVAILABLE = 69
"""Nobody could be asked (`EX_UNAVAILABLE`)."""

CRASHED = 70
"""Something raised what nobody expected: a bug (`EX_SOFTWARE`)."""

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


@contextmanager
def exits_for_crashes() -> Iterator[None]:
    """Turn what nobody expected into a place, a line and an exit code."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  # that is what it is for
        _crash(error)


def _crash(error: BaseException) -> NoReturn:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        (error,) = error.exceptions
    # Where it is and not what it says: a text may hold a prompt or a key.
    traceback.print_tb(error.__traceback__)
    tell(f"crashed with {type(error).__name__}; this is a bug, here or in a provider")
    raise SystemExit(CRASHED) from None


def tell(text: str, by: str = "aitor: ") -> None:
    """
    Write a line to standard error, whatever *text* holds.

    Where nothing can be written the exit code has to do: that a line is lost is no
    reason to lose an answer.
    """
    with suppress(OSError):
        sys.stderr.write(f"{by}{one_line(text)}\n")
