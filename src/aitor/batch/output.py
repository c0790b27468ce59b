"""
The files that records are copied to.

What a file holds is a beginning of what the journal says, or the file is not ours.
That is checked where it matters, at the end: the last whole record must be there
byte for byte, and what follows must be the torn beginning of the next. Then the
torn piece is cut off and the rest written from the journal. A file that looks
otherwise is refused and left as it is, for it may be anything.

A pipe has a reader, who may take nothing for an hour. Files are written in a thread,
which nobody can call back; a reader is waited for on the event loop, so that whoever
cancels the run does not wait for him.
"""

import errno
import os
import select
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import anyio

from aitor.batch.journal import Journal
from aitor.batch.source import may_block
from aitor.errors import ConfigurationError

__all__ = ("STDOUT", "OutputFile", "default_journal", "is_stdout")

STDOUT = "-"

PIECE = 1024 * 1024
"""Bytes that are gathered for one write when much is copied from the journal."""


def is_stdout(path: str) -> bool:
    """Return whether *path* is a name of the standard output."""
    return path in (STDOUT, "/dev/stdout", "/dev/fd/1")


def default_journal(output: str) -> str | None:
    """Return the journal of *output*: beside it, or none where it keeps nothing."""
    if is_stdout(output):
        return None
    # One that cannot be looked at is refused when it is opened.
    with suppress(OSError):
        if not stat.S_ISREG(Path(output).stat().st_mode):
            return None
    return f"{output}.journal"


class OutputFile:
    """
    One file, or a stream such as a pipe, that grows by whole records.

    A stream holds nothing yet, so it gets every record, those of earlier runs first.
    What a pipe or a terminal is to get waits for `flush`.

    Args:
        path: The file; `-` for the standard output.
        number: Which of the journal's files it is.

    Raises:
        ConfigurationError: If it cannot be opened.
    """

    def __init__(self, path: str, number: int) -> None:
        self.path = "standard output" if is_stdout(path) else path
        self._number = number
        try:
            self._descriptor = _open(path)
        except OSError as error:
            reason = error.strerror
            if error.errno == errno.ENXIO:
                reason = "nobody has opened it for reading; start its reader first"
            raise ConfigurationError(
                f"{path} cannot be written: {reason}; see --output and --errors"
            ) from error
        status = os.fstat(self._descriptor)
        self.is_stream = is_stdout(path) or not stat.S_ISREG(status.st_mode)
        self._has_reader = may_block(self._descriptor)
        self._waiting = bytearray()

    def follow(self, journal: Journal) -> int:
        """
        Cut off a torn end, and write what *journal* has beyond it.

        A stream waits for `rewrite`.

        Returns:
            The length in bytes of what was cut off.

        Raises:
            ConfigurationError: If the file holds what is not in the journal.
            OSError: If it cannot be written.
        """
        if self.is_stream:
            return 0
        size = os.fstat(self._descriptor).st_size
        place, last = journal.last_before(self._number, size)
        following = next(journal.texts_after(self._number, place), b"")
        # One byte more than may be there, so that a longer rest is seen.
        torn = os.pread(self._descriptor, len(following) + 1, place)
        found = os.pread(self._descriptor, len(last), place - len(last))
        if found != last or not following.startswith(torn):
            raise ConfigurationError(
                f"{self.path} holds something that is not in {journal.path}; move it "
                f"away to have it written again from there, or give another -o"
            )
        os.ftruncate(self._descriptor, place)
        self._copy(journal, place)
        return len(torn)

    def rewrite(self, journal: Journal) -> None:
        """
        Write a file from its beginning.

        Raises:
            OSError: If it cannot be written.
        """
        os.ftruncate(self._descriptor, 0)
        self._copy(journal, 0)

    def _copy(self, journal: Journal, place: int) -> None:
        for piece in self.pieces(journal, place):
            self.append(piece)

    def pieces(self, journal: Journal, place: int = 0) -> Iterator[bytes]:
        """Yield what *journal* has for it from *place* on, many records at a time."""
        piece: list[bytes] = []
        size = 0
        for text in journal.texts_after(self._number, place):
            piece.append(text)
            size += len(text)
            if size >= PIECE:
                yield b"".join(piece)
                piece, size = [], 0
        yield b"".join(piece)

    def append(self, text: bytes) -> None:
        """
        Write *text* at the end, or have it wait for `flush`.

        Raises:
            OSError: If the disk is full.
        """
        if self._has_reader:
            self._waiting += text
            return
        rest = memoryview(text)
        while rest:
            # A disk that is nearly full takes a part of it.
            rest = rest[os.write(self._descriptor, rest) :]

    async def flush(self) -> None:
        """
        Write what waits, as fast as its reader takes it; cancelled, the rest waits.

        Raises:
            OSError: If the reader has gone.
        """
        waiting = self._waiting
        ready = select.poll()
        ready.register(self._descriptor, select.POLLOUT)
        while waiting:
            if not ready.poll(0):
                await anyio.wait_writable(self._descriptor)
            # No more than fits for certain, since writing more may block.
            taken = os.write(self._descriptor, waiting[: select.PIPE_BUF])
            del waiting[:taken]

    def close(self) -> None:
        """Have what was written reach the disk, and let go of the file."""
        try:
            if not self.is_stream:
                os.fsync(self._descriptor)
        finally:
            os.close(self._descriptor)


def _open(path: str) -> int:
    if is_stdout(path):
        if sys.stdout is None:
            raise OSError(errno.EBADF, "it is closed")
        # A copy, so that closing ours leaves the program's own open.
        sys.stdout.flush()
        return os.dup(sys.stdout.fileno())
    if Path(path).is_fifo():
        # For writing alone: whoever has a pipe open for reading, too, never learns
        # that its reader has gone. And at once: opening it would wait for a reader.
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        os.set_blocking(descriptor, True)
        return descriptor
    # A directory that is missing is more likely misspelt than wanted: not made.
    return os.open(Path(path), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
