"""
The standard streams, which a shell may have closed (`>&-`) or put on a full disk.
"""

import errno
import os
import sys
from pathlib import Path

from aitor.cli.exits import FAILED

__all__ = ("open_closed_streams", "require", "write")

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
        sys.stderr.write(
            f"aitor: standard output cannot be written ({error.strerror})\n"
        )
        # What is left of it would be tried, and complained of, once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(FAILED) from None
