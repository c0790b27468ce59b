"""
The standard streams, which a shell may have closed (`>&-`) or put on a full disk.
"""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from aitor.cli.exits import FAILED, tell

__all__ = ("exits_when_full", "open_closed_streams", "require", "write")

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""What a disk says that takes no more."""

MODES = {"stdin": "r", "stdout": "w", "stderr": "w"}


def open_closed_streams() -> None:
    """
    Put the null device in place of streams that are closed.

    Python has None for those. Beyond that, the next file that is opened would get
    their number, and whatever writes there would write into it.
    """
    for name, mode in MODES.items():
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115


def require(name: str, hint: str | None = None) -> None:
    """
    Refuse to go on without a stream that is needed.

    Args:
        name: `stdin` or `stdout`.
        hint: The option or argument that needs it, if it is one.

    Raises:
        typer.BadParameter: If it was closed when the process began.
    """
    if getattr(sys, f"__{name}__") is None:
        import typer

        full = {"stdin": "standard input", "stdout": "standard output"}[name]
        raise typer.BadParameter(f"{full} is closed", param_hint=hint)


def write(text: str) -> None:
    """
    Write *text* to standard output.

    Raises:
        SystemExit: If the disk is full.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # A reader that has gone is typer's affair.
        if error.errno == errno.EPIPE:
            raise
        _exit(error)


@contextmanager
def exits_when_full() -> Iterator[None]:
    """
    Turn what others meet who write to standard output into a line and an exit code.

    Raises:
        SystemExit: If the disk is full.
    """
    try:
        yield
    except OSError as error:
        # Files have their names in their errors.
        if error.errno not in FULL or error.filename is not None:
            raise
        _exit(error)


def _exit(error: OSError) -> NoReturn:
    tell(f"standard output cannot be written ({error.strerror})")
    # What is left of it would be tried, and complained of, once more.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(FAILED) from None
