"""
The input, read a piece at a time.

A file is never held as a whole. It is read twice: `scan` tells the names of its rows,
and with them their number, before `read` gives the rows themselves; what is appended
meanwhile is for the next run. A pipe gives up what it has: a row that was written there
is on its way before the next one comes, so nothing of it is known ahead.
"""

import errno
import os
import stat
import sys
from collections import deque
from pathlib import Path
from typing import BinaryIO

import anyio

from aitor.batch.errors import StorageError
from aitor.batch.names import Name
from aitor.batch.rows import Row, read_name, read_row
from aitor.errors import ConfigurationError

__all__ = ("STDIN", "Source", "may_block")

STDIN = "-"

PIECE = 128 * 1024
"""Bytes read at once."""

ROWS = 128
"""Most rows handed out at once: a millisecond or two of work."""

NAMES = 2_048
"""Most names handed out at once."""

BOM = b"\xef\xbb\xbf"


class Source:
    """
    The rows of a JSONL file, in order.

    Args:
        path: The file; `-` for the standard input.
        limit: Take that many rows and no more.

    Raises:
        ConfigurationError: If it cannot be opened.
    """

    def __init__(self, path: str, limit: int | None = None) -> None:
        self.name = "standard input" if path == STDIN else path
        self.ended = False
        self.expected: int | None = None
        """How many rows there are, once `scanned`; None for a pipe, ever."""
        self._limit = limit
        try:
            self._file = _open(path)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ConfigurationError(
                f"the input {path} cannot be read: {reason}"
            ) from error
        status = os.fstat(self._file.fileno())
        self._may_block = may_block(self._file.fileno())
        self.scanned = not stat.S_ISREG(status.st_mode)
        # Standard input may have been read by somebody else up to here.
        self._start = 0 if self.scanned else self._file.tell()
        self._lines = _Lines(self._file, self.name)
        self._rows = 0

    async def wait_until_readable(self, stop: anyio.Event) -> None:
        """Wait until a pipe has something, or *stop* is set; a file always has."""
        if not self._may_block or self._lines.waiting:
            return

        async def give_up() -> None:
            await stop.wait()
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(give_up)
            await anyio.wait_readable(self._file)
            tasks.cancel_scope.cancel()

    def scan(self) -> list[Name]:
        """
        Return the names of the next rows of a file; after the last one, `scanned`.

        Raises:
            StorageError: If the disk fails.
        """
        lines = self._limited(self._lines.take(NAMES))
        names = [Name(read_name(text, line), line) for line, text in lines]
        if self.ended or self._lines.ended:
            self.expected, self.scanned = self._rows, True
            end = self._lines.position
            self._file.seek(self._start)
            self._lines = _Lines(self._file, self.name, end)
            self._rows, self.ended = 0, False
        return names

    def read(self) -> list[Row]:
        """
        Return the next rows; none is no sign of the end, `ended` is.

        Raises:
            StorageError: If the disk fails.
        """
        lines = self._limited(self._lines.take(ROWS))
        self.ended = self.ended or self._lines.ended
        return [read_row(text, line, self.name) for line, text in lines]

    def _limited(self, lines: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        if self._limit is not None and self._rows + len(lines) >= self._limit:
            lines = lines[: self._limit - self._rows]
            self.ended = True
        self._rows += len(lines)
        return lines

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class _Lines:
    """
    The lines of a file that are not blank, with their numbers.

    Args:
        file: The file, from where it stands.
        name: What it is called, for the error.
        most: Read so many bytes and no more.
    """

    def __init__(self, file: BinaryIO, name: str, most: int | None = None) -> None:
        self.position = 0
        """Bytes read so far."""
        self._file = file
        self._name = name
        self._most = most
        self._number = 0
        self._exhausted = False
        self._lines: deque[bytes] = deque()
        self._rest: list[bytes] = []

    @property
    def waiting(self) -> bool:
        """Whether there are lines that were read and not taken."""
        return bool(self._lines)

    @property
    def ended(self) -> bool:
        """Whether everything was taken."""
        return self._exhausted and not self._lines

    def take(self, most: int) -> list[tuple[int, bytes]]:
        """Return at most so many lines; none is no sign of the end."""
        if not self._lines:
            self._fill()
        taken: list[tuple[int, bytes]] = []
        while self._lines and len(taken) < most:
            self._number += 1
            text = self._lines.popleft()
            if self._number == 1:
                text = text.removeprefix(BOM)
            if text and not text.isspace():
                taken.append((self._number, text))
        return taken

    def _fill(self) -> None:
        size = PIECE if self._most is None else min(PIECE, self._most - self.position)
        try:
            data = self._file.read(size)
        except OSError as error:
            raise StorageError(
                f"the input {self._name} cannot be read ({error.strerror}); what is "
                f"stored is intact: see to that, and run the same command again"
            ) from error
        self.position += len(data)
        self._exhausted = not data
        # A line may be larger than many pieces, so those are joined once only.
        self._rest.append(data)
        if self._exhausted or b"\n" in data:
            *lines, rest = b"".join(self._rest).split(b"\n")
            self._lines.extend(lines)
            self._rest = [rest]
        if self._exhausted:
            self._lines.append(rest)


def may_block(descriptor: int) -> bool:
    """Return whether reading or writing there may wait for somebody else."""
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor)


def _open(path: str) -> BinaryIO:
    if path == STDIN:
        if sys.stdin is None:
            raise OSError(errno.EBADF, "it is closed")
        return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)
    if Path(path).is_fifo():
        # At once: opening it would wait for a writer, and nothing ends that wait.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(descriptor, True)
        return os.fdopen(descriptor, "rb", buffering=0)
    return Path(path).open("rb", buffering=0)
