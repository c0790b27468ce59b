"""
The files that records are copied to.

What a file holds is a beginning of what the journal says, or the file is not ours.
That is checked where it matters, at the end: the last whole record must be there
byte for byte, and what follows must be the torn beginning of the next. Then the
torn piece is cut off and the rest written from the journal. A file that looks
otherwise is refused and left as it is, for it may be anything; what it seems to be
says what to do, and nothing that is advised costs an answer that was paid for.

A file is held by one run, whatever names it has: the lock is on the file itself.

A pipe has a reader, who may take nothing for an hour. Files are written in a thread,
which nobody can call back; a reader is waited for on the event loop, so that whoever
cancels the run does not wait for him.
"""

import errno
import fcntl
import os
import select
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import anyio

from aitor.batch.database import PRIVATE, held
from aitor.batch.journal import Journal, Record
from aitor.batch.record import read_record
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
        # By the file's own name: through a link it is the same batch.
        if Path(output).is_symlink():
            output = os.path.realpath(output)
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
        if not self.is_stream:
            self._hold()
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
            raise self._differs(journal)
        os.ftruncate(self._descriptor, place)
        self._copy(journal, place)
        return len(torn)

    def records(self) -> Iterator[Record]:
        """
        Yield the records in it; a torn end is none.

        Raises:
            ConfigurationError: If it holds something else.
        """
        for number, text in self._lines():
            record = read_record(text)
            if record is not None:
                yield record
            elif text.endswith(b"\n"):
                raise ConfigurationError(
                    f"{self.path}, line {number} is no record of a batch; remove it, "
                    f"and run the same command again"
                )

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            file.seek(0)
            yield from enumerate(file, 1)

    def _differs(self, journal: Journal) -> ConfigurationError:
        """Return the error for a file that is no beginning of what *journal* says."""
        wrong = records = unknown = 0
        for number, text in self._lines():
            record = read_record(text)
            if record is not None:
                records += 1
                unknown += journal.lacks(record)
            else:
                wrong = wrong or number
        path, where = self.path, journal.path or "the journal"
        if not records:
            return ConfigurationError(
                f"{path} holds something that is no record of a batch (line {wrong}); "
                f"give another -o"
            )
        if not unknown:
            return ConfigurationError(
                f"{path} holds other lines, or in another order, than {where}, which "
                f"has all of its records; move it away to have it written again from "
                f"there, without asking anybody"
            )
        also = f", and in line {wrong} something that is none: remove that" * bool(
            wrong
        )
        return ConfigurationError(
            f"{path} holds {unknown:,} records that are not in {where}{also}. Name "
            f"the journal that they were written with (--journal), or, if it is lost "
            f"or too old, take them over with --recover"
        )

    def _hold(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise held(self.path) from None
        except OSError:
            """Some network file systems have no locks; the journal is held."""

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
    return os.open(Path(path), os.O_RDWR | os.O_CREAT | os.O_APPEND, PRIVATE)
