"""
The files that records are copied to.

What a file holds is a beginning of what the journal says, or the file is not ours.
That is checked where it matters, at the end: the last whole record must be there
byte for byte, and what follows must be the torn beginning of the next. Then the
torn piece is cut off and the rest written from the journal. A file that looks
otherwise is refused and left as it is, for it may be anything.
"""

import os
import stat
import sys
from pathlib import Path

from aitor.batch.journal import Journal
from aitor.errors import ConfigurationError

__all__ = ("OutputFile",)

STDOUT = "-"

PIECE = 1024 * 1024
"""Bytes that are gathered for one write when much is copied from the journal."""


class OutputFile:
    """
    One file, or a stream such as a pipe, that grows by whole records.

    A stream holds nothing yet, so it gets every record, those of earlier runs first.

    Args:
        path: The file; `-` for the standard output.
        number: Which of the journal's files it is.

    Raises:
        ConfigurationError: If it cannot be opened.
    """

    def __init__(self, path: str, number: int) -> None:
        self.path = "standard output" if path == STDOUT else path
        self._number = number
        try:
            self._descriptor = _open(path)
        except OSError as error:
            raise ConfigurationError(
                f"{path} cannot be written: {error.strerror}; see --output and --errors"
            ) from error
        status = os.fstat(self._descriptor)
        self.is_stream = path == STDOUT or not stat.S_ISREG(status.st_mode)

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
        Write the file from its beginning.

        Raises:
            OSError: If it cannot be written.
        """
        if not self.is_stream:
            os.ftruncate(self._descriptor, 0)
        self._copy(journal, 0)

    def _copy(self, journal: Journal, place: int) -> None:
        piece: list[bytes] = []
        size = 0
        for text in journal.texts_after(self._number, place):
            piece.append(text)
            size += len(text)
            if size >= PIECE:
                self.append(b"".join(piece))
                piece, size = [], 0
        self.append(b"".join(piece))

    def append(self, text: bytes) -> None:
        """
        Write *text* at the end.

        Raises:
            OSError: If the disk is full, or the stream's reader has gone.
        """
        rest = memoryview(text)
        while rest:
            # A disk that is nearly full takes a part of it.
            rest = rest[os.write(self._descriptor, rest) :]

    def close(self) -> None:
        """Have what was written reach the disk, and let go of the file."""
        try:
            if not self.is_stream:
                os.fsync(self._descriptor)
        finally:
            os.close(self._descriptor)


def _open(path: str) -> int:
    if path == STDOUT:
        # A copy, so that closing ours leaves the program's own open.
        sys.stdout.flush()
        return os.dup(sys.stdout.fileno())
    # A directory that is missing is more likely misspelt than wanted: not made.
    return os.open(Path(path), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
