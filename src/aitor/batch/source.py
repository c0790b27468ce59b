"""
The input, read a piece at a time.

A file is never held as a whole and its rows are never counted ahead, so a batch of
a million starts as fast as one of ten. A pipe gives up what it has: a row that was
written there is on its way before the next one comes.
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
from aitor.batch.rows import Row, read_row
from aitor.errors import ConfigurationError

__all__ = ("Source", "may_block")

STDIN = "-"

PIECE = 128 * 1024
"""Bytes read at once."""

ROWS = 128
"""Most rows handed out at once: a millisecond or two of work."""

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
        self.bytes_read = 0
        self._limit = limit
        self._line = 0
        self._rows = 0
        self._exhausted = False
        self._lines: deque[bytes] = deque()
        self._rest: list[bytes] = []
        try:
            self._file = _open(path)
        except OSError as error:
            raise ConfigurationError(
                f"the input {path} cannot be read: {error.strerror}"
            ) from error
        status = os.fstat(self._file.fileno())
        self._may_block = may_block(self._file.fileno())
        self.size = status.st_size if stat.S_ISREG(status.st_mode) else None

    async def wait_until_readable(self, stop: anyio.Event) -> None:
        """Wait until a pipe has something, or *stop* is set; a file always has."""
        if not self._may_block or self._lines:
            return

        async def give_up() -> None:
            await stop.wait()
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(give_up)
            await anyio.wait_readable(self._file)
            tasks.cancel_scope.cancel()

    def read(self) -> list[Row]:
        """
        Return the next rows; none is no sign of the end, `ended` is.

        Raises:
            StorageError: If the disk fails.
        """
        if not self._lines:
            self._fill()
        rows: list[Row] = []
        while self._lines and len(rows) < ROWS:
            self._line += 1
            text = self._lines.popleft()
            self.bytes_read += len(text) + 1
            if self._line == 1:
                text = text.removeprefix(BOM)
            if text and not text.isspace():
                rows.append(read_row(text, self._line, self.name))
        self.ended = self._exhausted and not self._lines
        return self._limited(rows)

    def _fill(self) -> None:
        try:
            data = self._file.read(PIECE)
        except OSError as error:
            raise StorageError(
                f"the input {self.name} cannot be read ({error.strerror}); what is "
                f"stored is intact: see to that, and run the same command again"
            ) from error
        self._exhausted = not data
        # A line may be larger than many pieces, so those are joined once only.
        self._rest.append(data)
        if self._exhausted or b"\n" in data:
            *lines, rest = b"".join(self._rest).split(b"\n")
            self._lines.extend(lines)
            self._rest = [rest]
        if self._exhausted:
            self._lines.append(rest)

    def _limited(self, rows: list[Row]) -> list[Row]:
        if self._limit is not None and self._rows + len(rows) >= self._limit:
            rows = rows[: self._limit - self._rows]
            self.ended = True
        self._rows += len(rows)
        return rows

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


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
